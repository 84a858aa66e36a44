"""The structure diagrams say what the models are."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from conftest import MODEL_FOLDERS, folder_name
from running import ROOT, run_here
from torch import nn

from common.models import load_file


@pytest.fixture(scope="module")
def draw():
    return load_file(ROOT / "img_src" / "draw.py")


def content(path):
    """All that a diagram says, which does not depend on the version of matplotlib or of its fonts."""
    texts = [element.text for element in ET.parse(path).iter() if element.tag.endswith("}description")]
    assert len(texts) == 1 and "×" in texts[0]
    return texts[0].splitlines()


@pytest.mark.parametrize("folder", MODEL_FOLDERS, ids=folder_name)
def test_every_diagram_is_current(draw, folder, tmp_path):
    path = ROOT / "img_src" / f"{folder.name}.svg"
    if not draw.diagram_of(folder) or not path.exists():  # a copied folder need not have one; pages link to the others
        pytest.skip("no function `diagram` in a figures.py, or not drawn yet")
    assert content(path) == content(draw.draw(folder, tmp_path)), f"not current: python img_src/draw.py {folder.name}"


def test_no_picture_is_left_of_a_diagram_that_is_gone(draw):
    drawn = {folder.name for folder in MODEL_FOLDERS if draw.diagram_of(folder)}
    assert {path.stem for path in (ROOT / "img_src").glob("*.svg")} <= drawn


def test_the_models_that_have_a_diagram_are_drawn(tmp_path, capsys):
    root, pictures = tmp_path / "repository", tmp_path / "repository" / "img_src"
    for name in ("My-GAN", "misc/Mine", "Plain", "Other"):
        shutil.copytree(ROOT / "GAN", root / name,
                        ignore=shutil.ignore_patterns("__pycache__", "checkpoints", "samples", "logs"))
    (root / "Plain" / "figures.py").unlink()
    (root / "Other" / "figures.py").write_text("other = 1\n")
    pictures.mkdir()
    script = Path(shutil.copy(ROOT / "img_src" / "draw.py", pictures))

    def drawn(*args):
        status, _ = run_here(script, *args)
        names = {path.name for path in pictures.glob("*.svg")}
        for name in names:
            (pictures / name).unlink()
        return status, names

    assert drawn() == (0, {"My-GAN.svg", "Mine.svg"})
    assert drawn(root / "My-GAN") == (0, {"My-GAN.svg"})
    capsys.readouterr()
    for name, reason in ((root / "Plain", "no diagram"), (root / "Other", "no diagram"), ("No", "not a model's")):
        assert drawn(root / "My-GAN", name) == (2, set())
        said = capsys.readouterr().err.strip()
        assert said.startswith("img_src/draw.py: error: ") and reason in said and "\n" not in said


def test_shapes_are_read_from_the_networks(draw, tmp_path):
    lines = content(draw.draw(ROOT / "GAN", tmp_path))
    for shape in ("256×2×2", "128×4×4", "64×8×8", "32×16×16", "1×32×32"):
        assert shape in lines
    assert "ConvT 4×4 /2" in lines and "BN" in lines


def test_a_stage_is_a_layer_with_what_follows_it_and_parallel_heads_are_one(draw):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten())
            self.mean, self.log_var = nn.Linear(64, 20), nn.Linear(64, 20)

        def forward(self, x):
            h = self.features(x)
            return self.mean(h), self.log_var(h)

    output, found = draw.stages(Encoder(), torch.zeros(1, 1, 8, 8))
    assert len(output) == 2
    assert [(s.layers, tuple(s.shape), s.heads) for s in found] == [
        (["Conv 3×3", "MaxPool", "ReLU"], (4, 4, 4), 1), (["Flatten", "Linear"], (20,), 2)]


def test_the_same_bytes_each_time(draw, tmp_path):
    first = draw.draw(ROOT / "GAN", tmp_path).read_bytes()
    assert draw.draw(ROOT / "GAN", tmp_path).read_bytes() == first

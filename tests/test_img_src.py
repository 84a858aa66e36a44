"""The structure diagrams say what the models are."""

import xml.etree.ElementTree as ET

import pytest
import torch
from conftest import MODEL_FOLDERS, folder_name
from running import ROOT
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
def test_every_model_has_its_diagram_and_it_is_current(draw, folder, tmp_path):
    path = ROOT / "img_src" / f"{folder.name}.svg"
    if f"img_src/{path.name}" not in (ROOT / "README.md").read_text():
        pytest.skip("a folder that the README does not show needs no diagram")
    assert path.exists(), f"missing: add {folder.name} to DIAGRAMS in img_src/draw.py and run it"
    assert content(path) == content(draw.draw(folder.name, tmp_path)), "not current: python img_src/draw.py"


def test_shapes_are_read_from_the_networks(draw, tmp_path):
    lines = content(draw.draw("GAN", tmp_path))
    for shape in ("512×2×2", "256×4×4", "128×8×8", "64×16×16", "1×32×32"):
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
        (["Conv 3×3", "MaxPool2d", "ReLU"], (4, 4, 4), 1), (["Flatten", "Linear"], (20,), 2)]


def test_the_same_bytes_each_time(draw, tmp_path):
    first = draw.draw("GAN", tmp_path).read_bytes()
    assert draw.draw("GAN", tmp_path).read_bytes() == first

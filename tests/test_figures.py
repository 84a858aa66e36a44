"""misc/figures.py draws what the training drew."""

import json

import pytest
from running import ROOT, TRAINABLE, run_here, train_here
from test_resume import DIGITS, pictures

from common.models import beside

FIGURES = ROOT / "misc" / "figures.py"
DRAWING = [folder for folder in TRAINABLE if (folder / "figures.py").exists()
           and hasattr(beside(folder / "model.py", "figures"), "draw")]


@pytest.mark.parametrize("folder", DRAWING, ids=lambda folder: folder.name)
def test_figures_are_drawn_again_from_a_checkpoint(tmp_path, folder):
    assert train_here(folder, *DIGITS, "--epochs", 1, "--seed", 3, "--out-dir", tmp_path)[0] == 0
    record = next(tmp_path.glob("samples/**/run.json"))
    before, results = pictures(tmp_path), json.loads(record.read_text())["results"]
    state = next(tmp_path.glob("checkpoints/**/checkpoint.pt")).read_bytes()
    drawn = [record.parent / f"{name}.png" for name in ("original", "random", "scatter", "confusion", "wrong")]
    assert any(file.exists() for file in drawn)
    for file in drawn:
        file.unlink(missing_ok=True)
    record.write_text(json.dumps({**json.loads(record.read_text()), "results": {}}))
    assert run_here(FIGURES, folder, "--out-dir", tmp_path)[0] == 0
    assert pictures(tmp_path) == before and json.loads(record.read_text())["results"] == pytest.approx(results)
    assert next(tmp_path.glob("checkpoints/**/checkpoint.pt")).read_bytes() == state


def test_figures_refuses_in_one_line(tmp_path, capsys):
    for folder, args, word in ((ROOT / "GAN", (), "has no draw()"), (ROOT / "VAE", (), "there is no checkpoint"),
                               (ROOT / "VAE", ("--variant", "../x"), "--variant"), (tmp_path, (), "not a model's")):
        assert run_here(FIGURES, folder, "--out-dir", tmp_path, *args)[0] == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("misc/figures.py: error: ") and word in said and "\n" not in said

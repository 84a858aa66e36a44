"""misc/figures.py draws what the training drew; what the figures.py of single models measure."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from running import FEW, ROOT, TRAINABLE, leaving, run_here, train_here
from test_resume import pictures

from common.models import beside

FIGURES = ROOT / "misc" / "figures.py"
DRAWING = [folder for folder in TRAINABLE if (folder / "figures.py").exists()
           and hasattr(beside(folder / "model.py", "figures"), "draw")]


@pytest.mark.parametrize("folder", DRAWING, ids=lambda folder: folder.name)
def test_figures_are_drawn_again_from_a_checkpoint(tmp_path, folder):
    flags = (*leaving(folder, 60), "--batch-size", 16, *FEW.get(folder.name, ()), "--epochs", 1, "--seed", 3,
             "--out-dir", tmp_path)
    assert train_here(folder, *flags)[0] == 0
    record = next(tmp_path.glob("samples/**/run.json"))
    before, results = pictures(tmp_path), json.loads(record.read_text())["results"]
    state = next(tmp_path.glob("checkpoints/**/checkpoint.pt")).read_bytes()
    drawn = [file for file in record.parent.glob("*.png") if file.stem in (
        "original", "random", "scatter", "confusion", "wrong")]
    assert drawn or results
    for file in drawn:
        file.unlink()
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


def test_pca_error_is_the_variance_that_is_left():
    """On the images that it was fitted to: the sum of the other eigenvalues of their covariance."""
    figures = beside(ROOT / "AE" / "model.py", "figures")
    images = torch.randint(0, 256, (300, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    values = np.linalg.eigvalsh(np.cov(images.flatten(1).double().numpy().T / 255, bias=True))

    def error(test, components):
        options, train, test = (SimpleNamespace(**fields) for fields in (
            {"latent_dim": components}, {"images": images}, {"images": test}))
        return figures.pca_error(SimpleNamespace(options=options, train=train, test=test))

    for components in (1, 5, 16, 100):
        expected = values[:-components].sum() if components < 16 else 0
        assert error(images, components) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert error(255 - images[:50], 5) > error(images, 5)


def test_two_sample_accuracy():
    two_sample_accuracy = beside(ROOT / "Adversarial_Autoencoder" / "model.py", "figures").two_sample_accuracy
    a, b = torch.randn(2, 3000, 2, generator=torch.Generator().manual_seed(0))
    assert two_sample_accuracy(a, b) == pytest.approx(0.5, abs=0.03) and two_sample_accuracy(a, b + 50) == 1
    apart = [two_sample_accuracy(a[:1000], b[:1000] + shift) for shift in (0, 0.5, 1, 2)]
    assert apart == sorted(apart) and apart[1] > 0.52
    a, b = torch.tensor([[0.0], [1], [10]]), torch.tensor([[1.2], [9.5]])
    assert two_sample_accuracy(a, b) == pytest.approx(1 / 5)  # only 0's nearest, 1, is of its own set

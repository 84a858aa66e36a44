"""Every train.py, as a user runs it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from running import ROOT, TRAINABLE, train, train_apart, train_here

from common.models import load_file


def as_a_user(folder, *args, **kwargs):
    """The GAN by an interpreter of its own, the others forked, which is ten times as fast."""
    return (train_apart if folder == ROOT / "GAN" else train)(folder, *args, **kwargs)


@pytest.mark.parametrize("folder", TRAINABLE, ids=lambda folder: folder.name)
def test_two_updates_from_another_working_directory(tmp_path, folder):
    args = ("--dataset", "digits", "--batch-size", 32, "--max-steps", 2, "--out-dir", "out")
    done = as_a_user(folder, *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    variant = next(tmp_path.glob("out/checkpoints/**/checkpoint.pt")).parent.relative_to(tmp_path / "out/checkpoints")
    samples = tmp_path / "out" / "samples" / variant
    assert {"real.png", "losses.png", "run.json"} <= {file.name for file in samples.iterdir()}


@pytest.mark.parametrize("folder", TRAINABLE, ids=lambda folder: folder.name)
def test_help(folder):
    began = time.monotonic()
    done = as_a_user(folder, "--help")
    assert done.returncode == 0 and "--max-steps" in done.stdout and done.stderr == ""
    assert time.monotonic() - began < 20  # 2 s on an idle machine, whose load is not known here


def test_a_copied_folder_trains(tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "common", root / "common", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "GAN", root / "My-GAN.2", ignore=shutil.ignore_patterns("checkpoints", "samples", "logs"))
    folder = root / "My-GAN.2"
    few = ("--dataset", "digits", "--holdout", 1300, "--batch-size", 16)  # twelve updates an epoch
    done = train(folder, *few, "--max-steps", 10, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert (folder / "samples" / "process.gif").exists() and (folder / "checkpoints" / "checkpoint.pt").exists()
    done = train(folder, "--resume")
    assert done.returncode == 0 and (folder / "samples" / "epoch_0001.png").exists(), done.stderr


def test_each_train_py_gets_the_model_py_beside_it(tmp_path, monkeypatch):
    """Whatever was imported before under that name: two in one interpreter, a model.py in the working directory."""
    (tmp_path / "model.py").write_text("raise SystemExit('the wrong model.py')")
    (tmp_path / "figures.py").write_text("raise SystemExit('the wrong figures.py')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "model", object())
    for name in ("GAN", "WGAN-GP", "VAE", "GAN"):
        out = tmp_path / name
        args = ("--dataset", "digits", "--max-steps", 1, "--out-dir", out)
        status, values = train_here(ROOT / name, *args)
        assert status == 0 and Path(values["model"].__file__) == ROOT / name / "model.py"
        saved = torch.load(next(out.glob("checkpoints/**/checkpoint.pt")), weights_only=True)
        nets = load_file(ROOT / name / "model.py").build(**saved["fields"])
        assert all(net.state_dict().keys() == saved["networks"][key].keys() for key, net in nets.items())


def test_a_module_that_python_is_asked_to_run(tmp_path):
    """`python -m GAN.train`, from the root."""
    done = subprocess.run([sys.executable, "-m", "GAN.train", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--max-steps" in done.stdout, done.stderr


def test_without_data_and_network_the_digits_stand_in_loudly(tmp_path):
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nothing answers there
    done = train(ROOT / "GAN", "--batch-size", 16, "--max-steps", 1, "--out-dir", tmp_path,
                 FUN_WITH_MNIST_DATA=str(tmp_path / "no"), **proxy)
    assert done.returncode == 0, done.stderr
    assert "NOT MNIST" in done.stderr and "!!!!!" in done.stderr
    assert "NOT MNIST" in (tmp_path / "samples" / "run.json").read_text()
    done = train(ROOT / "GAN", "--max-steps", 2, "--out-dir", tmp_path, "--resume")
    assert done.returncode == 0 and "NOT MNIST" in done.stderr
    done = train(ROOT / "GAN", "--dataset", "mnist", "--max-steps", 1, "--out-dir", tmp_path / "strict",
                 FUN_WITH_MNIST_DATA=str(tmp_path / "no"), **proxy)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "does not exist" in done.stderr
    assert not (tmp_path / "strict").exists()


def test_another_data_set_and_holdout(tmp_path, monkeypatch):
    from PIL import Image

    for split, n in (("train", 24), ("test", 6)):
        for kind in ("cat", "dog"):
            place = tmp_path / "animals" / split / kind
            place.mkdir(parents=True)
            for i in range(n):
                Image.new("RGB", (40, 50), (i * 9, 200 if kind == "cat" else 20, 90)).save(place / f"{i}.png")
    for folder in ("GAN", "Classification"):
        done = train(ROOT / folder, "--dataset", "folder:animals", "--batch-size", 8, "--epochs", 1, "--holdout", 4,
                     "--image-size", 64 if folder == "GAN" else 32, "--out-dir", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "epoch 1/1" in done.stderr and (tmp_path / folder / "samples" / "real.png").exists()

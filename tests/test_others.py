"""What other tools wrote is evaluated, or refused by what is wrong with it."""

import json

import numpy as np
import pytest
import torch
from conftest import write_idx
from PIL import Image
from running import ROOT, run_here

from common.options import InputError
from misc import others

EVALUATE = ROOT / "misc" / "evaluate.py"
DIGITS = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
DIGITS[:, :5] = 0  # mostly black
DIGITS[0, 0, 0], DIGITS[0, 0, 1] = 0, 255
PADDED = torch.nn.functional.pad(torch.from_numpy(DIGITS)[:, None], (2, 2, 2, 2))
GREY = DIGITS.astype(np.float32) / 255
LABELS = np.arange(12) % 10

FORMS = {
    "rows": DIGITS.reshape(12, 784), "without channels": DIGITS, "channels first": DIGITS[:, None],
    "channels last": DIGITS[..., None], "three equal channels": np.repeat(DIGITS[..., None], 3, 3),
    "three channels first": np.repeat(DIGITS[:, None], 3, 1), "of 32": PADDED.numpy(),
    "of 32, last": PADDED[:, 0].numpy(),
    "int64": DIGITS.astype(np.int64), "floats in [0, 1]": GREY, "float64": GREY.astype(np.float64)[:, None],
    "floats in [-1, 1]": GREY * 2 - 1,
    "channels last in [-1, 1]": (GREY * 2 - 1)[..., None],
    "float16 in [0, 255]": DIGITS.astype(np.float16),
    "rounded past 1": np.where(GREY == 1, np.float32(1.0000001), GREY),
}


@pytest.mark.parametrize("name", FORMS)
def test_form(tmp_path, capsys, name):
    np.save(tmp_path / "x.npy", FORMS[name])
    np.savez(tmp_path / "x.npz", FORMS[name], LABELS)  # as arr_0 and arr_1
    images, labels, options = others.load(tmp_path / "x.npy")
    assert images.dtype == torch.uint8 and torch.equal(images, PADDED) and labels is None and options == {}
    images, labels, _ = others.load(tmp_path / "x.npz")
    assert torch.equal(images, PADDED) and labels.dtype == torch.int64 and labels.tolist() == LABELS.tolist()
    assert "12 images" in capsys.readouterr().err


def test_black_and_white(tmp_path):
    binary = DIGITS > 100
    for kind in (bool, np.uint8, np.int32, np.float32):
        np.save(tmp_path / "x.npy", binary.astype(kind))
        assert torch.equal(others.load(tmp_path / "x.npy")[0][:, 0, 2:-2, 2:-2], torch.from_numpy(binary) * 255)


def test_inverted_images_are_told(tmp_path, capsys):
    np.save(tmp_path / "x.npy", 255 - DIGITS)
    others.load(tmp_path / "x.npy")
    assert "mostly white" in capsys.readouterr().err


def pictures(folder, images, ending="png"):
    for i, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{i:02}.{ending}")
    return folder


@pytest.mark.parametrize("size", [28, 32])
def test_a_folder_of_pictures(tmp_path, size):
    chosen = DIGITS if size == 28 else PADDED[:, 0].numpy()
    (pictures(tmp_path / "a", chosen) / ".hidden.png").write_text("no picture")
    images, labels, _ = others.load(tmp_path / "a")
    order = LABELS.argsort(kind="stable")  # by label, then by name
    assert torch.equal(images, PADDED[order]) and labels.tolist() == LABELS[order].tolist()
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, image in enumerate(chosen):
        Image.fromarray(image).convert("RGB").save(flat / f"{i:02}.png")
    images, labels, _ = others.load(flat)
    assert torch.equal(images, PADDED) and labels is None


def test_evaluate_takes_a_folder(tmp_path, capsys):
    folder = pictures(tmp_path / "drawn", DIGITS)
    write_idx(tmp_path / "data", train=300, test=200)
    assert run_here(EVALUATE, folder, "--data-dir", tmp_path / "data")[0] == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "drawn-evaluation" / "metrics.json").read_text())
    assert record["images"] == 12 and "agreement" in record["metrics"]["drawn"]


def odd(values, place, value):
    values = values.copy()
    values[place] = value
    return values


REFUSED = {  # an array, and a word of what is wrong with it
    "no images": (np.zeros((0, 28, 28), np.uint8), "holds no images"), "a number": (np.array(3.0), "must be"),
    "another size": (np.zeros((12, 64, 64), np.uint8), "28 x 28"), "not square": (np.zeros((12, 28, 32)), "28 x 28"),
    "four channels": (np.zeros((12, 28, 28, 4)), "(N, H, W, C)"),
    "five axes": (np.zeros((2, 2, 1, 28, 28)), "(N, C, H, W)"),
    "coloured": (np.stack([GREY, GREY, 1 - GREY], 3), "coloured"), "NaN": (odd(GREY, (0, 0, 3), np.nan), "finite"),
   
    "infinite": (odd(GREY, (0, 0, 3), np.inf), "finite"), "another range": (GREY * 2 - 0.5, "[-0.5, 1.5]"),
   
    "negative integers": (DIGITS.astype(int) - 128, "[-128, 127]"),
    "16 bits": (DIGITS.astype(np.uint16) * 257, "65535"),
    "complex": (GREY.astype(complex), "numbers"), "text": (np.full((12, 28, 28), "a"), "numbers"),
    "objects": (np.array([{}], object), "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_what_is_wrong(tmp_path, capsys, name):
    values, word = REFUSED[name]
    np.save(tmp_path / "x.npy", values)
    assert run_here(EVALUATE, tmp_path / "x.npy")[0] == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("misc/evaluate.py: error: ") and "x.npy" in said and word in said and "\n" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]  # no empty folder of results


def test_archives_refused(tmp_path):
    def problem(**arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(InputError) as error:
            others.load(tmp_path / "x.npz")
        return str(error.value)

    assert "none of its arrays (a, b) is called images" in problem(a=DIGITS, b=DIGITS)
    assert "none of its arrays" in problem(a=LABELS)
    for wrong in (LABELS[:3], LABELS + 0.5, LABELS + 1, LABELS[:, None]):
        assert "labels must be" in problem(images=DIGITS, labels=wrong)
    for wrong in ({"dataset": 3}, {"image_size": "x"}, {"holdout": -1}, [], None, "x"):
        assert "cannot be read" in problem(images=DIGITS, options=json.dumps(wrong))


def test_a_small_archive_that_unpacks_to_much(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((2000, 1, 32, 32), np.uint8))
    assert len(others.load(tmp_path / "x.npz")[0]) == 2000
    monkeypatch.setattr(others, "MOST", 10**6)
    with pytest.raises(InputError, match="unpacks to more"):
        others.load(tmp_path / "x.npz")


def test_folders_refused(tmp_path):
    def problem(folder):
        with pytest.raises(InputError) as error:
            others.load(folder)
        assert str(folder) in str(error.value)
        return str(error.value)

    (tmp_path / "empty").mkdir()
    assert "neither a model's folder" in problem(tmp_path / "empty")
    mixed = pictures(tmp_path / "mixed", DIGITS)
    Image.fromarray(DIGITS[0].repeat(2, 0)).save(mixed / "0" / "tall.png")
    assert "not 28 x 28, 28 x 56" in problem(mixed)
    damaged = pictures(tmp_path / "damaged", DIGITS)
    (damaged / "3" / "03.png").write_bytes(b"\x89PNG")
    assert "03.png" in problem(damaged)
    colours = pictures(tmp_path / "colours", np.random.default_rng(0).integers(0, 256, (12, 28, 28, 3), np.uint8))
    assert "coloured" in problem(colours)

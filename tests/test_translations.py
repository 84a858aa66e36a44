"""What translations are measured by, and the command that makes them."""

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, leaving, run_here, train_here

from common import data, domains
from misc import translations

GENERATE, EVALUATE = ROOT / "misc" / "generate.py", ROOT / "misc" / "evaluate.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Checkpoints of a few updates: {folder: path}."""
    out = {}
    for name, flags in (("CycleGAN", ("--width", 8, "--d-width", 8, "--pool", 1, "--pair", "coloured")),
                        ("pix2pix", ("--width", 8, "--d-width", 8))):
        place = tmp_path_factory.mktemp(name)
        assert train_here(ROOT / name, *leaving(ROOT / name, 60), "--batch-size", 16, "--max-steps", 2, *flags,
                          "--out-dir", place)[0] == 0
        out[name] = place / "checkpoints" / "checkpoint.pt"
    return out


def digits(n=200, images=None):
    torch.manual_seed(0)
    labels = torch.arange(n) % 10
    if images is None:  # a bar whose place is the digit
        images = torch.zeros(n, 1, 32, 32)
        for image, label in zip(images, labels, strict=True):
            image[0, 4:28, 3 * label:3 * label + 2] = 255
        images = (images + 40 * torch.rand_like(images)).clamp(max=255).byte()
    return data.Dataset(images, labels)


def a_pair(paired):
    known = digits()
    return domains.Pair(known, digits(images=domains.inverted(known.images)), domains.inverted, paired)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(translations, "UPDATES", 40)


def test_what_a_perfect_translation_is_given():
    pair = a_pair(paired=False)
    values = translations.measure(lambda images, direction: domains.inverted(images), pair, pair)
    for to in "ab":
        for name, expected in {"accuracy": 1, "accuracy of target only": 1, "pixel error": 0, "ink F1": 1,
                               "sharpness": 1, "cycle error": 0}.items():
            assert values[f"to {to}: {name}"] == pytest.approx(expected, abs=0.02), (to, name)
        assert values[f"to {to}: accuracy of source only"] < 0.6  # of the inverted it can read little
        assert values[f"to {to}: noisy cycle error"] == pytest.approx(0.8 * translations.NOISE, rel=0.2)
        assert values[f"to {to}: hidden"] == pytest.approx(1, rel=0.3)
    assert values["to b: label kept"] > 0.98 and values["to a: label kept"] < 0.5  # bars are no digits
    assert values["to a: FID"] == pytest.approx(0, abs=0.1) and "to b: FID" not in values


def test_what_a_bad_translation_is_given():
    """One that turns each digit into the next one, and hides what it was where the noise reaches it."""
    pair = a_pair(paired=True)
    tens = pair.a.images.view(20, 10, 1, 32, 32)

    def translate(images, direction):
        if direction == "ab":
            there = domains.inverted(tens.roll(-1, 1).reshape(-1, 1, 32, 32)[:len(images)])
            return (there & 0xFE) | (images > 127)  # the lowest bit
        return (images & 1) * 255

    values = translations.measure(translate, pair, pair)
    assert values["to b: label kept"] < 0.1 and values["to b: ink F1"] < 0.97 and "to b: accuracy" not in values
    assert values["to b: cycle error"] < 0.1 < values["to b: noisy cycle error"]
    blurred = torch.nn.functional.avg_pool2d(pair.a.images.float(), 3, 1, 1).byte()
    assert translations.sharpness(blurred) < 0.8 * translations.sharpness(pair.a.images)
    one = translations.measure(lambda images, direction: images, pair, pair, ("ba",))
    assert {name.split(":")[0] for name in one} == {"to a"} and "to a: cycle error" not in one


@pytest.mark.parametrize("name, direction", [("CycleGAN", "ab"), ("CycleGAN", "ba"), ("pix2pix", "ba")])
def test_generate_translates_test_images(tmp_path, trained, name, direction):
    asked = (name, "--checkpoint", trained[name], "--translate", direction, "--n", 20)
    assert run_here(GENERATE, *asked, "--out", tmp_path / "x.npz")[0] == 0
    with np.load(tmp_path / "x.npz") as arrays:
        found = arrays["images"], arrays["source"]
    kind = "coloured" if name == "CycleGAN" else "mosaic"
    digits = data.load("digits", None)
    pair = domains.load(kind, name == "pix2pix", "digits", None)
    held_out = data.hold_out(pair, len(pair) - 60)[1]
    source = held_out.sets["ab".index(direction[0])][:20].images
    assert (found[1] == source.numpy()).all() and len(digits) == 1500
    assert found[0].shape == (20, 3 if direction == "ab" and name == "CycleGAN" else 1, 32, 32)
    assert run_here(GENERATE, *asked, "--out", tmp_path / "x.png")[0] == 0
    grid = Image.open(tmp_path / "x.png")
    assert grid.size[1] == 2 * (3 if name == "CycleGAN" else 2) * 34 + 2  # with what comes back


def test_generate_translates_a_users_images(tmp_path, trained):
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((50, 40, 3), 100 * i, np.uint8)).save(folder / f"{i}.png")
    for direction, channels in (("ab", 1), ("ba", 3)):
        asked = ("CycleGAN", "--checkpoint", trained["CycleGAN"], "--translate", direction, "--images", folder)
        assert run_here(GENERATE, *asked, "--out", tmp_path / "x.npz")[0] == 0
        with np.load(tmp_path / "x.npz") as arrays:
            assert arrays["images"].shape == (3, 4 - channels, 32, 32)
            assert (arrays["source"] == np.arange(0, 300, 100).reshape(3, 1, 1, 1)).all()


@pytest.mark.parametrize("asked, told", [
    (("CycleGAN", "--images", "x"), "--images: to be translated"),
    (("GAN", "--translate", "ab"), "GAN does not translate"),
    (("CycleGAN", "--domain", "b"), "does not generate"),
    (("pix2pix", "--translate", "ab"), "this pix2pix goes ba alone"),
    (("CycleGAN", "--translate", "ba", "--images", "x.npz"), "its images are (1, 32, 32), not (3, 32, 32)"),
    (("CycleGAN", "--translate", "ab", "--images", "."), "there are no pictures"),
    (("CycleGAN",), "does not generate")])
def test_what_cannot_be_translated_is_told_in_one_line(tmp_path, trained, capsys, monkeypatch, asked, told):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", images=np.zeros((3, 1, 32, 32), np.uint8))
    path = trained.get(asked[0], trained["CycleGAN"])
    assert run_here(GENERATE, *asked, "--checkpoint", path, "--out", tmp_path / "y.npz")[0] == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert told in lines[-1] and lines[-1].startswith("misc/generate.py: error: ")


def test_pairs_of_one_label():
    pair = a_pair(paired=False)
    images = domains.MAPS["inverted"](pair.a.images)
    share = (translations.scorer.score(pair.a.images)[1].argmax(1) == pair.a.labels).float().mean().item()
    assert translations.one_label(pair.a.images, images, pair) == pytest.approx(share, abs=0.02)


def test_evaluate_prints_what_is_measured(trained, capsys):
    assert run_here(EVALUATE, "pix2pix", "--checkpoint", trained["pix2pix"])[0] == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("to a: label kept", "to a: pixel error", "to a: FID")) and "to b" not in said

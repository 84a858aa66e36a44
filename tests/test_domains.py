"""Pairs of domains: what is a counterpart of what, and that no digit is in both."""

from dataclasses import dataclass

import pytest
import torch
from conftest import write_idx

from common import BaseOptions, Run, data, descend, domains
from common.options import InputError


@pytest.fixture
def root(tmp_path):
    write_idx(tmp_path, train=40, test=20)
    return tmp_path


@pytest.mark.parametrize("name", domains.MAPS)
def test_domains_share_no_training_image_and_all_test_images(root, name):
    train, test = (data.load("mnist", root, part) for part in (True, False))
    pair = domains.load(name, False, "mnist", root)
    assert len(pair.a) == len(pair.b) == 20
    assert torch.equal(pair.a.images, train.images[:20]) and torch.equal(pair.b.labels, train.labels[20:])
    assert torch.equal(pair.b.images, pair.exact(train.images[20:])) and pair.b.images.dtype == torch.uint8
    kept, held_out = data.hold_out(pair, 5)  # counterparts, as tests are
    assert torch.equal(kept.b.images, pair.b.images[:15]) and torch.equal(held_out.a.images, train.images[15:20])
    assert torch.equal(held_out.b.images, pair.exact(held_out.a.images))
    assert torch.equal(held_out.b.labels, held_out.a.labels)
    pair = domains.load(name, False, "mnist", root, train=False)
    assert torch.equal(pair.a.images, test.images) and torch.equal(pair.b.labels, test.labels)
    assert torch.equal(pair.b.images, pair.exact(pair.a.images)) and pair.b.images.is_contiguous()


def test_paired_domains_are_drawn_together(root):
    pair = domains.load("edges", True, "mnist", root)
    assert len(pair.a) == len(pair.b) == 40
    a, of_a, b, of_b = data.Batches(*pair.tensors, batch_size=40, seed=1)[0]
    assert torch.equal(of_a, of_b) and not torch.equal(of_a, pair.a.labels)
    assert torch.equal((b * 255).round().byte(), domains.edges((a * 255).round().byte()))
    a, of_a, b, of_b = data.Batches(*domains.load("edges", False, "mnist", root).tensors, batch_size=20, seed=1)[0]
    assert not torch.equal(of_a, of_b)
    with pytest.raises(InputError, match="--pair: mnist-usps has no counterparts"):
        domains.load("mnist-usps", True, "mnist", root)


def test_each_map_is_what_it_is_called():
    x = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    x[:, 0, 2, 5] = 200
    assert domains.inverted(x)[0, 0, 2, 5] == 55 and domains.inverted(x)[0, 0, 0, 0] == 255
    assert torch.equal(domains.inverted(domains.inverted(x)), x)
    assert (domains.thick(x)[0, 0] == 200).nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (4, 5, 6)]
    assert (domains.edges(x) > 0).sum() == 3 * 8 and domains.edges(x)[0, 0, 2, 5] == 0
    assert torch.equal(domains.edges(x) + x, domains.thick(x))
    assert domains.rotated(x).nonzero()[0].tolist() == [0, 0, 2, 2]  # from the right above to the left above
    assert torch.equal(domains.halved(x), x) and domains.halved(domains.rotated(domains.rotated(x))).sum() == 0
    assert domains.mosaic(x)[0, 0, 2, 4] == 50 and (domains.mosaic(x) > 0).sum() == 3 * 4
    back = x
    for _ in range(4):
        back = domains.rotated(back)
    assert torch.equal(back, x)


def test_colours_are_bright_differ_and_come_again():
    x = torch.full((500, 1, 2, 2), 255, dtype=torch.uint8)
    colours = domains.coloured(x)
    assert colours.shape == (500, 3, 2, 2) and torch.equal(domains.coloured(x), colours)
    assert (colours.amax(1) == 255).all() and (colours.amin(1) == 0).all()  # full value, full saturation
    assert torch.equal(domains.coloured(torch.zeros_like(x)), torch.zeros_like(colours))
    strongest = torch.bincount(colours[:, :, 0, 0].argmax(1), minlength=3)
    assert strongest.min() > 100  # each of red, green and blue in about a third


@pytest.mark.parametrize("part, n", [(True, 7291), (False, 2007)])
def test_aligned_usps_is_as_large_as_mnist(part, n):
    root = data.data_dir()
    if not all(file.exists() for name in ("mnist", "usps") for file in data._files(name, root)):
        pytest.skip(f"MNIST or USPS is not in {root} (environment variable FUN_WITH_MNIST_DATA)")

    def height(images):  # of the ink, the mean
        rows = (images[:2000, 0] > 63).any(2)
        return (rows.float().cumsum(1).clamp(max=1) * rows.flip(1).float().cumsum(1).clamp(max=1).flip(1)).sum(1).mean()

    pair, plain = (domains.load(name, False, "mnist", root, part) for name in ("mnist-usps", "mnist-usps-plain"))
    assert len(pair.b) == len(plain.b) == n and torch.equal(pair.b.labels, plain.b.labels) and pair.exact is None
    assert len(pair.a) == (60_000 if part else 10_000) and pair.b.images.shape[1:] == (1, 32, 32)
    assert height(pair.b.images) == pytest.approx(height(pair.a.images).item(), rel=0.12)
    assert height(plain.b.images) > 1.25 * height(pair.a.images)
    mean = [(part.images.float() / 255).mean(0) for part in (pair.a, pair.b, plain.b)]
    assert (mean[0] - mean[1]).square().mean() < 0.25 * (mean[0] - mean[2]).square().mean()


@pytest.mark.parametrize("pair, dataset, told", [
    ("x", "mnist", "unknown pair 'x', choose from low-high, mnist-usps"),
    ("mnist-usps", "digits", "is of MNIST, not of digits")])
def test_what_is_no_pair_is_refused(root, pair, dataset, told):
    with pytest.raises(InputError, match=f"--pair: .*{told}"):
        domains.load(pair, False, dataset, root)


def test_images_with_colours_get_no_others(monkeypatch):
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    monkeypatch.setattr(data, "load", lambda *_: data.Dataset(images, torch.ones(4)))
    with pytest.raises(InputError, match="--pair: the images of folder:x have colours already"):
        domains.load("coloured", False, "folder:x", None)


TRAIN = """
@dataclass
class Options(BaseOptions):
    pair: str = "coloured"
    paired = False

def main():
    run = Run(Options, __file__)
    nets = run.networks(lambda channels_a, channels_b, image_size: {
        "G": nn.Conv2d(channels_a, channels_b, 1), "F": nn.Conv2d(channels_b, channels_a, 1)}, **run.image)
    adam = run.optimizer(Adam, *nets.values())

    @run.step
    def update(a, b):
        loss = (nets["F"](nets["G"](a)) - a).abs().mean() + b.mean()
        descend((adam, loss))
        return {"loss": loss}

    for a, of_a, b, of_b in run.batches():
        SEEN.append((a.clone(), of_a.clone(), b.clone(), of_b.clone()))
        run.log(update(a, b))
    TESTS.append(run.test)
"""


def test_a_run_gives_batches_of_both_domains(tmp_path):
    """An epoch is one pass; --holdout keeps the last of both out, for tests with counterparts; a resumed run goes on
    with the same batches."""
    folder = tmp_path / "Pairs"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    names = {"SEEN": [], "TESTS": [], "BaseOptions": BaseOptions, "Run": Run, "Adam": torch.optim.Adam,
             "descend": descend, "nn": torch.nn, "dataclass": dataclass, "__file__": str(folder / "train.py"),
             "__name__": "pairs"}
    exec(compile(TRAIN, "train.py", "exec"), names)

    def run(*flags):
        names["SEEN"].clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", [str(folder / "train.py"), "--dataset", "digits", "--batch-size", "50",
                                       "--epochs", "1", "--out-dir", str(tmp_path), *flags])
            names["main"]()
        return list(names["SEEN"])

    whole = run("--holdout", "50")
    assert len(whole) == 700 // 50 and whole[0][0].shape == (50, 1, 32, 32) and whole[0][2].shape == (50, 3, 32, 32)
    digits = data.load("digits", None)
    counts = [torch.bincount(torch.cat([batch[i] for batch in whole]), minlength=10) for i in (1, 3)]
    for count, part in zip(counts, (digits[:700], digits[750:1450]), strict=True):
        assert torch.equal(count, torch.bincount(part.labels, minlength=10))  # each digit once, of its own half
    test = names["TESTS"][-1]
    assert len(test) == 50 and all(torch.equal(part.labels, digits.labels[700:750]) for part in test.sets)
    assert {"real.png", "real_b.png"} <= {path.name for path in (tmp_path / "samples").iterdir()}
    run("--holdout", "50", "--max-steps", "5")
    rest = run("--resume", "--max-steps", "14")
    assert all(torch.equal(p, q) for p, q in zip(rest[0], whole[5], strict=True))

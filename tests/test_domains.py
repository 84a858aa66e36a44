"""Pairs of domains: what is a counterpart of what, and that no digit is in both."""

import pytest
import torch
from conftest import write_idx

from common import data, domains
from common.options import InputError


@pytest.fixture
def root(tmp_path):
    write_idx(tmp_path, train=40, test=20)
    return tmp_path


@pytest.mark.parametrize("name", domains.MAPS)
def test_domains_share_no_training_image_and_all_test_images(root, name):
    train, test = (data.load("mnist", root, part) for part in (True, False))
    pair = domains.load(name, root)
    assert len(pair.a) == len(pair.b) == 20
    assert torch.equal(pair.a.images, train.images[:20]) and torch.equal(pair.b.labels, train.labels[20:])
    assert torch.equal(pair.b.images, pair.exact(train.images[20:])) and pair.b.images.dtype == torch.uint8
    pair = domains.load(name, root, train=False)
    assert torch.equal(pair.a.images, test.images) and torch.equal(pair.b.labels, test.labels)
    assert torch.equal(pair.b.images, pair.exact(pair.a.images)) and pair.b.images.is_contiguous()


def test_each_map_is_what_it_is_called():
    x = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    x[:, 0, 2, 5] = 200
    assert domains.inverted(x)[0, 0, 2, 5] == 55 and domains.inverted(x)[0, 0, 0, 0] == 255
    assert torch.equal(domains.inverted(domains.inverted(x)), x)
    assert (domains.thick(x)[0, 0] == 200).nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (4, 5, 6)]
    assert (domains.edges(x) > 0).sum() == 3 * 8 and domains.edges(x)[0, 0, 2, 5] == 0
    assert torch.equal(domains.edges(x) + x, domains.thick(x))
    assert domains.rotated(x).nonzero()[0].tolist() == [0, 0, 2, 2]  # from the right above to the left above
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

    pair, plain = domains.load("mnist-usps", root, part), domains.load("mnist-usps-plain", root, part)
    assert len(pair.b) == len(plain.b) == n and torch.equal(pair.b.labels, plain.b.labels) and pair.exact is None
    assert len(pair.a) == (60_000 if part else 10_000) and pair.b.images.shape[1:] == (1, 32, 32)
    assert height(pair.b.images) == pytest.approx(height(pair.a.images).item(), rel=0.12)
    assert height(plain.b.images) > 1.25 * height(pair.a.images)
    mean = [(part.images.float() / 255).mean(0) for part in (pair.a, pair.b, plain.b)]
    assert (mean[0] - mean[1]).square().mean() < 0.25 * (mean[0] - mean[2]).square().mean()


def test_an_unknown_pair_is_refused(root):
    with pytest.raises(InputError, match="--pair: unknown pair 'x'"):
        domains.load("x", root)

"""Pictures are what they are said to be."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import ROOT

from common import images
from common.models import beside

figures = beside(ROOT / "Classification" / "model.py", "figures")


def test_a_grid_is_ten_wide_or_square_and_clamped():
    for n, rows, columns in ((3, 1, 3), (100, 10, 10), (20, 2, 10), (400, 20, 20)):
        grid = images.to_grid(torch.full((n, 1, 8, 8), 2.0))
        assert grid.shape == (rows * 10 + 2, columns * 10 + 2, 3) and grid.dtype == np.uint8 and grid.max() == 255
    several = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.5, 1.5)])
    grid = images.to_grid(several)  # clamped, not stretched
    assert [grid[5, 5 + 10 * i, 0] for i in range(3)] == [0, 128, 255]
    assert images.to_grid(torch.rand(2, 3, 8, 8)).shape == (12, 22, 3)


def test_the_unit_square_is_a_grid_with_its_origin_below_on_the_left():
    points = images.unit_square(3)
    assert points[0].tolist() == pytest.approx([1 / 6, 5 / 6]) and points[1].tolist() == pytest.approx([0.5, 5 / 6])
    assert points[6].tolist() == pytest.approx([1 / 6, 1 / 6]) and points.mean(0).tolist() == pytest.approx([0.5, 0.5])


def test_a_gif_holds_its_frames_and_leaves_out_what_is_gone(tmp_path):
    for i in range(4):
        images.save(tmp_path / f"{i}.png", torch.full((1, 1, 8, 8), i / 4))
    images.save_gif(tmp_path / "a.gif", [tmp_path / f"{i}.png" for i in (0, 1, 7, 3)])
    frames = iio.imread(tmp_path / "a.gif", index=None)
    assert [int(frame[5, 5].max()) for frame in frames] == pytest.approx([0, 64, 191], abs=9)
    images.save_gif(tmp_path / "b.gif", [tmp_path / f"{i}.png" for i in range(4)], most=2)
    assert len(iio.imread(tmp_path / "b.gif", index=None)) == 2
    images.save_gif(tmp_path / "c.gif", [tmp_path / "7.png"])
    assert not (tmp_path / "c.gif").exists()


def test_names_with_a_dollar_are_drawn_as_they_are(tmp_path):
    name = "a $^{$ b"
    labels = torch.tensor([0, 1, 1])
    images.save(tmp_path / "1.png", figures.confusion_matrix(labels, labels, [name, "b"]))
    images.save(tmp_path / "2.png", images.captioned(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), [name] * 3, name))
    images.save(tmp_path / "3.png", images.scatter(torch.rand(3, 2), labels, [name, "b"], name))
    images.save_losses(tmp_path / "4.png", ["D"], np.ones((5, 1)), name)
    assert len(list(tmp_path.glob("*.png"))) == 4


@pytest.mark.parametrize("prior", [None, torch.randn(50, 2)])
def test_scatter_shows_every_code_and_names_the_classes(prior):
    codes, labels = torch.randn(30, 2), torch.arange(30) % 3
    fig = images.scatter(codes, labels, ["a", "b", "c"], "title", prior)
    ax, bar = fig.axes
    assert np.allclose(ax.collections[-1].get_offsets(), codes) and len(ax.collections) == 1 + (prior is not None)
    assert [text.get_text() for text in bar.get_yticklabels()] == ["a", "b", "c"] and ax.get_title() == "title"
    assert ax.get_xlabel() and ax.get_ylabel()

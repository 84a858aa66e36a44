"""The parts of misc/benchmark.py; what they measure is for the machine to say."""

import signal

import pytest
import torch
from conftest import load_model
from running import ROOT

from common.models import load_file
from common.run import Run
from common.updates import bce


@pytest.fixture(scope="module")
def benchmark():
    return load_file(ROOT / "misc" / "benchmark.py")


def test_both_sides_train_in_turns(benchmark):
    batches, handler, argv = Run.batches, signal.getsignal(signal.SIGINT), benchmark.sys.argv
    ours, usual = benchmark.compare(32, 2, 2, "digits")
    assert len(ours) == len(usual) == 2 and min(ours + usual) > 0
    assert Run.batches is batches and signal.getsignal(signal.SIGINT) is handler and benchmark.sys.argv is argv


@pytest.mark.parametrize("which", ["ours", "usual"])
def test_the_start_is_measured_in_a_process_of_its_own(benchmark, which):
    start = benchmark.in_child(which, "digits")
    assert 0 < start["first_update_s"] < 100 and start["peak_memory_mb"] > 100


def test_both_sides_have_the_same_networks_and_losses(benchmark):
    ours = load_model(ROOT / "GAN").build(g_width=64, d_width=64)
    G, D = benchmark.plain_networks()
    G.load_state_dict(ours["G"].state_dict())
    D.load_state_dict(ours["D"].state_dict())
    z, x = torch.randn(8, 100), torch.rand(8, 1, 32, 32)
    torch.testing.assert_close(G(z.view(8, 100, 1, 1)), ours["G"](z))
    torch.testing.assert_close(-D(x).log().mean(), bce(ours["D"](x), 1), rtol=1e-4, atol=1e-5)


def test_work_of_an_update(benchmark):
    """By hand: a convolution takes 2 C O 16 h w, three times for D's two forwards and backwards, and so on."""
    stages = [(1, 64, 16), (64, 128, 8), (128, 256, 4), (256, 512, 2)]
    D = sum(2 * a * b * 16 * s * s for a, b, s in stages) + 2 * 512 * 4
    first = 2 * 64 * 16 * 16 * 16  # D's update needs no gradient of the image
    stages = [(100, 512, 1), (512, 256, 2), (256, 128, 4), (128, 64, 8), (64, 1, 16)]
    G = sum(2 * a * b * 16 * s * s for a, b, s in stages)
    z = 2 * 100 * 512 * 16  # nor does G's of z
    # D: forward of x, of fake, their weights and inputs; then forward and inputs for G. G: forward, weights, inputs
    expected = 2 * (3 * D - first) + 2 * D + 3 * G - z
    assert benchmark.gflop_per_image() == pytest.approx(expected / 1e9, rel=0.01)


@pytest.fixture(scope="module")
def quality():
    return load_file(ROOT / "misc" / "time_to_quality.py")


def test_a_threshold_is_reached_where_many_images_say_so(quality, monkeypatch):
    """The FID of few images only says when to look."""
    fids = iter([30.0, 14.0, 11.0, 9.0, 7.0, 4.0, 6.0])
    monkeypatch.setattr(quality.scorer, "score", lambda images: (images, None))
    monkeypatch.setattr(quality.metrics, "fid", lambda real, images: next(fids))
    watch, drawn = quality.Watch("x", None, (5, 10)), []
    for minutes in (1.0, 2.0, 3.0, 4.0):
        watch.minutes = minutes
        watch.measure(drawn.append)
    assert drawn == [2000, 2000, 10_000, 2000, 10_000, 2000, 10_000]
    assert watch.reached[10] == {"minutes": 3.0, "images": 0, "fid": 7.0} and watch.reached[5] is None


def test_both_sides_train_their_share_until_ours_is_done(quality, monkeypatch):
    monkeypatch.setattr(quality, "FEW", 100)
    monkeypatch.setattr(quality, "MANY", 120)
    opt = quality.Options(minutes=0.05, thresholds=(1e9, 1e-9), turn=20, points=2, dataset="digits", epochs=1)
    ours, theirs = quality.race(opt)
    assert [point["images"] for point in ours.points] == [640, 1280, 46 * 32]  # 1,500 images in batches of 32
    assert theirs.minutes >= 0.05 and 0 < len(theirs.points) <= 2 and theirs.points[-1]["images"] % 128 == 0
    minutes = [point["minutes"] for point in ours.points]
    assert 0 < minutes[0] < minutes[1] < minutes[2] == ours.minutes
    table = quality.compared(ours, theirs)
    first = theirs.points[0]["minutes"]
    assert table["1e+09"] == {"ours": minutes[0], "usual": first, "at_least": False, "ratio": first / minutes[0]}
    assert table["1e-09"] == {"ours": None, "usual": None, "at_least": True, "ratio": None}

"""What a run tells while it goes on."""

import re

import numpy as np
import pytest

from common import history, log
from common.images import panels, save_losses
from common.options import BaseOptions


class Batches:
    size, per_epoch = 32, 100


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    return now


def lines(capsys):
    return capsys.readouterr().err.strip().splitlines()


def test_without_a_terminal_there_is_a_first_estimate_a_line_a_minute_and_a_line_an_epoch(tmp_path, clock, capsys):
    progress = log.Progress(tmp_path, Batches, 0, 400)
    options = BaseOptions(epochs=4, batch_size=32, device="cpu", precision="fp32")
    progress.begin("GAN on mnist, seed 0", "60,000", options)
    start, = lines(capsys)
    assert start.startswith("GAN on mnist, seed 0: 60,000 images, 400 updates (4 epochs of 100, batch 32), ")
    assert "fp32" in start and "threads" in start
    for update in range(1, 101):  # one a second, but for the first, which takes a minute
        clock[0] += 1 if update > 1 else 60
        progress.advance()
    progress.losses(["D"], np.float32([[0.5], [1.5]]))
    progress.epoch_ends({"error test": 2.0})
    progress.close()
    said = lines(capsys)
    assert [line.split("  ")[0] for line in said] == ["update 7 of 400", "update 68 of 400", "epoch 1/4"]
    assert "32 images/s" in said[0] and "about 7 min to go" in said[0]  # 393 seconds
    assert said[2].split("  ")[1:] == ["D 1.0000", "error test 2.0000", "32 images/s", "about 5 min to go"]


def test_on_a_terminal_a_bar_shows_the_whole_run(tmp_path, clock, capsys, monkeypatch):
    monkeypatch.setattr(log.sys.stderr, "isatty", lambda: True, raising=False)
    progress = log.Progress(tmp_path, Batches, 100, 400)
    progress.begin("GAN", "60,000", BaseOptions(device="cpu"))
    for _ in range(100):
        clock[0] += 1
        progress.advance()
    assert progress.bar.total == 400 * 32 and progress.bar.n == 200 * 32
    progress.epoch_ends({})
    progress.close()
    assert re.search(r"epoch 2/4  32 images/s  about 3 min to go", capsys.readouterr().err)


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "60 min"),
                                                (5400, "1.5 h"), (86400, "24.0 h")])
def test_duration(seconds, words):
    assert log.duration(seconds) == words


def test_outputs_of_D_are_drawn_below_the_losses(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("common.images.save", lambda path, fig: drawn.append(fig))
    steps = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    save_losses(tmp_path / "a.png", ["D", "D(x)", "-log p(x|z)"], steps, "title")
    save_losses(tmp_path / "b.png", ["D", "G", "KL"], steps, "title")
    shown = [[[text.get_text() for text in ax.get_legend().get_texts()] for ax in fig.axes] for fig in drawn]
    assert shown == [[["D", "-log p(x|z)"], ["D(x)"]], [["D", "G", "KL"]]]


def test_a_history_comes_back():
    before = history.History()
    before.step, before.frames = 3, ["epoch_0001.png"]
    before.measured("error", 1, {"test": 2})
    after = history.History()
    after.load(before.state())
    assert (after.step, after.frames, after.curves) == (3, ["epoch_0001.png"], {"error": [(1, {"test": 2.0})]})
    assert after.latest() == {"error test": 2.0}


@pytest.mark.parametrize("sizes, expected", [
    ({"D": 1.2, "D(x)": 0.5, "G": -3, "D(G(z))": 0.4}, [("loss", ["D", "G"]), ("output of D", ["D(x)", "D(G(z))"])]),
    ({"prior": 20, "like": 900, "D": 1.2}, [("loss", ["like"]), ("loss", ["prior"]), ("loss", ["D"])]),
    ({"k": 0, "L(x)": 0.03}, [("loss", ["L(x)"]), ("loss", ["k"])]), ({"D": 0, "G": 0}, [("loss", ["D", "G"])])])
def test_losses_of_other_sizes_stand_in_panels_of_their_own(sizes, expected):
    steps = np.tile(list(sizes.values()), (50, 1)) * np.linspace(1, 0.9, 50)[:, None]
    assert panels(list(sizes), steps) == expected

"""Interrupted and resumed equals uninterrupted, however it was interrupted."""

import copy
import json
import os
import random
import re
import shlex
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
from forked import Forked
from pydantic import TypeAdapter, ValidationError
from running import FEW, ROOT, TRAINABLE, command, leaving, train_here

import common
from common import Run, checkpoint, history, previous
from common.files import lock
from common.options import InputError

GAN, CLASSIFICATION = ROOT / "GAN", ROOT / "Classification"
DIGITS = ("--dataset", "digits", "--holdout", 1440, "--batch-size", 16)  # three updates an epoch


def state_of(out):
    return torch.load(next(out.glob("checkpoints/**/checkpoint.pt")), weights_only=True)


def assert_same(a, b, path=""):
    """Two nested states are equal bit for bit, but for the time they took and where."""
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            if key not in ("seconds", "out_dir", "max_steps", "resume"):
                assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def pictures(out):
    return {file.name: file.read_bytes() for file in (out / "samples").rglob("*") if file.suffix in (".png", ".gif")}


@pytest.mark.parametrize(("folder", "parts", "whole"), [
    (GAN, (2, 5, 7), 7),  # cut within an epoch and in the next one
    (GAN, (3, 6), 6),  # cut at an epoch's end
    (CLASSIFICATION, (2, 4), 4), (ROOT / "AE", (2, 4), 4), (ROOT / "VAE", (2, 4), 4),
    (ROOT / "Adversarial_Autoencoder", (2, 4), 4), (ROOT / "WGAN", (1, 2), 2),
    (ROOT / "SGAN", (2, 4), 4),  # of a second set of images
    (ROOT / "CycleGAN", (2, 4), 4),  # of two domains, with pools of images
])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_parts_equals_in_one(tmp_path, folder, parts, whole, precision):
    if precision == "bf16" and parts != (2, 5, 7):
        pytest.skip("one case in bf16 is enough")
    shared = (*leaving(folder, 60), "--batch-size", 16, *FEW.get(folder.name, ()), "--epochs", 3,
              "--precision", precision, *(["--n-critic", 3] if folder.name == "WGAN" else []))
    assert train_here(folder, *shared, "--max-steps", parts[0], "--out-dir", tmp_path / "parts")[0] == 0
    for n in parts[1:]:
        assert train_here(folder, "--resume", "--max-steps", n, "--out-dir", tmp_path / "parts")[0] == 0
    assert train_here(folder, *shared, "--max-steps", whole, "--out-dir", tmp_path / "one")[0] == 0
    assert_same(state_of(tmp_path / "parts"), state_of(tmp_path / "one"))
    ours, theirs = pictures(tmp_path / "parts"), pictures(tmp_path / "one")
    # the parts left a grid of where they were cut, under the name of the epoch they were in
    assert set(theirs) <= set(ours)
    assert all(ours[name] == theirs[name] for name in theirs)
    if folder == GAN:
        assert "process.gif" in theirs


def test_resuming_a_finished_run_says_so_and_changes_nothing(tmp_path, capsys):
    assert train_here(GAN, *DIGITS, "--epochs", 1, "--out-dir", tmp_path)[0] == 0
    before = pictures(tmp_path), state_of(tmp_path)
    capsys.readouterr()
    assert train_here(GAN, "--resume", "--out-dir", tmp_path)[0] == 0
    assert "3 of 3 updates are done" in capsys.readouterr().err
    assert pictures(tmp_path) == before[0]
    assert_same(state_of(tmp_path), before[1])


def test_a_run_can_be_made_longer_unless_its_schedule_follows_its_length(tmp_path, capsys):
    args = (*DIGITS, "--out-dir", tmp_path)
    assert train_here(ROOT / "VAE", *args, "--epochs", 1)[0] == 0
    assert train_here(ROOT / "VAE", "--resume", "--epochs", 2, "--out-dir", tmp_path)[0] == 0
    assert state_of(tmp_path)["step"] == 6
    assert train_here(GAN, *args, "--epochs", 1, "--out-dir", tmp_path / "gan")[0] == 0
    capsys.readouterr()
    assert train_here(GAN, "--resume", "--epochs", 2, "--out-dir", tmp_path / "gan")[0] == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "--epochs: was 1" in said and "to start afresh: python " in said
    assert f"--epochs 2 --out-dir {tmp_path / 'gan'}" in said and "--resume" not in said


class NoFigures:
    """A figures.py that draws nothing, and measures 0."""

    def __getattr__(self, name):
        return lambda *args: 0.0


def schedules(monkeypatch, folder, out, *args):
    """The values of each schedule of a run, whose updates do nothing, at each update: (updates, schedules)."""
    tensors, rows, schedule, log, real = [], [], Run.schedule, Run.log, common.beside
    with monkeypatch.context() as patch:
        patch.setattr(common, "beside", lambda file, name: real(file, name) if name == "model" else NoFigures())
        patch.setattr(Run, "show", lambda run, draw: None)
        patch.setattr(Run, "schedule", lambda run, f: tensors.append(schedule(run, f)) or tensors[-1])
        patch.setattr(Run, "step", lambda run, update: lambda *batch: {"loss": torch.zeros(())})
        patch.setattr(Run, "log", lambda run, losses: rows.append([t.item() for t in tensors]) or log(run, losses))
        assert train_here(folder, *leaving(folder, 200), *FEW.get(folder.name, ()), "--out-dir", out, *args)[0] == 0
    return torch.tensor(rows)


@pytest.mark.parametrize("folder", TRAINABLE, ids=lambda folder: folder.name)
def test_a_schedule_follows_the_length_of_the_run(monkeypatch, tmp_path, folder):
    """Twice the epochs, or half the batch, are twice the updates, and every second one has the same value; a run that
    is cut and resumed has those of the run in one go."""
    if "run.schedule(" not in (folder / "train.py").read_text():
        pytest.skip("this model has no schedule")
    short = schedules(monkeypatch, folder, tmp_path / "a", "--epochs", 2, "--batch-size", 50)
    falls, rises = short[0] > short[-1], short[0] < short[-1]
    assert len(short) == 8 and falls[0] and (falls | rises).all()
    assert rises.sum() == 2 * (folder.name == "InfoGAN")  # the weights of its u
    for name, *args in (("b", "--epochs", 4, "--batch-size", 50), ("c", "--epochs", 2, "--batch-size", 25)):
        long = schedules(monkeypatch, folder, tmp_path / name, *args)
        assert len(long) == 16
        torch.testing.assert_close(long[::2], short)
    args = ("--epochs", 2, "--batch-size", 50)
    parts = [schedules(monkeypatch, folder, tmp_path / "d", *args, "--max-steps", 5),
             schedules(monkeypatch, folder, tmp_path / "d", *args, "--resume")]
    torch.testing.assert_close(torch.cat(parts), short, rtol=0, atol=0)


def test_a_fresh_run_puts_the_earlier_one_aside_whole(tmp_path, monkeypatch, capsys):
    def files(place):
        return {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*")
                if file.is_file() and file.name != ".lock" and "previous" not in str(file.relative_to(place))}

    monkeypatch.setattr(previous, "KEPT", 0)  # as if each had taken longer than a minute
    before = {}
    for seed in (1, 2, 3):
        args = (*DIGITS, "--max-steps", 5 - seed, "--seed", seed, "--out-dir", tmp_path)
        assert train_here(GAN, *args)[0] == 0 and state_of(tmp_path)["options"]["seed"] == seed
        before[seed] = files(tmp_path)
    assert files(tmp_path / "previous-1") == before[1] and files(tmp_path / "previous-2") == before[2]
    said = capsys.readouterr().err
    line = next(line for line in said.splitlines() if "the earlier run (3 updates" in line)
    words = shlex.split(line.split("to go on with it: ")[1])
    assert words[0] == "python" and words[1].endswith("GAN/train.py")
    assert train_here(GAN, *words[2:], "--max-steps", 5)[0] == 0
    assert state_of(tmp_path / "previous-2")["step"] == 5 and files(tmp_path) == before[3]


def test_an_earlier_run_of_less_than_a_minute_may_be_dropped_and_a_refused_start_moves_nothing(tmp_path):
    for seed in (1, 2, 3):
        assert train_here(GAN, *DIGITS, "--max-steps", 1, "--seed", seed, "--out-dir", tmp_path)[0] == 0
    assert state_of(tmp_path / "previous-1")["options"]["seed"] == 2 and not (tmp_path / "previous-2").exists()
    assert train_here(GAN, *DIGITS, "--batch-size", 5000, "--out-dir", tmp_path)[0] == 2
    assert state_of(tmp_path)["options"]["seed"] == 3


def test_variants_are_put_aside_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(previous, "KEPT", 0)
    for dim, seed in ((2, 1), (3, 1), (3, 2)):
        assert train_here(ROOT / "VAE", *DIGITS, "--latent-dim", dim, "--seed", seed, "--max-steps", 1,
                          "--out-dir", tmp_path)[0] == 0
    found = {str(file.parent.relative_to(tmp_path)) for file in tmp_path.rglob("checkpoint.pt")}
    assert found == {"checkpoints/2d", "checkpoints/3d", "previous-1/checkpoints/3d"}


def test_every_flag_of_a_run_may_be_given_again_on_resume(tmp_path):
    """A flag without a value, too."""
    args = (*DIGITS, "--latent-dim", 3, "--binarise", "--iw-samples", 1, "--out-dir", tmp_path)
    assert train_here(ROOT / "VAE", *args, "--max-steps", 1)[0] == 0
    assert train_here(ROOT / "VAE", *args, "--max-steps", 2, "--resume")[0] == 0


def test_run_json_tells_how(tmp_path):
    assert train_here(GAN, *DIGITS, "--max-steps", 2, "--seed", 5, "--out-dir", tmp_path)[0] == 0
    record = json.loads((tmp_path / "samples" / "run.json").read_text())
    assert record["seed"] == 5 and record["steps"] == 2 and record["dataset"] == "digits"
    assert record["options"]["lr"] == 1e-3 and "--max-steps 2" in record["command"]
    assert set(record["final_losses"]) == {"D", "G", "D(x)", "D(G(z))"}
    assert record["versions"]["torch"] == torch.__version__
    assert record["seconds"] > 0 and record["device"]


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, capsys):
    assert train_here(GAN, *DIGITS, "--max-steps", 2, "--out-dir", tmp_path)[0] == 0
    path = tmp_path / "checkpoints" / "checkpoint.pt"
    state = state_of(tmp_path)
    state["networks"]["D"]["0.weight"][:] = 3e38  # finite, and the loss is not
    torch.save(state, path)
    poisoned = path.read_bytes()
    capsys.readouterr()
    assert train_here(GAN, "--resume", "--max-steps", 3, "--out-dir", tmp_path)[0] == 1
    assert "the loss D is nan at update 3; the checkpoint of update 2 is kept" in capsys.readouterr().err
    assert path.read_bytes() == poisoned


def test_a_loaded_optimizer_has_its_parameters_strides():
    """The fused step goes by memory order: a state in other strides would be mixed up without an error."""
    weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    adam = torch.optim.Adam([weight], fused=True)
    weight.grad = torch.randn_like(weight)
    adam.step()
    saved = adam.state_dict()
    saved["state"][0]["exp_avg"] = saved["state"][0]["exp_avg"].contiguous()
    expected = saved["state"][0]["exp_avg"].clone()
    other = torch.optim.Adam([weight], fused=True)
    checkpoint.load_optimizer(other, saved)
    assert other.state[weight]["exp_avg"].stride() == weight.stride()
    assert torch.equal(other.state[weight]["exp_avg"], expected)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta",
                                  "ASGD", "Rprop", "Adafactor"])
def test_every_optimizer_is_restored(kind):
    """A template may take any: the restored one makes the same step as the one that was saved."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(4, 3, 2, 2)), torch.nn.Parameter(torch.randn(5))]
    optimizer = getattr(torch.optim, kind)(weights)

    def step(optimizer, parameters):
        for p in parameters:
            p.grad = torch.full_like(p, 0.1)
        optimizer.step()

    step(optimizer, weights)
    copies = [torch.nn.Parameter(p.detach().clone()) for p in weights]
    other = getattr(torch.optim, kind)(copies)
    checkpoint.load_optimizer(other, copy.deepcopy(optimizer.state_dict()))
    step(optimizer, weights)
    step(other, copies)
    assert all(torch.equal(a, b) for a, b in zip(weights, copies, strict=True))
    saved = optimizer.state_dict()
    if saved["state"]:  # plain SGD has none
        saved["state"][0] = {name: torch.zeros(7) for name in saved["state"][0]}
        with pytest.raises(ValueError, match="not torch.float32"):
            checkpoint.load_optimizer(other, saved)


def test_no_other_run_writes_while_one_reads_its_checkpoint_or_records(tmp_path, monkeypatch):
    load, refused = checkpoint.load, []

    def locked(folder):
        with pytest.raises(InputError, match="another run is writing"):
            lock(folder, "--out-dir")
        refused.append(folder)

    monkeypatch.setattr(Run, "record", lambda run, measured: locked(run._checkpoint.parent))
    monkeypatch.setattr(checkpoint, "load", lambda path, *args: locked(path.parent) or load(path, *args))
    args = (*DIGITS, "--out-dir", tmp_path)
    assert train_here(CLASSIFICATION, *args, "--max-steps", 1)[0] == 0 and len(refused) == 1
    assert train_here(CLASSIFICATION, *args, "--max-steps", 2, "--resume")[0] == 0 and len(refused) == 3
    lock(tmp_path / "checkpoints", "--out-dir").release()  # when a run is gone its folder is free


def test_a_full_disk_is_one_line_and_costs_nothing(tmp_path, monkeypatch, capsys):
    args = (*DIGITS, "--epochs", 2, "--out-dir", tmp_path)
    assert train_here(CLASSIFICATION, *args, "--max-steps", 1)[0] == 0
    before = (tmp_path / "checkpoints" / "checkpoint.pt").read_bytes()
    capsys.readouterr()

    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    write = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: write(state, Full()))
    assert train_here(CLASSIFICATION, *args, "--resume", "--max-steps", 2)[0] == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == "Classification/train.py: error: [Errno 28] No space left on device"
    assert (tmp_path / "checkpoints" / "checkpoint.pt").read_bytes() == before


def test_curves_of_a_checkpoint():
    """They may have any name that a file can have; a path, or what is no number, does not get in."""
    kind = TypeAdapter(checkpoint.State.__annotations__["curves"])
    kind.validate_python({"log likelihood": [(1, {"train": 1.0}), (2, {"train": 1.0, "test": 2.0})]}, strict=True)
    for name, value in (("../x", 1.0), ("a/b", 1.0), (".hidden", 1.0), ("", 1.0), ("x", "1")):
        with pytest.raises(ValidationError):
            kind.validate_python({name: [(1, {"train": value})]}, strict=True)


def test_random_states_come_back():
    device = torch.device("cpu")
    state = checkpoint.random_state(device)
    drawn = torch.rand(3), np.random.rand(3), random.random()
    checkpoint.set_random_state(state, device)
    again = torch.rand(3), np.random.rand(3), random.random()
    assert torch.equal(drawn[0], again[0]) and (drawn[1] == again[1]).all() and drawn[2] == again[2]


def test_a_weight_that_is_not_finite_stops_the_run_though_the_losses_are():
    net = torch.nn.Linear(2, 2)
    history.check_finite({"G": net})
    with torch.no_grad():
        net.weight[0, 0] = float("inf")
    with pytest.raises(history.NotFinite, match="a weight of G"):
        history.check_finite({"G": net})


def test_losses_of_other_names_are_refused():
    losses = history.Losses(["D"], torch.zeros(3, 1))
    with pytest.raises(InputError, match="the losses are G, but were D"):
        losses.append({"G": torch.zeros(())})


def test_a_checkpoint_is_due_by_the_clock_too(tmp_path, monkeypatch):
    from common import run

    steps = []
    monkeypatch.setattr(run, "SAVE_EVERY", 0)
    monkeypatch.setattr(run.checkpoint, "save", lambda path, state: steps.append(state["step"]))
    assert train_here(GAN, *DIGITS, "--max-steps", 4, "--out-dir", tmp_path)[0] == 0
    assert steps == [0, 1, 2, 3, 4]


def wait_for(condition, process, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


def make_narrow(folder):
    """Gives a copy of the GAN's folder narrow networks."""
    text = (folder / "train.py").read_text()
    narrow = re.sub(r"_width: Count = \d+", "_width: Count = 2", text)
    assert narrow.count("_width: Count = 2") == 2
    (folder / "train.py").write_text(narrow)


def small_gan(tmp_path):
    """A copy of the GAN's folder with narrow networks, so that much happens in a short time; it is a template, too."""
    folder = tmp_path / "Small-GAN.2"
    folder.mkdir()
    for name in ("model.py", "train.py"):
        text = (GAN / name).read_text()
        text = text.replace("parents[1]", "parents[0]").replace("Path(__file__)", f"Path({str(ROOT)!r}, 'x')")
        (folder / name).write_text(text)
    make_narrow(folder)
    return folder


def test_killed_ten_times_and_resumed_each_time(tmp_path):
    folder, out = small_gan(tmp_path), tmp_path / "out"
    path = out / "checkpoints" / "checkpoint.pt"
    wish = random.Random(os.environ.get("PYTEST_SEED", "kill"))
    args = ("--dataset", "digits", "--batch-size", 250, "--epochs", 100_000, "--out-dir", out)
    steps = []
    for victim in range(10):
        process = Forked(folder / "train.py", *args, *(["--resume"] if victim else []))
        written = path.stat().st_mtime_ns if victim else 0
        # from the first checkpoint of its own on, at any moment: most of the time is spent on checkpoints and grids
        wait_for(lambda written=written: path.exists() and path.stat().st_mtime_ns > written, process)
        time.sleep(wish.uniform(0, 0.7))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        steps.append(state_of(out)["step"])
    assert steps == sorted(steps) and steps[-1] > steps[0]
    assert train_here(folder, *args, "--resume", "--max-steps", steps[-1] + 7)[0] == 0
    assert state_of(out)["step"] == steps[-1] + 7
    import imageio.v3 as iio

    for file in (out / "samples").iterdir():
        assert not file.name.startswith(".") or ".tmp" in file.name
        if file.suffix in (".png", ".gif") and not file.name.startswith("."):
            assert iio.imread(file).ndim >= 3, file
    # what was killed so often is what was never killed
    straight = tmp_path / "straight"
    assert train_here(folder, *args[:-1], straight, "--max-steps", steps[-1] + 7)[0] == 0
    assert_same(state_of(out)["networks"], state_of(straight)["networks"])
    assert (out / "samples" / "process.gif").read_bytes() == (straight / "samples" / "process.gif").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, number):
    args = (*DIGITS, "--epochs", 1000, "--out-dir", tmp_path)
    if number == signal.SIGTERM:
        process = subprocess.Popen(command(GAN, *args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    else:
        process = Forked(GAN / "train.py", *args)
    wait_for((tmp_path / "samples" / "epoch_0001.png").exists, process)
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, errors
    assert "stopping after this update" in errors and "to go on: python " in errors.splitlines()[-1]
    state = state_of(tmp_path)
    assert state["step"] >= 3 and len(state["losses"]["values"]) == state["step"]
    assert (tmp_path / "samples" / "losses.png").exists() and (tmp_path / "samples" / "process.gif").exists()

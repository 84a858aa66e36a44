"""What a user gives that cannot be used: one clear line, exit status 2, nothing overwritten."""

import dataclasses
import math
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from filelock import FileLock
from running import ROOT, train, train_here
from test_resume import small_gan

from common.options import (
    BaseOptions,
    Count,
    Decay,
    InputError,
    NonNegative,
    Positive,
    Share,
    parse,
    parse_resumed,
    refusing,
    to_plain,
)

GAN = ROOT / "GAN"
TINY = ("--dataset", "digits", "--batch-size", 16)


@dataclass
class Options(BaseOptions):
    """Options of a test."""

    lr: Positive = 0.1  # step size
    beta: Decay = 0.5  # decay
    loss: Literal["bce", "mse"] = "bce"  # which loss
    clip: Positive | None = None  # clip at
    flag: bool = False  # on or off


def refused(capsys, *args, folder=GAN):
    """Runs train.py, asserts that it refuses in one line with status 2, and returns the line."""
    status, _ = train_here(folder, *args)
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2 and len(lines) == 1, lines
    assert lines[0].startswith(f"{folder.name}/train.py: error: ")
    return lines[0]


@pytest.mark.parametrize("args", [
    "--epochs -3", "--epochs 0", "--epochs 1.5", "--epochs many", "--batch-size 0", "--batch-size -1", "--seed -1",
    "--holdout -1", "--max-steps 0", "--lr 0", "--lr -1", "--lr nan", "--lr inf", "--beta 1", "--beta -0.1",
    "--loss hinge", "--device tpu", "--precision fp8", "--clip 0", "--image-size 33", "--flag False", "--epochs",
    "--no-such-flag 3",
])
def test_bad_values_are_refused_naming_the_flag(args):
    with pytest.raises(InputError) as error:
        parse(Options, args=args.split())
    # a flag takes no value: --flag False is told as the stray word
    assert args.split()[0] in str(error.value) or "False" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_good_values_are_taken():
    line = "--epochs 3 --lr 1e-4 --clip 2 --flag --loss mse --max-steps 7"
    options = parse(Options, args=line.split())
    assert (options.epochs, options.lr, options.clip, options.flag, options.max_steps) == (3, 1e-4, 2, True, 7)
    assert parse(Options, args=[]) == Options()


def test_bounds_hold_in_a_subclass_that_overrides_a_default():
    @dataclass
    class Longer(BaseOptions):
        epochs: Count = 100  # passes

    assert parse(Longer, args=[]).epochs == 100
    with pytest.raises(InputError, match="--epochs: must be at least 1"):
        parse(Longer, args=["--epochs", "-1"])


@pytest.mark.parametrize(("kind", "inside", "outside", "limit"), [
    (Positive, 1e-9, 0.0, "greater than 0"), (NonNegative, 0.0, -1e-9, "at least 0"),
    (Decay, 0.0, 1.0, "less than 1"), (Decay, 0.999, -0.1, "at least 0"), (Share, 1.0, 1.1, "less than or equal to 1"),
    (float, -1.0, math.nan, "a finite number")])
def test_bounds(kind, inside, outside, limit):
    kinds = dataclasses.make_dataclass("Kinds", [("x", kind, inside)], bases=(BaseOptions,))
    assert parse(kinds, args=["--x", str(inside)]).x == inside
    for value, words in ((outside, limit), (math.nan, "a finite number"), (math.inf, "a finite number")):
        with pytest.raises(InputError, match=f"--x: must be {words}, not {value}"):
            parse(kinds, args=["--x", str(value)])


def test_help_shows_every_flag_with_its_comment(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(Options, args=["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for word in ("--epochs", "--batch-size", "--seed", "--dataset", "--data-dir", "--device", "--precision",
                 "--max-steps", "--out-dir", "--resume", "--holdout", "step size", "passes over the training set"):
        assert word in text


@pytest.mark.parametrize(("error", "status", "said"), [
    (InputError("--lr:\nwrong"), 2, "x.py: error: --lr: wrong\n"),
    (OSError(28, "No space left on device", "a.npz"), 2, "x.py: error: [Errno 28] No space left on device: 'a.npz'\n"),
    (KeyboardInterrupt(), 130, "")])
def test_what_a_user_meets_is_no_traceback(capsys, error, status, said):
    with pytest.raises(SystemExit) as stop, refusing("x.py"):
        raise error
    assert stop.value.code == status and capsys.readouterr().err == said


def test_resumed_options_come_from_the_checkpoint_and_changes_are_named():
    saved = to_plain(Options(lr=0.3, epochs=7, dataset="mnist", device="cpu", precision="fp32", max_steps=3))
    options = parse_resumed(Options, saved, ["--resume", "--max-steps", "9", "--out-dir", "/tmp/x"])
    assert (options.lr, options.epochs, options.max_steps, options.dataset) == (0.3, 7, 9, "mnist")
    assert parse_resumed(Options, saved, ["--resume"]).max_steps is None
    assert not parse_resumed(Options, {**saved, "eager": True}, ["--resume"]).eager  # nothing says it but the flag
    assert parse_resumed(Options, saved, ["--resume", "--device", "auto", "--epochs", "9"]).epochs == 9
    with pytest.raises(InputError, match=r"--lr was 0.3, not 0.1; --loss was bce, not mse"):
        parse_resumed(Options, saved, ["--resume", "--lr", "0.1", "--loss", "mse"])
    with pytest.raises(InputError, match="--momentum"):
        parse_resumed(Options, {**saved, "momentum": 1}, ["--resume"])


@pytest.mark.parametrize(("args", "words"), [
    (["--dataset", "imagenet"], "--dataset: unknown data set 'imagenet'"),
    (["--dataset", "folder:/no/such/folder"], "--dataset: /no/such/folder is not a folder"),
    (["--dataset", "digits", "--batch-size", 5000], "--batch-size: 5000 is larger than the set of 1,500 images"),
    (["--dataset", "digits", "--holdout", 1500], "--holdout: leaves none"),
    (["--dataset", "digits", "--out-dir", "/proc/nowhere"], "--out-dir: cannot write to /proc/nowhere"),
    (["--dataset", "digits", "--precision", "tf32", "--device", "cpu"], "--precision: tf32 needs a cuda device"),
])
def test_what_does_not_fit_is_refused_before_any_work(capsys, tmp_path, args, words):
    out = [] if "--out-dir" in args else ["--out-dir", tmp_path / "out"]
    assert words in refused(capsys, *args, *out)
    assert not list(tmp_path.rglob("*.p*"))


@pytest.mark.parametrize("model", ["BEGAN", "InfoGAN", "SGAN"])
def test_one_image_is_too_few_for_a_batchnorm_of_vectors(capsys, tmp_path, model):
    args = ("--dataset", "digits", "--batch-size", 1, "--out-dir", tmp_path / "out")
    assert "--batch-size: BatchNorm needs 2 images or more" in refused(capsys, *args, folder=GAN.parent / model)
    assert not list(tmp_path.rglob("*.p*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_device_is_refused(capsys, tmp_path):
    assert "--device: there is no cuda device" in refused(capsys, "--device", "cuda", "--out-dir", tmp_path)


def test_an_out_dir_that_is_a_file_is_refused_and_kept(capsys, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "--out-dir" in refused(capsys, *TINY, "--out-dir", file)
    assert file.read_text() == "mine"


def test_bad_input_ends_a_process_with_status_2():
    done = train(GAN, "--epochs", -3)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.strip() == "GAN/train.py: error: --epochs: must be at least 1, not -3"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_complaint_names_the_flag_whatever_the_terminal_shows(encoding):
    done = subprocess.run([sys.executable, ROOT / "misc" / "tables.py", "--chek"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.strip() == "misc/tables.py: error: Unrecognized options: --chek"


def test_resume_without_a_checkpoint_is_refused(capsys, tmp_path):
    assert "there is no checkpoint" in refused(capsys, *TINY, "--resume", "--out-dir", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small GAN of one update."""
    folder = small_gan(tmp_path_factory.mktemp("trained"))
    assert train_here(folder, *TINY, "--max-steps", 1)[0] == 0
    return folder


class Evil:
    def __reduce__(self):
        return open, ("evil-was-here", "w")


def edited(optimizer, edit):
    return {**optimizer, "state": {i: edit(state) for i, state in optimizer["state"].items()}}


def damage(path, how):
    """Writes a checkpoint of some harmful kind over the good one at path."""
    state = torch.load(path, weights_only=True)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not a checkpoint")
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif how == "code inside":
        torch.save({**state, "notice": Evil()}, path)
    elif how == "list":
        torch.save([1, 2], path)
    else:
        state.update({
            "no networks": {"networks": None}, "other model": {"model": "WGAN"}, "other format": {"format": 2},
            "other widths": {"networks": {k: {n: v.reshape(-1)[:1] for n, v in s.items()}
                                          for k, s in state["networks"].items()}},
            "no such network": {"networks": {}}, "no optimizers": {"optimizers": []},
            "wrong optimizer": {"optimizers": state["optimizers"][::-1]},
            "frames elsewhere": {"frames": ["../../../../etc/passwd"]}, "no tensors": {"tensors": {}},
            "bad random state": {"random": [{"torch": torch.zeros(3)}]}, "negative step": {"step": -5},
            "option of another type": {"options": {**state["options"], "lr": "fast"}},
            "odd option": {"options": {**state["options"], "__class__": 1}},
            "option out of bounds": {"options": {**state["options"], "batch_size": -4}},
            "curves elsewhere": {"curves": {"../victim": [(1, {"a": 0.5})]}},
            "odd curves": {"curves": {"c": 5}}, "more ranks": {"random": state["random"] * 2},
            "option of a wrong number": {"options": {**state["options"], "batch_size": 16.0}},
            "option of another choice": {"options": {**state["options"], "precision": "foo"}},
            "scalar moment": {"optimizers": [edited(o, lambda s: {**s, "exp_avg": torch.zeros(())})
                                             for o in state["optimizers"]]},
            "no moment": {"optimizers": [edited(o, lambda s: {"step": s["step"]}) for o in state["optimizers"]]},
            "ragged losses": {"losses": {"names": ["D"], "values": torch.zeros(4, 3)}},
        }[how])
        torch.save(state, path)


@pytest.mark.parametrize("how", [
    "truncated", "empty", "text", "pickle", "code inside", "list", "no networks", "other model", "other format",
    "other widths", "no such network", "no optimizers", "wrong optimizer", "frames elsewhere", "no tensors",
    "bad random state", "negative step", "option of another type", "odd option", "option out of bounds",
    "ragged losses", "curves elsewhere", "odd curves", "more ranks", "option of a wrong number",
    "option of another choice", "scalar moment", "no moment",
])
def test_a_bad_checkpoint_is_refused_and_left_as_it_is(capsys, tmp_path, monkeypatch, trained, how):
    monkeypatch.chdir(tmp_path)
    path = trained / "checkpoints" / "checkpoint.pt"
    good = path.read_bytes()
    try:
        damage(path, how)
        bad = path.read_bytes()
        line = refused(capsys, "--resume", "--max-steps", 2, folder=trained)
        assert str(path) in line or "--resume" in line or "--" in line
        assert path.read_bytes() == bad
        assert not (tmp_path / "evil-was-here").exists()
    finally:
        path.write_bytes(good)


def test_two_runs_do_not_write_to_one_folder(capsys, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with FileLock(tmp_path / "checkpoints" / ".lock"):
        line = refused(capsys, *TINY, "--max-steps", 1, "--out-dir", tmp_path)
    assert f"--out-dir: another run is writing to {tmp_path}" in line
    assert train_here(GAN, *TINY, "--max-steps", 1, "--out-dir", tmp_path)[0] == 0


def test_a_folder_of_images_may_be_named_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = parse(Options, args=["--dataset", "folder:animals"])
    assert options.dataset == f"folder:{tmp_path / 'animals'}"
    saved = to_plain(options) | {"device": "cpu", "precision": "fp32"}
    assert parse_resumed(Options, saved, ["--resume", "--dataset", "folder:animals"]).dataset == options.dataset


def test_resuming_with_other_options_is_refused(capsys, trained):
    line = refused(capsys, "--resume", "--max-steps", 2, "--lr", "0.5", "--batch-size", 32, folder=trained)
    assert "--batch-size was 16, not 32" in line and "--lr was 0.001, not 0.5" in line

"""Whatever happens in a run ends in one line with the right status, and the last checkpoint is kept."""

import os
import shlex
import signal
import subprocess

import numpy as np
import pytest
import torch
from forked import Forked
from PIL import Image
from running import ROOT, command, run_here, run_ranks, train, train_here
from test_resume import CLASSIFICATION, DIGITS, GAN, small_gan, state_of, wait_for

from common import checkpoint, distribution
from common.files import replacing
from common.log import Quiet
from common.options import InputError, launched, problem

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def failing(tmp_path, line, at=2):
    """A copy of the GAN, small, that executes a line at its third update, say."""
    folder = small_gan(tmp_path)
    source = (folder / "train.py").read_text()
    loop = "        run.log(update(x))\n"
    assert loop in source
    line = f"        if run._history.step == {at}:\n            {line}\n"
    (folder / "train.py").write_text(source.replace(loop, line + loop))
    return folder


@pytest.mark.parametrize(("line", "words"), [
    ("raise OSError(28, 'No space left on device')", "[Errno 28] No space left on device"),
    ("raise MemoryError", "out of memory; a smaller --batch-size takes less"),
    ("torch.empty(10**16)", "out of memory; a smaller --batch-size takes less")])
def test_an_error_in_the_loop_is_one_line_and_keeps_the_checkpoint(tmp_path, line, words):
    folder = failing(tmp_path, line, at=4)
    done = train(folder, *DIGITS, "--epochs", 2, "--out-dir", tmp_path / "out")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.strip().splitlines()[-1] == f"{folder.name}/train.py: error: {words}"
    assert state_of(tmp_path / "out")["step"] == 3  # that of the epoch's end


def test_a_fault_of_the_program_shows_where_it_is(tmp_path):
    done = train(failing(tmp_path, "raise ValueError('a bug')", at=1), *DIGITS, "--out-dir", tmp_path / "out")
    assert done.returncode == 1 and "Traceback" in done.stderr and "ValueError: a bug" in done.stderr


def test_a_process_of_its_own_ends_the_same_way(tmp_path):
    """Python's own hook, a closed stderr, a limit on the size of files."""
    words = shlex.join(command(GAN, *DIGITS, "--max-steps", 1, "--out-dir", tmp_path / "a"))
    done = subprocess.run(["bash", "-c", f"exec {words} 2>&-"], capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "a" / "samples" / "run.json").exists(), done.stdout
    words = shlex.join(command(small_gan(tmp_path), *DIGITS, "--max-steps", 1, "--out-dir", tmp_path / "b"))
    done = subprocess.run(["bash", "-c", f"ulimit -f 2; exec {words}"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "File too large" in done.stderr, done.stderr


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("I/O operation on closed file")])
def test_a_lost_terminal_is_no_condition(error):
    class Lost:
        encoding = "utf-8"

        def write(self, text):
            raise error

        flush = write

    stream = Quiet(Lost())
    stream.write("x")
    stream.flush = stream.flush
    assert stream.encoding == "utf-8"


@pytest.mark.parametrize(("error", "words"), [
    (InputError("--lr: wrong"), "--lr: wrong"), (OSError(28, "No space left on device"), "No space left"),
    (MemoryError(), "out of memory"), (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
     "out of memory"),
    (RuntimeError("[/pytorch/gloo/transport/tcp/pair.cc:534] Connection closed by peer"), "another rank"),
    (RuntimeError("NCCL communicator was aborted"), "another rank"),
    (RuntimeError("shapes cannot be multiplied"), None), (ValueError("x"), None), (KeyError("a"), None)])
def test_what_is_no_fault_of_the_program(error, words):
    told = problem(error)
    assert told is None if words is None else words in told and "\n" not in told


@pytest.mark.parametrize(("given", "expected"), [
    ({}, (0, 1)), ({"WORLD_SIZE": "4"}, (0, 1)), ({"RANK": "1"}, (0, 1)), ({"WORLD_SIZE": ""}, (0, 1)),
    ({"RANK": "1", "WORLD_SIZE": "4"}, (0, 1)), (dict(zip(LAUNCHED, ("1", "4", "a", "1"), strict=True)), (1, 4)),
    (dict(zip(LAUNCHED, ("4", "4", "a", "1"), strict=True)), None),
    (dict(zip(LAUNCHED, ("-1", "4", "a", "1"), strict=True)), None),
    (dict(zip(LAUNCHED, ("x", "4", "a", "1"), strict=True)), None)])
def test_launcher_variables(monkeypatch, given, expected):
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if expected is None:
        with pytest.raises(InputError, match="RANK"):
            launched()
    else:
        assert launched() == expected


def test_left_over_launcher_variables_train_as_one_process(tmp_path):
    done = train(small_gan(tmp_path), *DIGITS, "--max-steps", 1, "--out-dir", tmp_path / "out",
                 WORLD_SIZE="4", RANK="1")
    assert done.returncode == 0 and (tmp_path / "out" / "samples" / "run.json").exists(), done.stderr


def test_where_a_rank_dies_the_other_says_so(tmp_path):
    folder = failing(tmp_path, "import os; os.environ['RANK'] == '1' and os._exit(9)")
    first, second = run_ranks(folder / "train.py", *DIGITS, "--epochs", 3, "--out-dir", tmp_path / "out")
    assert second.returncode == 9 and first.returncode == 2 and "Traceback" not in first.stderr, first.stderr
    assert "another rank ended" in first.stderr.strip().splitlines()[-1]


def test_ranks_meet_by_the_clock(monkeypatch):
    """Every two seconds or so, whatever an update takes; at an epoch's end in any case; all by the slowest one."""
    now, sent = [0.0], []
    monkeypatch.setattr(distribution.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(distribution, "ranks", lambda: 2)
    monkeypatch.setattr(distribution, "gather", lambda value: sent.append(value) or [value, (2 * value[0], True, 15)])

    def meetings(seconds, updates, ends=()):
        agreement, met = distribution.Agreement(0), []
        for step in range(1, updates + 1):
            now[0] += seconds
            count = len(sent)
            answer = agreement.reach(step, step in ends, False, 0)
            assert answer == ((True, 15) if len(sent) > count else (False, 0))
            met += [step] * (len(sent) - count)
        return met

    assert meetings(5, 4) == [1, 2, 3, 4]
    assert meetings(0.25, 20) == [1, 6, 11, 16]
    assert meetings(0.25, 12, ends=(3,)) == [1, 3, 8]
    assert len(meetings(1e-6, 5000)) < 5


def test_alone_signals_are_seen_at_once():
    agreement = distribution.Agreement(0)
    assert [agreement.reach(step, False, False, 2 * (step == 2)) for step in (1, 2)] == [(False, 0), (False, 2)]


def test_a_second_ctrl_c_ends_without_a_traceback(tmp_path):
    folder = failing(tmp_path, "import time; open(run._out / 'slow', 'w').close(); time.sleep(60)")
    process = Forked(folder / "train.py", *DIGITS, "--out-dir", tmp_path / "out")
    wait_for((tmp_path / "out" / "slow").exists, process)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping after this update" in process._text(2), process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130 and "Traceback" not in said, said
    assert state_of(tmp_path / "out")["step"] == 0


def test_links_at_temporary_names_are_not_followed(tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "real.png"
    victim.write_text("mine")
    for target in (victim, tmp_path / "nothing"):
        (tmp_path / ".real.tmp.png").symlink_to(target)
        with replacing(file) as temporary:
            temporary.write_text("new")
        assert victim.read_text() == "mine" and not (tmp_path / "nothing").exists()
        assert file.read_text() == "new" and not file.is_symlink()


def test_a_run_follows_no_planted_link(tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / ".checkpoint.tmp.pt").symlink_to(victim)
    assert train_here(CLASSIFICATION, *DIGITS, "--max-steps", 1, "--out-dir", out)[0] == 0
    assert victim.read_text() == "mine" and state_of(out)["step"] == 1


def test_the_last_picture_comes_before_the_last_checkpoint(tmp_path, monkeypatch):
    """Else a run that is killed between the two would never draw it."""
    def save(path, state, write=checkpoint.save):
        if state["step"] == 4:
            raise OSError(28, "No space left on device")
        write(path, state)

    args = (*DIGITS, "--max-steps", 4, "--out-dir", tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save)
        assert train_here(GAN, *args)[0] == 2
    picture = tmp_path / "samples" / "epoch_0002.png"
    assert picture.exists() and state_of(tmp_path)["step"] == 3
    picture.unlink()
    assert train_here(GAN, *args, "--resume")[0] == 0 and picture.exists() and state_of(tmp_path)["step"] == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_checkpoint_of_another_device_goes_on(tmp_path, capsys):
    assert train_here(CLASSIFICATION, *DIGITS, "--max-steps", 1, "--out-dir", tmp_path)[0] == 0
    path = tmp_path / "checkpoints" / "checkpoint.pt"
    state = state_of(tmp_path)
    state["options"].update(device="cuda", precision="bf16")
    torch.save(state, path)
    before = path.read_bytes()
    capsys.readouterr()
    assert train_here(CLASSIFICATION, "--resume", "--max-steps", 2, "--out-dir", tmp_path)[0] == 2
    assert "--device: there is no cuda device" in capsys.readouterr().err and path.read_bytes() == before
    args = ("--resume", "--max-steps", 2, "--out-dir", tmp_path, "--device", "cpu")
    assert train_here(CLASSIFICATION, *args)[0] == 0 and state_of(tmp_path)["step"] == 2
    assert "will not be the same bit for bit" in " ".join(capsys.readouterr().err.split())


def test_names_that_are_not_utf_8(tmp_path):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    for i in range(40):
        os.makedirs(f"{place}/{i % 2}", exist_ok=True)
        Image.fromarray(np.full((32, 32), 6 * i, np.uint8)).save(f"{place}/{i % 2}/{i}.png")
    args = ("--dataset", f"folder:{place}", "--batch-size", 8, "--epochs", 1, "--out-dir", tmp_path / "out")
    done = train(CLASSIFICATION, *args)
    assert done.returncode == 0, done.stderr
    for name in ("run.json", "losses.png", "confusion.png"):
        assert (tmp_path / "out" / "samples" / name).exists()
    moved = place.replace("caf", "kaff")
    os.rename(place, moved)
    done = train(CLASSIFICATION, "--resume", "--dataset", f"folder:{moved}", "--out-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr


def test_only_mnist_gets_onto_the_page(capsys):
    for tool in ("pca", "tsne"):
        assert run_here(ROOT / "misc" / f"{tool}.py", "--dataset", "digits", "--publish")[0] == 2
        assert "--publish: the page shows mnist, not digits" in capsys.readouterr().err

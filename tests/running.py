"""Ways to run a train.py: in this process, in a forked one (both fast), or in one of its own (as users do)."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import torch
from forked import Forked
from torch.distributed import TCPStore

from common.models import load_file

ROOT = Path(__file__).resolve().parents[1]
NARROW = ("--width", 8, "--d-width", 8)
# flags that a model needs where there are few images, that make it fast where it draws many
FEW = {"SGAN": ("--labels", 20), "pix2pix": NARROW, "CycleGAN": NARROW,
       "UNIT": NARROW, "CoGAN": ("--g-width", 8, "--d-width", 8), "Transfer_Learning": ("--updates", 2)}
TRAINABLE = sorted(p.parent for p in [*ROOT.glob("*/train.py"), *ROOT.glob("misc/*/train.py")])


def leaving(folder, n):
    """Flags with which a model trains on n of scikit-learn's 1,500 digits; in each domain, where they share none."""
    digits = 1500 if getattr(load_train(folder).Options, "paired", True) else 750
    return "--dataset", "digits", "--holdout", digits - n


def train_here(folder, *args):
    """Runs folder/train.py in this process. Returns its exit status (0 where it ran to the end) and its globals."""
    return run_here(folder / "train.py", *args)


def run_here(script, *args):
    """Runs a script in this process. Returns its exit status (0 where it ran to the end) and its globals."""
    before = sys.argv, list(sys.path), torch.get_rng_state()
    sys.argv = [str(script), *map(str, args)]
    sys.path.insert(0, str(script.parent))
    try:
        return 0, runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        return stop.code or 0, {}
    finally:
        sys.argv, sys.path[:] = before[:2]
        torch.set_rng_state(before[2])
    

def load_train(folder):
    """Imports folder/train.py, with its own model.py, without running it. Returns the module."""
    path = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        return load_file(folder / "train.py")
    finally:
        sys.path[:] = path
    

def command(folder, *args):
    return [sys.executable, str(folder / "train.py"), *map(str, args)]


def train(folder, *args, cwd="/", **env):
    """Runs folder/train.py in a forked process. Returns the finished process, with its output as text."""
    return Forked(folder / "train.py", *args, cwd=cwd, env={**os.environ, **env}).finish()


def train_apart(folder, *args, cwd="/", **env):
    """As `train`, in a process of its own, which imports everything anew."""
    return subprocess.run(command(folder, *args), cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True,
                          timeout=240)


def run_ranks(script, *args):
    """Runs a script in two forked processes, as the two ranks that torchrun would start. Returns both when finished."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # at a free port
    shared = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
              "OMP_NUM_THREADS": "1"}
    first, second = (Forked(script, *args, env={**shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01")
    done = first.finish()
    if done.returncode:
        second.send_signal(signal.SIGKILL)  # else it may wait for the first
    return done, second.finish()

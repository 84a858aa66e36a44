"""What a run tells: losses, kept on the device and read every so often; progress bar, TensorBoard events, run.json."""

import json
import platform
import shlex
import signal
import sys
import time

import numpy as np
import torch

from common import distribution
from common.files import replacing
from common.options import InputError, to_plain


def say(line):
    """Prints a line to stderr, from rank 0 alone."""
    if distribution.rank() == 0:
        print(line, file=sys.stderr, flush=True)


class NotFinite(Exception):
    """A loss or a weight became infinite or not a number."""


@torch.no_grad()
def check_finite(networks):
    """Raises NotFinite, naming the network of the dict, where a weight is not finite: a loss can hide it."""
    for name, network in networks.items():
        sums = [p.sum() for p in network.parameters()]  # finite only where all weights are, and quickly taken
        if sums and not torch.stack(sums).isfinite().all():  # one wait for the device, not one a parameter
            raise NotFinite(f"a weight of {name} is not finite")


class Losses:
    """The losses of every update so far. Values stay on the device until `read`, so that no update waits for them."""

    def __init__(self, names=(), values=()):
        self.names = list(names)
        self.values = np.asarray(values, np.float32).reshape(len(values), len(self.names))
        self._pending = []

    def state(self):
        """What `Losses(**state)` takes, for a checkpoint. Pending losses are not in it: `read` them first."""
        return {"names": self.names, "values": torch.from_numpy(self.values.copy())}

    def append(self, losses):
        """Adds the losses of one update: {name: 0-d tensor}, the same names every time, else InputError."""
        if not self.names:
            self.names = list(losses)
            self.values = np.zeros((0, len(self.names)), np.float32)
        if losses.keys() != set(self.names):
            raise InputError(f"the losses are {', '.join(losses)}, but were {', '.join(self.names)}")
        self._pending.append(torch.stack([losses[name].detach().float() for name in self.names]))

    def read(self):
        """Moves the pending losses (their mean over the ranks) to `values` and returns these rows, float32 (n, names).

        Raises NotFinite, naming loss and update, before anything of them is kept."""
        if not self._pending:
            return self.values[:0]
        rows = torch.stack(self._pending)
        distribution.average_([rows])
        rows = rows.cpu().numpy()
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            row, column = bad[0]
            update = len(self.values) + row + 1
            raise NotFinite(f"the loss {self.names[column]} is {rows[row, column]} at update {update}")
        self._pending.clear()
        self.values = np.concatenate([self.values, rows])
        return rows


class Progress:
    """A tqdm bar an epoch on a terminal; elsewhere one line an epoch. TensorBoard events in `folder`.

    Ranks other than 0 show and write nothing."""

    def __init__(self, folder, epochs, batch_size, per_epoch, step):
        self.folder, self.epochs, self.batch_size = folder, epochs, batch_size
        self.per_epoch, self.step = per_epoch, step
        self.active, self.terminal = distribution.rank() == 0, sys.stderr.isatty()
        self.bar = self.events = None
        self.latest = {}

    def advance(self):
        """One update is done."""
        if self.active and self.bar is None:
            from tqdm import tqdm

            epoch, done = divmod(self.step, self.per_epoch)
            self.bar = tqdm(desc=f"epoch {epoch + 1}/{self.epochs}", total=self.per_epoch * self.batch_size,
                            initial=done * self.batch_size, unit=" images", disable=not self.terminal, mininterval=0.2)
            self.since, self.first = time.monotonic(), self.step
        self.step += 1
        if self.active:
            self.bar.update(self.batch_size)

    def losses(self, names, rows):
        """Shows the mean of the losses just read (rows: float32 (n, names)), and writes it to TensorBoard."""
        if len(rows):
            self.latest = dict(zip(names, rows.mean(0).tolist(), strict=True))
            if self.bar is not None:
                self.bar.set_postfix({name: f"{value:.3f}" for name, value in self.latest.items()}, refresh=False)
            self.scalars({f"loss/{name}": value for name, value in self.latest.items()})

    def scalars(self, values):
        """Writes {tag: number} to TensorBoard at the present update."""
        if not self.active:
            return
        if self.events is None:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(str(self.folder), purge_step=self.step)
        for tag, value in values.items():
            self.events.add_scalar(tag, value, self.step)

    def epoch_ends(self, measured):
        """Ends the epoch's bar with a line of its losses and of `measured`, {name: number}."""
        if self.bar is None:
            return
        self.bar.close()
        self.bar = None
        rate = (self.step - self.first) * self.batch_size / (time.monotonic() - self.since)
        values = "  ".join(f"{name} {value:.4f}" for name, value in {**self.latest, **measured}.items())
        say(f"epoch {self.step // self.per_epoch}/{self.epochs}  {values}  {rate:,.0f} images/s")

    def close(self):
        """Ends bar and events."""
        for part in (self.bar, self.events):
            if part is not None:
                part.close()


class Signals:
    """Inside the `with` block the first SIGINT or SIGTERM only sets `received`; a second one ends the process as ever.

    True once `agreed` is set: all ranks stop after the same update."""

    def __init__(self):
        self.received = self.agreed = False

    def __bool__(self):
        return self.agreed

    def _receive(self, number, frame):
        self.received = True
        self._restore()

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __enter__(self):
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        self._restore()


def device_name(device):
    """The processor's or the GPU's name, as its maker calls it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write_json(path, content):
    """Writes plain data as JSON, whole or not at all."""
    with replacing(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def environment(device="cpu"):
    """What a result was made by and on: the command, the device, the versions."""
    import torchvision

    return {"command": shlex.join(["python", *sys.argv]), "device": device_name(device),
            "threads": torch.get_num_threads(), "ranks": distribution.ranks(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__,
                         "torchvision": torchvision.__version__, "numpy": np.__version__}}


def write_record(path, model, options, steps, of, seconds, losses, curves, notice):
    """Writes run.json: what was trained, how, for how long, on what, and the losses it ended with.

    steps: the updates that are done, `of`: those of the whole run."""
    last = losses.values[-min(100, len(losses.values)):]
    record = {
        "model": model, "dataset": options.dataset, **({"notice": notice} if notice else {}), "seed": options.seed,
        "steps": steps, "of": of, "seconds": round(seconds, 1), **environment(options.device),
        "options": to_plain(options),
        "final_losses": {name: round(float(value), 6) for name, value in zip(losses.names, last.mean(0), strict=True)}
        if len(last) else {},
        "curves": {name: points[-1][1] for name, points in curves.items()},
    }
    write_json(path, record)


def add_results(path, results):
    """Adds {name: number} to the run.json at `path`, as its `results`."""
    write_json(path, {**json.loads(path.read_text("utf-8")), "results": results})

"""What a run tells: losses, kept on the device and read every so often; progress bar, TensorBoard events, run.json."""

import contextlib
import json
import math
import os
import platform
import shlex
import signal
import sys
import time

import numpy as np
import torch
from tqdm import tqdm

from common import distribution
from common.files import replacing
from common.options import command_line, given, to_plain

FIRST_LINE, EACH = 5, 60  # seconds after which a run first says how long it will take, and between two lines


class Quiet:
    """A stream that is closed, or whose terminal has gone, without anybody noticing."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self):
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def keep_talking():
    """From here on a run goes on where nobody can hear it any more."""
    if not isinstance(sys.stderr, Quiet):
        sys.stderr = Quiet(open(os.devnull, "w") if sys.stderr is None else sys.stderr)  # noqa: SIM115


def say(line):
    """Prints a line to stderr, above a bar that is there, from rank 0 alone."""
    if distribution.rank() == 0:
        tqdm.write(line, file=sys.stderr)


def duration(seconds):
    """A time in words: 40 s, 12 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """A tqdm bar of the whole run on a terminal; elsewhere a line an epoch, and one a minute. TensorBoard events in
    `folder`. After a few seconds it says how long the run will take. Ranks other than 0 show and write nothing."""

    def __init__(self, folder, batches, step, last):
        self.folder, self.batches, self.step, self.first, self.last = folder, batches, step, step + 1, last
        self.latest = {}

    def begin(self, title, images, options):
        """Says what is going to be done, on how many images, in words."""
        epochs = f"{options.epochs} epochs of {self.batches.per_epoch:,}, batch {options.batch_size}"
        say(f"{title}: {images} images, {self.last:,} updates ({epochs}), {device_name(options.device)}, "
            f"{options.precision}, {torch.get_num_threads()} threads"
            + (f"; {self.step:,} updates are done" if self.step else ""))
        from torch.utils.tensorboard import SummaryWriter

        active, self.terminal = distribution.rank() == 0, sys.stderr.isatty()
        self.events = SummaryWriter(str(self.folder), purge_step=self.step) if active else None
        self.bar = tqdm(total=self.last * self.batches.size, initial=self.step * self.batches.size, unit=" images",
                        disable=not (active and self.terminal), mininterval=0.2)

    def end(self, samples, signal=0):
        """Says what was done. After a signal (its number) it ends the process, with the command that goes on."""
        self.close()
        done = f"{self.step:,} of {max(self.step, self.last):,} updates are done, see {samples}"
        if signal and self.step < self.last:
            say(f"{done}; to go on: {command_line(*given('--resume'), '--resume')}")
            raise SystemExit(128 + signal)
        say(done)

    def advance(self):
        """One update is done."""
        self.step += 1
        self.bar.update(self.batches.size)
        now = time.monotonic()
        if self.step == self.first:  # it warms up, so the time is taken from its end on
            self.since, self.due = now, now + FIRST_LINE
        elif now > self.due:
            self.say(f"update {self.step:,} of {self.last:,}")
            self.due = math.inf if self.terminal else now + EACH

    def say(self, what, measured=()):
        """A line of what is done, the losses and `measured`, {name: number}, speed, and the time that is left."""
        seconds = max(1e-9, time.monotonic() - self.since) / max(1, self.step - self.first)
        values = [f"{name} {value:.4f}" for name, value in {**self.latest, **dict(measured)}.items()]
        rest = f"about {duration((self.last - self.step) * seconds)} to go"
        say("  ".join([what, *values, f"{self.batches.size / seconds:,.0f} images/s", rest]))

    def losses(self, names, rows):
        """Shows the mean of the losses just read (rows: float32 (n, names)), and writes it to TensorBoard."""
        if len(rows):
            self.latest = dict(zip(names, rows.mean(0).tolist(), strict=True))
            self.bar.set_postfix({name: f"{value:.3f}" for name, value in self.latest.items()}, refresh=False)
            self.scalars({f"loss/{name}": value for name, value in self.latest.items()})

    def scalars(self, values):
        """Writes {tag: number} to TensorBoard at the present update."""
        if self.events:
            for tag, value in values.items():
                self.events.add_scalar(tag, value, self.step)

    def epoch_ends(self, measured):
        """A line of the epoch's losses and of `measured`, {name: number}."""
        epochs = -(-self.last // self.batches.per_epoch)
        self.say(f"epoch {self.step // self.batches.per_epoch}/{epochs}", measured)

    def close(self):
        """Ends bar and events."""
        self.bar.close()
        if self.events:
            self.events.close()


class Signals:
    """Inside the `with` block the first SIGINT, SIGTERM or SIGHUP only sets `received` to its number and says so; a
    second one ends the process as ever.

    True once `agreed` is set, to that number: all ranks stop after the same update."""

    def __init__(self):
        self.received = self.agreed = 0

    def __bool__(self):
        return self.agreed > 0

    def _receive(self, number, frame):
        self.received = number
        self._restore()
        say("stopping after this update")

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __enter__(self):
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
            numbers.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
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


def write_record(path, model, options, history, of, per_epoch, notice):
    """Writes run.json: what was trained, how, for how long, on what, and the losses it ended with.

    of: the updates that were asked for; per_epoch: those of an epoch."""
    losses = history.losses
    last = losses.values[-min(100, len(losses.values)):]
    record = {
        "model": model, "dataset": options.dataset, **({"notice": notice} if notice else {}), "seed": options.seed,
        "steps": history.step, "of": of, "per_epoch": per_epoch,
        "seconds": round(history.seconds, 3), **environment(options.device),
        "options": to_plain(options),
        "final_losses": {name: round(float(value), 6) for name, value in zip(losses.names, last.mean(0), strict=True)}
        if len(last) else {},
        "curves": {name: points[-1][1] for name, points in history.curves.items()},
    }
    write_json(path, record)


def add_results(path, results):
    """Adds {name: number} to the run.json at `path`, as its `results`."""
    write_json(path, {**json.loads(path.read_text("utf-8")), "results": results})

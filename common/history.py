"""The history of a run: its losses, kept on the device and read every so often, curves, frames, and time."""

import time

import numpy as np
import torch

from common import distribution
from common.options import InputError


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


class History:
    """What a run has come through so far.

    Attributes:
        step: updates that are done. losses: `Losses`.
        curves: {name: [(epoch, {label: number}), ...]}. frames: names of the grids that the GIF is made of.
        seconds: of training, up to the last checkpoint; began: when it would have begun without an interruption, by
            time.monotonic."""

    def __init__(self):
        self.step, self.losses, self.curves, self.frames = 0, Losses(), {}, []
        self.seconds, self.began = 0.0, time.monotonic()

    def load(self, saved):
        """Takes over what `state` gave."""
        self.step, self.seconds, self.losses = saved["step"], saved["seconds"], Losses(**saved["losses"])
        self.curves, self.frames = saved["curves"], saved["frames"]

    def state(self):
        """For a checkpoint. Pending losses are not in it: `read` them first."""
        losses = {"names": self.losses.names, "values": torch.from_numpy(self.losses.values.copy())}
        self.seconds = time.monotonic() - self.began
        return {"step": self.step, "losses": losses, "curves": self.curves, "frames": self.frames,
                "seconds": self.seconds}

    def measured(self, name, epoch, values):
        """Adds a point of a curve, and returns its {label: number}."""
        values = {label: float(value) for label, value in values.items()}
        self.curves.setdefault(name, []).append((epoch, values))
        return values

    def latest(self):
        """{"curve label": number} of the last point of each curve."""
        return {f"{name} {label}": value for name, points in self.curves.items()
                for label, value in points[-1][1].items()}

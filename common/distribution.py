"""Data parallel training, one process a device, as torchrun starts them. With one process all this does nothing."""

import atexit
import importlib
import os
import sys
import time

import torch
import torch.distributed as dist

from common.options import InputError, launched


def start(device):
    """Joins the process group that torchrun set up, if any. Returns this process's device; InputError without one.

    NCCL between GPUs, gloo between CPUs."""
    if launched()[1] > 1 and not dist.is_initialized():
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            if int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > torch.cuda.device_count():
                raise InputError(f"--device: more ranks than the {torch.cuda.device_count()} GPUs here")
            torch.cuda.set_device(device)
        # Imported once the group is there, say by an optimizer, its functions would hold it as a default argument,
        # and stop() would leave its threads behind; one that frees a tensor while Python ends aborts the process.
        importlib.import_module("torch.distributed.nn")
        hook = sys.excepthook
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        sys.excepthook = hook  # it put one around ours that loses what ours says
        atexit.register(stop)
    return device


def rank():
    """This process's number, 0 to ranks() - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks():
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_(tensors):
    """Replaces each tensor by its mean over the ranks, in place, with one exchange per dtype."""
    if ranks() == 1:
        return
    for dtype in dict.fromkeys(t.dtype for t in tensors):  # in the same order on every rank
        same = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.reshape(-1) for t in same])
        dist.all_reduce(flat)
        flat /= ranks()
        for t, mean in zip(same, flat.split([t.numel() for t in same]), strict=True):
            t.copy_(mean.view(t.shape))


def broadcast_(tensors):
    """Replaces each tensor by rank 0's, in place."""
    if ranks() > 1:
        for t in tensors:
            value = t.contiguous()
            dist.broadcast(value, 0)
            t.copy_(value)


def gather(value):
    """The values of all ranks, in order (on every rank). Any object of plain data and tensors."""
    if ranks() == 1:
        return [value]
    values = [None] * ranks()
    dist.all_gather_object(values, value)
    return values


class Agreement:
    """What all ranks do after the same update: they meet about every two seconds, however long an update takes."""

    def __init__(self, step):
        self.step = self.next = step
        self.at = time.monotonic()

    def reach(self, step, now, due, signal):
        """(whether any rank is due, the highest signal that one has received), or (False, 0) where they do not meet.

        now: they meet after this update in any case."""
        if ranks() > 1 and step < self.next and not now:
            return False, 0
        seconds = (time.monotonic() - self.at) / max(1, step - self.step)
        all_seconds, all_due, signals = zip(*gather((seconds, due, signal)), strict=True)
        self.step, self.at, self.next = step, time.monotonic(), step + 1 + int(2 / max(1e-3, *all_seconds))
        return any(all_due), max(signals)


def first(work):
    """Calls work() on rank 0, for what must be downloaded or decided once, and returns its value (plain data) on every
    rank, or raises its error on every rank."""
    error = value = None
    if rank() == 0:
        try:
            value = work()
        except Exception as caught:
            error = caught
    error, value = gather((error, value))[0]
    if error is not None:
        raise error
    return value


def stop():
    """Leaves the process group and ends its threads."""
    if dist.is_initialized():
        dist.destroy_process_group()

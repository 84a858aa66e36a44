"""Checkpoints, format 1: one file of tensors and plain data. It never names code, and loading it never runs any."""

import copy
import os
import random
import warnings
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from common.files import replacing
from common.options import InputError, first_problem

FORMAT = 1
Frame = Annotated[str, Field(pattern=r"^(epoch|step)_\d+\.png$")]
CurveName = Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]  # any name of a file, and no path


class State(TypedDict):
    """What a checkpoint holds, checked where it is read: names of files come from it."""

    __pydantic_config__ = ConfigDict(strict=True)

    format: Literal[1]
    model: str
    step: Annotated[int, Field(ge=0)]  # updates that are done
    networks: dict[str, Any]  # their state dicts
    fields: dict[str, Any]  # what the networks were built with
    optimizers: list[Any]  # theirs, in the order they were made
    tensors: dict[str, Any]
    random: list[Any]  # `random_state` of each rank
    options: dict[str, Any]
    losses: dict[str, Any]
    curves: dict[CurveName, Annotated[list[tuple[int, dict[str, float]]], Field(min_length=1)]]
    frames: list[Frame]
    notice: str
    seconds: float  # of training


def save(path, state):
    """Writes `state`, a `State` but for its format, to `path`, whole or not at all. OSError where that fails, as of a
    full disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:  # which hides the file system's
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
        file.flush()
        os.fsync(file.fileno())  # the name must not point to a file whose contents are not there yet


def load(path, model=None, ranks=None):
    """Reads a checkpoint (tensors on the CPU) and checks its form; where they are given, that it is of this model, and
    of a run of so many ranks.

    Raises InputError where there is none, or it is truncated, of another model, or contains anything but plain data."""
    if not path.exists():
        raise InputError(f"there is no checkpoint at {path}")
    try:
        with warnings.catch_warnings(action="ignore"):  # about other kinds of pickle, which are refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged and for unsafe files
        unsafe = "weights_only" in str(error) or "Unsupported" in str(error)
        raise InputError(f"{path} " + ("would run code when loaded, so it is not loaded" if unsafe else
                                       "is damaged and cannot be loaded")) from None
    try:
        state = TypeAdapter(State).validate_python(state)
    except ValidationError as error:
        place, problem = first_problem(error)
        raise InputError(f"{path} is no checkpoint of format {FORMAT}, or damaged: "
                         f"{'.'.join(map(str, place)) or 'it'} {problem}") from None
    if model is not None and state["model"] != model:
        raise InputError(f"{path} is a checkpoint of {state['model']}, not of {model}")
    if ranks is not None and len(state["random"]) != ranks:
        raise InputError(f"--resume: the checkpoint is of a run of {len(state['random'])} processes, not of {ranks}")
    return state


def seed_everything(seed):
    """Seeds all random generators of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(device):
    """The states of all random generators of this process."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {"torch": torch.get_rng_state(), "python": random.getstate(),
             "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss)}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state, device):
    """Restores what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def load_optimizer(optimizer, saved):
    """Restores an optimizer's state. How it computes (fused, capturable, ...) stays as it was made here, and a step
    size that is a tensor stays that tensor, which the run restores.

    Raises ValueError, KeyError or TypeError where the state is of other parameters."""
    for group, theirs in zip(optimizer.param_groups, saved["param_groups"], strict=True):
        if group.keys() != theirs.keys() or len(group["params"]) != len(theirs["params"]):
            raise ValueError("an optimizer of another kind")
        for name, value in theirs.items():
            own = group[name]
            if name in ("params", "fused", "capturable", "foreach", "differentiable") or isinstance(own, torch.Tensor):
                continue
            if type(value) is not type(own):
                raise ValueError(f"{name} is {value!r}")
            group[name] = value
    twin = copy.deepcopy(optimizer)
    twins, parameters = ([p for group in o.param_groups for p in group["params"]] for o in (twin, optimizer))
    for p in twins:
        p.grad = torch.zeros_like(p)
    twin.step()  # now its state has the form, and lies in memory, as this optimizer's will
    for i, state in saved["state"].items():
        fresh = twin.state[twins[i]]
        if state.keys() != fresh.keys():
            raise ValueError("an optimizer of another kind")
        for name, value in state.items():
            if not isinstance(fresh[name], torch.Tensor):
                fresh[name] = value
            elif value.shape == fresh[name].shape:
                fresh[name].copy_(value)
            else:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, not {tuple(fresh[name].shape)}")
        optimizer.state[parameters[i]] = fresh

"""Checkpoints, format 1: one file of tensors and plain data. It never names code, and loading it never runs any."""

import copy
import os
import random
import warnings
import zipfile
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
Plain = int | float | str | bool | None
checked = ConfigDict(strict=True, arbitrary_types_allowed=True)


class Options(TypedDict, total=False):
    """Those that more than the run itself reads; the others are plain, and checked when a run is resumed."""

    __pydantic_config__ = {**checked, "extra": "allow"}
    __pydantic_extra__: Plain

    dataset: str
    image_size: Annotated[int, Field(ge=1)]
    holdout: Annotated[int, Field(ge=0)]


class Losses(TypedDict):
    __pydantic_config__ = checked

    names: list[str]
    values: torch.Tensor  # float32 (step, names)


class State(TypedDict):
    """What a checkpoint holds, checked where it is read, so that nobody else needs to."""

    __pydantic_config__ = checked

    format: Literal[1]
    model: str
    step: Annotated[int, Field(ge=0)]  # updates that are done
    networks: dict[str, dict[str, torch.Tensor]]  # their state dicts
    fields: dict[str, Plain]  # what the networks were built with
    optimizers: list[dict[str, Any]]  # theirs, in the order they were made
    tensors: dict[str, torch.Tensor]
    random: Annotated[list[dict[str, Any]], Field(min_length=1)]  # `random_state` of each rank
    options: Options
    losses: Losses
    curves: dict[CurveName, Annotated[list[tuple[int, dict[str, float]]], Field(min_length=1)]]
    frames: list[Frame]
    notice: str
    data: str  # the fingerprint of the training images
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # of training


STATE = TypeAdapter(State)


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
        _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # about other kinds of pickle, which are refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged and for unsafe files
        unsafe = "weights_only" in str(error) or "Unsupported" in str(error)
        raise InputError(f"{path} " + ("would run code when loaded, so it is not loaded" if unsafe else
                                       "is damaged and cannot be loaded")) from None
    state = check(state, path)
    if model is not None and state["model"] != model:
        raise InputError(f"{path} is a checkpoint of {state['model']}, not of {model}")
    if ranks is not None and len(state["random"]) != ranks:
        raise InputError(f"--resume: the checkpoint is of a run of {len(state['random'])} processes, not of {ranks}")
    return state


def check(state, path):
    """Returns what was read from `path` where it is a `State` that agrees with itself, else raises InputError."""
    try:
        state = STATE.validate_python(state)
        _check_tensors(state)
    except (ValidationError, ValueError) as error:
        place, problem = first_problem(error) if isinstance(error, ValidationError) else error.args
        raise InputError(f"{path} is no checkpoint of format {FORMAT}, or damaged: "
                         f"{'.'.join(map(str, place)) or 'it'} {problem}") from None
    return state


def _check_archive(path):
    """Raises ValueError where a record's checksum is wrong, which torch does not look at, or the records are larger
    than the file, compressed or on top of each other: a small file must not fill the memory."""
    with zipfile.ZipFile(path) as archive:
        if sum(record.file_size for record in archive.infolist()) > path.stat().st_size or archive.testzip():
            raise ValueError


def _check_tensors(state):
    """Raises ValueError(place, problem) on a tensor that is not finite, or larger than its memory, as an expanded one
    is, and where there are not as many losses as updates."""
    def check(place, value):
        if isinstance(value, dict | list | tuple):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                check((*place, key), part)
        elif isinstance(value, torch.Tensor):
            if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError(place, "is larger than its memory")
            if not value.isfinite().all():
                raise ValueError(place, "is not finite")

    check((), state)
    values, shape = state["losses"]["values"], (state["step"], len(state["losses"]["names"]))
    if values.shape != shape or values.dtype != torch.float32:
        raise ValueError(("losses", "values"), f"must be float32 {shape}, not {values.dtype} {tuple(values.shape)}")


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
    """Restores what an optimizer remembers of each parameter. Its settings stay as they were made here: those of a run
    are in its options.

    Raises ValueError, KeyError or TypeError where the state is of another optimizer or of other parameters."""
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
            own = fresh[name]
            if type(value) is not type(own):
                raise ValueError(f"{name} is {value!r}")
            if not isinstance(own, torch.Tensor):
                fresh[name] = value
            elif (value.shape, value.dtype) != (own.shape, own.dtype) or name == "step" and value < 1:
                raise ValueError(f"{name} is {value.dtype} {tuple(value.shape)}, not {own.dtype} {tuple(own.shape)}")
            else:
                own.copy_(value)
        optimizer.state[parameters[i]] = fresh

"""Command-line options: one dataclass per model, parsed with tyro and checked before any work starts."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError


class InputError(Exception):
    """Something the user gave cannot be used: told in one line, with exit status 2."""

    def __init__(self, message):
        super().__init__(" ".join(str(message).split()))


def launched():
    """(rank, ranks) of this process, known before the ranks have met: (0, 1) unless torchrun or its like set all that
    it sets. Raises InputError on values that cannot be."""
    given = [os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")]
    if not all(given):
        return 0, 1
    try:
        rank, ranks = int(given[0]), int(given[1])
    except ValueError:
        rank, ranks = -1, 0
    if not 0 <= rank < ranks:
        raise InputError(f"the environment's RANK {given[0]!r} and WORLD_SIZE {given[1]!r} are of no launcher")
    return rank, ranks


def first_rank():
    """Whether this process is rank 0 or the only one."""
    return launched()[0] == 0


def problem(error, kind=InputError):
    """What to tell of an error that is no fault of the program, in one line; None of any other.

    That is one of `kind`, of the file system, or of a lack of memory, or the end of another rank."""
    line = " ".join(str(error).split())
    if isinstance(error, (kind, OSError)):
        return line
    if isinstance(error, MemoryError) or "out of memory" in line or "allocate memory" in line:
        return "out of memory; a smaller --batch-size takes less"
    if isinstance(error, RuntimeError) and ("gloo" in line.lower() or "NCCL" in line):
        return "another rank ended, or cannot be reached"


def end(program, error, kind=InputError):
    """Ends the process where `problem` knows the error, with that line on stderr and status 2, or 130 after Ctrl-C."""
    if isinstance(error, KeyboardInterrupt):
        raise SystemExit(130) from None
    if told := problem(error, kind):
        if isinstance(error, InputError) and "of no launcher" in told or first_rank():
            print(f"{program}: error: {told}", file=sys.stderr)
        raise SystemExit(2) from None


@contextlib.contextmanager
def refusing(program, kind=InputError):
    """Inside the block an error that is no fault of the program ends the process, see `end`."""
    try:
        yield
    except BaseException as error:
        end(program, error, kind)
        raise


def refuse_everywhere(program):
    """From here on any such error that nobody catches does the same."""
    def hook(kind, error, traceback):
        end(program, error)
        sys.__excepthook__(kind, error, traceback)

    sys.excepthook = hook


Count = Annotated[int, Field(ge=1)]  # 1, 2, 3, ...
Whole = Annotated[int, Field(ge=0)]  # 0, 1, 2, ...
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what all random generators take
Positive = Annotated[FiniteFloat, Field(gt=0)]  # (0, inf)
NonNegative = Annotated[FiniteFloat, Field(ge=0)]  # [0, inf)
Decay = Annotated[FiniteFloat, Field(ge=0, lt=1)]  # [0, 1)
Share = Annotated[FiniteFloat, Field(gt=0, le=1)]  # (0, 1]


@dataclass
class BaseOptions:
    """The options that every model has."""

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)  # for a model's options of type float
    epochs: Count = 20  # passes over the training set
    batch_size: Count = 128  # images in one batch, over all ranks together
    seed: Seed = 0  # of weights, noise and order of the images
    dataset: str = "auto"  # auto, mnist, fashion-mnist, kmnist, usps, digits, lfw, lsun:CLASS, or folder:PATH
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    image_size: Literal[32, 64] = 32  # height and width of the images that the networks see
    holdout: Whole = 0  # keep the last N training images out of training, to tune on
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: cuda or mps where there is one
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"  # auto: bf16 where the hardware is fast at it
    eager: bool = False  # on a GPU: launch an update's kernels one by one, not as one CUDA graph
    max_steps: Count | None = None  # stop after this many updates in all, and finish cleanly
    out_dir: Path | None = None  # where samples/, checkpoints/ and logs/ go; default: the model's folder
    resume: bool = False  # continue from the checkpoint in --out-dir, with its options


def printable(text):
    """A text with ? for what is not UTF-8, as names of files may hold."""
    return text.encode("utf-8", "replace").decode()


def flag_of(field):
    """The command-line flag of a dataclass field: `batch_size` is --batch-size."""
    return "--" + field.replace("_", "-")


def parse(cls, args=None):
    """Parses the command line into the dataclass `cls` and checks every bound.

    Raises InputError (one line that names the flag) on a bad value; exits with 0 after --help."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), warnings.catch_warnings(action="ignore"):
            options = tyro.cli(cls, args=args, description=cls.__doc__,
                               config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_first_message(complaint.getvalue())) from None
    try:
        options = TypeAdapter(cls).validate_python(vars(options))
    except ValidationError as error:
        place, problem = first_problem(error)
        raise InputError(f"{flag_of(place[0])}: {problem}") from None
    for name, value in vars(options).items():  # absolute, so that a run resumed elsewhere finds them as well
        try:
            if isinstance(value, Path):
                setattr(options, name, value.expanduser().resolve())
            elif name == "dataset" and value.startswith("folder:"):
                options.dataset = f"folder:{Path(value.removeprefix('folder:')).expanduser().resolve()}"
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"{flag_of(name)}: {error}") from None
    return options


def _first_message(boxed):
    """What tyro says inside its box, above the first rule: the rest is help. Where the output cannot show a box, the
    box's title stands above a rule of its own."""
    lines = [line.strip("│| ") for line in boxed.splitlines() if not line.startswith(("╭", "╰", "+-"))]
    message, *rest = re.split("[─-]{5,}", " ".join(lines))  # a rule, in Unicode or in ASCII
    if rest and not boxed.startswith(("╭", "+-")):
        message = rest[0]
    return " ".join(message.split()) or "the command line cannot be read"


def first_problem(error):
    """Of a pydantic error: where in the data it is first, a tuple of keys, and what must be there, in words."""
    first = error.errors()[0]
    words = first["msg"].removeprefix("Input should be ").replace("greater than or equal to", "at least")
    return first["loc"], f"must be {words}, not {first['input']!r:.100}"


# A resumed run may be longer than it was, and its files may have moved; everything else stays.
MAY_CHANGE = ("epochs", "max_steps", "eager", "data_dir", "out_dir", "resume")


def to_plain(options):
    """The options as a dict of numbers, strings and None, for checkpoints and run files."""
    return {name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(options).items()}


def parse_resumed(cls, saved, args=None):
    """Parses the command line of a resumed run: flags not given take the value in `saved` (a `to_plain` dict).

    Raises InputError, naming the flags, where one is given that differs from the saved run's."""
    names = {field.name for field in dataclasses.fields(cls)}
    if saved.keys() != names:
        odd = ", ".join(sorted(flag_of(str(name)) for name in saved.keys() ^ names))
        raise InputError(f"--resume: the checkpoint was written with other options ({odd})")
    options = to_plain(parse(cls, args))
    words = {word.split("=")[0].replace("_", "-") for word in given(args=args)}
    auto = {name for name in ("dataset", "device", "precision") if options[name] == "auto"}  # means what it was then
    for name in names - {"eager", "max_steps", "out_dir", "resume"}:
        if flag_of(name) not in words or name in auto:
            options[name] = saved[name]
    texts = {name: printable(value) for name, value in options.items() if isinstance(value, str)}  # as JSON wants it
    odd = {name: options[name] for name in texts if texts[name] != options[name]}
    try:
        options = TypeAdapter(cls).validate_json(json.dumps({**options, **texts}, default=repr), strict=True)
    except ValidationError as error:
        place, problem = first_problem(error)
        raise InputError(f"--resume: the checkpoint's {flag_of(place[0])} cannot be used: it {problem}") from None
    for name, value in odd.items():
        setattr(options, name, type(getattr(options, name))(value))
    folders = all(str(name).startswith("folder:") for name in (saved["dataset"], options.dataset))  # it may have moved
    may_change = MAY_CHANGE + ("dataset",) * folders  # what is in it, `Run` compares
    if options.device not in ("auto", saved["device"]):  # that may not be here
        may_change += ("device", "precision")
        print(f"the checkpoint was written on {saved['device']}: on {options.device} the run will not be the same bit "
              "for bit", file=sys.stderr)
    changed = [f"{flag_of(name)} was {saved[name]}, not {value}" for name, value in to_plain(options).items()
               if name not in may_change and value != saved[name]]
    if changed:
        raise InputError(f"--resume: other options than the checkpoint's: {'; '.join(changed)}")
    return options


def check_length(options, saved):
    """Raises InputError where a resumed run has other --epochs than the saved one (a `to_plain` dict)."""
    if options.epochs != saved["epochs"]:
        raise InputError(f"--epochs: was {saved['epochs']}, and this model's schedule follows the length of the run; "
                         f"to start afresh: {command_line(*given('--resume'))}")


def given(*without, args=None):
    """The words of the command line, but for some flags."""
    return [word for word in (sys.argv[1:] if args is None else args) if word not in without]


def as_flags(cls, saved):
    """The words of a command line that gives the options `saved` (a `to_plain` dict), without those that are the
    default of `cls` or that a resumed run takes from its checkpoint's place."""
    words = []
    for field in dataclasses.fields(cls):
        value = saved.get(field.name)
        if field.name in ("out_dir", "resume", "max_steps", "device", "precision") or value in (None, field.default):
            continue
        words += [flag_of(field.name), *([] if value is True else [str(value)])]
    return words


def command_line(*words):
    """The command that runs this script with these words, as one types it."""
    ranks = launched()[1]
    start = ["python"] if ranks == 1 else ["torchrun", f"--nproc-per-node={ranks}"]
    return shlex.join([*start, sys.argv[0], *map(str, words)])

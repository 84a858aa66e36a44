"""An earlier run in the same folder: it is put aside before a new one starts, and nothing of it is lost."""

import os
import shutil
from itertools import count

from common import checkpoint
from common.log import duration, say
from common.options import InputError, as_flags, command_line

KEPT = 60  # seconds: a run that took less may be dropped when a third one starts


def files_of(out, variant):
    """What a run with this --out-dir and variant has written, parts of other variants aside: [Path, ...]."""
    places = [out / kind / variant for kind in ("checkpoints", "samples", "logs")]
    return [file for place in places if place.is_dir() for file in sorted(place.iterdir())
            if file.name != ".lock" and (file.is_file() or file.name == "evaluation")]


def read(out, variant):
    """The checkpoint of a run, or None where there is none that can be read."""
    try:
        return checkpoint.load(out / "checkpoints" / variant / "checkpoint.pt")
    except InputError:
        return None


def put_aside(out, variant, Options):
    """Moves what an earlier run has written in `out` to out/previous-N, the first that is free, and says so with the
    command that goes on with it. N is taken again where the run that is there took less than a minute."""
    files = files_of(out, variant)
    if not files:
        return
    number = next(n for n in count(1) if not files_of(out / f"previous-{n}", variant))
    state = read(out / f"previous-{number - 1}", variant)
    if state and state["seconds"] < KEPT:
        number -= 1
        for file in files_of(out / f"previous-{number}", variant):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    place = out / f"previous-{number}"
    for file in files:
        target = place / file.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    if state := read(place, variant):
        say(f"the earlier run ({state['step']:,} updates in {duration(state['seconds'])}) is in {place} now; "
            f"to go on with it: {command_line(*as_flags(Options, state['options']), '--resume', '--out-dir', place)}")

"""Where the tools find a model and its checkpoint, and where they write."""

from pathlib import Path

from common.files import writable_folder
from common.options import InputError

ROOT = Path(__file__).resolve().parents[1]


def find_folder(name):
    """The folder of a model: a path, or a bare name in this repository. Raises InputError where it has no model.py."""
    bare = Path(name).name == str(name)
    for folder in (Path(name).expanduser(), *((ROOT / name, ROOT / "misc" / name) if bare else ())):
        if (folder / "model.py").is_file():
            return folder.resolve()
    raise InputError(f"{name} is not a model's folder: there is no {Path(name) / 'model.py'}")


def find_checkpoint(folder, variant=None):
    """The checkpoint of a model's folder (or --out-dir): of that variant, else the only one that there is.

    Raises InputError where it is not there, or is not the only one."""
    if variant is not None:
        if Path(variant).name != variant:
            raise InputError(f"--variant: the name of a folder in {folder / 'checkpoints'}, not {variant}")
        return folder / "checkpoints" / variant / "checkpoint.pt"
    found = [file for pattern in ("checkpoints/checkpoint.pt", "checkpoints/*/checkpoint.pt")
             for file in sorted(folder.glob(pattern))]
    if len(found) > 1:
        raise InputError(f"{folder} has more than one checkpoint: choose with --variant one of "
                         f"{', '.join(file.parent.name for file in found if file.parent.name != 'checkpoints')}")
    if not found:
        raise InputError(f"there is no checkpoint at {folder / 'checkpoints' / 'checkpoint.pt'}; train.py writes it")
    return found[0]


def misc_folder(root, publish):
    """Where the tools in misc/ write: to misc/results/, which is committed, or to misc/samples/, which is not."""
    return root / "misc" / ("results" if publish else "samples")


def writable_file(path, flag, *suffixes):
    """Creates the folder of the file `path` and returns the path.

    Raises InputError, naming `flag`, where it has none of the suffixes, is a folder, or cannot be written to."""
    if path.suffix not in suffixes:
        raise InputError(f"{flag}: must end in {' or '.join(suffixes)}, not {path.name}")
    if path.is_dir():
        raise InputError(f"{flag}: {path} is a folder")
    writable_folder(path.parent, flag)
    return path

"""Files that are never seen half written."""

import gc
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common.options import InputError, first_rank


@contextmanager
def replacing(path):
    """Yields a temporary path beside `path` (same suffix) to write to; once the block succeeded renames it to `path`.

    Its name is always the same, so that what a killed process left there goes; the file is made anew, so that a link
    of that name is not followed."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading(place):
    """Turns any failure inside the block, but an InputError, into one that names the file or the folder of the data."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # torchvision, Pillow and the libraries below them raise many kinds
        problem = f"cannot be used ({type(error).__name__}: {error})" if Path(place).exists() else "does not exist"
        raise InputError(f"--dataset: {place} {problem}") from None


def lock(folder, flag):
    """Takes the lock of a folder, which ends with the process, from rank 0. Raises InputError, naming `flag`, where
    another run has it: the two would write over each other's files."""
    held = FileLock(folder / ".lock")
    try:
        if first_rank():
            try:
                held.acquire(timeout=0)
            except Timeout:
                gc.collect()  # of a run in this process that has ended but is not gone yet
                held.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{flag}: another run is writing to {folder.parent}") from None
    except OSError as error:
        raise InputError(f"{flag}: cannot write to {folder} ({error.strerror})") from None
    return held


def writable_folder(path, flag):
    """Creates the folder `path` and returns it. Raises InputError, naming `flag`, where it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise InputError(f"{flag}: cannot write to {path} ({error.strerror})") from None

"""Models as others use them: the folder by its name, the files in it as modules."""

import importlib.util
import sys
from pathlib import Path

from common.options import InputError

ROOT = Path(__file__).resolve().parents[1]


def find_folder(name):
    """The folder of a model: a path, or a bare name in this repository. Raises InputError where it has no model.py."""
    bare = Path(name).name == str(name)
    for folder in (Path(name).expanduser(), *((ROOT / name, ROOT / "misc" / name) if bare else ())):
        if (folder / "model.py").is_file():
            return folder.resolve()
    raise InputError(f"{name} is not a model's folder: there is no {Path(name) / 'model.py'}")


def load_file(file):
    """Imports a Python file under a name of its own, so that many a model.py fits into one process."""
    name = "file_" + str(file).encode().hex()
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def beside(file, name):
    """The module <name>.py beside a file, whatever else was imported under that name: for a train.py, its model.py."""
    return load_file(Path(file).resolve().with_name(f"{name}.py"))

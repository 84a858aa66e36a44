"""The files of a model's folder as modules."""

import importlib.util
import sys
from pathlib import Path


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

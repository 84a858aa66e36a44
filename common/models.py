"""Models as others use them: the folder by its name, its model.py as a module, the networks of a checkpoint."""

import importlib.util
import sys
from pathlib import Path

import torch

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


def load_networks(model, state, path):
    """The networks of a checkpoint, on the CPU: what the build of the module `model` returns, with the saved weights.

    Raises InputError, naming the checkpoint's path, where they do not fit."""
    try:
        with torch.device("meta"):  # shapes without memory: a damaged file may ask for any size
            shapes = {name: net.state_dict() for name, net in model.build(**state["fields"]).items()}
        for name, tensors in shapes.items():
            saved = state["networks"][name]
            wrong = [key for key in saved.keys() | tensors.keys()
                     if key not in saved or key not in tensors or saved[key].shape != tensors[key].shape]
            if wrong:
                raise ValueError(f"{name}.{min(wrong)}")
        nets = model.build(**state["fields"])
        for name, net in nets.items():
            net.load_state_dict(state["networks"][name])
    except Exception as error:  # any, from a damaged file
        raise InputError(f"{path} does not fit the model ({type(error).__name__}: {error})"[:300]) from None
    return nets

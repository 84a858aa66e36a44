"""The files of a model's folder as modules."""

import importlib.util
import sys
from pathlib import Path

import torch
from torch import nn

from common import acceleration, checkpoint
from common.options import InputError


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


def check_batch(nets, images):
    """Raises ValueError where the networks of a dict cannot be trained on so many images at once: where BatchNorm1d
    takes a variance over them."""
    if images < 2 and any(isinstance(layer, nn.BatchNorm1d) for net in nets.values() for layer in net.modules()):
        raise ValueError("--batch-size: BatchNorm needs 2 images or more, in each process")


def trained(folder, path, device, **fields):
    """The networks of a checkpoint, on a device, in eval mode and frozen: for a train.py that uses another model.

    Args:
        folder: that model's, by its path from the root, for instance "Classification". path: the checkpoint's.
        fields: what that model's networks must have been built with.
    Raises InputError where the checkpoint is damaged, of another model, or of other fields."""
    state = checkpoint.load(path, Path(folder).name)
    for name, value in fields.items():
        if state["fields"].get(name, value) != value:
            raise InputError(f"{path} is of a model with {name} {state['fields'][name]}, not {value}")
    nets = load_networks(load_file(Path(__file__).resolve().parents[1] / folder / "model.py"), state, path)
    for net in nets.values():
        acceleration.place(net.eval().requires_grad_(False), device)
    return nets

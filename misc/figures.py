"""Draws a model's figures again from a checkpoint, without training:    python misc/figures.py AE --variant 2d-linear

What is drawn is `draw` of the model's figures.py; the pictures and the numbers that it records go where the training
left its own, to samples/ and run.json there."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import Run, checkpoint  # noqa: E402
from common.log import say  # noqa: E402
from common.models import beside  # noqa: E402
from common.options import InputError, as_flags, parse, refusing  # noqa: E402
from misc.places import find_checkpoint, find_folder  # noqa: E402


@dataclass
class Options:
    """Draws a model's figures again from a checkpoint, without training."""

    model: tyro.conf.Positional[str]  # the model's folder, for instance VAE
    variant: str | None = None  # which of the model's variants, where it has some: the name of its samples' folder
    out_dir: Path | None = None  # where samples/ and checkpoints/ lie; default: the model's folder
    data_dir: Path | None = None  # where the data sets lie; else the place that they were trained from


def main():
    opt = parse(Options)
    folder = find_folder(opt.model)
    out = opt.out_dir or folder
    if not (folder / "figures.py").exists() or not hasattr(beside(folder / "model.py", "figures"), "draw"):
        raise InputError(f"{folder.name} draws nothing but samples: it has no draw() in a figures.py")
    state = checkpoint.load(find_checkpoint(out, opt.variant), folder.name)
    train, model, figures = (beside(folder / "model.py", name) for name in ("train", "model", "figures"))
    words = [*as_flags(train.Options, state["options"]), "--resume", "--out-dir", str(out)]
    words += ["--data-dir", str(opt.data_dir)] if opt.data_dir else []
    run = Run(train.Options, folder / "train.py", words)
    figures.draw(run, run.networks(model.build, **state["fields"]))
    say(f"see {out / 'samples' / getattr(run.options, 'variant', '')}")


if __name__ == "__main__":
    with refusing("misc/figures.py"):
        main()

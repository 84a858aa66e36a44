"""Draws images from a trained model:    python misc/generate.py GAN --n 10000 --out samples.npz

A .npz holds images, uint8 (N, 1, 32, 32); labels, int64 (N,), where the model is conditional; and options, the
checkpoint's, as JSON. A .png is a grid. No training code runs: the model is its model.py and a checkpoint.

    python misc/generate.py CycleGAN --translate ab --images FOLDER --out there.png

Translates images of a model's domain a to its domain b, or back: a user's, or else the test images. The .npz holds what
they were, too, as source; in the .png they stand above, and what comes back stands below."""

import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import Count, Whole, acceleration, checkpoint, data  # noqa: E402
from common.files import replacing  # noqa: E402
from common.images import and_back  # noqa: E402
from common.images import save as save_grid  # noqa: E402
from common.log import say  # noqa: E402
from common.models import load_file, load_networks  # noqa: E402
from common.options import InputError, Seed, parse, refusing  # noqa: E402
from misc.places import find_checkpoint, find_folder, writable_file  # noqa: E402
from misc.translations import Translator, pairs, read  # noqa: E402


@dataclass
class Options:
    """Draws images from a trained model, or translates images by one."""

    model: tyro.conf.Positional[str]  # the model's folder, for instance GAN
    out: Path = Path("samples.npz")  # images and labels (.npz), or a grid (.png)
    n: Count | None = None  # how many images; default: 10,000, and 100 for a grid
    domain: Literal["a", "b"] | None = None  # whose images, of a model that draws pairs: the same seed, the same pairs
    translate: Literal["ab", "ba"] | None = None  # from domain a to b, or back, of a model of two domains
    images: Path | None = None  # what to translate: a folder of pictures, .npz or .npy; default: the test images
    variant: str | None = None  # which of the model's variants, where it has some: the name of its samples' folder
    checkpoint: Path | None = None  # another checkpoint than that of the model's folder
    labels: tuple[Whole, ...] = ()  # asked for, over and over: classes or categories; default: all, if it takes any
    seed: Seed = 0  # of the latent vectors
    batch_size: Count = 500  # images drawn at once
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: cuda or mps where there is one


def takes_labels(model):
    """Whether the module of a model.py is conditional: then its `sample` must be given labels."""
    return inspect.signature(model.sample).parameters["labels"].default is inspect.Parameter.empty


def draw(model, nets, n, seed=0, size=500, labels=None, domain=None):
    """n images, uint8 (n, C, H, W), and their labels, int64 (n,), or None where none were given.

    Args:
        model: the module of a model.py. nets: what its build returned.
        labels: int64, what the model is asked for, over and over up to n; None: nothing.
        domain: "a" or "b", of a model that draws pairs; None: its default."""
    device = next(next(iter(nets.values())).parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    labels = labels if labels is None else labels.repeat(-(-n // len(labels)))[:n].to(device)
    images = []
    with tqdm(total=n, unit=" images", disable=None) as bar:
        for start in range(0, n, size):
            end = min(start + size, n)
            given = ({} if labels is None else {"labels": labels[start:end]}) | ({"domain": domain} if domain else {})
            part = model.sample(nets, end - start, **given, generator=generator)
            images.append((part.clamp(0, 1) * 255).round().byte().cpu())
            bar.update(end - start)
    return torch.cat(images), None if labels is None else labels.cpu()


def generate(folder, path, n=10_000, seed=0, size=500, device="auto", labels=None, asked=(), domain=None):
    """`draw` from the model of a folder and a checkpoint. Returns images, labels or None, and the checkpoint.

    Args:
        labels: a function of the checkpoint's options that gives a conditional model's; default: each class as often.
        asked: in their place, classes, or the categories of a model that has found its own.
        domain: as for `draw`.
    Raises InputError where folder and checkpoint do not make a model that generates, or it cannot be asked for that."""
    state, model = checkpoint.load(path), load_file(folder / "model.py")
    if not hasattr(model, "sample"):
        raise InputError(f"{folder.name} does not generate: its model.py has no function sample")
    if domain and "domain" not in inspect.signature(model.sample).parameters:
        raise InputError(f"--domain: {folder.name} draws images of one domain alone")
    nets, device = load_networks(model, state, path), acceleration.find_device(device)
    for net in nets.values():
        acceleration.place(net, device)
    classes = state["fields"].get("codes", state["fields"].get("classes", 10))
    if asked and max(asked) >= classes:
        raise InputError(f"--labels: {folder.name} knows 0 to {classes - 1}, not {max(asked)}")
    wanted = torch.tensor(asked) if asked else None
    if takes_labels(model) and not asked:
        wanted = labels(state["options"]) if labels else torch.arange(classes)
    try:
        return *draw(model, nets, n, seed, size, wanted, domain), state
    except ValueError as error:
        if asked:
            raise InputError(f"--labels: {error}") from None
        raise


def brought_back(folder, path, images, size=500):
    """What comes back of images, uint8 (N, C, H, W), from the model of a folder and a checkpoint, of the same shape;
    None where its model.py has no function reconstruct(nets, x)."""
    model = load_file(folder / "model.py")
    if not hasattr(model, "reconstruct"):
        return None
    nets = load_networks(model, checkpoint.load(path), path)
    parts = [model.reconstruct(nets, part.float() / 255) for part in images.split(size)]
    return (torch.cat(parts).clamp(0, 1) * 255).round().byte()


def translated(folder, path, direction, source=None, n=100, seed=0, data_dir=None):
    """(source, translations, what comes back or None, uint8 (n, C, H, W) each, the translator), of the first n images.

    source: the path of a user's images; None: the test images of the domain. Raises InputError."""
    translate = Translator(folder, path, seed)
    if direction not in translate.directions:
        raise InputError(f"--translate: this {folder.name} goes {translate.directions[0]} alone")
    if source:
        fields = translate.fields
        images = read(source, fields[f"channels_{direction[0]}"], fields["image_size"])
    else:
        pair = pairs(translate.options, translate.paired, data.data_dir(data_dir))[1]
        images = pair.sets["ab".index(direction[0])].images
    images = images[:n]
    there, back = translate(images, direction), direction[::-1]
    return images, there, translate(there, back) if back in translate.directions else None, translate


def save(path, images, labels, options, **more):
    """Writes .npz, see above; misc/others.py reads it."""
    arrays = {"images": images.numpy(), "options": np.array(json.dumps(options, default=str)), **more}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays, **({} if labels is None else {"labels": labels.numpy()}))


def main():
    opt = parse(Options)
    folder, grid = find_folder(opt.model), writable_file(opt.out, "--out", ".npz", ".png").suffix == ".png"
    path, n = opt.checkpoint or find_checkpoint(folder, opt.variant), opt.n or (100 if grid else 10_000)
    if opt.images and not opt.translate:
        raise InputError("--images: to be translated, with --translate ab or ba")
    if opt.translate:
        source, images, back, by = translated(folder, path, opt.translate, opt.images, n, opt.seed)
        if grid:
            save_grid(opt.out, and_back(*(part.float() / 255 for part in (source, images, back) if part is not None)))
        else:
            save(opt.out, images, None, by.options, source=source.numpy())
        return say(f"{len(images):,} images, {opt.translate[0]} to {opt.translate[1]}: {opt.out}")
    images, labels, state = generate(folder, path, n, opt.seed, opt.batch_size, opt.device, asked=opt.labels,
                                     domain=opt.domain)
    if grid:
        save_grid(opt.out, images.float() / 255)
    else:
        save(opt.out, images, labels, state["options"])
    say(f"{len(images):,} images of {state['model']} after {state['step']:,} updates: {opt.out}")


if __name__ == "__main__":
    with refusing("misc/generate.py"):
        main()

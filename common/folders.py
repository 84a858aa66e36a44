"""People's own images, `--dataset folder:PATH`: which files of a folder are images of which class, and their pixels.

A folder holds one subfolder a class; or such folders below train/ and test/ (or val/, valid/, validation/), written in
any case; or images alone, which are then of one class. What is hidden is no data, nor are files that Pillow knows no
reader for."""

import hashlib
import json
import math
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from common.files import reading, replacing
from common.log import say
from common.options import InputError

VERSION = 1  # of what is read from the same files: a change makes all caches void
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test",
         "val": "val", "valid": "val", "validation": "val"}
SYSTEM = {"__macosx", "@eadir", "lost+found", "$recycle.bin"}  # folders that systems leave
MANY = 1000  # images: more are read with a sign of life, and kept


def visible(folder):
    """What a folder holds, in the order of names, but for what is hidden or a system's own."""
    return [path for path in sorted(folder.iterdir())
            if not path.name.startswith((".", "~")) and path.name.lower() not in SYSTEM]


def images_below(folder):
    """The files below a folder, at any depth, whose names end as those of images do that Pillow reads."""
    from PIL import Image

    Image.init()
    endings = {ending for ending, kind in Image.EXTENSION.items() if kind in Image.OPEN}
    found = []
    for path in visible(folder):
        if path.is_dir():
            found += images_below(path)
        elif path.suffix.lower() in endings:
            found.append(path)
    return found


def find_classes(folder):
    """{class: [file, ...]} of a folder of such folders, or of one class, named like it, where it holds images alone.

    Raises InputError, naming the folder, where there are none, or both."""
    classes = {path.name: images_below(path) for path in visible(folder) if path.is_dir()}
    loose = [path for path in images_below(folder) if path.parent == folder]
    if any(classes.values()) and loose:
        raise InputError(f"--dataset: {folder} holds images ({loose[0].name}) beside the folders of its classes")
    if loose:
        return {folder.name: loose}
    if empty := [name for name, files in classes.items() if not files]:
        raise InputError(f"--dataset: {folder / empty[0]} holds no images")
    if not classes:
        raise InputError(f"--dataset: {folder} holds neither images nor a folder of them for each class")
    return classes


def find(folder):
    """The files of a folder: (classes, {"train": [(file, label), ...], "test": ...}), each part in an order that mixes
    the classes and is always the same. Without a folder for tests every tenth image is one.

    Raises InputError, naming the folder, where it is of no known layout."""
    subfolders = [path for path in visible(folder) if path.is_dir()]
    named = {path: PARTS[path.name.lower()] for path in subfolders if path.name.lower() in PARTS}
    if "train" in named.values():
        if others := [path.name for path in subfolders if path not in named]:
            raise InputError(f"--dataset: {folder} holds {others[0]} beside a folder for training")
        places = {part: path for path, part in named.items()}
        if len(places) < len(named):
            raise InputError(f"--dataset: {folder} holds two folders for the same part: "
                             + ", ".join(path.name for path in named))
        found = {part: find_classes(places[part]) for part in ("train", "test", "val") if part in places}
        test = found.get("test", found.get("val"))
    elif named:
        raise InputError(f"--dataset: {folder} holds {next(iter(named)).name}, but no folder for training")
    else:
        found, test = {"train": find_classes(folder)}, None
    classes = tuple(found["train"])
    listed = [(file, label) for label, files in enumerate(found["train"].values()) for file in files]
    if test is None:
        if len(listed) < 10:
            raise InputError(f"--dataset: {folder} holds {len(listed)} images, too few to keep some for tests")
        parts = {"train": [pair for i, pair in enumerate(listed) if i % 10 != 9], "test": listed[9::10]}
    else:
        if unknown := [name for name in test if name not in classes]:
            if len(test) > 1 or len(classes) > 1:  # of one class: named like its folder
                raise InputError(f"--dataset: the training images in {folder} lack the class {unknown[0]}")
            test = dict(zip(classes, test.values(), strict=True))
        parts = {"train": listed, "test": [(file, classes.index(name)) for name in test for file in test[name]]}
    for part, pairs in parts.items():
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()
        parts[part] = [pairs[i] for i in order]
    return classes, parts


def counts(classes, parts):
    """How many images of which classes there are, in words."""
    words = []
    for part, pairs in parts.items():
        of = np.bincount([label for _, label in pairs], minlength=len(classes))
        each = (", ".join(f"{name} {n:,}" for name, n in zip(classes, of, strict=True)) if len(classes) <= 10
                else f"{len(classes)} classes of {of.min():,} to {of.max():,}")
        words.append(f"{len(pairs):,} images to {part} ({each})")
    return ", ".join(words)


@contextmanager
def opened(file):
    """The image in a file, not decoded yet. A failure inside the block becomes an InputError that names the file."""
    from PIL import Image

    bomb = warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)  # of 90 million pixels
    with reading(file), bomb, Image.open(file) as image:
        yield image


def pixels(file, size, top):
    """The image in a file as a viewer shows it: uint8 (size, size, 3), its middle square, scaled.

    EXIF's orientation is applied, what is transparent lies on white. top: `white` of all images."""
    from PIL import Image, ImageCms, ImageOps

    with opened(file) as image:
        image = ImageOps.exif_transpose(image)
        side = min(image.size)
        left, upper = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, upper, left + side, upper + side))
        if image.mode == "F" or image.mode.startswith("I"):
            values = np.asarray(image, np.float64)
            if not (values >= 0).all():
                raise ValueError("a pixel is negative or not a number")
            values = values * (255 / (65535 if image.mode.startswith("I;16") else top))
            image = Image.fromarray(np.uint8(np.round(values)))
        elif image.mode == "LAB":
            profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        if image.has_transparency_data:
            image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def white(files):
    """What is white in images of floats and of 32-bit integers: the least of 1 (where all are floats), 255, 65,535 and
    2^31 - 1 that no pixel exceeds."""
    highest, modes = 0, set()
    for file in files:
        with opened(file) as image:
            if image.mode in ("I", "F"):
                highest, modes = max(highest, image.getextrema()[1]), modes | {image.mode}
    return next(top for top in (1, 255, 65535, 2**31 - 1, math.inf) if highest <= top and (top > 1 or modes == {"F"}))


def load(folder, size, train=True, cache=None):
    """The images of a folder to train on, or to test with: uint8 (N, C, size, size), their labels, int64 (N,), classes.

    Grey, C = 1, where all images of both parts are; else C = 3. cache: a folder where those of many images are kept;
    they are read from there while names, sizes and dates of the files stay as they are. InputError as from `find`."""
    classes, parts = find(folder)
    if train:
        say(f"{folder}: {counts(classes, parts)}")
    files = [file for pairs in parts.values() for file, _ in pairs]
    stamps = [(str(file.relative_to(folder)), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps([VERSION, size, classes, stamps]).encode()).hexdigest()
    name = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    file = cache / f"{name}-{size}.npz" if cache and len(files) > MANY else None
    images = kept(file, key, (len(files), size, size))
    if images is None:
        if len(files) > MANY:
            say(f"reading {len(files):,} images")
        top = white(files)
        images = np.stack([pixels(file, size, top) for file in tqdm(files, unit=" images", disable=None, leave=False)])
        if (images == images[..., :1]).all():
            images = images[..., :1]
        if file:
            keep(file, key, images)
    n = len(parts["train"])
    images = torch.from_numpy(images[:n] if train else images[n:]).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor([label for _, label in parts["train" if train else "test"]]), classes


def kept(file, key, shape):
    """What `keep` wrote under this key, or None."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if str(arrays["key"]) == key and arrays["images"].shape[:3] == shape:
                return arrays["images"]
    except Exception:  # none there, or a damaged one: read anew
        return None


def keep(file, key, images):
    """Keeps images, (N, size, size, C), in a file under a key that tells them from others, where it can be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            np.savez(temporary, key=np.array(key), images=images)
    except OSError:
        pass  # the data directory need not be writable

"""Generated images of any tool, read as those of misc/generate.py: a .npz, a .npy, or a folder of pictures."""

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter

from common import checkpoint, folders
from common.log import say
from common.options import InputError

MOST = 4 * 2**30  # bytes that a file may unpack to
LABELS = ("labels", "label", "y", "arr_1")  # what tools call them


def is_images(path):
    """Whether a path is to be read here: an array's file, or a folder that is not a model's."""
    path = Path(path).expanduser()
    return path.suffix in (".npz", ".npy") or path.is_dir() and not (path / "model.py").is_file()


def load(path):
    """Images, uint8 (N, 1, 32, 32), their labels, int64 (N,), or None, and options, {} where the file has none.

    Images of 28 x 28 get two black pixels on each side, as MNIST's do. Says what the images were taken for where it is
    not what misc/generate.py writes. Raises InputError, naming the path and what is wrong, where it cannot be read."""
    path, options = Path(path).expanduser(), {}
    try:
        if path.is_dir():
            images, labels = _pictures(path)
        elif path.suffix == ".npy":
            images, labels = np.load(path, mmap_mode="r", allow_pickle=False), None
        else:
            images, labels, options = _archive(path)
        images, taken = standard(images)
        if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"
                                   or len(labels) and not 0 <= labels.min() <= labels.max() <= 9):
            raise InputError(f"labels must be {len(images)} integers from 0 to 9, not {labels.dtype} {labels.shape}")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # numpy, zipfile, Pillow, json and pydantic raise many kinds for damaged files
        raise InputError(f"{path} cannot be read as generated images ({type(error).__name__}: {error})"[:300]) from None
    if taken or not options:
        labelled = "" if labels is None else " with labels"
        say(f"{path}: {len(images):,} images{labelled}{taken}")
    if images[..., 2:-2, 2:-2].float().mean() > 127:  # without a border that was added
        say(f"{path}: mostly white; the digits that they are held against are white on black")
    return images, None if labels is None else torch.from_numpy(labels.astype(np.int64)), options


def standard(values):
    """Images of another form as uint8 (N, 1, 32, 32), and in words what they were taken for, "" where they had it.

    Args:
        values: an array (N, H W), (N, H, W), (N, C, H, W) or (N, H, W, C), of 28 x 28 or 32 x 32 pixels, C is 1, or 3
            where all three are the same; uint8, integers in [0, 255], Boolean, or floats in [0, 1], [-1, 1], [0, 255].
    Raises InputError where it is something else."""
    shape, kind, taken = values.shape, values.dtype.kind, []
    if len(shape) == 2 and shape[1] in (28**2, 32**2):
        values = values.reshape(len(values), 1, *[28 if shape[1] == 28**2 else 32] * 2)
    elif len(shape) == 3:
        values = values[:, None]
    elif len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
        values = values.transpose(0, 3, 1, 2)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or values.shape[2:] not in ((28, 28), (32, 32)):
        raise InputError(f"images must be (N, C, H, W) or (N, H, W, C), of 28 x 28 or 32 x 32 pixels, not {shape}")
    if not len(values):
        raise InputError("it holds no images")
    if values.shape[1] == 3:
        if not (values == values[:, :1]).all():
            raise InputError("its images are coloured; the classifier that scores knows grey ones")
        values = values[:, :1]
    if shape[1:] != (1, 32, 32):
        taken.append(f"of the form {shape}")
    if kind not in "buif":
        raise InputError(f"images must be numbers, not {values.dtype}")
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise InputError("some of its pixels are not finite")
    for least, greatest in ((0, 1), (-1, 1), (0, 255)):
        if kind == "b" or least - 1e-3 <= low and high <= greatest + 1e-3:
            break
    else:
        raise InputError(f"its pixels lie in [{low:g}, {high:g}], which is none of [0, 1], [-1, 1], [0, 255]")
    if values.dtype != np.uint8 or greatest == 1 and high > 0:
        taken.append(f"{values.dtype} in [{least}, {greatest}]")
        span = greatest - least
        values = np.round((np.clip(values.astype(np.float32), least, greatest) - least) * (255 / span)).astype(np.uint8)
    images = torch.from_numpy(np.array(values))
    if images.shape[-1] == 28:
        images = F.pad(images, (2, 2, 2, 2))
        taken.append("padded to 32 x 32")
    return images, "".join(f", {word}" for word in taken)


def _archive(path):
    """The arrays of a .npz: images, labels or None, options."""
    with zipfile.ZipFile(path) as archive:
        if sum(record.file_size for record in archive.infolist()) > MOST:
            raise InputError("it unpacks to more than 4 GiB")
    with np.load(path, allow_pickle=False) as arrays:
        key = "images" if "images" in arrays else None
        if key is None:
            found = [name for name in arrays.files if arrays[name].ndim > 1]
            if len(found) != 1:
                raise InputError(f"none of its arrays ({', '.join(arrays.files)}) is called images")
            key = found[0]
        labels = next((arrays[name] for name in LABELS if name in arrays and name != key), None)
        options = json.loads(str(arrays["options"])) if "options" in arrays else {}
        return arrays[key], labels, TypeAdapter(checkpoint.Options).validate_python(options)


def _pictures(folder):
    """The pictures below a folder, uint8 (N, S, S, 3), and labels where each lies in a folder called 0 to 9."""
    files = folders.images_below(folder)
    if not files:
        raise InputError("it is neither a model's folder, without a model.py, nor a folder of pictures")
    sizes = set()
    for file in files:
        with folders.opened(file) as image:
            sizes.add(image.size)
    if len(sizes) > 1 or sizes - {(28, 28), (32, 32)}:
        shown = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)[:3])
        raise InputError(f"its pictures must all have 28 x 28 or 32 x 32 pixels, not {shown}")
    top, size = folders.white(files), sizes.pop()[0]
    names = [file.parent.name for file in files]
    labels = np.array([int(name) for name in names]) if all(n in "0123456789" and len(n) == 1 for n in names) else None
    return np.stack([folders.pixels(file, size, top) for file in files]), labels

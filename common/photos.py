"""Colour photographs: faces, `--dataset lfw`, and scenes, `--dataset lsun:CLASS`.

LFW (Huang et al. 2007), funneled, through scikit-learn: the middle 128 x 128 pixels of each photograph at half their
size. Every tenth person is for tests, so that no face of theirs has been seen. LSUN (Yu et al. 2015, arXiv 1506.03365),
an lmdb folder for each class, for instance lsun:church_outdoor_train, of which the first images are read,
lsun:church_outdoor_train:10000 to say how many: the middle square, scaled. Every tenth is for tests. All are of one
class."""

import hashlib
import io
import re
import shutil
import tempfile
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from common import folders
from common.files import reading
from common.log import say
from common.options import InputError

MOST = 20_000  # images of LSUN, where nothing is said
FACE = {"slice_": (slice(68, 196), slice(61, 189)), "resize": 0.5, "color": True}  # 64 x 64 of 250 x 250


def is_photos(name):
    return name == "lfw" or name.startswith("lsun:")


def parts(name):
    """(class, how many images) of lsun:CLASS or lsun:CLASS:N. Raises InputError on others."""
    match = re.fullmatch(r"lsun:(\w+?)(?::(\d+))?", name)
    if not match or match[2] and int(match[2]) < 10:
        raise InputError(f"--dataset: lsun:CLASS or lsun:CLASS:N, at least 10 images, not {name}")
    return match[1], int(match[2] or MOST)


def provide(name, root, answers):
    """Downloads LFW where it is not in `root`, some 230 MB; answers(urls) says whether one of them does. Raises
    InputError where the images are not there and not to be had: LSUN has no download of its own here."""
    if name != "lfw":
        place = root / "lsun" / f"{parts(name)[0]}_lmdb"
        if not place.is_dir():
            raise InputError(f"--dataset: {place} does not exist; data/README.md says where LSUN is to be had")
    elif not (root / "lfw_home" / "lfw_funneled").is_dir():
        from sklearn.datasets import _lfw, fetch_lfw_people

        missing = f"--dataset: {root / 'lfw_home' / 'lfw_funneled'} does not exist, and"
        if not answers([_lfw.FUNNELED_ARCHIVE.url]):
            raise InputError(f"{missing} its server did not answer")
        say("downloading LFW, some 230 MB")
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
                fetch_lfw_people(data_home=folder, **FACE)
                shutil.move(f"{folder}/lfw_home", root)  # only when whole
        except Exception as error:  # the library raises many kinds
            raise InputError(f"{missing} its download failed ({error!r})") from None


def load(name, root, size, train=True):
    """As `folders.load`: uint8 (N, 3, S, S), labels int64 (N,), all 0, and the one class."""
    images, held, what = _lfw(root) if name == "lfw" else _lsun(name, root, size)
    images = images[~held if train else held].contiguous()
    if not len(images):
        raise InputError(f"--dataset: {name} is too small to keep some images for tests")
    return images, torch.zeros(len(images), dtype=torch.int64), (what,)


def _lfw(root):
    from sklearn.datasets import fetch_lfw_people

    place = root / "lfw_home"
    if not any((place / "joblib").glob("**/output.pkl")):
        say("reading the photographs of LFW, once")
    with reading(place):
        people = fetch_lfw_people(data_home=str(root), download_if_missing=False, **FACE)
    top = 1 if people.images.max() <= 1 else 255  # what it says of the range has changed between its versions
    images = torch.from_numpy(np.uint8(np.round(people.images * (255 / top)))).permute(0, 3, 1, 2)
    return images, torch.from_numpy(people.target) % 10 == 9, "face"


def _lsun(name, root, size):
    what, most = parts(name)
    place = root / "lsun" / f"{what}_lmdb"
    try:
        import lmdb
    except ImportError:
        raise InputError("--dataset: LSUN needs the package lmdb: pip install lmdb") from None
    with reading(place):
        stamp = (place / "data.mdb").stat()
        key = hashlib.sha256(repr((folders.VERSION, size, stamp.st_size, stamp.st_mtime_ns)).encode()).hexdigest()
        environment = lmdb.open(str(place), readonly=True, lock=False, readahead=False, max_readers=1)
        with environment, environment.begin() as transaction:
            n = min(most, transaction.stat()["entries"])
            file = root / "cache" / f"lsun-{what}-{n}-{size}.npz"
            images = folders.kept(file, key, (n, size, size))
            if images is None:
                bar = tqdm(islice(transaction.cursor(), n), total=n, unit=" images", disable=None, leave=False)
                images = np.stack([_square(value, size) for _, value in bar])
                folders.keep(file, key, images)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.arange(n) % 10 == 9, what.replace("_", " ")


def _square(value, size):
    """The middle square of an image's bytes: uint8 (size, size, 3)."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(value)) as image:
        return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR))

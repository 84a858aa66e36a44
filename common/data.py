"""Data sets as two tensors that fit in memory, and the batches drawn from them.

MNIST and its relatives are padded from 28 x 28 to 32 x 32. Files come through torchvision, in torchvision's layout."""

import functools
import gzip
import hashlib
import http.client
import os
import queue
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from common import distribution, folders, photos
from common.files import reading, replacing
from common.options import InputError

IDX = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}  # torchvision's classes and folders
NAMES = ("auto", *IDX, "usps", "digits")
PATIENCE = 10  # seconds without an answer after which a download is given up


@dataclass
class Dataset:
    """Images uint8 (N, C, H, W), labels int64 (N,), and the names of the classes that the labels number."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple = tuple("0123456789")

    def __len__(self):
        return len(self.images)

    @property
    def sets(self):
        """This one: a pair of domains has two."""
        return (self,)

    @property
    def tensors(self):
        """What `Batches` takes: tuples of tensors, a tuple for what is shuffled together."""
        return ((self.images, self.labels),)

    @property
    def image(self):
        """What `build` functions take: {"channels", "image_size"}."""
        return {"channels": self.images.shape[1], "image_size": self.images.shape[-1]}

    def fingerprint(self):
        """A hash of images, labels and classes, in hexadecimal: the same data have the same wherever they lie."""
        digest = hashlib.blake2b(repr((self.images.shape, self.classes)).encode("utf-8", "surrogateescape"),
                                 digest_size=16)
        for tensor in (self.images, self.labels):
            digest.update(tensor.numpy())
        return digest.hexdigest()

    def to(self, device):
        return Dataset(self.images.to(device), self.labels.to(device), self.classes)

    def __getitem__(self, which):
        """The data set of some of the images: which is a slice or a tensor of indices."""
        return Dataset(self.images[which], self.labels[which], self.classes)

    def for_tests(self):
        """This one: only a pair of domains has to be made into one of counterparts."""
        return self

    def stratified(self, n, seed):
        """The data set of n images, drawn by the seed: of each class as many, or of some, also drawn, one more.

        Raises InputError where n is less than one a class, or more than a class has."""
        generator, labels = torch.Generator().manual_seed(seed), self.labels.cpu()
        order, classes = torch.randperm(len(self), generator=generator), len(self.classes)
        more = torch.randperm(classes, generator=generator)[:n % classes].tolist()
        chosen = [order[labels[order] == c][:n // classes + (c in more)] for c in range(classes)]
        if n < classes or sum(map(len, chosen)) < n:
            raise InputError(f"--labels: {n} are too {'few' if n < classes else 'many'} for {classes} classes "
                             f"of {torch.bincount(labels, minlength=classes).min()} images and more")
        return self[torch.cat(chosen).to(self.labels.device)]

    def batches(self, size):
        """Every image once, in order: pairs of float32 (size, C, H, W) in [0, 1] and labels. The last is smaller."""
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield to_float(images), labels


def to_float(images):
    """uint8 (N, C, H, W) to float32 in [0, 1], in channels_last memory."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def data_dir(option=None):
    """Where data sets lie: the option, else $FUN_WITH_MNIST_DATA, else data/ of this repository."""
    place = option or os.environ.get("FUN_WITH_MNIST_DATA") or Path(__file__).resolve().parents[1] / "data"
    return Path(place).expanduser()


def resolve(name, root):
    """Which data set `name` stands for, as (name, notice), after downloading what is missing in `root`.

    "auto" is MNIST, or, where it is neither on disk nor to be had, the digits inside scikit-learn; then the notice
    says so. Raises InputError for an unknown name, or a named data set that is neither on disk nor to be had."""
    if name.startswith("folder:"):
        folder = Path(name.removeprefix("folder:"))
        if not folder.is_dir():
            raise InputError(f"--dataset: {folder} is not a folder")
    elif photos.is_photos(name):
        photos.provide(name, root, _answers)
    elif name not in NAMES:
        names = ", ".join([*NAMES, "lfw", "lsun:CLASS", "folder:PATH"])
        raise InputError(f"--dataset: unknown data set '{name}', choose from {names}")
    elif name != "auto":
        _provide(name, root)
    else:
        try:
            _provide("mnist", root)
        except InputError as error:
            if any(file.exists() for file in _files("mnist", root)):
                raise  # damaged rather than missing: not a case for a substitute
            return "digits", ("NOT MNIST: the 1,797 digits of scikit-learn (8 x 8, enlarged) stand in for it, because "
                              + str(error).removeprefix("--dataset: "))
        name = "mnist"
    return name, ""


def load(name, root, train=True, image_size=32):
    """Reads a resolved data set's training or test images.

    Raises InputError, naming the file, where one is missing or damaged."""
    if name in IDX:
        dataset = _read_idx(name, root, train)
    elif name in ("usps", "usps-aligned"):
        dataset = _read_usps(root, train, margin=3 if name == "usps-aligned" else 0)
    elif name == "digits":
        dataset = _read_digits(train)
    elif photos.is_photos(name):
        dataset = Dataset(*photos.load(name, root, image_size, train))
    else:
        dataset = Dataset(*folders.load(Path(name.removeprefix("folder:")), image_size, train, root and root / "cache"))
    dataset.images = resize(dataset.images, image_size).contiguous()
    return dataset


class Source:
    """The training and the test images of a run with these options, on its device: a `Dataset` each, or what another
    `load` gives. `options.dataset` becomes the name that was resolved; `notice` says that it is a substitute,
    `fingerprint` tells the data from others. Raises what `resolve` and `load` do, and InputError where it is not the
    fingerprint given, or --out-dir lies among the images."""

    def __init__(self, options, device, fingerprint=None, load=load):
        self.options, self.device, root = options, device, data_dir(options.data_dir)
        options.dataset, self.notice = distribution.first(lambda: resolve(options.dataset, root))
        folder = Path(options.dataset.removeprefix("folder:")) if options.dataset.startswith("folder:") else None
        if folder and options.out_dir and options.out_dir.is_relative_to(folder):
            raise InputError(f"--out-dir: {options.out_dir} lies among the images that it would train on")
        self._load = lambda train: load(options.dataset, root, train, options.image_size)
        train = self._load(train=True)
        self.fingerprint = train.fingerprint()
        if fingerprint not in (None, self.fingerprint):
            raise InputError(f"--resume: {options.dataset} is not the data that the checkpoint was trained on")
        train, self._held_out = hold_out(train, options.holdout)
        self.train = train.to(device)

    @functools.cached_property
    def test(self):
        """The test images; with --holdout the held-out ones instead, so that what is tuned never sees the test set."""
        return (self._held_out if self.options.holdout else self._load(train=False)).to(self.device)


def hold_out(dataset, n):
    """All but the last n images, of a pair those of both, and these, of a pair as test images. Raises InputError where
    that leaves none."""
    if n >= len(dataset):
        raise InputError(f"--holdout: leaves none of the {len(dataset):,} training images")
    return (dataset[:-n], dataset[-n:].for_tests()) if n else (dataset, dataset[:0])


def resize(images, size):
    """uint8 (N, C, H, H) to uint8 (N, C, size, size), bilinear with antialiasing."""
    if images.shape[-1] == size:
        return images
    return torch.cat([F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True)
                      .round_().clamp_(0, 255).to(torch.uint8) for part in images.split(4096)])


def _files(name, root):
    """The files of a downloadable data set."""
    if name == "usps":
        return [root / "usps.bz2", root / "usps.t.bz2"]
    return [root / IDX[name] / "raw" / f"{part}-ubyte" for part in
            ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")]


def _provide(name, root):
    """Unpacks or downloads the files of data set `name` that are not in `root`."""
    if name == "digits":
        return
    for file in _files(name, root):
        packed = file.with_name(f"{file.name}.gz")
        if not file.exists() and packed.exists():
            with reading(packed), replacing(file) as temporary, gzip.open(packed) as source:
                temporary.write_bytes(source.read())
    if all(file.exists() for file in _files(name, root)):
        return
    missing = next(file for file in _files(name, root) if not file.exists())
    from torchvision import datasets

    kind = datasets.USPS if name == "usps" else getattr(datasets, IDX[name])
    urls = [kind.split_list["train"][0]] if name == "usps" else [m + kind.resources[0][0] for m in kind.mirrors]
    if not _answers(urls):
        raise InputError(f"--dataset: {missing} does not exist, and no server answered within {PATIENCE} s")
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # torchvision sets none
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            for train in (True, False):
                kind(folder, train=train, download=True)
            for file in _files(name, root):  # moved only when whole
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(folder) / file.relative_to(root), file)
    except Exception as error:  # torchvision raises many kinds
        raise InputError(f"--dataset: {missing} does not exist, and its download failed ({error!r})") from None
    finally:
        socket.setdefaulttimeout(timeout)


def _answers(urls):
    """True as soon as one of the servers answers; False once all have failed, or after PATIENCE seconds."""
    answers, end = queue.SimpleQueue(), time.monotonic() + PATIENCE

    def ask(url):
        try:
            request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "Mozilla/5.0"})
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            answers.put(True)
        except (OSError, ValueError, http.client.HTTPException):
            answers.put(False)

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    try:
        return any(answers.get(timeout=max(0, end - time.monotonic())) for _ in urls)
    except queue.Empty:
        return False


def _read_idx(name, root, train):
    from torchvision import datasets

    image_file, label_file = _files(name, root)[0 if train else 2:][:2]
    with reading(image_file):
        images = datasets.mnist.read_image_file(str(image_file))
        if images.shape[1:] != (28, 28):
            raise ValueError(f"images of {tuple(images.shape[1:])}, not 28 x 28")
    with reading(label_file):
        labels = datasets.mnist.read_label_file(str(label_file))
        if len(images) != len(labels) or not len(labels) or labels.max() > 9:
            raise ValueError(f"not {len(images)} labels from 0 to 9")
    classes = Dataset.classes if name == "mnist" else tuple(getattr(datasets, IDX[name]).classes)
    return Dataset(F.pad(images[:, None], (2, 2, 2, 2)), labels, classes)


def _read_usps(root, train, margin=0):
    from torchvision.datasets import USPS

    file = _files("usps", root)[0 if train else 1]
    with reading(file):
        data = USPS(str(root), train=train)
        labels = torch.tensor(data.targets)
        if not len(labels) or labels.min() < 0 or labels.max() > 9:
            raise ValueError("labels are not 0 to 9")
    images = F.pad(torch.from_numpy(data.data)[:, None], (margin,) * 4)
    return Dataset(F.pad(resize(images, 28), (2, 2, 2, 2)), labels)


def _read_digits(train):
    from sklearn.datasets import load_digits

    digits = load_digits()
    part = slice(0, 1500) if train else slice(1500, None)
    images = torch.from_numpy(digits.images[part] * (255 / 16)).round().to(torch.uint8)
    return Dataset(resize(images[:, None], 32), torch.from_numpy(digits.target[part]).long())


class Batches:
    """The batches of a run: batch t is a function of (data, seed, t) alone, so that resuming needs no more than t.

    Args:
        sets: one or more tuples of tensors with equal first dimension (one set each: two domains, a labelled subset).
            Each set is shuffled anew every time it has been gone through; within one such pass no element comes twice,
            and what is left of the last batch is left out. A second set that is smaller than a batch is repeated.
        batch_size: elements of each set in one batch, over all ranks together.
        n: this many batches at once, of shape (n, batch_size, ...); None: one, (batch_size, ...).
        rank, ranks: this process takes its own slice of every batch.
    An epoch is one pass through the first set. uint8 tensors of 4 dimensions come out as float32 in [0, 1].
    Raises InputError where a set is smaller than a batch, or the ranks do not divide the batch."""

    def __init__(self, *sets, batch_size, n=None, seed=0, rank=0, ranks=1):
        self.size = batch_size * (n or 1)  # elements of each set drawn at once, over all ranks together
        if len(sets[0][0]) < self.size:
            times = f"{n} times " if n else ""
            raise InputError(f"--batch-size: {times}{batch_size} is larger than the set of {len(sets[0][0]):,} images")
        if batch_size % ranks:
            raise InputError(f"--batch-size: {batch_size} does not divide by {ranks} ranks")
        self.sets = [tuple(torch.cat([tensor] * -(-self.size // len(tensor))) for tensor in tensors)
                     if len(tensors[0]) < self.size else tensors for tensors in sets]
        self.shape, self.seed = (n, batch_size) if n else (batch_size,), seed
        share = batch_size // ranks
        self.part = slice(rank * share, (rank + 1) * share)
        self.per_epoch = len(sets[0][0]) // self.size
        self._orders = [(None, None)] * len(sets)

    def order(self, which, cycle):
        """The permutation, int64 (n,), in which pass number `cycle` goes through set number `which`."""
        if self._orders[which][0] != cycle:
            seed = np.random.SeedSequence([self.seed, which, cycle]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(seed) >> 1)
            tensor = self.sets[which][0]
            self._orders[which] = cycle, torch.randperm(len(tensor), generator=generator).to(tensor.device)
        return self._orders[which][1]

    def __getitem__(self, t):
        """Batch t = 0, 1, 2, ...: a flat tuple of this rank's part of each tensor of each set."""
        batch = []
        for which, tensors in enumerate(self.sets):
            cycle, i = divmod(t, len(tensors[0]) // self.size)
            index = self.order(which, cycle)[i * self.size:(i + 1) * self.size].view(self.shape)[..., self.part]
            for tensor in tensors:
                chosen = tensor[index.flatten()]
                chosen = to_float(chosen) if chosen.dtype == torch.uint8 and chosen.dim() == 4 else chosen
                batch.append(chosen.unflatten(0, index.shape))
        return tuple(batch)

"""Pairs of domains: two data sets, and where there is one the exact map from an image of the first to its counterpart.

Unpaired means that no digit is in both: the second domain of a map is made from the other half of the data set. Test
images are all in both, counterparts in the same place, so that a translation can be held against what it should be.
Paired, training images are that, too, and are drawn together with their counterparts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from common import data
from common.options import InputError


@dataclass
class Pair:
    """Two data sets; `exact`, uint8 (N, C, S, S) -> uint8 (N, C', S, S), where the second is a map of the first;
    whether they are `paired`: image i of the second is the counterpart of image i of the first."""

    a: data.Dataset
    b: data.Dataset
    exact: Callable | None = None
    paired: bool = False

    def __len__(self):
        return min(map(len, self.sets))

    @property
    def sets(self):
        return self.a, self.b

    @property
    def tensors(self):
        """As that of a `Dataset`."""
        a, b = self.a.tensors + self.b.tensors
        return (a + b,) if self.paired else (a, b)

    @property
    def image(self):
        """What `build` functions take: {"channels_a", "channels_b", "image_size"}."""
        return {"channels_a": self.a.images.shape[1], "channels_b": self.b.images.shape[1],
                "image_size": self.a.images.shape[-1]}

    def fingerprint(self):
        """As that of a `Dataset`, of both."""
        return "-".join(part.fingerprint() for part in self.sets)

    def to(self, device):
        return replace(self, a=self.a.to(device), b=self.b.to(device))

    def __getitem__(self, which):
        """The same slice of both."""
        return replace(self, a=self.a[which], b=self.b[which])

    def for_tests(self):
        """With counterparts in the same place, where there are such: of unpaired training images there are none."""
        return replace(self, b=mapped(self.a, self.exact)) if self.exact else self


def inverted(images):
    """Black for white."""
    return 255 - images


def thick(images):
    """Strokes a pixel wider on each side: the greatest of 3 x 3 pixels."""
    return F.max_pool2d(images.float(), 3, 1, 1).to(torch.uint8)


def edges(images):
    """What `thick` adds: the outlines."""
    return thick(images) - images


def rotated(images):
    """A quarter turn to the left."""
    return images.rot90(1, (2, 3)).contiguous()


def mosaic(images):
    """The mean of each of 4 x 4 squares."""
    return F.interpolate(F.adaptive_avg_pool2d(images.float(), 4), images.shape[2:]).round().to(torch.uint8)


def halved(images):
    """The upper half, black below."""
    upper = images.clone()
    upper[:, :, images.shape[2] // 2:] = 0
    return upper


def coloured(images):
    """Each in a colour of its own, (N, 3, S, S): the hue is drawn, and the same for the same number of images."""
    hue = torch.rand(len(images), 1, generator=torch.Generator().manual_seed(0)).to(images.device)
    # full saturation and value: red, green and blue are 1 within a sixth of their hue, 0 beyond two
    distance = (hue - torch.tensor([0, 1 / 3, 2 / 3], device=images.device)).remainder(1)
    colour = (2 - 6 * torch.minimum(distance, 1 - distance)).clamp(0, 1)
    return (images * colour[:, :, None, None]).round().to(torch.uint8)


MAPS = {"edges": edges, "inverted": inverted, "thick": thick, "rotated": rotated, "coloured": coloured,
        "mosaic": mosaic, "halved": halved}
SECOND = {"mnist-usps": "usps-aligned", "mnist-usps-plain": "usps", "mnist-fashion": "fashion-mnist"}  # beside MNIST
NAMES = ("low-high", *SECOND, *MAPS)


def load(name, paired, dataset, root, train=True, image_size=32):
    """The `Pair` of a name, training or test images, of a resolved data set in the data directory `root`.

    mnist-usps: USPS with a margin of 3 of its pixels, so that its digits are as large as MNIST's; without it, plain,
    they are 1.4 times as large. low-high: the first half of the classes and the others, whose labels begin at 0 again.
    Raises what `data.load` does, and InputError for an unknown name, a pair that is of MNIST where the data set is
    another, a single class, or a map of images that have colours already."""
    if name not in NAMES:
        raise InputError(f"--pair: unknown pair '{name}', choose from {', '.join(NAMES)}")
    if paired and name not in MAPS:
        raise InputError(f"--pair: {name} has no counterparts, choose from {', '.join(MAPS)}")
    if name in SECOND and dataset != "mnist":
        raise InputError(f"--pair: {name} is of MNIST, not of {dataset}")
    a = data.load(dataset, root, train, image_size)
    if name in SECOND:
        data.resolve(SECOND[name].removesuffix("-aligned"), root)
        return Pair(a, data.load(SECOND[name], root, train, image_size))
    if name == "low-high":
        half, low = len(a.classes) // 2, a.labels < len(a.classes) // 2
        if not half:
            raise InputError(f"--pair: {dataset} has a single class")
        return Pair(data.Dataset(a.images[low], a.labels[low], a.classes[:half]),
                    data.Dataset(a.images[~low], a.labels[~low] - half, a.classes[half:]))
    if name == "coloured" and a.images.shape[1] > 1:
        raise InputError(f"--pair: the images of {dataset} have colours already")
    split = train and not paired
    half = len(a) // 2
    b = a[half:] if split else a
    return Pair(a[:half] if split else a, mapped(b, MAPS[name]), MAPS[name], paired)


def mapped(dataset, exact):
    """The counterparts of a data set's images, by a map."""
    return data.Dataset(exact(dataset.images), dataset.labels, dataset.classes)

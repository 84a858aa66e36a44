"""What a translation between two domains, a and b, is measured by.

Images are uint8 (N, C, S, S). What reads digits is a small convolutional classifier that is trained here on one of the
domains; it sees colours as grey."""

import inspect
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import checkpoint, data, domains, folders  # noqa: E402
from common.models import load_file, load_networks  # noqa: E402
from common.options import InputError  # noqa: E402
from misc import metrics, others, scorer  # noqa: E402

UPDATES = 700  # of a reader, in batches of 128
NOISE = 0.05  # standard deviation, pixels in [0, 1]


def grey(dataset):
    """The data set with the strongest of each pixel's colours."""
    return data.Dataset(dataset.images.amax(1, keepdim=True), dataset.labels, dataset.classes)


def lenet(size, classes):
    """A classifier of grey images (N, 1, size, size) that are a little unlike those it learns from (LeCun et al. 1998,
    with dropout; without BatchNorm, which took smooth digits of a third kind for others)."""
    return nn.Sequential(nn.Conv2d(1, 16, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5, 1, 2), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(2 * size**2, 128), nn.ReLU(),
                         nn.Dropout(), nn.Linear(128, classes))


def reader(dataset, seed):
    """A classifier of digits trained on a data set."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        train = grey(dataset)
        net = lenet(train.images.shape[-1], len(train.classes)).to(memory_format=torch.channels_last)
        return scorer.fit(net, train, UPDATES, min(128, len(train)), seed=seed)


def sharpness(images):
    """The mean step between two neighbouring pixels, of pixels in [0, 1]: it falls where images blur."""
    x = images.float() / 255
    return ((x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()) / 2).item()


def ink_f1(found, truth):
    """F1 of the pixels above one half, in any colour: 2 hits / (2 hits + misses + false alarms)."""
    found, truth = (part.amax(1) > 127 for part in (found, truth))
    return (2 * (found & truth).sum() / (found.sum() + truth.sum()).clamp(min=1)).item()


def difference(a, b):
    """The mean absolute difference of two sets of images, of pixels in [0, 1]."""
    return ((a.float() - b.float()).abs().mean() / 255).item()


def noisy(images, seed):
    """Images with normal noise of the standard deviation NOISE."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + 255 * NOISE * noise).round().clamp(0, 255).to(torch.uint8)


def measure(translate, train, test, directions=("ab", "ba"), seed=0):
    """{"to b: ...": number, ...} of a translation, for each direction:

    accuracy          the share of the target's test images read by a reader of translated training images; beside it,
                      by readers that were trained on the source's and on the target's own training images
    label kept        the share of translated test images that are read as what they were: by misc/scorer.py, where they
                      are to be digits, else by a reader of the target
    pixel error, ink F1   against the exact counterparts, where there are such
    sharpness         over that of the target's test images
    FID               where the target is of digits: in the features of misc/scorer.py
    cycle error       mean absolute difference of a test image and what comes back, with and without noise between
    hidden            how much more noise in between changes what comes back than it changes what real images of the
                      target become: above 1 where translations carry hidden details

    Accuracies are left out of pairs that were trained on together, cycle errors where there is one direction.

    Args:
        translate: (images, direction) -> images. train, test: a `common.domains.Pair` each."""
    parts = {name: (train.sets[i], test.sets[i]) for i, name in enumerate("ab")}
    targets = {direction[1] for direction in directions}
    readers = {name: reader(known, seed) for name, (known, _) in parts.items()
               if not train.paired or name in targets and name != "a"}
    values = {}
    for direction in directions:
        (known, x), (_, y) = (parts[name] for name in direction)
        there, back, to = translate(x.images, direction), direction[::-1], direction[1]
        found = {}
        if not train.paired:
            as_target = data.Dataset(translate(known.images, direction), known.labels)
            tested = grey(y)
            found = {"accuracy": scorer.accuracy(reader(as_target, seed), tested),
                     "accuracy of source only": scorer.accuracy(readers[direction[0]], tested),
                     "accuracy of target only": scorer.accuracy(readers[to], tested)}
        digits = there.shape[1] == 1 and (to == "a" or not train.exact)
        found["label kept"] = scorer.accuracy(scorer.load() if digits else readers[to],
                                              grey(data.Dataset(there, x.labels)))
        if train.exact:
            found["pixel error"], found["ink F1"] = difference(there, y.images), ink_f1(there, y.images)
        found["sharpness"] = sharpness(there) / sharpness(y.images)
        if digits:
            found["FID"] = metrics.fid(scorer.score(y.images)[0], scorer.score(there)[0])
        if back in directions:
            again, after = translate(there, back), translate(noisy(there, seed), back)
            real = difference(translate(y.images, back), translate(noisy(y.images, seed), back))
            found |= {"cycle error": difference(again, x.images), "noisy cycle error": difference(after, x.images),
                      "hidden": difference(again, after) / max(real, 1e-6)}
        values |= {f"to {to}: {name}": value for name, value in found.items()}
    return values


def one_label(a, b, train, seed=0):
    """The share of pairs of generated images, of a and of b, that are read as the same digit: what is to be a digit by
    misc/scorer.py, else by a reader of the domain. train: a `common.domains.Pair`."""
    found = data.Dataset(b, scorer.score(a)[1].argmax(1))
    return scorer.accuracy(reader(train.b, seed) if train.exact else scorer.load(), grey(found))


def pairs(options, paired, root):
    """(train, test) of a model with these options (a checkpoint's), trained with pairs or not: a `common.domains.Pair`
    each; with --holdout the second are the training images that were kept out."""
    read, size = [options.get("pair", ""), paired, options["dataset"], root], options.get("image_size", 32)
    data.resolve(options["dataset"], root)
    train, held_out = data.hold_out(domains.load(*read, True, size), options.get("holdout", 0))
    return train, held_out if options.get("holdout") else domains.load(*read, False, size)


def read(path, channels, size):
    """A user's images, uint8 (N, channels, size, size): a folder of pictures of any size, else what misc/others.py
    reads. Raises InputError, naming the path, where they cannot be read or have another form."""
    path = Path(path).expanduser()
    if path.is_dir():
        files = folders.images_below(path)
        if not files:
            raise InputError(f"--images: there are no pictures in {path}")
        top = folders.white(files)
        images = torch.from_numpy(np.stack([folders.pixels(file, size, top) for file in files])).permute(0, 3, 1, 2)
        if channels == 1:  # as the eye sees it
            weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
            images = (images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    else:
        images = others.load(path)[0]
    if images.shape[1:] != (channels, size, size):
        raise InputError(f"{path}: its images are {tuple(images.shape[1:])}, not {(channels, size, size)}")
    return images


class Translator:
    """The model in a folder and a checkpoint, as (images, direction) -> images. Raises InputError where they do not fit
    each other, or it does not translate.

    paired: whether it was trained with pairs. directions: those that it goes. fields, options: the checkpoint's."""

    def __init__(self, folder, path, seed=0):
        self.model, state = load_file(folder / "model.py"), checkpoint.load(path)
        if not hasattr(self.model, "translate"):
            raise InputError(f"{folder.name} does not translate: its model.py has no function translate")
        self.nets, self.options = load_networks(self.model, state, path), state["options"]
        self.fields = state["fields"]
        self.paired = getattr(load_file(folder / "train.py").Options, "paired", False)
        only = self.fields.get("direction")
        self.directions = (only,) if only else ("ab", "ba")
        self.seed = {"generator": torch.Generator()} if "generator" in inspect.signature(
            self.model.translate).parameters else {}
        if self.seed:
            self.seed["generator"].manual_seed(seed)

    def __call__(self, images, direction, size=500):
        parts = [self.model.translate(self.nets, part.float() / 255, direction, **self.seed)
                 for part in images.split(size)]
        return (torch.cat(parts).clamp(0, 1) * 255).round().byte().cpu()


def measured(folder, path, root, seed=0):
    """`measure` of the model in a folder and a checkpoint. Raises InputError as `Translator` does, and where the images
    are not of digits, 32 x 32."""
    translate = Translator(folder, path, seed)
    dataset, size = translate.options["dataset"], translate.options.get("image_size", 32)
    if dataset not in ("mnist", "digits") or size != 32:
        raise InputError(f"what reads translations knows digits of 32 x 32, not {dataset} of {size} x {size}")
    train, test = pairs(translate.options, translate.paired, root)
    return measure(translate, train, test, translate.directions, seed)

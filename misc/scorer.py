"""The digit classifier that scores generated images: its features, its class probabilities, its committed weights.

    python misc/scorer.py     trains it anew, and writes misc/scorer.pt and misc/scorer.json

Small, and trained without label smoothing, because the inception score depends on calibration. Scores of different
classifiers do not compare, so its weights stay as they are, and results name their SHA-256: after a new training every
result.json is to be made anew (misc/tables.py refuses to mix them). Cross-entropy, Adam with one cycle of its step
size, and each image turned, scaled, sheared and shifted a little, anew every time it is seen."""

import functools
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Count, Positive, data  # noqa: E402
from common.files import replacing  # noqa: E402
from common.log import environment, say, write_json  # noqa: E402
from common.options import InputError, Seed, parse, refusing  # noqa: E402
from common.updates import descend, distorted, evaluating  # noqa: E402
from misc.places import writable_file  # noqa: E402

WEIGHTS = Path(__file__).with_suffix(".pt")
RECORD = Path(__file__).with_suffix(".json")  # their SHA-256, accuracy, and how they were made


class Scorer(nn.Module):
    """Images (N, 1, 32, 32) in [0, 1] -> logits (N, 10) of the digits.

    `features` (N, 128), at least 0, is the layer before the last."""

    num_features = 128

    def __init__(self):
        super().__init__()
        layers, before = [nn.Conv2d(1, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU()], 32  # 16 x 16
        for width in (64, 128, 128):  # 8 x 8, 4 x 4, 2 x 2 after the pooling
            layers += [nn.Conv2d(before, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            before = width
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.25), nn.Linear(before * 2 * 2, self.num_features),
                                  nn.ReLU())
        self.head = nn.Linear(self.num_features, 10)

    def features(self, images):
        return self.body(images)

    def forward(self, images):
        return self.head(self.body(images))


def sha256(path):
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def load(path=WEIGHTS, record=RECORD):
    """The committed classifier, frozen, in eval mode, on the CPU.

    Raises InputError where the weights are missing or are not the ones that the record beside them names."""
    try:
        expected = json.loads(record.read_text("utf-8"))["sha256"]
        found = sha256(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the scoring classifier cannot be read ({error}); git checkout misc restores it") from None
    if found != expected:
        raise InputError(f"{path} is not the scoring classifier of {record.name} (SHA-256 {found[:12]}…, not "
                         f"{expected[:12]}…); git checkout misc restores it")
    net = Scorer()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False)


def check(images):
    """Raises InputError where images are not uint8 (N, 1, 32, 32)."""
    if images.dtype != torch.uint8 or images.shape[1:] != (1, 32, 32):
        raise InputError(f"images must be uint8 (N, 1, 32, 32), not {images.dtype} {tuple(images.shape)}")


@torch.no_grad()
def score(images, size=1000):
    """Features (N, 128) and logits (N, 10), float32 on the CPU, of images uint8 (N, 1, 32, 32).

    Raises InputError as `check` does."""
    check(images)
    net = load()
    features = torch.cat([net.features(part.float() / 255) for part in images.cpu().split(size)])
    return features, net.head(features)


@dataclass
class Options:
    """Trains the digit classifier that scores every model."""

    epochs: Count = 20  # passes over the 60,000 training images
    batch_size: Count = 128  # images in one update
    lr: Positive = 4e-3  # the highest step size of the cycle
    seed: Seed = 0  # of weights, order and distortions
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    out: Path = WEIGHTS  # where the weights go; their record goes beside them


def accuracy(net, dataset):
    with evaluating(net):
        return sum((net(x).argmax(1) == label).sum().item() for x, label in dataset.batches(1000)) / len(dataset)


def fit(net, train, updates, batch_size=128, lr=4e-3, seed=0, change=lambda x: x, told=lambda step: None):
    """Trains a network of logits on a data set, each batch changed by `change`, with one cycle of Adam's step size up
    to lr, and returns it. Calls told(updates done) after each update.

    Raises InputError where the set is smaller than a batch."""
    batches = data.Batches((train.images, train.labels), batch_size=batch_size, seed=seed)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, lr, updates)
    for step in tqdm(range(updates), unit="update", disable=None, leave=False):
        x, label = batches[step]
        descend((adam, F.cross_entropy(net(change(x)), label)))
        schedule.step()
        told(step + 1)
    return net


def main():
    opt = parse(Options)
    writable_file(opt.out, "--out", ".pt")
    root = data.data_dir(opt.data_dir)
    data.resolve("mnist", root)
    train, test = data.load("mnist", root), data.load("mnist", root, train=False)
    torch.manual_seed(opt.seed)
    net, per_epoch = Scorer().to(memory_format=torch.channels_last), len(train) // opt.batch_size

    def told(step):
        if step % per_epoch == 0:
            say(f"epoch {step // per_epoch}: accuracy on the test images {accuracy(net, test):.2%}")

    fit(net, train, max(1, opt.epochs * per_epoch), opt.batch_size, opt.lr, opt.seed, distorted, told)
    with replacing(opt.out) as file:
        torch.save(net.state_dict(), file)
    record = {"sha256": sha256(opt.out), "test_accuracy": accuracy(net, test),
              "train_accuracy": accuracy(net, train), "epochs": opt.epochs, "seed": opt.seed, **environment()}
    write_json(opt.out.with_suffix(".json"), record)
    say(f"{record['test_accuracy']:.2%} of the test images; see {opt.out}")


if __name__ == "__main__":
    with refusing("misc/scorer.py"):
        main()

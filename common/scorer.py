"""The digit classifier that scores generated images: its features, its class probabilities, its committed weights.

Small, and trained by misc/scorer.py without label smoothing, because the inception score depends on calibration.
Scores of different classifiers do not compare, so its weights stay as they are, and results name their SHA-256."""

import functools
import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from common.options import InputError

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
        raise InputError(f"the scoring classifier cannot be read ({error}); git checkout common restores it") from None
    if found != expected:
        raise InputError(f"{path} is not the scoring classifier of {record.name} (SHA-256 {found[:12]}…, not "
                         f"{expected[:12]}…); git checkout common restores it")
    net = Scorer()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False)


@torch.no_grad()
def score(images, size=1000):
    """Features (N, 128) and logits (N, 10), float32 on the CPU, of images uint8 (N, 1, 32, 32).

    Raises InputError on images of another shape."""
    if images.dtype != torch.uint8 or images.shape[1:] != (1, 32, 32):
        raise InputError(f"images must be uint8 (N, 1, 32, 32), not {images.dtype} {tuple(images.shape)}")
    net = load()
    features = torch.cat([net.features(part.float() / 255) for part in images.cpu().split(size)])
    return features, net.head(features)

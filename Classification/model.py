"""The classifier: 3 x 3 convolutions with pooling between them (after VGG, Simonyan & Zisserman 2014, arXiv 1409.1556),
and one fully connected layer."""

import copy

from torch import nn


def build(channels=1, image_size=32, classes=10, width=32):
    """net: images (N, channels, image_size, image_size) in [0, 1] -> logits (N, classes).
    net_ema: a copy of it, to hold the moving average of its weights.

    width: channels of the first stage. A stage is two convolutions and a pooling; each has twice the channels of the
    one before, on half its map, until this is 4 x 4. The last has one convolution."""
    layers, before, size = [], channels, image_size
    while size > 4:
        for inputs in (before, width) if size > 8 else (before,):
            layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        before, width, size = width, 2 * width, size // 2
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * size * size, classes))
    return {"net": net, "net_ema": copy.deepcopy(net)}

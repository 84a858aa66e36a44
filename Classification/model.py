"""The classifier: a convolutional feature extractor and one fully connected layer."""

import copy

from torch import nn

from common.blocks import Conv2d, initialize, stage_widths


def build(channels=1, image_size=32, classes=10, init="pytorch"):
    """net: images (N, channels, image_size, image_size) in [0, 1] -> logits (N, classes).
    net_ema: a copy of it, to hold the moving average of its weights."""
    layers, before = [], channels
    for width in stage_widths(image_size):  # 64 x 16 x 16, 128 x 8 x 8, 256 x 4 x 4, 512 x 2 x 2
        layers += [Conv2d(before, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.BatchNorm2d(width)]
        before = width
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 2 * 2, classes))
    initialize(net, init)
    return {"net": net, "net_ema": copy.deepcopy(net)}

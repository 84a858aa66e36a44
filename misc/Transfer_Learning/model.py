"""A small convolutional network in two parts: features, which are carried over from one task to another, and a fully
connected layer on them for each task."""

import copy

from torch import nn

from common.blocks import AtLeastFloat32, Conv2d, initialize, leaky, stage_widths


def build(channels_a=1, channels_b=1, image_size=32, classes_a=5, classes_b=5, width=16):
    """features: images (N, channels, image_size, image_size) in [0, 1] -> (N, 8 width); without normalisation, which
    would let frozen features change with the images' statistics.
    source, target: features -> logits (N, classes_a) and (N, classes_b).
    random: features as they start, which nothing trains.

    Raises ValueError where the images of a and b have not as many channels."""
    if channels_a != channels_b:
        raise ValueError(f"images of {channels_a} and of {channels_b} channels cannot share features")
    layers, before = [], channels_a
    for after in stage_widths(image_size, width):  # 16 x 16 x 16, 32 x 8 x 8, 64 x 4 x 4, 128 x 2 x 2
        layers += [Conv2d(before, after, 4, 2, 1), leaky()]
        before = after
    features = initialize(nn.Sequential(*layers, nn.Flatten(), AtLeastFloat32()), "he")
    return {"features": features, "source": nn.Linear(before * 4, classes_a),
            "target": nn.Linear(before * 4, classes_b), "random": copy.deepcopy(features)}

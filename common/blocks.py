"""The two convolutional stacks that the models share, from an image to a vector and back (DCGAN, arXiv 1511.06434).
Every convolution is 4 x 4 with stride 2 and padding 1, without bias; Down's last is 2 x 2, with one."""

import math
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from common.layers import Conv2d, ConvTranspose2d


def stage_widths(image_size, first=64):
    """Channels after each halving down to 2 x 2: 64, 128, 256, 512 for 32 x 32 images, then 1024 for 64 x 64."""
    return tuple(first * 2**i for i in range(int(math.log2(image_size)) - 1))


def normalisation(norm, width, batch=nn.BatchNorm2d):
    """The layers that follow one of `width` channels: norm is "batch", "none", or a function of the width that makes
    another; else ValueError."""
    if callable(norm):
        return [norm(width)]
    if norm not in ("batch", "none"):
        raise ValueError(f"norm must be 'batch' or 'none', not {norm!r}")
    return [batch(width)] if norm == "batch" else []


def left_out(dropout):
    """The layers that leave out a share of their inputs in training, none where it is 0."""
    return [nn.Dropout(dropout)] if dropout else []


def at_least_float32(x):
    """bf16 -> float32, float32 and float64 as they are: last activations and losses are not computed in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class AtLeastFloat32(nn.Module):
    """`at_least_float32` as a layer."""

    def forward(self, x):
        return at_least_float32(x)


class MLP(nn.Sequential):
    """Vectors (N, widths[0]) -> (N, widths[-1]), float32, by fully connected layers with ReLU between them.

    Weights start from N(0, 2 / inputs), biases at 0 (He et al. 2015, arXiv 1502.01852): from PyTorch's default, smaller
    by a factor of 2.4, deep ones learn several times more slowly.

    Args:
        activation: applied last, in float32; default none.
        dropout: the share of what each ReLU gives that is left out in training."""

    def __init__(self, *widths, activation=None, dropout=0.0):
        layers = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), *left_out(dropout)]
        super().__init__(*layers[:-1 - (dropout > 0)], AtLeastFloat32(), *([activation] if activation else []))
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)


def leaky():
    """What follows the convolutions of a discriminator."""
    return nn.LeakyReLU(0.2)


class Down(nn.Sequential):
    """Images (N, channels, S, S) in [0, 1] -> (N, out): discriminators, critics, encoders.

    Conv, LeakyReLU(0.2) at the first stage; Conv, norm, LeakyReLU(0.2) at the others; then one Conv over the 2 x 2 map.

    Args:
        widths: channels after each stage, S = 2 * 2**len(widths); default `stage_widths(image_size)`.
        norm: as for `normalisation`; with "none" the convolutions have a bias.
        activation: applied last, in float32, for instance nn.Sigmoid(); default none, so that the outputs are logits.
        dropout: the share of what each stage gives that is left out in training.
    Raises ValueError where widths and image_size do not fit."""

    def __init__(self, channels=1, out=1, image_size=32, widths=None, norm="batch", activation=None, dropout=0.0):
        widths = check_widths(stage_widths(image_size) if widths is None else widths, image_size)
        layers = [Conv2d(channels, widths[0], 4, 2, 1, bias=norm == "none"), leaky(), *left_out(dropout)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [Conv2d(before, after, 4, 2, 1, bias=norm == "none"), *normalisation(norm, after),
                       leaky(), *left_out(dropout)]
        layers += [Conv2d(widths[-1], out, 2, 1, 0), nn.Flatten(), AtLeastFloat32()]
        super().__init__(*layers, *([activation] if activation else []))


class Patches(nn.Sequential):
    """Images (N, channels, S, S) -> one number for each of many overlapping patches (N, 1, h, w): discriminators after
    pix2pix (arXiv 1611.07004, section 3.2.2). No normalisation at the first stage, one 3 x 3 convolution at the end.

    Args:
        stages: halvings; a patch has 8, 18 or 38 pixels a side with 1, 2 or 3 of them. norm: as for Down."""

    def __init__(self, channels=1, width=32, stages=2, norm="batch"):
        layers = [Conv2d(channels, width, 4, 2, 1), leaky()]
        for _ in range(stages - 1):
            layers += [Conv2d(width, 2 * width, 4, 2, 1, bias=norm == "none"), *normalisation(norm, 2 * width), leaky()]
            width *= 2
        super().__init__(*layers, nn.Conv2d(width, 1, 3, 1, 1), AtLeastFloat32())


class Up(nn.Sequential):
    """Latent vectors (N, latent_dim) -> images (N, channels, S, S) in [0, 1]: generators, decoders.

    ConvTranspose, norm, ReLU at each stage, from a 1 x 1 map on; then one ConvTranspose and the last activation.

    Args:
        widths: channels after each stage but the last; default: those of Down, reversed. norm: as for Down.
        activation: applied last, in float32; default sigmoid. nn.Identity() gives logits.
    Raises ValueError where widths and image_size do not fit."""

    def __init__(self, latent_dim=100, channels=1, image_size=32, widths=None, norm="batch", activation=None):
        widths = check_widths(stage_widths(image_size)[::-1] if widths is None else widths, image_size)
        layers = []
        for before, after in zip((latent_dim, *widths), widths, strict=False):
            layers += [ConvTranspose2d(before, after, 4, 2, 1, bias=norm == "none"), *normalisation(norm, after),
                       nn.ReLU()]
        layers += [ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=norm == "none"), AtLeastFloat32()]
        super().__init__(*layers, activation or nn.Sigmoid())
        self.latent_dim = latent_dim

    def forward(self, z):
        return super().forward(z.view(-1, self.latent_dim, 1, 1))


class DenseUp(MLP):
    """Latent vectors (N, latent_dim) -> images (N, *shape) in [0, 1], fully connected, by hidden layers so wide.
    activation: as for Up."""

    def __init__(self, latent_dim, hidden, shape, activation=None):
        super().__init__(latent_dim, *hidden, math.prod(shape),
                         activation=nn.Sequential(activation or nn.Sigmoid(), nn.Unflatten(1, shape)))
        self.latent_dim = latent_dim


class DenseDown(MLP):
    """Images (N, *shape) -> (N, out), fully connected, by hidden layers so wide; activation, dropout: as for MLP."""

    def __init__(self, shape, hidden, out, activation=None, dropout=0.0):
        super().__init__(math.prod(shape), *hidden, out, activation=activation, dropout=dropout)

    def forward(self, x):
        return super().forward(x.flatten(1))


class ShallowDown(nn.Sequential):
    """Images (N, channels, S, S) -> codes (N, out): two Conv and one fully connected layer, with ReLU between them and
    norm after all but the first, also after the last, there without scale and shift.

    Args:
        width: channels of the first stage; the second has twice as many.
        norm: "batch" or "none", as for Down."""

    def __init__(self, channels=1, out=16, image_size=32, width=32, norm="batch"):
        bias, flat = norm == "none", 2 * width * (image_size // 4)**2
        super().__init__(Conv2d(channels, width, 4, 2, 1), nn.ReLU(),
                         Conv2d(width, 2 * width, 4, 2, 1, bias=bias), *normalisation(norm, 2 * width), nn.ReLU(),
                         nn.Flatten(), nn.Linear(flat, out, bias=bias),
                         *normalisation(norm, out, partial(nn.BatchNorm1d, affine=False)))


class ShallowUp(nn.Sequential):
    """Codes (N, code) -> images (N, channels, S, S) in [0, 1]: the mirror of ShallowDown, with a sigmoid at the end."""

    def __init__(self, code=16, channels=1, image_size=32, width=32, norm="batch"):
        bias, side = norm == "none", image_size // 4
        flat = 2 * width * side**2
        super().__init__(nn.Linear(code, flat, bias=bias), *normalisation(norm, flat, nn.BatchNorm1d), nn.ReLU(),
                         nn.Unflatten(1, (2 * width, side, side)),
                         ConvTranspose2d(2 * width, width, 4, 2, 1, bias=bias), *normalisation(norm, width), nn.ReLU(),
                         ConvTranspose2d(width, channels, 4, 2, 1), AtLeastFloat32(), nn.Sigmoid())


def check_widths(widths, image_size):
    """Returns widths as a tuple; raises ValueError unless each halves the image once, down to 2 x 2."""
    if not widths or image_size != 2 * 2 ** len(widths):
        raise ValueError(f"{len(widths)} widths take images of {2 * 2 ** len(widths)} pixels, not {image_size}")
    return tuple(widths)


def is_normalisation(layer):
    """Whether a layer scales and shifts each channel, as BatchNorm and its relatives do where they are affine."""
    weight, bias = (getattr(layer, name, None) for name in ("weight", "bias"))
    return weight is not None and bias is not None and weight.dim() == 1


@torch.no_grad()
def initialize(network, init):
    """Initialises all weights of a network and returns it.

    Args:
        init: "pytorch": the layers' own default, Kaiming uniform. "dcgan": weights of convolutions from N(0, 0.02), of
            normalisations from N(1, 0.02), biases 0 (1511.06434, section 4). "he": weights from N(0, 2 / inputs),
            biases 0 (1502.01852), which keeps the variance of what passes through ReLU, also without BatchNorm.
    Raises ValueError on others."""
    if init not in ("pytorch", "dcgan", "he"):
        raise ValueError(f"init must be 'pytorch', 'dcgan' or 'he', not {init!r}")
    for layer in network.modules():
        if init != "dcgan" and hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
        if init != "pytorch" and isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            inputs = layer.weight[0].numel()  # that each output sees, borders aside
            if isinstance(layer, nn.ConvTranspose2d):  # stride s: every s-th row and column of the kernel
                inputs = layer.weight[:, 0].numel() // math.prod(layer.stride)
            layer.weight.normal_(0, 0.02 if init == "dcgan" else math.sqrt(2 / inputs))
            if layer.bias is not None:
                layer.bias.zero_()
        elif init == "dcgan" and is_normalisation(layer):
            layer.weight.normal_(1, 0.02)
            layer.bias.zero_()
    return network

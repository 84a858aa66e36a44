"""The networks of the CycleGAN (arXiv 1703.10593), smaller, for 32 x 32."""

import copy

from torch import nn

from common.blocks import AtLeastFloat32, Conv2d, ConvTranspose2d, Patches, initialize
from common.updates import evaluating


def build(channels_a=1, channels_b=1, image_size=32, width=32, d_width=32, d_stages=3, blocks=2, average=True):
    """G: images of a (N, channels_a, S, S) -> images of b in [0, 1]; F: from b to a.
    D_a, D_b: images of a, of b -> scores (N, 1, h, w), any number, one a patch.
    G_ema, F_ema (where average): copies of G and F, to hold the moving averages of their weights.

    width, d_width: channels of the stages next to the images. d_stages: of D_a and D_b, see `Patches`. blocks: residual
    blocks of G and of F."""
    nets = {"G": Translator(channels_a, channels_b, width, blocks),
            "F": Translator(channels_b, channels_a, width, blocks),
            "D_a": Patches(channels_a, d_width, d_stages, norm=nn.InstanceNorm2d),
            "D_b": Patches(channels_b, d_width, d_stages, norm=nn.InstanceNorm2d)}
    nets = {name: initialize(net, "he") for name, net in nets.items()}
    if average:
        nets |= {f"{name}_ema": copy.deepcopy(nets[name]) for name in "GF"}
    return nets


class Residual(nn.Module):
    """Maps (N, width, h, w) -> themselves and what two 3 x 3 convolutions add."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.InstanceNorm2d(width), nn.ReLU(),
                                 nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.InstanceNorm2d(width))

    def forward(self, x):
        return x + self.net(x)


class Translator(nn.Sequential):
    """Images (N, channels, S, S) -> images (N, out, S, S) in [0, 1]: two stages down, residual blocks, two up."""

    def __init__(self, channels, out, width, blocks):
        super().__init__(
            Conv2d(channels, width, 4, 2, 1, bias=False), nn.InstanceNorm2d(width), nn.ReLU(),
            Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.InstanceNorm2d(2 * width), nn.ReLU(),
            *(Residual(2 * width) for _ in range(blocks)),
            ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.InstanceNorm2d(width), nn.ReLU(),
            ConvTranspose2d(width, out, 4, 2, 1), AtLeastFloat32(), nn.Sigmoid())


def translate(nets, x, direction):
    """Images x (N, C, S, S) in [0, 1] of a ("ab") or of b ("ba") -> float32 images of the other, by the moving averages
    of G and F where there are some; in eval mode."""
    name = {"ab": "G", "ba": "F"}[direction]
    net = nets.get(f"{name}_ema", nets[name])
    with evaluating(net):
        return net(x.to(next(net.parameters()).device))

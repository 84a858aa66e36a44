"""The networks of UNIT (arXiv 1703.00848), smaller, for 32 x 32: coders for two domains, which share layers."""

import copy

from torch import nn

from common.blocks import AtLeastFloat32, Conv2d, ConvTranspose2d, Patches, initialize
from common.updates import evaluating


def build(channels_a=1, channels_b=1, image_size=32, width=32, d_width=32, d_stages=3, shared=True, average=True):
    """E: images and their domain, "a" or "b" -> mu (N, 2 width, S / 4, S / 4), the mean of their code z ~ N(mu, I).
    G: codes and a domain -> images of it (N, C, S, S) in [0, 1].
    D_a, D_b: images of a, of b -> logits (N, 1, h, w), one a patch.
    E_ema, G_ema (where average): copies of E and G, to hold the moving averages of their weights.

    width, d_width: channels of the stages next to the images. d_stages: of D_a and D_b, see `Patches`. shared: whether
    the domains share E's last layers and G's first ones."""
    channels = {"a": channels_a, "b": channels_b}
    nets = {"E": Encoder(channels, width, shared), "G": Decoder(channels, width, shared),
            "D_a": Patches(channels_a, d_width, d_stages, norm=nn.InstanceNorm2d),
            "D_b": Patches(channels_b, d_width, d_stages, norm=nn.InstanceNorm2d)}
    nets = {name: initialize(net, "he") for name, net in nets.items()}
    if average:
        nets |= {f"{name}_ema": copy.deepcopy(nets[name]) for name in "EG"}
    return nets


class Residual(nn.Module):
    """Maps (N, width, h, w) -> themselves and what two 3 x 3 convolutions add."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.InstanceNorm2d(width), nn.ReLU(),
                                 nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.InstanceNorm2d(width))

    def forward(self, x):
        return x + self.net(x)


def for_both(make, shared):
    """{"a", "b"}: what make() gives, the same for both domains where they share it, and registered once."""
    one = make()
    return nn.ModuleDict({"a": one, "b": one if shared else make()})


class Encoder(nn.Module):
    """Images of a domain -> mu: two stages down, each domain's own, then a residual block and a convolution. Nothing
    normalises mu, whose size is what the KL divergence is about."""

    def __init__(self, channels, width, shared):
        super().__init__()
        self.own = nn.ModuleDict({name: nn.Sequential(
            Conv2d(inputs, width, 4, 2, 1, bias=False), nn.InstanceNorm2d(width), nn.ReLU(),
            Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.InstanceNorm2d(2 * width), nn.ReLU())
            for name, inputs in channels.items()})
        self.last = for_both(lambda: nn.Sequential(Residual(2 * width), nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
                                                   AtLeastFloat32()), shared)

    def forward(self, x, domain):
        return self.last[domain](self.own[domain](x))


class Decoder(nn.Module):
    """Codes -> images of a domain: a residual block, then two stages up, each domain's own."""

    def __init__(self, channels, width, shared):
        super().__init__()
        self.first = for_both(lambda: Residual(2 * width), shared)
        self.own = nn.ModuleDict({name: nn.Sequential(
            ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.InstanceNorm2d(width), nn.ReLU(),
            ConvTranspose2d(width, out, 4, 2, 1), AtLeastFloat32(), nn.Sigmoid()) for name, out in channels.items()})

    def forward(self, z, domain):
        return self.own[domain](self.first[domain](z))


def encode(nets, x, domain):
    """mu of images (N, C, S, S) of a domain, from E_ema where there is one, else from E; in eval mode."""
    E = nets.get("E_ema", nets["E"])
    with evaluating(E):
        return E(x.to(next(E.parameters()).device), domain)


def translate(nets, x, direction):
    """Images x (N, C, S, S) in [0, 1] of a ("ab") or of b ("ba") -> float32 images of the other, of their mu, by the
    moving averages of E and G where there are some; in eval mode."""
    G = nets.get("G_ema", nets["G"])
    with evaluating(G):
        return G(encode(nets, x, direction[0]), direction[1])

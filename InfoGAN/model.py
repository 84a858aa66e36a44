"""The networks of the InfoGAN (arXiv 1606.03657, appendix C.1): G with codes beside z, D, and Q, which reads the codes,
on the features of D."""

import copy

import torch
from torch import nn
from torch.nn.functional import one_hot

from common.blocks import AtLeastFloat32, initialize
from common.layers import Conv2d, ConvTranspose2d
from common.updates import evaluating


class Generator(nn.Module):
    """z (N, latent_dim), c int64 (N,), u (N, continuous) -> images in [0, 1], by a network that takes z, the one-hot c
    and u."""

    def __init__(self, net, latent_dim, codes, continuous):
        super().__init__()
        self.net, self.latent_dim, self.codes, self.continuous = net, latent_dim, codes, continuous

    def forward(self, z, c, u):
        return self.net(torch.cat([z, one_hot(c, self.codes).to(z), u], 1))


class Discriminator(nn.Module):
    """Images (N, C, S, S) -> (logits of being real (N, 1), the features (N, F) that they and Q rest on)."""

    def __init__(self, trunk, features):
        super().__init__()
        self.trunk, self.head = trunk, nn.Sequential(nn.Linear(features, 1), AtLeastFloat32())

    def forward(self, x):
        features = self.trunk(x)
        return self.head(features), features


class Reader(nn.Module):
    """Q(c, u|x): features (N, F) -> (logits of c (N, codes), the mean of u (N, continuous))."""

    def __init__(self, features, codes, continuous):
        super().__init__()
        self.net = nn.Sequential(*dense(features, 128, nn.LeakyReLU(0.1)), nn.Linear(128, codes + continuous),
                                 AtLeastFloat32())
        self.codes = codes

    def forward(self, features):
        return self.net(features).tensor_split([self.codes], 1)


def dense(inputs, outputs, activation):
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), activation


def build(latent_dim=8, codes=10, continuous=2, channels=1, image_size=32, width=32, init="he", average=True):
    """G: z (N, latent_dim), c int64 (N,) below `codes`, u (N, continuous) in [-1, 1] -> images (N, channels,
    image_size, image_size) in [0, 1].
    D: images -> logits (N, 1), the sigmoid of which is D(x), and features (N, 16 * width).
    Q: features -> logits (N, codes), the softmax of which is Q(c|x), and the means (N, continuous) of Q(u|x).
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    Args:
        image_size: a multiple of 4.
        width: channels of the stage next to the images, in G and in D; the paper's has 64."""
    side, features = image_size // 4, 16 * width
    G = nn.Sequential(
        *dense(latent_dim + codes + continuous, features, nn.ReLU()),
        *dense(features, 2 * width * side**2, nn.ReLU()), nn.Unflatten(1, (2 * width, side, side)),
        ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        ConvTranspose2d(width, channels, 4, 2, 1), AtLeastFloat32(), nn.Sigmoid())
    trunk = nn.Sequential(
        Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.1),
        Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.1),
        nn.Flatten(), *dense(2 * width * side**2, features, nn.LeakyReLU(0.1)))
    nets = {"G": Generator(G, latent_dim, codes, continuous), "D": Discriminator(trunk, features),
            "Q": Reader(features, codes, continuous)}
    for net in nets.values():
        initialize(net, init)
    if average:
        nets["G_ema"] = copy.deepcopy(nets["G"])
    return nets


def sample(nets, n, labels=None, z=None, generator=None, u=None):
    """n images, float32 (n, C, H, W) in [0, 1], from G_ema where there is one, else from G; in eval mode.

    Args:
        labels: int64 (n,), the categorical codes; drawn uniformly with `generator` where None.
        z: latent vectors (n, latent_dim); drawn uniformly from [-1, 1] with `generator` where None.
        u: continuous codes (n, continuous); drawn uniformly from [-1, 1] with `generator` where None."""
    G = nets.get("G_ema", nets["G"])
    device = next(G.parameters()).device
    how = {"generator": generator, "device": generator.device if generator else None}
    if z is None:
        z = 2 * torch.rand(n, G.latent_dim, **how) - 1
    if labels is None:
        labels = torch.randint(G.codes, (n,), **how)
    if u is None:
        u = 2 * torch.rand(n, G.continuous, **how) - 1
    with evaluating(G):
        return G(z.to(device), labels.to(device), u.to(device))


def read(nets, x):
    """What Q reads in images (N, C, H, W), in eval mode: logits of c (N, codes) and the means of u (N, continuous)."""
    with evaluating(nets["D"], nets["Q"]):
        return nets["Q"](nets["D"](x)[1])


def grid(codes, fixed, latent_dim):
    """What `sample` takes for a picture of up to ten rows, a row a category, with the same z and u in each.

    fixed: (columns, latent_dim + continuous), z beside u, as drawn from a normal distribution."""
    uniform = torch.erf(fixed / 2**0.5)  # in [-1, 1]
    rows, z, u = min(codes, 10), uniform[:, :latent_dim], uniform[:, latent_dim:]
    return {"n": rows * len(fixed), "labels": torch.arange(rows).repeat_interleave(len(fixed)),
            "z": z.repeat(rows, 1), "u": u.repeat(rows, 1)}

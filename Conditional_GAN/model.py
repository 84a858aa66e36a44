"""The networks of the conditional GAN: those of the GAN (DCGAN's, arXiv 1511.06434) with the label as a further input,
and the fully connected ones of the paper (arXiv 1411.1784, section 4.1)."""

import copy
import math

import torch
from torch import nn
from torch.nn.functional import one_hot

from common.blocks import AtLeastFloat32, Down, Up, at_least_float32, initialize, normalisation, stage_widths
from common.updates import evaluating


class VirtualBatchNorm(nn.Module):
    """Virtual batch normalisation (Salimans et al. 2016, arXiv 1606.03498, section 3.5) of (n + N, width, ...), of
    which the first n are the reference batch.

    That one is normalised by its own statistics; any other by those of the reference batch joined by itself alone, its
    own mean and mean square with the weight 1 / (n + 1). So what comes out for it does not depend on its batch."""

    def __init__(self, width, n, eps=1e-5):
        super().__init__()
        self.n, self.eps = n, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        flat = at_least_float32(x).flatten(2) if x.dim() > 2 else at_least_float32(x)[..., None]
        own, variance = flat.mean(2), flat.var(2, unbiased=False)  # (n + N, width)
        reference = own[:self.n].mean(0)
        spread = (variance[:self.n] + (own[:self.n] - reference).square()).mean(0)
        share = torch.cat([own.new_zeros(self.n, 1), own.new_full((len(x) - self.n, 1), 1 / (self.n + 1))])
        mean = share * own + (1 - share) * reference
        variance = share * (variance + (own - mean).square()) + (1 - share) * (spread + (reference - mean).square())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shape = (*mean.shape, *[1] * (x.dim() - 2))
        return (x * scale.view(shape) + (self.bias - mean * scale).view(shape)).to(x.dtype)


class Generator(nn.Module):
    """z (N, latent_dim), labels int64 (N,) -> images in [0, 1], by a network that takes z and the one-hot label.

    With a reference batch, for virtual batch normalisation, that batch goes through the network in front of every
    other: `VirtualBatchNorm` takes its statistics from there. Its z and labels are drawn once and kept."""

    def __init__(self, net, latent_dim, classes, reference=0):
        super().__init__()
        self.net, self.latent_dim, self.classes = net, latent_dim, classes
        self.register_buffer("z_reference", torch.randn(reference, latent_dim))
        self.register_buffer("label_reference", torch.arange(reference) % classes)

    def forward(self, z, label):
        z, label = torch.cat([self.z_reference, z]), torch.cat([self.label_reference, label])
        return self.net(torch.cat([z, one_hot(label, self.classes).to(z)], 1))[len(self.z_reference):]


class Discriminator(nn.Module):
    """Images (N, C, S, S), labels int64 (N,) -> logits (N, 1), by a network that takes the one-hot label as so many
    further channels of the image, each 0 everywhere or 1 / 4.

    1 / 4, as the 16 pixels that a kernel sees of it are all the same: with 1 a step of its weights, which agree, moves
    the output so far that D learns nothing else."""

    def __init__(self, net, classes):
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, x, label):
        planes = (one_hot(label, self.classes).to(x) / 4)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.net(torch.cat([x, planes], 1))


class DenseGenerator(nn.Module):
    """z and the one-hot label, side by side (N, latent_dim + classes) -> images (N, *shape) in [0, 1]: a layer of its
    own for z (200 units) and for the label (1,000), then a joint one (1,200), each with ReLU."""

    def __init__(self, latent_dim, classes, shape, norm):
        super().__init__()
        self.split, self.shape = (latent_dim, classes), shape
        self.z, self.label = nn.Linear(latent_dim, 200), nn.Linear(classes, 1000)
        norms = [[nn.BatchNorm1d(1200)] if norm == "batch" else normalisation(norm, 1200) for _ in range(2)]
        self.joint = nn.Sequential(*norms[0], nn.ReLU(), nn.Linear(1200, 1200), *norms[1], nn.ReLU(),
                                   nn.Linear(1200, math.prod(shape)), AtLeastFloat32(), nn.Sigmoid())

    def forward(self, inputs):
        z, label = inputs.split(self.split, 1)
        return self.joint(torch.cat([self.z(z), self.label(label)], 1)).unflatten(1, self.shape)


class Maxout(nn.Linear):
    """Vectors (N, before) -> (N, units): each the greatest of `pieces` linear ones (Goodfellow et al. 2013,
    arXiv 1302.4389)."""

    def __init__(self, before, units, pieces):
        super().__init__(before, units * pieces)
        self.pieces = pieces

    def forward(self, x):
        return super().forward(x).unflatten(1, (-1, self.pieces)).amax(2)


class DenseDiscriminator(nn.Module):
    """Images (N, *shape), labels int64 (N,) -> logits (N, 1): maxout layers for the image (240 units of 5 pieces) and
    the label (50 of 5), then a joint one (240 of 4), each with dropout of one half."""

    def __init__(self, classes, shape):
        super().__init__()
        self.classes = classes
        self.image, self.label = Maxout(math.prod(shape), 240, 5), Maxout(classes, 50, 5)
        self.joint = nn.Sequential(nn.Dropout(0.5), Maxout(290, 240, 4), nn.Dropout(0.5), nn.Linear(240, 1),
                                   AtLeastFloat32())

    def forward(self, x, label):
        label = one_hot(label, self.classes).to(x)
        return self.joint(torch.cat([self.image(x.flatten(1)), self.label(label)], 1))


def build(latent_dim=100, channels=1, image_size=32, classes=10, networks="conv", norm="batch", reference=32,
          g_width=32, d_width=32, init="pytorch", average=True):
    """G: z (N, latent_dim), labels int64 (N,) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images, labels -> logits (N, 1), the sigmoid of which is the paper's D(x|y).
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    Args:
        networks: "conv", or "dense": the paper's.
        norm: of G: "batch", "none", or "virtual": with a reference batch of so many images.
        g_width, d_width: channels of the convolutional G's last and of D's first stage."""
    shape = (channels, image_size, image_size)
    reference = reference if norm == "virtual" else 0
    if reference:
        def norm(width):
            return VirtualBatchNorm(width, reference)
    if networks == "dense":
        net, D = DenseGenerator(latent_dim, classes, shape, norm), DenseDiscriminator(classes, shape)
    else:
        net = Up(latent_dim + classes, channels, image_size, stage_widths(image_size, g_width)[::-1], norm)
        D = Discriminator(Down(channels + classes, 1, image_size, stage_widths(image_size, d_width)), classes)
    G, D = initialize(Generator(net, latent_dim, classes, reference), init), initialize(D, init)
    if networks == "conv" and init != "dcgan":  # of a label's planes one alone is not 0: D.net[0] has as few inputs
        with torch.no_grad():
            D.net[0].weight.mul_(math.sqrt((channels + classes) / (channels + 1)))
    nets = {"G": G, "D": D}
    if average:
        nets["G_ema"] = copy.deepcopy(G)
    return nets


def sample(nets, n, labels, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], of the classes `labels`, from G_ema where there is one, else from G; in
    eval mode.

    Args:
        labels: int64 (n,).
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    G = nets.get("G_ema", nets["G"])
    if z is None:
        z = torch.randn(n, G.latent_dim, generator=generator, device=generator.device if generator else None)
    with evaluating(G):
        return G(z.to(G.z_reference.device), labels.to(G.z_reference.device))

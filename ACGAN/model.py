"""The networks of the ACGAN: those of the GAN (DCGAN's, arXiv 1511.06434), G with the label beside z, D with a class
for each image beside its verdict (arXiv 1610.09585)."""

import copy

import torch
from torch import nn
from torch.nn.functional import one_hot

from common.blocks import Down, Up, initialize, stage_widths
from common.updates import evaluating


class Generator(nn.Module):
    """z (N, latent_dim), labels int64 (N,) -> images in [0, 1], by a network that takes z and the one-hot label."""

    def __init__(self, net, latent_dim, classes):
        super().__init__()
        self.net, self.latent_dim, self.classes = net, latent_dim, classes

    def forward(self, z, label):
        return self.net(torch.cat([z, one_hot(label, self.classes).to(z)], 1))


class Discriminator(nn.Module):
    """Images (N, C, S, S) -> (logits of being real (N, 1), logits of the classes (N, classes)), the 1 + classes outputs
    of one network, so that both rest on the same features."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).tensor_split([1], 1)


def build(latent_dim=100, channels=1, image_size=32, classes=10, norm="batch", g_width=32, d_width=32, init="he",
          average=True):
    """G: z (N, latent_dim), labels int64 (N,) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images -> logits (N, 1), the sigmoid of which is the paper's P(S = real|x), and logits (N, classes), the softmax
    of which is its P(C|x).
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    g_width, d_width: channels of G's last and of D's first stage. norm: of G, "batch" or "none"."""
    G = Up(latent_dim + classes, channels, image_size, stage_widths(image_size, g_width)[::-1], norm)
    D = Discriminator(Down(channels, 1 + classes, image_size, stage_widths(image_size, d_width)))
    nets = {"G": initialize(Generator(G, latent_dim, classes), init), "D": initialize(D, init)}
    if average:
        nets["G_ema"] = copy.deepcopy(nets["G"])
    return nets


def sample(nets, n, labels, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], of the classes `labels`, from G_ema where there is one, else from G; in
    eval mode.

    Args:
        labels: int64 (n,).
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    G = nets.get("G_ema", nets["G"])
    device = next(G.parameters()).device
    if z is None:
        z = torch.randn(n, G.latent_dim, generator=generator, device=generator.device if generator else None)
    with evaluating(G):
        return G(z.to(device), labels.to(device))

"""The networks of the VAE-GAN (arXiv 1512.09300): the G and D of the GAN (DCGAN's, arXiv 1511.06434), and an encoder of
D's stages. G is the decoder, too."""

import copy

from torch import nn

from common.blocks import AtLeastFloat32, Down, Up, at_least_float32, initialize, stage_widths
from common.updates import evaluating, sample_from


class Encoder(nn.Module):
    """Images (N, C, S, S) -> mean mu and log-variance of q(z|x), each (N, latent_dim), float32."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).chunk(2, 1)


class Discriminator(nn.Module):
    """Images (N, C, S, S) -> (logits of being real (N, 1), the features of stage 2, (N, 2 width, S / 4, S / 4), or 3,
    (N, 4 width, S / 8, S / 8), float32)."""

    def __init__(self, channels, image_size, widths, stage):
        super().__init__()
        layers = list(Down(channels, 1, image_size, widths))
        cut = 3 * stage - 1  # Conv, BatchNorm and LeakyReLU a stage, the first without BatchNorm
        self.trunk, self.head = nn.Sequential(*layers[:cut], AtLeastFloat32()), nn.Sequential(*layers[cut:])

    def forward(self, x):
        features = self.trunk(x)
        return self.head(features), features


def build(latent_dim=20, channels=1, image_size=32, g_width=48, width=32, stage=3, init="he", average=True):
    """E: images (N, channels, image_size, image_size) in [0, 1] -> mu, logvar (N, latent_dim).
    G: z (N, latent_dim) -> images. D: images -> logits (N, 1) and features.
    G_ema, E_ema (where average): copies of G and E, to hold the moving averages of their weights.

    Args:
        g_width, width: channels of the stages next to the images, of G, and of E and D.
        stage: 2 or 3, of D, the one that gives the features."""
    widths = stage_widths(image_size, width)
    nets = {"E": Encoder(Down(channels, 2 * latent_dim, image_size, widths)),
            "G": Up(latent_dim, channels, image_size, stage_widths(image_size, g_width)[::-1]),
            "D": Discriminator(channels, image_size, widths, stage)}
    for net in nets.values():
        initialize(net, init)
    if average:
        nets |= {"G_ema": copy.deepcopy(nets["G"]), "E_ema": copy.deepcopy(nets["E"])}
    return nets


def encode(nets, x):
    """The means of q(z|x), (N, latent_dim), of images, from E_ema where there is one, else from E; in eval mode."""
    E = nets.get("E_ema", nets["E"])
    with evaluating(E):
        return at_least_float32(E(x)[0])


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], from G_ema where there is one, else from G; in eval mode.

    Args:
        labels: must be None: this model is not conditional.
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    return sample_from(nets.get("G_ema", nets["G"]), n, labels, z, generator)


def reconstruct(nets, x):
    """Images (N, C, H, W) in [0, 1] as they come back from the means of their codes, float32, of the same shape."""
    return sample(nets, len(x), z=encode(nets, x))

"""The networks of the BEGAN (arXiv 1703.10717): D an autoencoder, G of the form of its decoder, with ELU, a linear last
layer and no BatchNorm, as the paper's. The stages are those of the GAN (DCGAN's, arXiv 1511.06434)."""

import copy

from torch import nn

from common.blocks import Down, Up, at_least_float32, initialize, stage_widths
from common.updates import sample_from


class Autoencoder(nn.Module):
    """Images (N, C, S, S) -> L, how far they are from what the autoencoder makes of them: the mean over an image's
    pixels of |difference|^eta, of each image (N,)."""

    def __init__(self, encoder, decoder, eta):
        super().__init__()
        self.encoder, self.decoder, self.eta = encoder, decoder, eta

    def reconstruct(self, x):
        """Images (N, C, S, S) of the same shape; about in [0, 1] as those are."""
        return self.decoder(self.encoder(x))

    def forward(self, x):
        return at_least_float32(x - self.reconstruct(x)).abs().pow(self.eta).flatten(1).mean(1)


def build(latent_dim=64, channels=1, image_size=32, width=16, eta=2, init="he", average=True):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size), which `sample` clips to [0, 1].
    D: images -> L (N,), by a code of latent_dim numbers.
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    width: channels of the stages next to the images. eta: 1 or 2, the power of the error."""
    stages = stage_widths(image_size, width)
    G, decoder = (Up(latent_dim, channels, image_size, stages[::-1], "none", nn.Identity(), nn.ELU) for _ in range(2))
    encoder = Down(channels, latent_dim, image_size, stages, "none", hidden=nn.ELU)
    nets = {"G": G, "D": Autoencoder(encoder, decoder, eta)}
    for net in nets.values():
        initialize(net, init)
    if average:
        nets["G_ema"] = copy.deepcopy(nets["G"])
    return nets


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], from G_ema where there is one, else from G; in eval mode.

    Args:
        labels: must be None: this model is not conditional.
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    return sample_from(nets.get("G_ema", nets["G"]), n, labels, z, generator).clamp(0, 1)

"""The networks of the EBGAN (arXiv 1609.03126): the G of the GAN, and as D an autoencoder of the same stages."""

import copy

from torch import nn

from common.blocks import Down, Up, at_least_float32, initialize, stage_widths
from common.updates import sample_from


class Autoencoder(nn.Module):
    """Images (N, C, S, S) -> (energies (N,), codes (N, code)). The energy is the norm of what the decoder misses of the
    image (equation 13); in [0, 1] a digit that comes back black has about 9."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def reconstruct(self, x):
        """Images (N, C, S, S) in [0, 1] of the same shape."""
        return self.decoder(self.encoder(x))

    def forward(self, x):
        code = self.encoder(x)
        return at_least_float32(self.decoder(code) - x).flatten(1).norm(dim=1), code


def build(latent_dim=100, code=32, channels=1, image_size=32, g_width=32, d_width=32, init="he", average=True):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images -> energies (N,) and codes (N, code).
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    g_width, d_width: channels of the stages next to the images, of G and of D."""
    stages, mirrored = stage_widths(image_size, d_width), stage_widths(image_size, d_width)[::-1]
    nets = {"G": Up(latent_dim, channels, image_size, stage_widths(image_size, g_width)[::-1]),
            "D": Autoencoder(Down(channels, code, image_size, stages), Up(code, channels, image_size, mirrored))}
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
    return sample_from(nets.get("G_ema", nets["G"]), n, labels, z, generator)

"""The networks of the BEGAN (arXiv 1703.10717): the G of the GAN (DCGAN's, arXiv 1511.06434), and as D an autoencoder
with a code from a fully connected layer, as the paper's, but shallower, and with BatchNorm."""

import copy

from torch import nn

from common.blocks import ShallowDown, ShallowUp, Up, at_least_float32, initialize, stage_widths
from common.updates import sample_from


class Autoencoder(nn.Module):
    """Images (N, C, S, S) -> L, how far they are from what the autoencoder makes of them: the mean over an image's
    pixels of |difference|^eta, of each image (N,)."""

    def __init__(self, encoder, decoder, eta):
        super().__init__()
        self.encoder, self.decoder, self.eta = encoder, decoder, eta

    def reconstruct(self, x):
        """Images (N, C, S, S) of the same shape, in [0, 1]."""
        return self.decoder(self.encoder(x))

    def forward(self, x):
        return at_least_float32(x - self.reconstruct(x)).abs().pow(self.eta).flatten(1).mean(1)


def build(latent_dim=64, code=16, channels=1, image_size=32, g_width=48, d_width=32, norm="batch", eta=2, init="he",
          average=True):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images -> L (N,), by a code of `code` numbers.
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    Args:
        g_width, d_width: channels of the stages next to the images.
        norm: "batch", or "none": without BatchNorm in D.
        eta: 1 or 2, the power of the error."""
    nets = {"G": Up(latent_dim, channels, image_size, stage_widths(image_size, g_width)[::-1]),
            "D": Autoencoder(ShallowDown(channels, code, image_size, d_width, norm),
                             ShallowUp(code, channels, image_size, d_width, norm), eta)}
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

"""The networks of the EBGAN (arXiv 1609.03126): the G of the GAN, and as D a shallow autoencoder."""

import copy

from torch import nn

from common.blocks import DenseDown, DenseUp, ShallowDown, ShallowUp, Up, at_least_float32, initialize, stage_widths
from common.updates import sample_from


class Autoencoder(nn.Module):
    """Images (N, C, S, S) -> (energies (N,), codes (N, code)). The energy is the norm of what the decoder misses of the
    image (equation 13); in [0, 1] a digit that comes back black has about 9."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def reconstruct(self, x):
        """Images (N, C, S, S) of the same shape, in [0, 1]; dense: about."""
        return self.decoder(self.encoder(x))

    def forward(self, x):
        code = self.encoder(x)
        return at_least_float32(self.decoder(code) - x).flatten(1).norm(dim=1), code


def build(latent_dim=100, code=16, channels=1, image_size=32, networks="conv", g_width=48, d_width=32, g_layers=3,
          d_layers=3, dropout=0.0, init="he", average=True):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images -> energies (N,) and codes (N, code); dense: (N, d_width), the last hidden layer.
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    Args:
        networks: "conv"; the stages next to the images have g_width and d_width channels, the others 2, 4, ... times as
            many. Or "dense": fully connected, of so many layers, each so wide; D's decoder is the last of its.
        dropout: the share of what the layers of a dense D's encoder give that each step leaves out.
    Raises ValueError where a dense D has less than two layers."""
    if networks == "dense" and d_layers < 2:
        raise ValueError(f"a dense D has an encoder and a decoder, at least 2 layers, not {d_layers}")
    if networks == "dense":  # D's last layer is linear: it can bring black back as anything but black
        shape = (channels, image_size, image_size)
        nets = {"G": DenseUp(latent_dim, (g_width,) * (g_layers - 1), shape), "D": Autoencoder(
            DenseDown(shape, (d_width,) * (d_layers - 2), d_width, nn.ReLU(), dropout),
            DenseUp(d_width, (), shape, nn.Identity()))}
    else:
        nets = {"G": Up(latent_dim, channels, image_size, stage_widths(image_size, g_width)[::-1]), "D": Autoencoder(
            ShallowDown(channels, code, image_size, d_width), ShallowUp(code, channels, image_size, d_width))}
        nets = {name: initialize(net, init) for name, net in nets.items()}
    if average:
        nets["G_ema"] = copy.deepcopy(nets["G"])
    return nets


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], from G_ema where there is one, else from G; in eval mode.

    Args:
        labels: must be None: this model is not conditional.
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    return sample_from(nets.get("G_ema", nets["G"]), n, labels, z, generator)

"""The networks of the LSGAN: those of the GAN, DCGAN's generator and discriminator (arXiv 1511.06434) at 32 x 32."""

import copy

from common.blocks import Down, Up, initialize, stage_widths
from common.updates import sample_from


def build(latent_dim=100, channels=1, image_size=32, init="pytorch", norm="batch", g_width=48, d_width=32,
          average=True):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size) in [0, 1]; norm: "batch" or "none".
    D: images -> scores (N, 1), any number.
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    g_width, d_width: channels of the stages next to the images; the others have 2, 4, ... times as many."""
    nets = {"G": Up(latent_dim, channels, image_size, stage_widths(image_size, g_width)[::-1], norm),
            "D": Down(channels, 1, image_size, stage_widths(image_size, d_width))}
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

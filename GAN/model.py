"""The networks of the GAN: DCGAN's generator and discriminator (arXiv 1511.06434), or fully connected ones."""

import copy

from common.blocks import DenseDown, DenseUp, Down, Up, initialize, stage_widths
from common.updates import sample_from


def build(latent_dim=100, channels=1, image_size=32, networks="conv", init="pytorch", norm="batch", g_width=48,
          d_width=32, g_layers=3, d_layers=3, dropout=0.0, average=True):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images -> logits (N, 1), the sigmoid of which is the paper's D(x).
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    Args:
        networks: "conv"; the stages next to the images have g_width and d_width channels, the others 2, 4, ... times as
            many, with norm "batch" or "none" in G. Or "dense": fully connected, of so many layers, each so wide.
        dropout: the share of what D's layers give that each step leaves out."""
    if networks == "dense":
        shape = (channels, image_size, image_size)
        nets = {"G": DenseUp(latent_dim, (g_width,) * (g_layers - 1), shape),
                "D": DenseDown(shape, (d_width,) * (d_layers - 1), 1, dropout=dropout)}
    else:
        nets = {"G": Up(latent_dim, channels, image_size, stage_widths(image_size, g_width)[::-1], norm),
                "D": Down(channels, 1, image_size, stage_widths(image_size, d_width), dropout=dropout)}
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

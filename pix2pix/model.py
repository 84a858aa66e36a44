"""The networks of pix2pix (arXiv 1611.07004): a U-Net and a discriminator of patches, at 32 x 32."""

import copy

import torch
from torch import nn

from common.blocks import AtLeastFloat32, Conv2d, ConvTranspose2d, Patches, initialize, leaky, stage_widths
from common.updates import evaluating


def build(channels_a=1, channels_b=1, image_size=32, direction="ba", width=32, d_width=32, d_stages=2, dropout=0.5,
          conditional=True, average=True):
    """G: images of one domain (N, C, S, S) -> images of the other in [0, 1]; direction "ab", from a to b, or "ba".
    D: images (N, C, S, S), given (conditional) side by side with those that they were made from -> logits (N, 1, h, w),
    one a patch.
    G_ema (where average): a copy of G, to hold the moving average of its weights.

    width, d_width: channels of the stages next to the images. d_stages: of D, see `Patches`. dropout: of G's first two
    stages up, the only noise there is."""
    if direction not in ("ab", "ba"):
        raise ValueError(f"direction must be 'ab' or 'ba', not {direction!r}")
    channels, out = (channels_a, channels_b) if direction == "ab" else (channels_b, channels_a)
    nets = {"G": initialize(UNet(channels, out, image_size, width, dropout), "he"),
            "D": initialize(Patches(out + conditional * channels, d_width, d_stages), "he")}
    nets["G"].direction = direction
    if average:
        nets["G_ema"] = copy.deepcopy(nets["G"])
    return nets


def left_out(x, share, generator=None):
    """Dropout that is always on: x with a share of its elements at 0 and the others larger by as much."""
    kept = torch.rand(x.shape, generator=generator, device=generator.device if generator else x.device) >= share
    return x * (kept.to(x.device) / (1 - share)).to(x.dtype)


class UNet(nn.Module):
    """Images (N, channels, S, S) -> images (N, out, S, S) in [0, 1]: stages down to 2 x 2, and as many up, each of
    which sees what the one before it gives beside what the stage down to its size gave (section 3.2.1). What its
    dropout leaves out is drawn with `generator`."""

    def __init__(self, channels, out, image_size, width, dropout):
        super().__init__()
        self.dropout = dropout
        widths = [min(w, 4 * width) for w in stage_widths(image_size, width)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, (before, after) in enumerate(zip([channels, *widths], widths, strict=False)):
            self.down.append(nn.Sequential(Conv2d(before, after, 4, 2, 1, bias=i == 0),
                                           *([nn.BatchNorm2d(after)] if i else []), leaky()))
        inputs = widths[-1]
        for after in widths[-2::-1]:
            self.up.append(nn.Sequential(ConvTranspose2d(inputs, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after)))
            inputs = 2 * after
        self.last = nn.Sequential(ConvTranspose2d(inputs, out, 4, 2, 1), AtLeastFloat32(), nn.Sigmoid())

    def forward(self, x, generator=None):
        seen = []
        for stage in self.down:
            x = stage(x)
            seen.append(x)
        for i, (stage, beside) in enumerate(zip(self.up, seen[-2::-1], strict=True)):
            x = stage(x)
            x = left_out(x, self.dropout, generator) if i < 2 and self.dropout else x
            x = torch.cat([torch.relu(x), beside], 1)
        return self.last(x)


def translate(nets, x, direction, generator=None):
    """Images x (N, C, S, S) in [0, 1] of one domain -> float32 images of the other, by G_ema where there is one, else
    by G; in eval mode, but with dropout, as in the paper's section 3.3, drawn with `generator`.

    Raises ValueError where direction is not the one that G was trained for."""
    G = nets.get("G_ema", nets["G"])
    if direction != G.direction:
        raise ValueError(f"its G goes {G.direction[0]} to {G.direction[1]} alone")
    with evaluating(G):
        return G(x.to(next(G.parameters()).device), generator)

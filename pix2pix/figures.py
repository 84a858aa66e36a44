"""What is drawn of pix2pix: images, what G makes of them, and what they were made from."""

import torch

from common import beside
from common.images import and_back

model = beside(__file__, "model")


def pairs(run, n):
    """(x, y): n test images in [0, 1] of the domain that G starts from, and their counterparts."""
    a, b = (next(part.batches(n))[0] for part in run.test.sets)
    return (a, b) if run.options.direction == "ab" else (b, a)


def translated(run, nets, n=30):
    """n test images in rows of ten, below them their translations, then what is to come out: (3 n, C, H, W)."""
    x, y = pairs(run, n)
    return and_back(x, model.translate(nets, x, run.options.direction, torch.Generator().manual_seed(0)), y)


def draw(run, nets):
    """After a training, or from a checkpoint."""
    x = pairs(run, 1000)[0]
    drawn = torch.stack([model.translate(nets, x, run.options.direction, torch.Generator().manual_seed(seed))
                         for seed in range(8)])
    run.record({"spread over dropout": drawn.std(0).mean()})

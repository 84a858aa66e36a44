"""What is drawn of the CycleGAN: images, what they become in the other domain, and what comes back."""

import torch

from common import beside
from common.images import and_back

model = beside(__file__, "model")


def translated(run, nets, n=20):
    """n test images of a in rows of ten, below them their translations, below these what comes back, then the same from
    b: (6 n, C, H, W)."""
    a, b = (next(part.batches(n))[0] for part in run.test.sets)
    to_b, to_a = model.translate(nets, a, "ab"), model.translate(nets, b, "ba")
    return torch.cat([and_back(a, to_b, model.translate(nets, to_b, "ba")),
                      and_back(b, to_a, model.translate(nets, to_a, "ab"))])

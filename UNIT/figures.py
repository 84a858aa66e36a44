"""What is drawn of UNIT: images, what they become in the other domain, and what comes back; and measured: whether an
image and its counterpart have the same code."""

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


def draw(run, nets):
    """After a training, or from a checkpoint: among the codes of up to 1,000 images of b, how often that of an image's
    counterpart is the nearest, and how far it is, over how far the others are."""
    if run.test.exact:
        a, b = (model.encode(nets, next(part.batches(1000))[0], domain).flatten(1)
                for part, domain in zip(run.test.sets, "ab", strict=True))
        distance = torch.cdist(a, b)
        own = distance.diagonal()
        others = (distance.sum() - own.sum()) / max(1, distance.numel() - len(own))
        run.record({"counterpart is nearest": (distance.argmin(1) == torch.arange(len(a)).to(a.device)).float().mean(),
                    "distance of counterparts over others": own.mean() / others})

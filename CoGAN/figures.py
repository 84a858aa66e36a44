"""What is drawn and measured of the CoGAN: pairs, and what its classifier reads."""

import torch

from common import beside
from common.images import and_back

model = beside(__file__, "model")


def pairs(nets, z):
    """Images of a of latent vectors z (N, latent_dim) in rows of ten, and below each row those of b: (2 N, C, H, W)."""
    return and_back(*(model.sample(nets, len(z), z=z, domain=domain) for domain in "ab"))


def accuracy(nets, data, domain):
    """The share of a domain's images that the classifier on D's shared features reads."""
    return sum((model.classify(nets, x, domain).argmax(1) == y).sum() for x, y in data.batches(1000)) / len(data)


def alike(a, b):
    """(share of pixels that agree, intersection over union of the ink) of images in [0, 1], ink above one half, without
    the border of 2 pixels that was added to them; 0 where none has ink."""
    a, b = (part[:, :, 2:-2, 2:-2].amax(1) > 0.5 for part in (a, b))
    return (a == b).float().mean(), (a & b).sum() / (a | b).sum().clamp(min=1)


def draw(run, nets):
    """After a training, or from a checkpoint."""
    if run.test.exact:  # how far a pair's image of b is the map of its image of a; beside it, that of another pair
        z = run.noise(2000, nets["G"].latent_dim)
        a, b = (model.sample(nets, len(z), z=z, domain=domain).cpu() for domain in "ab")
        truth = run.test.exact((a * 255).round().byte()).float() / 255
        found = {}
        for name, of in (("", b), (" of others", b.roll(1, 0)), (" of blanks", torch.zeros_like(b))):
            found[f"pixels that agree{name}"], found[f"ink IoU{name}"] = alike(truth, of)
        run.record(found)
    if run.options.labels_of != "none":
        run.record({f"to {domain}: accuracy": accuracy(nets, part, domain)
                    for part, domain in zip(run.test.sets, "ab", strict=True) if domain != run.options.labels_of})

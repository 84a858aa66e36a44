"""The networks of the adversarial autoencoder, and the priors that its codes can follow. The paper (arXiv 1511.05644)
has a gaussian (of standard deviation 5), a mixture of ten and, with labels, a swiss roll; the sizes here are ours."""

import math

import torch
from torch import nn

from common.blocks import MLP, initialize
from common.updates import evaluating

HIDDEN = (1000, 1000)  # units of the two hidden layers of each network (1511.05644, appendix A)


def gaussian(u, e):
    return e


def mixture(u, e):
    """Ten gaussians on a circle of radius 4, long outwards (0.7) and thin (0.2)."""
    return turned(torch.stack([4 + 0.7 * e[:, 0], 0.2 * e[:, 1]], 1), 2 * math.pi * (10 * u[:, 0]).floor() / 10)


def triangle(u, e):
    """Uniform in the triangle of (-2, -2), (2, -2), (0, 2)."""
    a, b = u[:, 0].sqrt(), u[:, 1]
    return torch.stack([2 * a * (2 * b - 1), 2 - 4 * a], 1)


def donut(u, e):
    """Around the circle of radius 2, with standard deviation 0.2."""
    return turned(torch.stack([2 + 0.2 * e[:, 0], 0 * e[:, 0]], 1), 2 * math.pi * u[:, 0])


def swiss_roll(u, e):
    """Along a spiral of two turns out to radius 4, evenly, with standard deviation 0.1."""
    t = u[:, 0].sqrt()
    return turned(torch.stack([4 * t, 0 * t], 1), 4 * math.pi * t) + 0.1 * e


def uniform(u, e):
    """Uniform in the square from -2 to 2."""
    return 4 * u - 2


def turned(points, angle):
    """Points (N, 2) turned about 0 by angles (N,), in radians."""
    x, y = points.T
    return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], 1)


# name -> a function of u (N, 2), uniform in [0, 1), and e (N, 2), standard normal, that returns points (N, 2)
PRIORS = {"gaussian": gaussian, "mixture": mixture, "triangle": triangle, "donut": donut, "swiss-roll": swiss_roll,
          "uniform": uniform}


def draw(prior, n, generator=None, device=None):
    """z ~ p(z): n points (n, 2) of the prior of that name."""
    device = generator.device if generator else device
    u = torch.rand(n, 2, generator=generator, device=device)
    return PRIORS[prior](u, torch.randn(n, 2, generator=generator, device=device))


class Decoder(nn.Sequential):
    """Codes (N, 2) -> images (N, channels, S, S) in [0, 1]. `prior` is the name of the codes' distribution."""

    def __init__(self, prior, channels, size):
        super().__init__(MLP(2, *HIDDEN, channels * size**2, activation=nn.Sigmoid()),
                         nn.Unflatten(1, (channels, size, size)))
        self.prior = prior


def build(prior="gaussian", channels=1, image_size=32):
    """encoder: images (N, channels, image_size, image_size) in [0, 1] -> codes (N, 2), linear. decoder: codes -> images
    in [0, 1]. D: codes -> logits (N, 1) of being from the prior. Raises ValueError on a prior that there is not."""
    if prior not in PRIORS:
        raise ValueError(f"prior must be one of {', '.join(PRIORS)}, not {prior!r}")
    encoder = nn.Sequential(nn.Flatten(), MLP(channels * image_size**2, *HIDDEN, 2))
    nets = {"encoder": encoder, "decoder": Decoder(prior, channels, image_size), "D": MLP(2, *HIDDEN, 1)}
    return {name: initialize(net, "pytorch") for name, net in nets.items()}  # near the paper's N(0, 0.01)


def encode(nets, images):
    """The codes (N, 2) of images (N, C, H, W)."""
    with evaluating(nets["encoder"]):
        return nets["encoder"](images)


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], decoded from the prior.

    Args:
        labels: must be None: this model is not conditional.
        z: codes (n, 2); drawn from the prior with `generator` where None."""
    if labels is not None:
        raise ValueError("an adversarial autoencoder without labels cannot sample by label")
    decoder = nets["decoder"]
    z = draw(decoder.prior, n, generator) if z is None else z
    with evaluating(decoder):
        return decoder(z.to(next(decoder.parameters()).device))

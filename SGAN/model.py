"""The networks of the SGAN (arXiv 1606.01583): the dense ones with which Improved GAN (arXiv 1606.03498) took MNIST."""

import copy
import math

import torch
from torch import nn

from common.blocks import MLP, AtLeastFloat32, initialize
from common.updates import evaluating, sample_from


class Noise(nn.Module):
    """Adds normal noise of a standard deviation in training, and nothing else."""

    def __init__(self, deviation):
        super().__init__()
        self.deviation = deviation

    def forward(self, x):
        return x + self.deviation * torch.randn_like(x) if self.training else x


class Classifier(nn.Module):
    """Images (N, C, S, S) -> (logits (N, K + 1), the last that of FAKE; the features (N, width) that they rest on).

    Each layer is told its input through noise of 0.5, the first through noise of 0.3; the features are without."""

    def __init__(self, pixels, classes, widths):
        super().__init__()
        layers = [layer for i, (before, after) in enumerate(zip((pixels, *widths), widths, strict=False))
                  for layer in (Noise(0.5 if i else 0.3), nn.Linear(before, after), nn.ReLU())]
        self.trunk = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Sequential(Noise(0.5), nn.Linear(widths[-1], classes + 1), AtLeastFloat32())
        initialize(self, "he")
        self.fix_lengths()

    @torch.no_grad()
    def fix_lengths(self):
        """Gives the weights of each unit of the trunk the length sqrt(2) again, as weight normalisation (arXiv
        1602.07868) without its learned scale does: else they grow until the noise no longer matters."""
        for layer in self.trunk:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(math.sqrt(2) / layer.weight.norm(dim=1, keepdim=True))

    def forward(self, x):
        features = self.trunk(x)
        return self.head(features), features


class Generator(nn.Module):
    """z (N, latent_dim) -> images (N, C, S, S) in [0, 1]."""

    def __init__(self, latent_dim, widths, channels, image_size):
        super().__init__()
        layers = []
        for before, after in zip((latent_dim, *widths), widths, strict=False):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        last = MLP(widths[-1], channels * image_size**2, activation=nn.Sigmoid())
        self.net = nn.Sequential(*layers, *last, nn.Unflatten(1, (channels, image_size, image_size)))
        self.latent_dim = latent_dim

    def forward(self, z):
        return self.net(z)


def build(latent_dim=100, channels=1, image_size=32, classes=10, width=400):
    """G: z (N, latent_dim) -> images (N, channels, image_size, image_size) in [0, 1].
    D: images -> logits (N, classes + 1), the softmax of which are the probabilities of the classes and of FAKE, and
    features (N, width / 4).
    D_ema: a copy of D, to hold the moving average of its weights.

    Args:
        width: units of D's first layer, a multiple of 4; Improved GAN's has 1000."""
    D = Classifier(channels * image_size**2, classes, (width, width // 2, *3 * (width // 4,)))
    G = Generator(latent_dim, (width // 2, width // 2), channels, image_size)
    return {"G": G, "D": D, "D_ema": copy.deepcopy(D)}


def classify(nets, x):
    """The probabilities (N, classes) of images (N, C, H, W), FAKE left out, from D_ema in eval mode."""
    with evaluating(nets["D_ema"]):
        return nets["D_ema"](x)[0][:, :-1].softmax(1)


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], from G in eval mode.

    Args:
        labels: must be None: G knows no classes.
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    return sample_from(nets["G"], n, labels, z, generator)

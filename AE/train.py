"""Autoencoder: Reducing the Dimensionality of Data with Neural Networks, Hinton & Salakhutdinov 2006
(doi 10.1126/science.1127647).

An image x becomes a code z = encoder(x), the code a reconstruction decoder(z). Training minimises

    E_x[ |x - decoder(z)|^2 + lambda |z|^2 ]

Departures: all layers are trained at once by Adam, with ReLU (the paper trains restricted Boltzmann machines one by one
first, then all layers by conjugate gradients, and has sigmoids); the squared error, of which PCA is the linear optimum
(the paper: cross-entropy); a code of 100 (30). The paper has lambda = 0 and a linear code. A running mean and
covariance of the codes serve to draw random ones; they are no part of the loss.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BaseOptions, Count, NonNegative, Positive, Run, descend, evaluating
from common.images import scatter, unit_square
from common.metrics import pca_error
from model import build, sample


@dataclass
class Options(BaseOptions):
    """Autoencoder on 32 x 32 images."""

    latent_dim: Count = 100  # dimension of the code
    code: Literal["linear", "sigmoid"] = "linear"  # the code is any number, or lies in [0, 1]
    l2: NonNegative = 0.0  # lambda: weight of the code's squared length
    lr: Positive = 1e-3  # Adam's step size

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return f"{self.latent_dim}d-{self.code}" + (f"-l2-{self.l2:g}" if self.l2 else "")


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(build, latent_dim=opt.latent_dim, code=opt.code, **run.image)
    encoder, decoder, test = nets["encoder"], nets["decoder"], run.test
    adam = run.optimizer(Adam, encoder, decoder, lr=opt.lr)

    def squared_error(x, z):
        return (decoder(z) - x).square().flatten(1).sum(1).mean()  # |x - decoder(z)|^2, of an image

    @run.step
    def update(x):
        z = encoder(x)
        error = squared_error(x, z)
        length = z.square().sum(1).mean()  # |z|^2
        descend((adam, error + opt.l2 * length))
        encoder.track(z)
        return {"squared error": error, "squared length of the code": length}

    def measure(data):
        with evaluating(encoder, decoder):
            return sum(squared_error(x, encoder(x)) * len(x) for x, _ in data.batches(1000)) / len(data)

    def encode(x):
        with evaluating(encoder):
            return encoder(x)

    shown, _ = next(iter(test.batches(100)))
    pca = pca_error(run.train.images, test.images, opt.latent_dim)
    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: sample(nets, len(shown), z=encode(shown)))
        run.curve("error", lambda: {"train": measure(run.train), "test": measure(test), "PCA, test": pca})

    run.record({"squared error": measure(test), "squared error of PCA": pca})
    run.save("original", shown)
    run.save("random", sample(nets, 100, generator=torch.Generator().manual_seed(opt.seed)))
    if opt.latent_dim == 2:
        codes = torch.cat([encode(x) for x, _ in test.batches(1000)])
        run.save("scatter", scatter(codes, test.labels, test.classes, "codes of the test images"))
        low, high = codes.new_zeros(2), codes.new_ones(2)
        if opt.code == "linear":  # the rectangle in which the codes lie, but for the outermost 2% on each side
            low, high = codes.quantile(0.02, 0), codes.quantile(0.98, 0)
        run.save("manifold", sample(nets, 400, z=low + (high - low) * unit_square(20).to(codes)))


if __name__ == "__main__":
    main()

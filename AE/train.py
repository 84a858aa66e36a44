"""Autoencoder: Reducing the Dimensionality of Data with Neural Networks, Hinton & Salakhutdinov 2006
(doi 10.1126/science.1127647).

An image x becomes a code z = encoder(x), the code a reconstruction decoder(z). Descended is

    E_x[ |x - decoder(z)|^2 + l2 |z|^2 ]

Departures: all layers are trained at once by Adam, with ReLU (the paper trains restricted Boltzmann machines one by one
first, then all layers by conjugate gradients, and has sigmoids); the squared error, of which PCA is the linear optimum
(the paper: cross-entropy); 512, 256, 128 units and a code of 100 (1000, 500, 250 and 30). The paper has l2 = 0 and a
linear code.
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
    l2: NonNegative = 0.0  # weight of the code's squared length
    lr: Positive = 1e-3  # Adam's step size

    variant = property(lambda self: f"{self.latent_dim}d-{self.code}" + (f"-l2-{self.l2:g}" if self.l2 else ""))


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
        encoder.track(z)  # mean and covariance of the codes, for random ones
        return {"squared error": error, "squared length of the code": length}

    def measure(data):
        with evaluating(encoder, decoder):
            return sum(squared_error(x, encoder(x)) * len(x) for x, _ in data.batches(1000)) / len(data)

    def encode(data):
        with evaluating(encoder):
            return torch.cat([encoder(x) for x, _ in data.batches(1000)])

    originals = next(iter(test.batches(100)))[0]
    pca = pca_error(run.train.images, test.images, opt.latent_dim)
    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: sample(nets, len(originals), z=encode(test[:100])))
        run.curve("error", lambda: {"train": measure(run.train), "test": measure(test), "PCA, test": pca})

    run.record({"squared error": measure(test), "squared error of PCA": pca})
    run.save("original", originals)
    run.save("random", sample(nets, 100, generator=torch.Generator().manual_seed(opt.seed)))
    if opt.latent_dim == 2:
        codes = encode(test)
        run.save("scatter", scatter(codes, test.labels, test.classes, "codes of the test images"))
        # the square in which the codes lie, but for the outermost 2% on each side
        low, high = (0, 1) if opt.code == "sigmoid" else (codes.quantile(q, 0) for q in (0.02, 0.98))
        run.save("manifold", sample(nets, 400, z=low + (high - low) * unit_square(20).to(codes)))


if __name__ == "__main__":
    main()

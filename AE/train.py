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

from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, NonNegative, Positive, Run, beside, descend

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Autoencoder on 32 x 32 images."""

    latent_dim: Count = 100  # dimension of the code
    code: Literal["linear", "sigmoid"] = "linear"  # the code is any number, or lies in [0, 1]
    l2: NonNegative = 0.0  # lambda: weight of the code's squared length
    lr: Positive = 1e-3  # Adam's learning rate

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return f"{self.latent_dim}d-{self.code}" + (f"-l2-{self.l2:g}" if self.l2 else "")


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, code=opt.code, **run.image)
    encoder, decoder = nets["encoder"], nets["decoder"]
    adam = run.optimizer(Adam, encoder, decoder, lr=opt.lr)

    @run.step
    def update(x):
        z = encoder(x)
        error = (decoder(z) - x).square().flatten(1).sum(1).mean()  # |x - decoder(z)|^2
        length = z.square().sum(1).mean()  # |z|^2
        descend((adam, error + opt.l2 * length))
        encoder.track(z)
        return {"squared error": error, "squared length of the code": length}

    shown, pca = figures.shown(run), figures.pca_error(run)
    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(shown), z=model.encode(nets, shown)))
        run.curve("error", lambda: figures.errors(run, nets, pca))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

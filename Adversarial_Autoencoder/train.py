"""Adversarial autoencoder: Makhzani et al. 2015 (arXiv 1511.05644), without labels.

The two phases of each step (section 2):

    reconstruction   encoder and decoder descend  E_x |x - decoder(encoder(x))|^2
    regularisation   D ascends                    E_z[log D(z)] + E_x[log(1 - D(encoder(x)))],  z ~ p(z)
                     the encoder ascends          E_x[log D(encoder(x))]

so that the codes follow the prior p(z) (--prior). The encoder is deterministic, the first of the paper's three kinds.
Departures: the encoder ascends log D instead of descending log(1 - D); Adam in the reconstruction phase (the paper: SGD
with momentum in both); He's initial weights (N(0, 0.01)); batches of 128 (100); the squared error is summed over the
pixels; the code has always two dimensions (the paper measures likelihoods with 8).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import SGD, Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BaseOptions, Decay, Positive, Run, bce, descend, evaluating
from common.images import scatter, unit_square
from common.metrics import two_sample_accuracy
from model import PRIORS, build, draw, sample


@dataclass
class Options(BaseOptions):
    """Adversarial autoencoder on 32 x 32 images, with a code of two dimensions."""

    prior: Literal[*PRIORS] = "gaussian"  # p(z), which the codes follow
    lr: Positive = 2e-4  # Adam's step size in the reconstruction phase
    lr_reg: Positive = 0.01  # SGD's step size, of D and of the encoder in the regularisation phase
    momentum: Decay = 0.1  # SGD's momentum in the regularisation phase

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return self.prior


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(build, prior=opt.prior, **run.image)
    encoder, decoder, D, test = nets["encoder"], nets["decoder"], nets["D"], run.test
    adam = run.optimizer(Adam, encoder, decoder, lr=opt.lr)
    sgd_d = run.optimizer(SGD, D, lr=opt.lr_reg, momentum=opt.momentum)
    sgd_e = run.optimizer(SGD, encoder, lr=opt.lr_reg, momentum=opt.momentum)

    def squared_error(x):
        return (decoder(encoder(x)) - x).square().flatten(1).sum(1).mean()

    @run.step
    def reconstruct(x):
        error = squared_error(x)
        descend((adam, error))
        return {"squared error": error}

    @run.step
    def regularise(x):
        z, code = draw(opt.prior, len(x), device=x.device), encoder(x)
        d_loss = bce(D(z), 1) + bce(D(code.detach()), 0)
        descend((sgd_d, d_loss))
        e_loss = bce(D(code), 1)
        descend((sgd_e, e_loss))
        return {"D": d_loss, "encoder": e_loss}

    def encode(x):
        with evaluating(encoder):
            return encoder(x)

    def measure():
        with evaluating(encoder, decoder):
            return sum(squared_error(x) * len(x) for x, _ in test.batches(1000)) / len(test)

    shown, _ = next(iter(test.batches(100)))
    for x, _ in run.batches():
        run.log({**reconstruct(x), **regularise(x)})
        run.show(lambda: sample(nets, len(shown), z=encode(shown)))
        run.curve("error", lambda: {"test": measure()})

    codes = torch.cat([encode(x) for x, _ in test.batches(1000)])
    z = draw(opt.prior, len(codes), torch.Generator().manual_seed(opt.seed)).to(codes)
    run.record({"squared error": measure(), "two-sample accuracy": two_sample_accuracy(codes, z)})
    run.save("original", shown)
    run.save("random", sample(nets, 100, generator=torch.Generator().manual_seed(opt.seed)))
    run.save("scatter", scatter(codes, test.labels, test.classes, "codes of the test images over the prior", z))
    low, high = z.quantile(0.01, 0), z.quantile(0.99, 0)  # the prior's rectangle, but for the outermost 1% on each side
    run.save("manifold", sample(nets, 400, z=low + (high - low) * unit_square(20).to(z)))


if __name__ == "__main__":
    main()

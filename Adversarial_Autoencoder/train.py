"""Adversarial autoencoder: Makhzani et al. 2015 (arXiv 1511.05644), without labels.

The two phases of each step (section 2):

    reconstruction   encoder and decoder descend  E_x |x - decoder(encoder(x))|^2
    regularisation   D ascends                    E_z[log D(z)] + E_x[log(1 - D(encoder(x)))],  z ~ p(z)
                     the encoder ascends          E_x[log D(encoder(x))]

so that the codes follow the prior p(z) (--prior). The encoder is deterministic, the first of the paper's three kinds.
Departures: the encoder ascends log D instead of descending log(1 - D); Adam (the paper: SGD with momentum), with steps
falling from the first update on (after 50 epochs), for 10 epochs (thousands); D sees codes and z through noise; initial
weights of PyTorch (N(0, 0.01)); batches of 128 (100); the squared error is summed; a code of two dimensions (also 8).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, bce, descend, evaluating
from common.images import scatter, unit_square
from common.metrics import two_sample_accuracy
from model import PRIORS, build, draw, sample


@dataclass
class Options(BaseOptions):
    """Adversarial autoencoder on 32 x 32 images, with a code of two dimensions."""

    epochs: Count = 10  # passes over the training set
    prior: Literal[*PRIORS] = "gaussian"  # p(z), which the codes follow
    lr: Positive = 5e-4  # Adam's first step size, of encoder and decoder
    lr_d: Positive = 1e-4  # Adam's first step size, of D
    lr_decay: Decay = 0.9994  # factor of both after each update
    beta1: Decay = 0.5  # Adam's decay of the gradient's mean, in the regularisation phase
    code_noise: NonNegative = 0.2  # standard deviation of the noise on the codes, and on the z, that D sees

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return self.prior


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(build, prior=opt.prior, **run.image)
    encoder, decoder, D, test = nets["encoder"], nets["decoder"], nets["D"], run.test
    lr, lr_d = run.tensor("lr", opt.lr), run.tensor("lr_d", opt.lr_d)
    adam = run.optimizer(Adam, encoder, decoder, lr=lr)
    adam_d = run.optimizer(Adam, D, lr=lr_d, betas=(opt.beta1, 0.999))
    adam_e = run.optimizer(Adam, encoder, lr=lr, betas=(opt.beta1, 0.999))

    def noisy(z):
        return z + opt.code_noise * torch.randn_like(z)

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

        # D ascends log D(z) + log(1 - D(encoder(x)))
        d_loss = bce(D(noisy(z)), 1) + bce(D(noisy(code.detach())), 0)
        descend((adam_d, d_loss))

        # the encoder ascends log D(encoder(x))
        e_loss = bce(D(noisy(code)), 1)
        descend((adam_e, e_loss))

        for step_size in (lr, lr_d):
            step_size.mul_(opt.lr_decay)
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

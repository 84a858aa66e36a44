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

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Adversarial autoencoder on 32 x 32 images, with a code of two dimensions."""

    epochs: Count = 10  # passes over the training set
    prior: Literal[*model.PRIORS] = "gaussian"  # p(z), which the codes follow
    lr: Positive = 5e-4  # Adam's first learning rate, of encoder and decoder
    lr_d: Positive = 1e-4  # Adam's first learning rate, of D
    lr_last: Share = 0.06  # the share of both that is left at the end of the run
    beta1: Decay = 0.5  # Adam's decay of the gradient's mean, in the regularisation phase
    code_noise: NonNegative = 0.2  # standard deviation of the noise on the codes, and on the z, that D sees

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return self.prior


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, prior=opt.prior, **run.image)
    encoder, decoder, D = nets["encoder"], nets["decoder"], nets["D"]

    def step_size(lr):  # falling exponentially over the whole run
        return run.schedule(lambda share: lr * opt.lr_last ** share)

    adam = run.optimizer(Adam, encoder, decoder, lr=step_size(opt.lr))
    adam_d = run.optimizer(Adam, D, lr=step_size(opt.lr_d), betas=(opt.beta1, 0.999))
    adam_e = run.optimizer(Adam, encoder, lr=step_size(opt.lr), betas=(opt.beta1, 0.999))

    def noisy(z):
        return z + opt.code_noise * torch.randn_like(z)

    @run.step
    def reconstruct(x):
        error = (decoder(encoder(x)) - x).square().flatten(1).sum(1).mean()
        descend((adam, error))
        return {"squared error": error}

    @run.step
    def regularise(x):
        z, code = model.draw(opt.prior, len(x), device=x.device), encoder(x)

        # D ascends log D(z) + log(1 - D(encoder(x)))
        prior, coded = D(noisy(z)), D(noisy(code.detach()))  # logits
        d_loss = bce(prior, 1) + bce(coded, 0)
        descend((adam_d, d_loss))

        # the encoder ascends log D(encoder(x))
        e_loss = bce(D(noisy(code)), 1)
        descend((adam_e, e_loss))
        return {"D": d_loss, "encoder": e_loss, "D(z)": prior.sigmoid().mean(), "D(code)": coded.sigmoid().mean()}

    shown = figures.shown(run)
    for x, _ in run.batches():
        run.log({**reconstruct(x), **regularise(x)})
        run.show(lambda: model.sample(nets, len(shown), z=model.encode(nets, shown)))
        run.curve("error", lambda: {"test": figures.squared_error(nets, run.test)})

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

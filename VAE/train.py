"""Variational autoencoder: Auto-Encoding Variational Bayes, Kingma & Welling 2014 (arXiv 1312.6114).

Training minimises -ELBO, the negative of the paper's lower bound (equation 3), with one draw of z per image
(equation 10):

    -ELBO = E_x,epsilon[ -log p(x|z) + KL(q(z|x) || p(z)) ],   z = mu + sigma * epsilon,   epsilon ~ N(0, I)

with q(z|x) = N(mu, sigma^2), p(z) = N(0, I), p(x|z) Bernoulli in each pixel.
Departures: Adam (the paper: Adagrad, with a prior on the weights); ReLU (tanh); 400 hidden units (500); batches of 128
(100); pixels are the grey values in [0, 1] that they are, of which a Bernoulli distribution is no density, so that only
--binarise gives likelihoods.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Positive, Run, Whole, beside, descend, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Variational autoencoder on the 28 x 28 pixels in the middle."""

    epochs: Count = 50  # passes over the training set
    latent_dim: Count = 2  # dimension of z
    margin: Whole = 2  # pixels on each side that are left out: 2 is the padding of MNIST; 0 for full-size images
    binarise: bool = False  # draw each pixel black or white, with its grey value as probability, every time it is seen
    iw_samples: Whole = 5000  # with --binarise: k of the importance-weighted bound, of every tenth test image; 0: none
    lr: Positive = 1e-3  # Adam's learning rate

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return f"{self.latent_dim}d" + ("-binarised" if self.binarise else "")


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, margin=opt.margin, **run.image)
    adam = run.optimizer(Adam, nets["encoder"], nets["decoder"], lr=opt.lr)

    @run.step
    def update(x):
        x = model.middle(x, opt.margin)
        x = torch.bernoulli(x) if opt.binarise else x
        epsilon = noise_like(x, opt.latent_dim)  # N(0, I)

        mu, logvar = nets["encoder"](x)
        z = mu + (logvar / 2).exp() * epsilon  # sigma = exp(logvar / 2)
        # -log p(x|z), in nats, summed over the pixels of an image
        error = F.binary_cross_entropy_with_logits(nets["decoder"](z), x, reduction="none").sum(1).mean()
        # KL(N(mu, sigma^2) || N(0, I)) (appendix B)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        descend((adam, error + kl))  # -ELBO
        return {"-log p(x|z)": error, "KL": kl}

    test = figures.pixels(run)
    shown = test[:100]
    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(shown), z=model.encode(nets, shown)))
        run.curve("nats", lambda: figures.nats(run, nets, test))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

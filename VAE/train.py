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
from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BaseOptions, Count, Positive, Run, Whole, descend, evaluating, noise_like
from common.images import scatter, unit_square
from model import build, encode, importance_weighted, middle, sample


@dataclass
class Options(BaseOptions):
    """Variational autoencoder on the 28 x 28 pixels in the middle."""

    epochs: Count = 50  # passes over the training set
    latent_dim: Count = 2  # dimension of z
    margin: Whole = 2  # pixels on each side that are left out: 2 is the padding of MNIST; 0 for full-size images
    binarise: bool = False  # draw each pixel black or white, with its grey value as probability, every time it is seen
    iw_samples: Whole = 5000  # with --binarise: k of the importance-weighted bound, of every tenth test image; 0: none
    lr: Positive = 1e-3  # Adam's step size

    @property
    def variant(self):  # the subfolder of samples and checkpoints
        return f"{self.latent_dim}d" + ("-binarised" if self.binarise else "")


def reconstruction(logits, x):
    """-log p(x|z) of each image in nats, (N,): the Bernoulli cross-entropy summed over the pixels."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)


def kl(mu, logvar):
    """KL(N(mu, sigma^2) || N(0, I)) of each image in nats, (N,) (1312.6114, appendix B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(build, latent_dim=opt.latent_dim, margin=opt.margin, **run.image)
    encoder, decoder, test = nets["encoder"], nets["decoder"], run.test
    adam = run.optimizer(Adam, encoder, decoder, lr=opt.lr)

    def terms(x, epsilon):
        mu, logvar = encoder(x)
        z = mu + (logvar / 2).exp() * epsilon  # sigma = exp(logvar / 2)
        return reconstruction(decoder(z), x), kl(mu, logvar)

    @run.step
    def update(x):
        x = torch.bernoulli(middle(x, opt.margin)) if opt.binarise else middle(x, opt.margin)
        error, divergence = (term.mean() for term in terms(x, noise_like(x, opt.latent_dim)))
        descend((adam, error + divergence))  # -ELBO
        return {"-log p(x|z)": error, "KL": divergence}

    x_test, labels = torch.cat([middle(x, opt.margin) for x, _ in test.batches(1000)]), test.labels
    if opt.binarise:  # once, the same for every seed
        x_test = torch.bernoulli(x_test.cpu(), generator=torch.Generator().manual_seed(0)).to(x_test)
    epsilon = run.noise(len(x_test), opt.latent_dim)

    def measure():
        with evaluating(encoder, decoder):
            parts = [torch.stack(terms(x, e)) for x, e in zip(x_test.split(1000), epsilon.split(1000), strict=True)]
        error, divergence = torch.cat(parts, 1).mean(1)
        return {"-ELBO": error + divergence, "-log p(x|z)": error, "KL": divergence}

    shown = x_test[:100]
    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: sample(nets, len(shown), z=encode(nets, shown)))
        run.curve("nats", measure)

    results = measure()
    if opt.binarise and opt.iw_samples:
        results["importance-weighted bound"] = importance_weighted(nets, x_test[::10], opt.iw_samples)
    run.record(results)
    run.save("original", decoder.images(shown))
    run.save("random", sample(nets, 100, z=run.noise(100, opt.latent_dim)))
    means = torch.stack([x_test[labels == label].mean(0) for label in labels.unique()])
    pairs = torch.stack([decoder.images(means), sample(nets, len(means), z=encode(nets, means))], 1)
    run.save("means", pairs.flatten(0, 1))  # each mean image, and its reconstruction to the right of it
    if opt.latent_dim == 2:
        run.save("scatter", scatter(encode(nets, x_test), labels, test.classes, "means of q(z|x) of the test images"))
        # the unit square through the inverse normal CDF: each image stands for as much of p(z)
        run.save("manifold", sample(nets, 400, z=torch.special.ndtri(unit_square(20))))


if __name__ == "__main__":
    main()

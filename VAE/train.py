"""Variational autoencoder: Auto-Encoding Variational Bayes, Kingma & Welling 2014 (arXiv 1312.6114).

Descended is -ELBO, the negative of the paper's lower bound (equation 3) with one draw of z per image (equation 10):

    -ELBO = E_x[ -log p(x|z) + KL(q(z|x) || p(z)) ],   z = mu + sigma * epsilon,   epsilon ~ N(0, I)

with q(z|x) = N(mu, sigma^2), p(z) = N(0, I), p(x|z) Bernoulli in each pixel. Departures: Adam (the paper: Adagrad);
ReLU (tanh); 400 hidden units (500); pixels are the grey values in [0, 1] that they are, unless --binarise.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BaseOptions, Count, Positive, Run, Whole, descend, evaluating
from common.images import scatter, unit_square
from model import build, encode, middle, sample


@dataclass
class Options(BaseOptions):
    """Variational autoencoder on the 28 x 28 pixels in the middle."""

    epochs: Count = 50  # passes over the training set
    latent_dim: Count = 2  # dimension of z
    margin: Whole = 2  # pixels on each side that are left out: the padding of 28 x 28 images
    binarise: bool = False  # draw each pixel black or white, with its grey value as probability, every time it is seen
    iw_samples: Whole = 0  # k of the importance-weighted bound on the first 1,000 test images; 0: leave it out
    lr: Positive = 1e-3  # Adam's step size

    variant = property(lambda self: f"{self.latent_dim}d" + ("-binarised" if self.binarise else ""))


def reconstruction(logits, x):
    """-log p(x|z) of each image in nats, (N,): the Bernoulli cross-entropy summed over the pixels."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)


def kl(mu, logvar):
    """KL(N(mu, sigma^2) || N(0, I)) of each image in nats, (N,) (1312.6114, appendix B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)


def importance_weighted(encoder, decoder, x, k):
    """-log (1/k) sum_i p(x|z_i) p(z_i) / q(z_i|x), z_i ~ q(z|x), of one image's pixels x (1, pixels), in nats
    (Burda et al. 2015, arXiv 1509.00519, equation 8)."""
    mu, logvar = encoder(x)
    epsilon = torch.randn(k, mu.shape[1], device=mu.device)
    z = mu + (logvar / 2).exp() * epsilon
    log_p = -reconstruction(decoder(z), x.expand(k, -1)) - z.square().sum(1) / 2
    log_q = -(epsilon.square() + logvar).sum(1) / 2  # the terms in log 2 pi cancel
    return math.log(k) - (log_p - log_q).logsumexp(0)


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(build, latent_dim=opt.latent_dim, margin=opt.margin, **run.image)
    encoder, decoder, test = nets["encoder"], nets["decoder"], run.test
    adam = run.optimizer(Adam, encoder, decoder, lr=opt.lr)

    def pixels(x):
        return torch.bernoulli(middle(x, opt.margin)) if opt.binarise else middle(x, opt.margin)

    def terms(x):
        mu, logvar = encoder(x)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)  # sigma = exp(logvar / 2)
        return reconstruction(decoder(z), x), kl(mu, logvar)

    @run.step
    def update(x):
        error, divergence = (term.mean() for term in terms(pixels(x)))
        descend((adam, error + divergence))  # -ELBO
        return {"-log p(x|z)": error, "KL": divergence}

    x_test, labels = torch.cat([pixels(x) for x, _ in test.batches(1000)]), test.labels  # binarised once

    def measure():
        with evaluating(encoder, decoder):
            error, divergence = (term.mean() for term in terms(x_test))
        return {"-ELBO": error + divergence, "-log p(x|z)": error, "KL": divergence}

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: sample(nets, 100, z=encode(nets, x_test[:100])))
        run.curve("test", measure)

    results = measure()
    if opt.iw_samples:
        with evaluating(encoder, decoder):
            bounds = [importance_weighted(encoder, decoder, x, opt.iw_samples) for x in x_test[:1000].split(1)]
        results["importance-weighted"] = torch.stack(bounds).mean()
    run.record(results)
    run.save("original", decoder.images(x_test[:100]))
    run.save("random", sample(nets, 100, z=run.noise(100, opt.latent_dim)))
    means = torch.stack([x_test[labels == label].mean(0) for label in labels.unique()])
    run.save("means", torch.cat([decoder.images(means), sample(nets, len(means), z=encode(nets, means))]))
    if opt.latent_dim == 2:
        run.save("scatter", scatter(encode(nets, x_test), labels, test.classes, "means of q(z|x) of the test images"))
        # the unit square through the inverse normal CDF: each image stands for as much of p(z)
        run.save("manifold", sample(nets, 400, z=torch.special.ndtri(unit_square(20))))


if __name__ == "__main__":
    main()

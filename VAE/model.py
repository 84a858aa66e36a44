"""The networks of the VAE: one hidden layer on either side (arXiv 1312.6114, appendix C)."""

import math

import torch
from torch import nn

from common.blocks import MLP, at_least_float32
from common.updates import evaluating


def middle(images, margin):
    """The pixels (N, C (S - 2 margin)^2) that the model is of: images (N, C, S, S) without the margin on each side."""
    end = images.shape[-1] - margin
    return images[:, :, margin:end, margin:end].flatten(1)


class Encoder(nn.Module):
    """Pixels (N, pixels) in [0, 1] -> mean mu and log-variance of q(z|x), each (N, latent_dim), float32."""

    def __init__(self, inputs, hidden, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.mu, self.logvar = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)

    def forward(self, x):
        h = self.hidden(x)
        return at_least_float32(self.mu(h)), at_least_float32(self.logvar(h))


class Decoder(nn.Module):
    """z (N, latent_dim) -> logits of p(x|z), (N, pixels), float32."""

    def __init__(self, channels, size, margin, hidden, latent_dim):
        super().__init__()
        self.channels, self.size, self.margin = channels, size, margin
        self.body = MLP(latent_dim, hidden, channels * (size - 2 * margin) ** 2)

    def forward(self, z):
        return self.body(z)

    def images(self, pixels):
        """Pixels (N, pixels) as images (N, channels, S, S) with the margin black."""
        inner = self.size - 2 * self.margin
        return nn.functional.pad(pixels.view(-1, self.channels, inner, inner), (self.margin,) * 4)


def build(latent_dim=2, hidden=400, margin=2, channels=1, image_size=32):
    """encoder: pixels (N, channels (image_size - 2 margin)^2) in [0, 1] -> mu, logvar (N, latent_dim).
    decoder: z (N, latent_dim) -> logits of as many pixels. Raises ValueError where the margin leaves none."""
    if 2 * margin >= image_size:
        raise ValueError(f"a margin of {margin} leaves nothing of {image_size} pixels")
    decoder = Decoder(channels, image_size, margin, hidden, latent_dim)
    return {"encoder": Encoder(channels * (image_size - 2 * margin) ** 2, hidden, latent_dim), "decoder": decoder}


def encode(nets, pixels):
    """The means of q(z|x), (N, latent_dim), of pixels (N, pixels)."""
    with evaluating(nets["encoder"]):
        return nets["encoder"](pixels)[0]


def importance_weighted(nets, pixels, k):
    """-log (1/k) sum_i p(x|z_i) p(z_i) / q(z_i|x), z_i ~ q(z|x), the mean over the images x, in nats: it falls to
    -log p(x) as k grows (Burda et al. 2015, arXiv 1509.00519, equation 8). pixels: (N, pixels), 0 or 1."""
    with evaluating(*nets.values()):
        bounds = [_importance_weighted(nets["encoder"], nets["decoder"], x, k) for x in pixels.split(1)]
    return torch.stack(bounds).mean()


def _importance_weighted(encoder, decoder, x, k):
    mu, logvar = encoder(x)
    epsilon = torch.randn(k, mu.shape[1], dtype=mu.dtype, device=mu.device)
    z, x = mu + (logvar / 2).exp() * epsilon, x.expand(k, -1)
    log_likelihood = -nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(1)
    log_prior, log_q = -z.square().sum(1) / 2, -(epsilon.square() + logvar).sum(1) / 2  # the terms in log 2 pi cancel
    return math.log(k) - (log_likelihood + log_prior - log_q).logsumexp(0)


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1]: the means of p(x|z), not draws of black and white pixels.

    Args:
        labels: must be None: this model is not conditional.
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    if labels is not None:
        raise ValueError("a VAE without labels cannot sample by label")
    decoder = nets["decoder"]
    if z is None:
        z = torch.randn(n, nets["encoder"].latent_dim, generator=generator,
                        device=generator.device if generator else None)
    with evaluating(decoder):
        return decoder.images(torch.sigmoid(decoder(z.to(next(decoder.parameters()).device))))

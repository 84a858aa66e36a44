"""The networks of the autoencoder: fully connected, an image to a code and back."""

import torch
from torch import nn

from common.blocks import MLP
from common.updates import evaluating

WIDTHS = (1000, 500, 250)  # between image and code, as in the paper


class Encoder(nn.Module):
    """Images (N, channels, S, S) in [0, 1] -> codes (N, latent_dim), float32.

    Buffers mean (latent_dim,) and covariance (latent_dim, latent_dim): moving averages of those of the training codes,
    to draw from. They start at 0 and the identity and need some 500 updates to arrive."""

    def __init__(self, inputs, latent_dim, code):
        super().__init__()
        self.code = code
        self.body = MLP(inputs, *WIDTHS, latent_dim, activation=nn.Sigmoid() if code == "sigmoid" else None)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("covariance", torch.eye(latent_dim))

    def forward(self, x):
        return self.body(x.flatten(1))

    @torch.no_grad()
    def track(self, z, decay=0.99):
        """Moves mean and covariance towards those of a batch of codes z (N, latent_dim)."""
        centred = z - z.mean(0)
        self.mean.lerp_(z.mean(0), 1 - decay)
        # not as a matrix product, which autocast would compute in bf16
        self.covariance.lerp_((centred[:, :, None] * centred[:, None]).mean(0), 1 - decay)

    def draw(self, n, generator=None):
        """n codes (n, latent_dim): uniform in [0, 1] behind a sigmoid, else normal with that mean and covariance."""
        shape, device = (n, len(self.mean)), generator.device if generator else None
        if self.code == "sigmoid":
            return torch.rand(shape, generator=generator, device=device).to(self.mean)
        z = torch.randn(shape, generator=generator, device=device).to(self.mean)
        values, vectors = torch.linalg.eigh(self.covariance.cpu().double())
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T  # the symmetric one is unique
        return self.mean + z @ root.to(self.mean)


def build(latent_dim=100, code="linear", channels=1, image_size=32):
    """encoder: images (N, channels, image_size, image_size) in [0, 1] -> codes (N, latent_dim), any number where `code`
    is "linear", in [0, 1] where it is "sigmoid", else ValueError. decoder: codes -> images in [0, 1]."""
    if code not in ("linear", "sigmoid"):
        raise ValueError(f"code must be 'linear' or 'sigmoid', not {code!r}")
    shape = (channels, image_size, image_size)
    pixels = channels * image_size**2
    decoder = nn.Sequential(MLP(latent_dim, *WIDTHS[::-1], pixels, activation=nn.Sigmoid()), nn.Unflatten(1, shape))
    return {"encoder": Encoder(pixels, latent_dim, code), "decoder": decoder}


def encode(nets, images):
    """The codes (N, latent_dim) of images (N, C, H, W)."""
    with evaluating(nets["encoder"]):
        return nets["encoder"](images)


def sample(nets, n, labels=None, z=None, generator=None):
    """n images, float32 (n, C, H, W) in [0, 1], decoded from codes drawn where the training images' codes lie.

    Args:
        labels: must be None: this model is not conditional.
        z: codes (n, latent_dim); drawn (`Encoder.draw`) with `generator` where None."""
    if labels is not None:
        raise ValueError("an autoencoder without labels cannot sample by label")
    with evaluating(*nets.values()):
        z = nets["encoder"].draw(n, generator) if z is None else z.to(nets["encoder"].mean)
        return nets["decoder"](z)

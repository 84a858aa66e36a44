"""LSGAN: Least Squares Generative Adversarial Networks, Mao et al. 2017 (arXiv 1611.04076), on the networks of the GAN.

The losses of the paper's equation 2, with the labels a of generated images, b of real ones, and c, what G wants D to
say of its images; D has no sigmoid:

    min_D  1/2 E_x[(D(x) - b)^2] + 1/2 E_z[(D(G(z)) - a)^2]
    min_G  1/2 E_z[(D(G(z)) - c)^2]

Departures:
- D's step and G's share one z (the paper draws two); z ~ N(0, I) (DCGAN: uniform).
- Images lie in [0, 1] behind a sigmoid (DCGAN: tanh); weights start from PyTorch's default (N(0, 0.02): --init dcgan).
- Adam's learning rate is 1e-3 and falls at the end, in batches of 32 (DCGAN: 2e-4, 128); its betas are (0, 0.99)
  (DCGAN: (0.5, 0.999)).
- G and D have 48 and 32 channels next to the image (DCGAN, at 64 x 64: 128 and 64).
- D sees real and generated images through constant noise (Sonderby et al. 2016, arXiv 1610.04490, who let it fall;
  --instance-noise 0: without).
- Samples come from a moving average of G (--ema 0: from G).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, beside, descend
from common import moving_average, noise_like

model = beside(__file__, "model")


@dataclass
class Options(BaseOptions):
    """LSGAN on 32 x 32 images."""

    epochs: Count = 8  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    a: float = 0.0  # what D is to say of generated images
    b: float = 1.0  # what D is to say of real images
    c: float = 1.0  # what G wants D to say of generated images
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    instance_noise: NonNegative = 0.2  # standard deviation of the noise on the images, real or not, that D sees
    g_width: Count = 48  # channels of G's last stage
    d_width: Count = 32  # channels of D's first stage
    init: Literal["pytorch", "dcgan", "he"] = "pytorch"  # initial weights: PyTorch's, N(0, 0.02), or He et al.'s
    norm: Literal["batch", "none"] = "batch"  # BatchNorm in G, or not
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, init=opt.init, norm=opt.norm, g_width=opt.g_width,
                       d_width=opt.d_width, average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    z_fixed = run.noise(100, opt.latent_dim)

    def noisy(x):  # instance noise: D cannot rely on details that nobody sees, such as a background of exactly 0
        return x + opt.instance_noise * torch.randn_like(x)

    @run.step
    def update(x):
        fake = G(noise_like(x, opt.latent_dim))  # z ~ N(0, I)

        # D descends 1/2 (D(x) - b)^2 + 1/2 (D(G(z)) - a)^2
        real, generated = D(noisy(x)), D(noisy(fake.detach()))
        d_loss = ((real - opt.b).square().mean() + (generated - opt.a).square().mean()) / 2
        descend((adam_d, d_loss))

        # G descends 1/2 (D(G(z)) - c)^2
        g_loss = (D(noisy(fake)) - opt.c).square().mean() / 2
        descend((adam_g, g_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D": d_loss, "G": g_loss, "D(x)": real.mean(), "D(G(z))": generated.mean()}

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))


if __name__ == "__main__":
    main()

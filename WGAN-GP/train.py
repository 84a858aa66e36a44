"""WGAN-GP: Improved Training of Wasserstein GANs, Gulrajani et al. 2017 (arXiv 1704.00028), on the networks of the GAN
without BatchNorm in the critic.

Algorithm 1 of the paper. The critic D is kept 1-Lipschitz by a penalty on the norm of its gradient at points between
real and generated images (equation 3):

    max_D  E_x[D(x)] - E_z[D(G(z))] - lambda E[(|grad D(x^)| - 1)^2],   x^ = epsilon x + (1 - epsilon) G(z)
    max_G  E_z[D(G(z))]

Departures:
- One step of D to one of G (the paper: five, --n-critic 5).
- Adam's learning rate is 1e-3 and falls at the end, its betas are (0, 0.99), in batches of 32 (the paper: 1e-4,
  (0, 0.9), 64).
- No normalisation in D (the paper advises layer normalisation).
- Images lie in [0, 1] behind a sigmoid (DCGAN: tanh); weights start after He et al. (N(0, 0.02): --init dcgan).
- G and D have 32 channels next to the image (DCGAN, at 64 x 64: 128 and 64).
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
    """WGAN-GP on 32 x 32 images."""

    epochs: Count = 4  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    n_critic: Count = 1  # updates of the critic for one of G, each on its own batch
    gp_weight: NonNegative = 10.0  # lambda: weight of the gradient penalty
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    instance_noise: NonNegative = 0.0  # standard deviation of the noise on the images, real or not, that D sees
    g_width: Count = 32  # channels of G's last stage
    d_width: Count = 32  # channels of D's first stage
    init: Literal["pytorch", "dcgan", "he"] = "he"  # initial weights: PyTorch's, N(0, 0.02), or He et al.'s
    norm: Literal["batch", "none"] = "batch"  # BatchNorm in G, or not
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def gradient_norm(D, real, fake):
    """|grad D(x^)|, (N,), at points x^ drawn evenly between real and generated images (N, C, H, W), one each."""
    epsilon = torch.rand(len(real), 1, 1, 1, device=real.device)
    x_hat = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    gradient, = torch.autograd.grad(D(x_hat).sum(), x_hat, create_graph=True)
    return gradient.flatten(1).norm(dim=1)


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
    def update(batches):
        for x in batches:
            real, fake = noisy(x), noisy(G(noise_like(x, opt.latent_dim)).detach())  # z ~ N(0, I)

            # D ascends E[D(x)] - E[D(G(z))] - lambda E[(|grad D(x^)| - 1)^2]
            score, fake_score, norm = D(real).mean(), D(fake).mean(), gradient_norm(D, real, fake)
            estimate = score - fake_score  # of the Wasserstein distance
            descend((adam_d, -estimate + opt.gp_weight * (norm - 1).square().mean()))

        # G ascends E[D(G(z))], for a new z
        g_loss = -D(noisy(G(noise_like(x, opt.latent_dim)))).mean()
        descend((adam_g, g_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D's estimate": estimate, "G": g_loss, "gradient norm": norm.mean(), "D(x)": score,
                "D(G(z))": fake_score}

    for batches, _ in run.batches(opt.n_critic):
        run.log(update(batches))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))


if __name__ == "__main__":
    main()

"""WGAN: Wasserstein GAN, Arjovsky et al. 2017 (arXiv 1701.07875), on the networks of the GAN.

Algorithm 1 of the paper. The critic D, whose weights are kept within [-c, c] so that it is K-Lipschitz for some K,
estimates K times the Wasserstein distance of real and generated images, which G makes smaller (equations 2 and 3):

    min_G max_D  E_x[D(x)] - E_z[D(G(z))]

Departures:
- One step of D to one of G (the paper: five, --n-critic 5); c is 0.1 (0.01).
- RMSprop's learning rate is 5e-4 and falls at the end, in batches of 32 (the paper: 5e-5, 64).
- Images lie in [0, 1] behind a sigmoid (DCGAN: tanh); weights start after He et al. (N(0, 0.02): --init dcgan).
- G and D have 32 channels next to the image (DCGAN, at 64 x 64: 128 and 64).
- Samples come from a moving average of G (--ema 0: from G).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import RMSprop

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, beside, descend
from common import moving_average, noise_like

model = beside(__file__, "model")


@dataclass
class Options(BaseOptions):
    """WGAN on 32 x 32 images."""

    epochs: Count = 6  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    n_critic: Count = 1  # updates of the critic for one of G, each on its own batch
    clip: Positive = 0.1  # c: the critic's weights are kept within [-c, c]
    lr: Positive = 5e-4  # RMSprop's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    instance_noise: NonNegative = 0.0  # standard deviation of the noise on the images, real or not, that D sees
    g_width: Count = 32  # channels of G's last stage
    d_width: Count = 32  # channels of D's first stage
    init: Literal["pytorch", "dcgan", "he"] = "he"  # initial weights: PyTorch's, N(0, 0.02), or He et al.'s
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
    rmsprop_g = run.optimizer(RMSprop, G, lr=lr)
    rmsprop_d = run.optimizer(RMSprop, D, lr=lr)
    z_fixed = run.noise(100, opt.latent_dim)

    def noisy(x):  # instance noise: D cannot rely on details that nobody sees, such as a background of exactly 0
        return x + opt.instance_noise * torch.randn_like(x)

    @run.step
    def update(batches):
        for x in batches:
            fake = G(noise_like(x, opt.latent_dim)).detach()  # z ~ N(0, I)

            # D ascends E[D(x)] - E[D(G(z))]
            real, generated = D(noisy(x)).mean(), D(noisy(fake)).mean()
            estimate = real - generated  # of K times the Wasserstein distance
            descend((rmsprop_d, -estimate))
            with torch.no_grad():
                for w in D.parameters():
                    w.clamp_(-opt.clip, opt.clip)

        # G ascends E[D(G(z))], for a new z
        g_loss = -D(noisy(G(noise_like(x, opt.latent_dim)))).mean()
        descend((rmsprop_g, g_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D's estimate": estimate, "G": g_loss, "D(x)": real, "D(G(z))": generated}

    for batches, _ in run.batches(opt.n_critic):
        run.log(update(batches))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))


if __name__ == "__main__":
    main()

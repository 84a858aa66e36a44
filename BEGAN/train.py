"""BEGAN: Boundary Equilibrium Generative Adversarial Networks, Berthelot, Schumm & Metz 2017 (arXiv 1703.10717).

D is an autoencoder, L(v) = |v - D(v)|^eta how far an image is from what D makes of it. D brings real images back and
generated ones not, G makes images that D brings back; a controller keeps the two in balance (section 3.4):

    D descends  L(x) - k L(G(z))        G descends  L(G(z))        k <- k + lambda_k (gamma L(x) - L(G(z))), in [0, 1]

In balance L(G(z)) = gamma L(x). With a small gamma D cares for real images most, and G's are good but alike; with a
large one they vary more. The convergence measure M = L(x) + |gamma L(x) - L(G(z))| falls as training goes well.
Departures:
- D has BatchNorm, also of its code (--norm none: the paper's; then all images become the same), DCGAN's stages, two of
  them, and images in [0, 1]; G is the GAN's.
- D's step and G's share z, and are taken at once; z ~ N(0, I) (the paper: uniform).
- lambda_k is 1 (the paper: 0.001): on mostly black images L is so small that k would hardly move in a short run.
- eta is 2 (the paper: 1), gamma 1 (0.3 to 0.7).
- Adam's learning rate is 4e-3 (the paper: 1e-4) and falls at the end (the paper: halved whenever M stalls).
- Samples come from a moving average of G (--ema 0: from G).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, Positive, Run, Share, beside, descend, moving_average, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """GAN in a balance that is kept, on 32 x 32 images."""

    epochs: Count = 4  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 64  # dimension of z
    code: Count = 16  # dimension of D's code
    eta: Literal[1, 2] = 2  # the power of the error in L
    gamma: Positive = 1.0  # L(G(z)) / L(x) in balance: the diversity of the images
    lambda_k: Positive = 1.0  # how fast k follows
    lr: Positive = 4e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.5  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    g_width: Count = 48  # channels of G's last stage
    d_width: Count = 32  # channels of D's first stage
    norm: Literal["batch", "none"] = "batch"  # BatchNorm in D, or not
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, code=opt.code, g_width=opt.g_width, norm=opt.norm,
                       d_width=opt.d_width, eta=opt.eta, average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    k = run.tensor("k", 0.0)
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    z_fixed = run.noise(100, opt.latent_dim)

    @run.step
    def update(x):
        fake = G(noise_like(x, opt.latent_dim))  # z ~ N(0, I)

        # D descends L(x) - k L(G(z)), G descends L(G(z)): through the image and through what D makes of it
        real, generated = D(x).mean(), D(fake).mean()
        descend((adam_d, real - k * generated), (adam_g, generated))

        # k follows gamma L(x) - L(G(z)), which is 0 in balance
        away = opt.gamma * real.detach() - generated.detach()
        k.add_(opt.lambda_k * away).clamp_(0, 1)

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"L(x)": real, "L(G(z))": generated, "M": real + away.abs(), "k": k.clone()}

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

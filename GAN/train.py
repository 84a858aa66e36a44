"""GAN: Generative Adversarial Networks, Goodfellow et al. 2014 (arXiv 1406.2661), with networks after DCGAN,
Radford et al. 2015 (arXiv 1511.06434).

Algorithm 1 of the paper with k = 1, for the value function of its equation 1:

    min_G max_D  E_x[log D(x)] + E_z[log(1 - D(G(z)))]

G ascends log D(G(z)) instead of descending log(1 - D(G(z))), as the paper advises in section 3.
Departures:
- D's step and G's share one z (the paper draws two); z ~ N(0, I) (DCGAN: uniform).
- Images lie in [0, 1] behind a sigmoid (DCGAN: tanh); weights start from PyTorch's default (N(0, 0.02): --init dcgan).
- Adam's learning rate is 1e-3 and falls at the end, in batches of 32 (DCGAN: 2e-4, 128); its betas are (0, 0.99)
  (DCGAN: (0.5, 0.999)).
- G and D have 48 and 32 channels next to the image (DCGAN, at 64 x 64: 128 and 64).
- D sees real and generated images through constant noise (Sonderby et al. 2016, arXiv 1610.04490, who let it fall;
  --instance-noise 0: without).
- Samples come from a moving average of G (--ema 0: from G).
--networks dense: fully connected, with ReLU (the paper: maxout in D).
--balance: D, or G, waits while its loss of an image is less than half of the other's (where beta1 is 0).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend
from common import moving_average, noise_like

model = beside(__file__, "model")


@dataclass
class Options(BaseOptions):
    """GAN on 32 x 32 images."""

    epochs: Count = 8  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    instance_noise: NonNegative = 0.2  # standard deviation of the noise on the images, real or not, that D sees
    networks: Literal["conv", "dense"] = "conv"  # convolutional, or fully connected
    g_width: Count = 48  # channels of G's last stage; dense: units of each hidden layer
    d_width: Count = 32  # channels of D's first stage; dense: as for G
    g_layers: Count = 3  # of a dense G
    d_layers: Count = 3  # of a dense D
    dropout: Decay = 0.0  # the share of what D's layers give that each step leaves out
    balance: bool = False  # leave out steps of the one that is far ahead
    init: Literal["pytorch", "dcgan", "he"] = "pytorch"  # initial weights: PyTorch's, N(0, 0.02), or He et al.'s
    norm: Literal["batch", "none"] = "batch"  # BatchNorm in G, or not
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, networks=opt.networks, init=opt.init, norm=opt.norm,
                       g_width=opt.g_width, d_width=opt.d_width, g_layers=opt.g_layers, d_layers=opt.d_layers,
                       dropout=opt.dropout, average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    moves, steps = run.tensor("moves", [1.0, 1.0]), run.tensor("steps", [0.0, 0.0])  # of D, of G; 0: waits
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    z_fixed = run.noise(100, opt.latent_dim)

    def noisy(x):  # instance noise: D cannot rely on details that nobody sees, such as a background of exactly 0
        return x + opt.instance_noise * torch.randn_like(x)

    @run.step
    def update(x):
        fake = G(noise_like(x, opt.latent_dim))  # z ~ N(0, I)

        # D ascends log D(x) + log(1 - D(G(z))); of a logit, bce(logit, 1) = -log D and bce(logit, 0) = -log(1 - D)
        real, generated = D(noisy(x)), D(noisy(fake.detach()))
        d_loss = bce(real, 1) + bce(generated, 0)
        descend((adam_d, moves[0] * d_loss))

        # G ascends log D(G(z))
        g_loss = bce(D(noisy(fake)), 1)
        descend((adam_g, moves[1] * g_loss))

        t.add_(1)
        steps.add_(moves)
        if opt.balance:  # of one image, the losses are d_loss / 2 and g_loss
            moves.copy_(torch.stack([d_loss >= g_loss, 4 * g_loss >= d_loss]))
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D": d_loss, "G": g_loss, "D(x)": real.sigmoid().mean(), "D(G(z))": generated.sigmoid().mean()}

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))

    if opt.balance:
        run.record({"steps of D": steps[0] / t, "steps of G": steps[1] / t})


if __name__ == "__main__":
    main()

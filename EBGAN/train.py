"""EBGAN: Energy-based Generative Adversarial Networks, Zhao et al. 2016 (arXiv 1609.03126), on the networks of the GAN.

D gives an image an energy in place of a probability: it is an autoencoder, and D(x) = |Dec(Enc(x)) - x|, the norm of
what it misses. D keeps the energy of real images low and lifts that of generated ones up to the margin m, G looks for
images of low energy (equations 1 and 2, [x]+ = max(0, x)):

    D descends  D(x) + [m - D(G(z))]+        G descends  D(G(z)) + w f_PT(Enc(G(z)))

The pull-away term keeps the codes of a batch of N generated images apart, so that not all are alike (equation 14):

    f_PT(S) = 1 / (N (N - 1)) sum_i sum_{j != i} (S_i . S_j / (|S_i| |S_j|))^2

Departures:
- D has convolutions, a fully connected code and BatchNorm, also of the code; G is the GAN's (the paper's, for MNIST,
  are fully connected: --networks dense).
- m is 5 (the paper: 10), little more than the energy of real images.
- D's step and G's share z; z ~ N(0, I).
- Adam's learning rate falls at the end, its betas are (0, 0.99), in batches of 32; weights start after He et al.
- Samples come from a moving average of G (--ema 0: from G).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, beside, descend
from common import moving_average, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """GAN whose D is an autoencoder, on 32 x 32 images."""

    epochs: Count = 4  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    code: Count = 16  # dimension of D's code
    margin: Positive = 5.0  # m, the energy up to which D lifts generated images
    pull_away: NonNegative = 0.1  # w, the weight of the pull-away term
    lr: Positive = 4e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    networks: Literal["conv", "dense"] = "conv"  # convolutional, or fully connected
    g_width: Count = 48  # channels of G's last stage; dense: units of each hidden layer
    d_width: Count = 32  # channels of D's first stage; dense: as for G, and D's code
    g_layers: Count = 3  # of a dense G
    d_layers: Count = 3  # of a dense D, the last one its decoder
    dropout: Decay = 0.0  # the share of what the layers of a dense D's encoder give that each step leaves out
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, code=opt.code, networks=opt.networks,
                       g_width=opt.g_width, d_width=opt.d_width, g_layers=opt.g_layers, d_layers=opt.d_layers,
                       dropout=opt.dropout, average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    z_fixed = run.noise(100, opt.latent_dim)

    def pull_away(codes):  # f_PT: the mean squared cosine of two codes of a batch
        unit, n = F.normalize(codes), len(codes)
        return ((unit @ unit.T).square().sum() - n) / (n * (n - 1))  # without the n of a code with itself

    @run.step
    def update(x):
        fake = G(noise_like(x, opt.latent_dim))  # z ~ N(0, I)

        # D descends D(x) + [m - D(G(z))]+, the hinge of each image
        real, generated = D(x)[0], D(fake.detach())[0]
        d_loss = real.mean() + F.relu(opt.margin - generated).mean()
        descend((adam_d, d_loss))

        # G descends D(G(z)) + w f_PT; what is reconstructed moves, too
        energy, codes = D(fake)
        apart = pull_away(codes)
        g_loss = energy.mean() + opt.pull_away * apart
        descend((adam_g, g_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D": d_loss, "G": g_loss, "f_PT": apart, "D(x)": real.mean(), "D(G(z))": generated.mean()}

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

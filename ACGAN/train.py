"""ACGAN: Conditional Image Synthesis with Auxiliary Classifier GANs, Odena, Olah & Shlens 2016 (arXiv 1610.09585), on
the networks of the GAN.

G is told a class c; D is not, but estimates beside P(S|x), whether an image is real, P(C|x), its class (section 3):

    L_S = E[log P(S = real | x)] + E[log P(S = fake | G(c, z))]
    L_C = E[log P(C = c | x)]    + E[log P(C = c | G(c, z))]

D ascends L_S + L_C, G ascends L_C - L_S. As in the GAN, G ascends log P(S = real | G) instead of -L_S.
Departures:
- D's step and G's share one z and one c, the labels of the batch; z ~ N(0, I).
- Adam, 1e-3, falling at the end, betas (0, 0.99), in batches of 32 (the paper: 2e-4, (0.5, 0.999), 100).
- G and D have half of DCGAN's channels; D has BatchNorm and no dropout (the paper: one half at each stage).
- Images lie in [0, 1] behind a sigmoid (the paper: tanh); weights start after He et al. (--init dcgan: N(0, 0.02)).
- D sees images through constant noise (--instance-noise 0: without).
- Samples come from a moving average of G (--ema 0: from G).
--class-term real: D learns the classes from real images alone, as later practice has it; none: not at all, nor does G.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend
from common import moving_average, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """GAN with an auxiliary classifier on 32 x 32 images."""

    epochs: Count = 4  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    class_term: Literal["both", "real", "none"] = "both"  # the images of which D learns the classes; none: a plain GAN
    class_weight: NonNegative = 1.0  # weight of the class terms beside the others, of D and of G
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    instance_noise: NonNegative = 0.1  # standard deviation of the noise on the images, real or not, that D sees
    g_width: Count = 32  # channels of G's last stage
    d_width: Count = 32  # channels of D's first stage
    init: Literal["pytorch", "dcgan", "he"] = "he"  # initial weights: PyTorch's, N(0, 0.02), or He et al.'s
    norm: Literal["batch", "none"] = "batch"  # BatchNorm in G, or not
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    classes = len(run.train.classes)
    nets = run.networks(model.build, latent_dim=opt.latent_dim, classes=classes, init=opt.init, norm=opt.norm,
                       g_width=opt.g_width, d_width=opt.d_width, average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    weight = 0 if opt.class_term == "none" else opt.class_weight
    rows = max(1, 100 // classes)  # of the samples: each has one z and all labels
    z_fixed = run.noise(rows, opt.latent_dim).repeat_interleave(classes, 0)
    c_fixed = torch.arange(classes).repeat(rows)

    def noisy(x):  # instance noise: D cannot rely on details that nobody sees, such as a background of exactly 0
        return x + opt.instance_noise * torch.randn_like(x)

    @run.step
    def update(x, c):
        fake = G(noise_like(x, opt.latent_dim), c)  # z ~ N(0, I)

        # D ascends L_S + L_C
        (real, real_class), (generated, generated_class) = D(noisy(x)), D(noisy(fake.detach()))
        class_loss = F.cross_entropy(real_class, c)
        if opt.class_term == "both":
            class_loss = class_loss + F.cross_entropy(generated_class, c)
        d_loss = bce(real, 1) + bce(generated, 0)
        descend((adam_d, d_loss + weight * class_loss))

        # G ascends log P(S = real | G(c, z)) + log P(C = c | G(c, z))
        verdict, fake_class = D(noisy(fake))
        g_loss, g_class_loss = bce(verdict, 1), F.cross_entropy(fake_class, c)
        descend((adam_g, g_loss + weight * g_class_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D": d_loss, "G": g_loss, "class of D": class_loss, "class of G": g_class_loss,
                "D(x)": real.sigmoid().mean(), "D(G(z))": generated.sigmoid().mean()}

    for x, c in run.batches():
        run.log(update(x, c))
        run.show(lambda: model.sample(nets, len(z_fixed), c_fixed, z=z_fixed))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

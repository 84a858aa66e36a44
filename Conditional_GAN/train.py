"""Conditional GAN: Conditional Generative Adversarial Nets, Mirza & Osindero 2014 (arXiv 1411.1784), on the
convolutional networks of the GAN, or with --networks dense on the paper's fully connected ones.
The game of the GAN, with the label y as a further input of both networks (equation 2 of the paper):

    min_G max_D  E_x[log D(x|y)] + E_z[log(1 - D(G(z|y)|y))]

D sees an image and the label that the image has, or that it was made for. G ascends log D(G(z|y)|y), as in the GAN.
Departures:
- D's step and G's share one z and one y, the labels of the batch; z ~ N(0, I) (the paper: uniform).
- Adam, 1e-3, falling at the end, betas (0, 0.99), batches of 32 (the paper: descent with momentum, from 0.1 down).
- D sees images through constant noise; samples come from a moving average of G (--instance-noise 0, --ema 0: without).
- The networks are half as wide as the GAN's; weights start as in He et al. 2015.
- --networks dense: dropout in D alone (the paper: in G, too).
Options of others: --norm virtual and --smoothing (Salimans et al. 2016, arXiv 1606.03498, sections 3.5 and 3.4);
--classifier, a term -log C(y | G(z|y)) in G's loss for a classifier C that was trained before.
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
from common import moving_average, noise_like, trained

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Conditional GAN on 32 x 32 images."""

    epochs: Count = 4  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    networks: Literal["conv", "dense"] = "conv"  # convolutional, or the paper's fully connected ones
    norm: Literal["batch", "virtual", "none"] = "batch"  # of G; virtual: by a reference batch that is kept
    reference: Count = 32  # images in that batch
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    instance_noise: NonNegative = 0.1  # standard deviation of the noise on the images, real or not, that D sees
    smoothing: Decay = 0.0  # one-sided label smoothing: D's target for real images is 1 minus this
    classifier: Path | None = None  # checkpoint of Classification: G's images are to be read as their label by it
    class_weight: NonNegative = 1.0  # weight of that term
    shuffle_labels: bool = False  # give D wrong labels, as a control: then G cannot learn what they mean
    g_width: Count = 32  # channels of the convolutional G's last stage
    d_width: Count = 32  # channels of the convolutional D's first stage
    init: Literal["pytorch", "dcgan", "he"] = "he"  # initial weights: PyTorch's, N(0, 0.02), or He et al.'s
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    classes = len(run.train.classes)
    nets = run.networks(model.build, latent_dim=opt.latent_dim, classes=classes, networks=opt.networks, norm=opt.norm,
                       reference=opt.reference, g_width=opt.g_width, d_width=opt.d_width, init=opt.init,
                       average=opt.ema > 0, **run.image)
    G, D, C = nets["G"], nets["D"], None
    if opt.classifier:
        C = trained("Classification", opt.classifier, run.train.images.device, classes=classes, **run.image)["net_ema"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    rows = max(1, 100 // classes)  # of the samples: each has one z and all labels
    z_fixed = run.noise(rows, opt.latent_dim).repeat_interleave(classes, 0)
    y_fixed = torch.arange(classes).repeat(rows)

    def noisy(x):  # instance noise: D cannot rely on details that nobody sees, such as a background of exactly 0
        return x + opt.instance_noise * torch.randn_like(x)

    @run.step
    def update(x, y):
        if opt.shuffle_labels:
            y = y[torch.randperm(len(y), device=y.device)]
        fake = G(noise_like(x, opt.latent_dim), y)  # z ~ N(0, I)

        # D ascends log D(x|y) + log(1 - D(G(z|y)|y)), towards 1 - smoothing for real images
        real, generated = D(noisy(x), y), D(noisy(fake.detach()), y)
        d_loss = bce(real, 1 - opt.smoothing) + bce(generated, 0)
        descend((adam_d, d_loss))

        # G ascends log D(G(z|y)|y), and with a classifier log C(y | G(z|y))
        g_loss = bce(D(noisy(fake), y), 1)
        class_loss = F.cross_entropy(C(fake).float(), y) if C else torch.zeros_like(g_loss)
        descend((adam_g, g_loss + opt.class_weight * class_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D": d_loss, "G": g_loss, **({"C": class_loss} if C else {}),
                "D(x)": real.sigmoid().mean(), "D(G(z))": generated.sigmoid().mean()}

    for x, y in run.batches():
        run.log(update(x, y))
        run.show(lambda: model.sample(nets, len(z_fixed), y_fixed, z=z_fixed))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

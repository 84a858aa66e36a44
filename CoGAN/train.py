"""CoGAN: Coupled Generative Adversarial Networks, Liu & Tuzel 2016 (arXiv 1606.07536).

Two GANs, one for each of two domains, a and b, that share weights: the generators their first layers, where a z becomes
what is to be drawn, the discriminators their last ones. From one z both draw, and nobody tells them which image of a
belongs to which of b (equation 4):

    min_G max_D  E_a[log D_a(a)] + E_z[log(1 - D_a(G_a(z)))] + E_b[log D_b(b)] + E_z[log(1 - D_b(G_b(z)))]

--labels-of a (or b) is the paper's domain adaptation (section 5): the discriminators get a classifier on their shared
features, trained on the labels of that domain alone, and their features of G_a(z) and G_b(z) are drawn together.

Departures:
- G ascends log D(G(z)); D's step and G's share one z; z ~ N(0, I).
- Networks are those of the GAN (the paper's: 5 x 5 convolutions, dropout and no BatchNorm in D);
  BatchNorm sees one domain at a time.
- Adam's learning rate is 1e-3 and falls at the end, its betas are (0, 0.99), in batches of 32 (the paper: 2e-4,
  (0.5, 0.999), 128).
- D sees images through constant noise (Sonderby et al. 2016, arXiv 1610.04490, who let it fall).
- Samples come from a moving average of G, what D reads from one of D.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, Whole, bce, beside, descend
from common import moving_average, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Two GANs that draw pairs, 32 x 32."""

    paired = False  # no digit is in both domains
    pair: str = "edges"  # the two domains: a, the data set, and b, a map of its other half; or mnist-usps
    epochs: Count = 8  # passes over the training images of a
    batch_size: Count = 32  # images of each domain in one batch, over all ranks together
    latent_dim: Count = 100  # dimension of z
    shared: Whole = 4  # how many of G's five layers both domains share, from z on, 0 to 4
    labels_of: Literal["none", "a", "b"] = "none"  # the domain whose labels a classifier learns, for the other one
    label_weight: NonNegative = 10.0  # weight of its loss
    pair_weight: NonNegative = 0.01  # weight of the squared distance of D's features of a pair
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    instance_noise: NonNegative = 0.2  # standard deviation of the noise on the images, real or not, that D sees
    g_width: Count = 48  # channels of G's last stage
    d_width: Count = 32  # channels of D's first stage
    ema: Decay = 0.999  # decay of the moving averages of G and D; 0: G and D themselves


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, classes=len(run.train.a.classes), shared=opt.shared,
                       g_width=opt.g_width, d_width=opt.d_width, average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))
    z_fixed = run.noise(50, opt.latent_dim)

    def noisy(x):  # instance noise: D cannot rely on details that nobody sees, such as a background of exactly 0
        return x + opt.instance_noise * torch.randn_like(x)

    @run.step
    def update(a, b, label):
        fake_a, fake_b = G(noise_like(a, opt.latent_dim))  # z ~ N(0, I), one for both

        # D ascends log D_a(a) + log(1 - D_a(G_a(z))) + log D_b(b) + log(1 - D_b(G_b(z)))
        (real_a, _, read_a), (real_b, _, read_b) = D(noisy(a), "a"), D(noisy(b), "b")
        (false_a, of_a, _), (false_b, of_b, _) = D(noisy(fake_a.detach()), "a"), D(noisy(fake_b.detach()), "b")
        d_loss = bce(real_a, 1) + bce(false_a, 0) + bce(real_b, 1) + bce(false_b, 0)
        losses = {"D": d_loss}
        if opt.labels_of != "none":  # and descends -log p(label|x) of the one domain, and |f(G_a(z)) - f(G_b(z))|^2
            losses["label"] = F.cross_entropy(read_a if opt.labels_of == "a" else read_b, label)
            losses["apart"] = (of_a - of_b).square().sum(1).mean()
            d_loss = d_loss + opt.label_weight * losses["label"] + opt.pair_weight * losses["apart"]
        descend((adam_d, d_loss))

        # G ascends log D_a(G_a(z)) + log D_b(G_b(z))
        g_loss = bce(D(noisy(fake_a), "a")[0], 1) + bce(D(noisy(fake_b), "b")[0], 1)
        descend((adam_g, g_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            for name in "GD":
                moving_average(nets[f"{name}_ema"], nets[name], torch.clamp(t / (t + 10), max=opt.ema))
        return losses | {"G": g_loss}

    for a, label_a, b, label_b in run.batches():
        run.log(update(a, b, label_b if opt.labels_of == "b" else label_a))
        run.show(lambda: figures.pairs(nets, z_fixed))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

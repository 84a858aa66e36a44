"""InfoGAN: Interpretable Representation Learning by Information Maximizing GANs, Chen et al. 2016 (arXiv 1606.03657).
Beside the noise z, G takes codes: a category c and numbers u in [-1, 1]. Nobody says what they are to mean. They are
made to show in the image: Q, on the features of D, has to read them (equations 5 and 6):

    min_{G,Q} max_D  V(D, G) - lambda L_I(G, Q),    L_I = E[log Q(c, u|G(z, c, u))] + H(c, u) <= I(c, u; G(z, c, u))

V is the GAN's; Q(c|x) is a softmax, Q(u|x) normal with the standard deviation 1. As in the authors' code D's step takes
lambda L_I, too, so that Q and all of D learn to read; G's step moves G alone. G ascends log D(G).
Departures:
- D's step and G's share z and the codes; z has 8 numbers (the paper: 62), which leaves more to the category.
- D sees all images turned, sheared, stretched and moved at random, so that a category is no way of writing
  (--distortion 0: not). log Q(u_1|x) gets its weight in the second quarter of the run, when the width of strokes is
  left to it. Then turns and shears go, and log Q(u_2|x) may take the slant; in the last quarter go the others.
- Adam, 1e-3 for both, falling at the end, betas (0, 0.99), in batches of 64 (the paper: 2e-4 for D, 1e-3 for G, 128).
- The paper's networks, half as wide, from weights after He et al.; D sees noisy images; G_ema draws the samples.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend
from common import distorted, moving_average

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """GAN with codes that show in the image, on 32 x 32 images."""

    epochs: Count = 8  # passes over the training set
    batch_size: Count = 64  # images in one batch, over all ranks together
    latent_dim: Count = 8  # dimension of z
    codes: Count = 10  # values of the categorical code
    continuous: Count = 2  # how many continuous codes
    info: NonNegative = 1.0  # lambda, weight of the information term; 0: nothing makes the codes show
    info_u: NonNegative = 3.0  # weight of the continuous codes in it
    lr: Positive = 1e-3  # Adam's learning rate, of both
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    distortion: NonNegative = 1.0  # at first: 1 is up to 20 degrees, a shear of 0.5, 2 pixels, 25% in width or height
    instance_noise: NonNegative = 0.1  # standard deviation of the noise on the images, real or not, that D sees
    width: Count = 32  # channels of the stage next to the images, in G and in D
    ema: Decay = 0.999  # decay of the moving average of G that samples are drawn from; 0: draw them from G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, codes=opt.codes, continuous=opt.continuous,
                       width=opt.width, average=opt.ema > 0, **run.image)
    G, D, Q = nets["G"], nets["D"], nets["Q"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(0.0, 0.99))
    adam_d = run.optimizer(Adam, D, Q, lr=lr, betas=(0.0, 0.99))

    def ramp(zero, one):  # 0 where the share `zero` of the run is done, 1 where `one` is
        return run.schedule(lambda share: min(1, max(0, (share - zero) / (one - zero))))

    of_u_1, turned, of_u_2, moved = ramp(0.25, 0.5), ramp(0.6, 0.5), ramp(0.6, 0.75), ramp(0.9, 0.75)
    grid = model.grid(opt.codes, run.noise(10, opt.latent_dim + opt.continuous), opt.latent_dim)

    def seen(x):  # what D sees of x; limits: in degrees, of size, of shear, in pixels, of width and of height
        limits = (opt.distortion * limit for limit in (20 * turned, 0, 0.5 * turned, 2 * moved, 0.25 * moved))
        return (distorted(x, *limits) if opt.distortion else x) + opt.instance_noise * torch.randn_like(x)

    def information(features, c, u):  # of c and of u: L_I in nats, but for u's constants; and -log Q, but for constants
        logits, mean = Q(features)
        of_c, of_u = F.cross_entropy(logits, c), 0.5 * (mean - u).square().mean(0)
        return math.log(opt.codes) - of_c, of_c + opt.info_u * (of_u_1 * of_u[:1].sum() + of_u_2 * of_u[1:].sum())

    @run.step
    def update(x):
        z, u = (2 * torch.rand(len(x), n, device=x.device) - 1 for n in (opt.latent_dim, opt.continuous))  # in [-1, 1]
        c = torch.randint(opt.codes, (len(x),), device=x.device)
        fake = G(z, c, u)

        # D and Q ascend log D(x) + log(1 - D(G)) + lambda log Q(c, u|G)
        (real, _), (generated, features) = D(seen(x)), D(seen(fake.detach()))
        d_loss = bce(real, 1) + bce(generated, 0)
        known, unread = information(features if opt.info else features.detach(), c, u)
        descend((adam_d, d_loss + (opt.info or 1) * unread))

        # G ascends log D(G) + lambda log Q(c, u|G)
        verdict, features = D(seen(fake))
        g_loss = bce(verdict, 1)
        descend((adam_g, g_loss + opt.info * information(features, c, u)[1]))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return {"D": d_loss, "G": g_loss, "L_I of c": known, "-log Q": unread,
                "D(x)": real.sigmoid().mean(), "D(G(z))": generated.sigmoid().mean()}

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, **grid))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

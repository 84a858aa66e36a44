"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, Zhu et al. 2017
(arXiv 1703.10593).

G makes images of domain b from images of a, F images of a from images of b. No pairs are known: D_b tells G's images
from real ones of b, D_a F's from real ones of a, and what goes there and back must come back as it was (equations 1 to
4, the logarithms replaced by least squares as in section 4):

    G, F descend  E[(D_b(G(a)) - 1)^2] + E[(D_a(F(b)) - 1)^2] + lambda (E[|F(G(a)) - a|_1] + E[|G(F(b)) - b|_1])
    D_b descends  E[(D_b(b) - 1)^2] + E[D_b(G(a))^2]     and D_a alike

Half of the generated images that D_a and D_b see come from a pool of older ones.

Departures:
- lambda is 4, for images in [0, 1] behind a sigmoid (the paper: 10 for tanh, which is 20 here).
- Two residual blocks, and patches of 38 pixels, which is all of a 32 x 32 image (the paper: 256 x 256, nine, 70).
- Adam's learning rate is 5e-4, its betas are (0, 0.99), in batches of 32 (the paper: 2e-4, (0.5, 0.999), 1); weights
  start after He et al. (the paper: N(0, 0.02)).
- No identity term (the paper has one for paintings alone).
- Translations come from moving averages of G and F.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, Whole, beside, descend
from common import moving_average

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Translation between two domains without pairs, 32 x 32."""

    paired = False  # no digit is in both domains
    pair: str = "edges"  # the two domains: a, the data set, and b, a map of its other half; or mnist-usps
    epochs: Count = 4  # passes over the training images of a
    batch_size: Count = 32  # images of each domain in one batch, over all ranks together
    cycle: NonNegative = 4.0  # lambda: weight of the cycle terms
    pool: Whole = 50  # older generated images for each one of a batch; 0: none
    lr: Positive = 5e-4  # Adam's learning rate, of all networks
    lr_fall: Share = 0.5  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    width: Count = 32  # channels of G's and F's first and last stages
    d_width: Count = 32  # channels of the discriminators' first stages
    d_stages: Count = 3  # the discriminators' halvings: 1, 2 or 3 give patches of 8, 18 or 38 pixels
    blocks: Count = 2  # residual blocks
    ema: Decay = 0.999  # decay of the moving averages of G and F that translate; 0: G and F themselves


def pooled(fake, pool, used):
    """Of the images `fake` (N, C, H, W), half as they are, and in place of the others older ones from the pool
    (P, C, H, W), P >= N, where the new ones stay. While a place is empty, used (P,) is 0, an image stays there, too."""
    places = torch.rand_like(used).argsort()[:len(fake)]
    old, full = pool[places], used[places]
    swap = (full * torch.rand_like(full) > 0.5)[:, None, None, None]
    pool.index_copy_(0, places, torch.where(swap | (full == 0)[:, None, None, None], fake, old))
    used.index_fill_(0, places, 1)
    return torch.where(swap, old, fake)


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, width=opt.width, d_width=opt.d_width, d_stages=opt.d_stages, blocks=opt.blocks,
                       average=opt.ema > 0, **run.image)
    G, F, D_a, D_b = (nets[name] for name in ("G", "F", "D_a", "D_b"))
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, F, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D_a, D_b, lr=lr, betas=(opt.beta1, opt.beta2))
    pools = [[run.tensor(f"{name}_{i}", torch.zeros(opt.pool * opt.batch_size, *shape)) for name, shape in (
        ("pool", part.images.shape[1:]), ("used", ()))] for i, part in enumerate(run.train.sets)]

    @run.step
    def update(a, b):
        fake_b, fake_a = G(a), F(b)

        # G and F descend both squares and lambda times what the two cycles lose
        g_loss, f_loss = (D_b(fake_b) - 1).square().mean(), (D_a(fake_a) - 1).square().mean()
        cycle = (F(fake_b) - a).abs().mean() + (G(fake_a) - b).abs().mean()
        descend((adam_g, g_loss + f_loss + opt.cycle * cycle))

        # D_a and D_b descend (D(real) - 1)^2 + D(fake)^2, the mean of their patches
        fake_a, fake_b = fake_a.detach(), fake_b.detach()
        if opt.pool:
            fake_a, fake_b = pooled(fake_a, *pools[0]), pooled(fake_b, *pools[1])
        a_loss = (D_a(a) - 1).square().mean() + D_a(fake_a).square().mean()
        b_loss = (D_b(b) - 1).square().mean() + D_b(fake_b).square().mean()
        descend((adam_d, a_loss + b_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            for name in "GF":
                moving_average(nets[f"{name}_ema"], nets[name], torch.clamp(t / (t + 10), max=opt.ema))
        return {"G": g_loss, "F": f_loss, "cycle": cycle, "D_a": a_loss, "D_b": b_loss}

    for a, _, b, _ in run.batches():
        run.log(update(a, b))
        run.show(lambda: figures.translated(run, nets))


if __name__ == "__main__":
    main()

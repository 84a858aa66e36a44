"""pix2pix: Image-to-Image Translation with Conditional Adversarial Networks, Isola et al. 2016 (arXiv 1611.07004).

For pairs of an image x and what is to be made of it, y (equations 1, 3 and 4):

    min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x)))] + lambda E[|y - G(x)|_1]

G's only noise is dropout, which stays on when images are translated. G ascends log D(x, G(x)), as the paper's section
3.3 has it. D judges patches, and its output is a mean over them.

Departures:
- Images lie in [0, 1] behind a sigmoid, so lambda is 200 (the paper: tanh, 100).
- G halves 32 x 32 images four times (the paper: 256 x 256, eight times), D's patches have 18 pixels a side (70).
- Adam's learning rate is 1e-3 and falls at the end, its betas are (0, 0.99), in batches of 32 (the paper: 2e-4,
  (0.5, 0.999), 1 to 10); weights start after He et al. (the paper: N(0, 0.02)).
- Translations come from a moving average of G, with the statistics of its training (the paper: of the test batch).
--gan unconditional: D sees y or G(x) alone (equation 2); none: without D, the L1 term alone.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend
from common import moving_average

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Translation of images whose counterparts are known, 32 x 32."""

    paired = True  # x and y are of one digit
    pair: str = "mosaic"  # the two domains: a, the data set, and b, a map of it; say mosaic, edges, halved
    direction: Literal["ab", "ba"] = "ba"  # from b to a, or from a to b
    epochs: Count = 4  # passes over the training set
    batch_size: Count = 32  # pairs in one batch, over all ranks together
    gan: Literal["conditional", "unconditional", "none"] = "conditional"  # what D sees beside y
    l1: NonNegative = 200.0  # lambda: weight of the L1 term
    dropout: Decay = 0.5  # the share of what G's first two stages up give that each step leaves out
    lr: Positive = 1e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    width: Count = 32  # channels of G's first and last stage
    d_width: Count = 32  # channels of D's first stage
    d_stages: Count = 2  # D's halvings: 1, 2 or 3 give patches of 8, 18 or 38 pixels
    ema: Decay = 0.999  # decay of the moving average of G that translates; 0: G itself


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, direction=opt.direction, width=opt.width, d_width=opt.d_width,
                       d_stages=opt.d_stages, dropout=opt.dropout, conditional=opt.gan == "conditional",
                       average=opt.ema > 0, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, opt.beta2))

    def judged(x, y):  # D's logits, one a patch
        return D(torch.cat([x, y], 1) if opt.gan == "conditional" else y)

    @run.step
    def update(x, y):
        fake = G(x)
        l1 = (y - fake).abs().mean()
        losses = {"L1": l1}

        if opt.gan == "none":
            descend((adam_g, l1))
        else:
            # D ascends log D(x, y) + log(1 - D(x, G(x))), the mean of its patches
            real, generated = judged(x, y), judged(x, fake.detach())
            d_loss = bce(real, 1) + bce(generated, 0)
            descend((adam_d, d_loss))

            # G ascends log D(x, G(x)) - lambda |y - G(x)|_1
            g_loss = bce(judged(x, fake), 1)
            descend((adam_g, g_loss + opt.l1 * l1))
            losses |= {"D": d_loss, "G": g_loss, "D(y)": real.sigmoid().mean(), "D(G(x))": generated.sigmoid().mean()}

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            moving_average(nets["G_ema"], G, torch.clamp(t / (t + 10), max=opt.ema))
        return losses

    for a, _, b, _ in run.batches():
        run.log(update(*((a, b) if opt.direction == "ab" else (b, a))))
        run.show(lambda: figures.translated(run, nets))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

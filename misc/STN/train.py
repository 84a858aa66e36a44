"""STN: Spatial Transformer Networks, Jaderberg et al. 2015 (arXiv 1506.02025), on distorted digits (section 4.1).

Before the classifier reads an image it may transform it: a small network, which sees the image, gives the parameters
theta of a map of the plane, and the image is drawn anew with each pixel p taken from the place T_theta(p) (equation 1),
bilinearly (equation 5). That has a gradient in theta, so the classifier's loss is all that trains both:

    descend  -log softmax(classify(transformed))[label],   transformed(p) = x(T_theta(p)),   theta = locate(x)

Departures:
- 32 x 32 images (28 x 28), and 42 x 42 for RTS, whose transformed images the paper halves.
- Adam, 1e-3, falling to 0 over the second half, for 11,250 batches of 32 (SGD, 0.01, for 150,000 of 256).
- About 69,000 weights (400,000).
--transformer none: the classifier alone, with as many weights.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Positive, Run, Share, Whole, beside, descend

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Classifier of distorted 32 x 32 images that may straighten them first."""

    epochs: Count = 6  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    distortion: Literal["R", "RTS", "P", "E"] = "R"  # rotated; also scaled and moved; seen in projection; bent
    transformer: Literal["affine", "thin-plate", "none"] = "affine"  # the maps that it may choose from
    width: Whole = 0  # channels of the classifier; 0: 32, without a transformer 36 or 37, for as many weights
    lr: Positive = 1e-3  # Adam's learning rate
    lr_fall: Share = 0.5  # the share of the run, at its end, over which it falls linearly to 0


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, transformer=opt.transformer, distortion=opt.distortion, width=opt.width,
                       classes=len(run.train.classes), **run.image)
    net = nets["net"]
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam = run.optimizer(Adam, net, lr=lr)

    @run.step
    def update(x, label):
        x, _ = model.distorted(x, opt.distortion)  # anew each time
        loss = F.cross_entropy(net(x), label)  # of the transformed image
        descend((adam, loss))
        return {"cross-entropy": loss}

    for x, label in run.batches():
        run.log(update(x, label))
        run.show(lambda: figures.straightened(run, nets))
        run.curve("error", lambda: {"test": figures.error(run, nets)})

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

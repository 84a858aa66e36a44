"""Classification of digits by a small convolutional network, without augmentation, or with (--augment).

The network descends the cross-entropy -log softmax(net(x))[label] by Adam, with a learning rate that falls linearly to
0. What is measured, in eval mode at each epoch's end on 10,000 training images and all test images, is a moving average
of its weights (Polyak & Juditsky 1992; --ema 0: the network itself). At the end come the confusion matrix of the test
images and the digits that are most confidently wrong.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, Positive, Run, Share, beside, descend, distorted, moving_average

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Classification of 32 x 32 images."""

    epochs: Count = 5  # passes over the training set
    lr: Positive = 2e-3  # Adam's learning rate
    lr_fall: Share = 1.0  # the share of the run, at its end, over which it falls linearly to 0
    augment: bool = False  # turn, scale, shear and shift each training image a little, anew every time it is seen
    ema: Decay = 0.999  # decay of the moving average of the weights


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, classes=len(run.train.classes), **run.image)
    net, average = nets["net"], nets["net_ema"]
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam = run.optimizer(Adam, net, lr=lr)
    t = run.tensor("t", 0.0)  # updates so far

    @run.step
    def update(x, label):
        x = distorted(x) if opt.augment else x
        loss = F.cross_entropy(net(x).float(), label)
        descend((adam, loss))
        t.add_(1)
        moving_average(average, net, torch.clamp(t / (t + 10), max=opt.ema))
        return {"cross-entropy": loss}

    for x, label in run.batches():
        run.log(update(x, label))
        run.curve("accuracy", lambda: {"train": figures.accuracy(average, run.train[:10_000]),
                                       "test": figures.accuracy(average, run.test)})

    figures.draw(run, nets)


if __name__ == "__main__":
    main()

"""Classification of digits by a small convolutional network, without augmentation.

The network descends the cross-entropy -log softmax(net(x))[label] by Adam. What is measured, in eval mode at each
epoch's end on all training and all test images, is a moving average of its weights (Polyak & Juditsky 1992), which
takes the place of a falling step size (--ema 0: the network itself). At the end come the confusion matrix of the test
images and the digits that are most confidently wrong.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import BaseOptions, Count, Decay, Positive, Run, descend, evaluating, moving_average
from common.images import captioned, confusion_matrix
from model import build


@dataclass
class Options(BaseOptions):
    """Classification of 32 x 32 images."""

    epochs: Count = 10  # passes over the training set
    lr: Positive = 1e-3  # Adam's step size
    ema: Decay = 0.999  # decay of the moving average of the weights


def predict(net, data):
    """Probabilities (N, classes) of a whole data set, in eval mode."""
    with evaluating(net):
        return torch.cat([net(x).softmax(1) for x, _ in data.batches(1000)])


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(build, classes=len(run.train.classes), **run.image)
    net, average, test = nets["net"], nets["net_ema"], run.test
    adam = run.optimizer(Adam, net, lr=opt.lr)
    t = run.tensor("t", 0.0)  # updates so far

    @run.step
    def update(x, label):
        loss = F.cross_entropy(net(x).float(), label)
        descend((adam, loss))
        t.add_(1)
        moving_average(average, net, torch.clamp(t / (t + 10), max=opt.ema))
        return {"cross-entropy": loss}

    def accuracy(data):
        return (predict(average, data).argmax(1) == data.labels).float().mean()

    for x, label in run.batches():
        run.log(update(x, label))
        run.curve("accuracy", lambda: {"train": accuracy(run.train), "test": accuracy(test)})

    confidence, predicted = predict(average, test).max(1)
    run.record({"accuracy": (predicted == test.labels).float().mean()})
    run.save("confusion", confusion_matrix(test.labels, predicted, test.classes))
    wrong = (predicted != test.labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True)][:40]  # the most confident first
    captions = [f"{test.classes[test.labels[i]]}, not {test.classes[predicted[i]]}" for i in wrong]
    run.save("wrong", captioned(test.images[wrong], captions, "label, not prediction: the most confident errors"))


if __name__ == "__main__":
    main()

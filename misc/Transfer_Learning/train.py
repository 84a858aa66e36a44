"""Transfer learning: how many labels a task needs when the features of another are at hand. The comparison is that of
Yosinski et al. 2014, "How transferable are features in deep neural networks?" (arXiv 1411.1792): features carried over
and kept, or trained further, beside the same network from the start.

1. On the source task, features and a linear layer descend the cross-entropy -log softmax(layer(features(x)))[label].
2. On the target task, with n labels a class, for n = 1, 3, 10, 30, 100, 300 and all, a new linear layer and

    frozen        the source's features, which stay as they are
    fine-tuned    the source's features, trained with the layer
    scratch       features as step 1 found them at its start, trained with the layer
    random        the same, which stay as they are: what the network's form alone is worth

   do the same, all with the same labels, from the same layer, for as many updates. The seed draws the labels.

Departures: the tasks (there: halves of ImageNet); a network of four convolutions without normalisation (there: eight
layers), all of which are carried over; Adam.
"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Positive, Run, Share, beside, descend
from common.data import Batches

model, figures = beside(__file__, "model"), beside(__file__, "figures")

LABELS = (1, 3, 10, 30, 100, 300)  # of each class


@dataclass
class Options(BaseOptions):
    """From one classification of 32 x 32 images to another."""

    paired = False  # no image is of both tasks
    pair: Literal["low-high", "mnist-usps", "mnist-fashion"] = "low-high"  # source and target: digits 0-4 and 5-9, ...
    batch_size: Count = 64  # images in one batch, of the target no more than there are
    epochs: Count = 3  # passes over the source's images
    updates: Count = 500  # of each network on the target
    lr: Positive = 1e-3  # Adam's learning rate
    lr_fall: Share = 0.5  # the share of the run, and of the updates on the target, over which it falls linearly to 0
    width: Count = 16  # channels of the first convolution


def subsets(data, seed):
    """Data sets of n images of each class, drawn by the seed, for each n of LABELS that there are, then the whole."""
    smallest = torch.bincount(data.labels, minlength=len(data.classes)).min()
    return [*(data.stratified(n * len(data.classes), seed) for n in LABELS if n <= smallest), data]


def adapt(features, layer, few, opt, frozen):
    """Step 2: trains a copy of a layer, and of features where these are not frozen, on a few images. Returns both."""
    features, layer = copy.deepcopy(features), copy.deepcopy(layer)
    batches = Batches(*few.tensors, batch_size=min(opt.batch_size, len(few)), seed=opt.seed)
    lr = torch.tensor(opt.lr, device=few.images.device)
    adam = Adam([*layer.parameters(), *([] if frozen else features.parameters())], lr=lr)
    for i in range(min(opt.updates, opt.max_steps or opt.updates)):
        lr.fill_(opt.lr * min(1, (1 - i / opt.updates) / opt.lr_fall))
        x, label = batches[i]
        descend((adam, F.cross_entropy(layer(features(x)), label)))
    return features, layer


def main():
    run = Run(Options, __file__)
    opt, source, target = run.options, *run.train.sets
    nets = run.networks(model.build, classes_a=len(source.classes), classes_b=len(target.classes), width=opt.width,
                       **run.image)
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam = run.optimizer(Adam, nets["features"], nets["source"], lr=lr)

    @run.step
    def update(x, label):  # step 1
        loss = F.cross_entropy(nets["source"](nets["features"](x)), label)
        descend((adam, loss))
        return {"cross-entropy": loss}

    for x, label, _, _ in run.batches():
        run.log(update(x, label))
        run.curve("accuracy", lambda: {"source": figures.accuracy(nets["features"], nets["source"], run.test.a)})

    forms = {"scratch": (nets["random"], False), "random": (nets["random"], True),
             "frozen": (nets["features"], True), "fine-tuned": (nets["features"], False)}
    run.record({"source": figures.accuracy(nets["features"], nets["source"], run.test.a)} | {
        f"{form}, {len(few)} labels": figures.accuracy(*adapt(features, nets["target"], few, opt, frozen), run.test.b)
        for few in subsets(target, opt.seed) for form, (features, frozen) in forms.items()})


if __name__ == "__main__":
    main()

"""Trains the digit classifier that scores every model:    python misc/scorer.py

Writes common/scorer.pt and common/scorer.json. Scores of different classifiers do not compare: after this every
result.json is to be made anew (misc/tables.py refuses to mix them). Cross-entropy without label smoothing, Adam with
one cycle of its step size, and each image turned, scaled, sheared and shifted a little, anew every time it is seen."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import Count, Positive, data, scorer  # noqa: E402
from common.files import replacing  # noqa: E402
from common.log import environment, say, write_json  # noqa: E402
from common.options import InputError, Seed, parse, refusing  # noqa: E402
from common.updates import descend, evaluating  # noqa: E402
from misc.places import writable_file  # noqa: E402


@dataclass
class Options:
    """Trains the digit classifier that scores every model."""

    epochs: Count = 20  # passes over the 60,000 training images
    batch_size: Count = 128  # images in one update
    lr: Positive = 4e-3  # the highest step size of the cycle
    seed: Seed = 0  # of weights, order and distortions
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    out: Path = scorer.WEIGHTS  # where the weights go; their record goes beside them


def distort(x):
    """Each image (N, C, H, W) turned by up to 10 degrees, scaled and sheared by up to 10%, moved by up to 2 pixels."""
    angle, log_scale, shear, right, down = (torch.rand(5, len(x)) * 2 - 1) * torch.tensor(
        [[math.radians(10)], [0.1], [0.1], [4 / x.shape[-1]], [4 / x.shape[-2]]])
    cos, sin, scale = angle.cos(), angle.sin(), log_scale.exp()
    theta = torch.stack([scale * cos, scale * (shear * cos - sin), right,
                         scale * sin, scale * (shear * sin + cos), down], 1).view(-1, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)


def accuracy(net, dataset):
    with evaluating(net):
        return sum((net(x).argmax(1) == label).sum().item() for x, label in dataset.batches(1000)) / len(dataset)


def main():
    opt = parse(Options)
    writable_file(opt.out, "--out", ".pt")
    root = data.data_dir(opt.data_dir)
    data.resolve("mnist", root)
    train, test = data.load("mnist", root), data.load("mnist", root, train=False)
    torch.manual_seed(opt.seed)
    net = scorer.Scorer().to(memory_format=torch.channels_last)
    if opt.batch_size > len(train):
        raise InputError(f"--batch-size: {opt.batch_size} is more than the {len(train)} training images")
    batches = data.Batches((train.images, train.labels), batch_size=opt.batch_size, seed=opt.seed)
    updates = opt.epochs * batches.per_epoch
    adam = torch.optim.Adam(net.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, opt.lr, updates)
    for step in (bar := tqdm(range(updates), unit="update", disable=None)):
        x, label = batches[step]
        loss = F.cross_entropy(net(distort(x)), label)
        descend((adam, loss))
        schedule.step()
        if (step + 1) % batches.per_epoch == 0:
            bar.write(f"epoch {(step + 1) // batches.per_epoch}: loss {loss.item():.4f}, "
                      f"accuracy on the test images {accuracy(net, test):.2%}", file=sys.stderr)
    with replacing(opt.out) as file:
        torch.save(net.state_dict(), file)
    record = {"sha256": scorer.sha256(opt.out), "test_accuracy": accuracy(net, test),
              "train_accuracy": accuracy(net, train), "epochs": opt.epochs, "seed": opt.seed, **environment()}
    write_json(opt.out.with_suffix(".json"), record)
    say(f"{record['test_accuracy']:.2%} of the test images; see {opt.out}")


if __name__ == "__main__":
    with refusing("misc/scorer.py"):
        main()

"""Digits that a GAN drew as training data of a classifier:    python misc/studies/retraining.py

Coursework on GANs asks whether a classifier gains by synthetic digits: portions of 10, 20, 50 and 100% of real ones and
of synthetic ones, tested on real and on synthetic images; a few real ones and many synthetic ones; synthetic ones
first, real ones after; only those synthetic ones that a classifier is sure of. There is a trap in it: a generator that
has seen 60,000 labels hands them on, and a classifier with a hundred labels of its own that reads well owes it to them.
So each question is put twice: to a generator that saw all training images, and to one that saw the same few real images
as the classifier. And beside both stands what costs nothing: the same few images, turned, scaled and shifted a little.

Each classifier is the same small network, trained for the same number of updates. Few real images are the first ones of
the training set, about as many of each class. The generators are Conditional_GAN's; those of few images are trained
here where they are not yet, which takes some minutes."""

import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import ROOT, SURE, Study  # noqa: E402

sys.path.insert(0, str(ROOT / "misc"))
from generate import draw  # noqa: E402

from common import Count, data, distorted  # noqa: E402
from common.blocks import Down, initialize, stage_widths  # noqa: E402
from common.images import figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc import scorer  # noqa: E402

MODEL = "Conditional_GAN"
PORTIONS = (0.1, 0.2, 0.5, 1.0)
FEW = (100, 500, 2000)  # real images
BATCH = 64


@dataclass
class Options(Study):
    """Digits that a GAN drew as training data of a classifier."""

    updates: Count = 600  # of each classifier
    draws: Count = 3  # first weights and orders for each number


def generator_of(opt, n):
    """(model, networks) of a generator that saw the first n training images; trained here if need be."""
    updates = 200 if opt.quick else 2_000
    out = ROOT / "misc" / "samples" / "retraining" / f"{n}-{updates}"
    checkpoint = out / "checkpoints" / "checkpoint.pt"
    if not checkpoint.exists():
        say(f"training a generator on {n} images")
        words = ["--dataset", "mnist", "--holdout", 60_000 - n, "--batch-size", 32, "--out-dir", out,
                 "--epochs", -(-updates // (n // 32)), *(["--data-dir", opt.data_dir] if opt.data_dir else [])]
        done = subprocess.run([sys.executable, ROOT / MODEL / "train.py", *map(str, words)], stderr=subprocess.PIPE,
                              text=True)
        if done.returncode:
            raise InputError(f"{MODEL}/train.py: {done.stderr.strip().splitlines()[-1][:200]}")
    return opt.networks(MODEL, checkpoint)


def drawn(model, nets, n, seed):
    """n synthetic digits as a data set, as many of each class."""
    return data.Dataset(*draw(model, nets, n, seed, labels=torch.arange(10)))


def joined(*sets):
    return data.Dataset(torch.cat([part.images for part in sets]), torch.cat([part.labels for part in sets]))


def small_network(seed):
    torch.manual_seed(seed)
    return initialize(Down(1, 10, 32, stage_widths(32, 16)), "he")


def fitted(train, updates, seed=0, net=None, lr=4e-3, change=lambda x: x):
    """A classifier of a data set; half of each batch is of it, where it is a pair of sets, half of the other."""
    net = net or small_network(seed)
    if isinstance(train, tuple):  # as if both were as large
        most = max(map(len, train))
        train = joined(*(part[torch.arange(most) % len(part)] for part in train))
    return scorer.fit(net, train, updates, batch_size=min(BATCH, len(train)), lr=lr, seed=seed, change=change).eval()


def sure(train, by):
    """Those images of a data set whose label a classifier names with confidence."""
    with torch.no_grad():
        probabilities = torch.cat([by(x).softmax(1) for x, _ in train.batches(1000)])
    return train[probabilities[range(len(train)), train.labels] > SURE]


def portions(real, synthetic, tests, opt):
    """{(share of real, share of synthetic): {test: accuracy}}, means over the draws, all shares but none of both."""
    found = {}
    for a in (0.0, *PORTIONS):
        for b in (0.0, *PORTIONS):
            if a or b:
                train = joined(real[:int(a * len(real))], synthetic[:int(b * len(synthetic))])
                nets = [fitted(train, opt.updates, seed) for seed in range(1 if opt.quick else opt.draws)]
                found[f"{a:.0%} real, {b:.0%} synthetic"] = {
                    name: statistics.mean(scorer.accuracy(net, test) for net in nets) for name, test in tests.items()}
                say(f"{a:.0%} real, {b:.0%} synthetic: {list(found.values())[-1]}")
    return found


def few(real, n, of_all, of_few, test, opt):
    """{way: accuracies over the draws} with the first n real images, and the shares of synthetic ones that are kept."""
    own, ways, kept = real[:n], {}, {}
    for seed in range(1 if opt.quick else opt.draws):
        alone = fitted(own, opt.updates, seed)
        nets = {"real": alone, "real, distorted": fitted(own, opt.updates, seed, change=distorted)}
        for who, synthetic in (("all", of_all), ("few", of_few)):
            trusted = sure(synthetic, alone)
            kept.setdefault(f"G of {who}", []).append(len(trusted) / len(synthetic))
            first = fitted(synthetic, opt.updates * 2 // 3, seed)
            nets |= {f"G of {who}, alone": fitted(synthetic, opt.updates, seed),
                     f"G of {who}, mixed": fitted((own, synthetic), opt.updates, seed),
                     f"G of {who}, first": fitted(own, opt.updates // 3, seed, net=first, lr=4e-4)}
            if len(trusted) >= BATCH:
                nets[f"G of {who}, sure, mixed"] = fitted((own, trusted), opt.updates, seed)
        for name, net in nets.items():
            ways.setdefault(name, []).append(scorer.accuracy(net, test))
    say(f"{n} real: " + ", ".join(f"{name} {statistics.mean(values):.4f}" for name, values in ways.items()))
    return ways, {name: statistics.mean(values) for name, values in kept.items()}


def drawing(found):
    """Figure of `few`: the accuracy of each way over the number of real images."""
    fig, axes = figure(9.0, 4.2, ncols=2, sharey=True)
    for ax, who in zip(axes, ("all", "few"), strict=True):
        for name in dict.fromkeys(name for of in found.values() for name in of):
            if name.startswith(("real", f"G of {who}")):
                points = [(int(n), 100 * statistics.mean(of[name])) for n, of in found.items() if name in of]
                ax.plot(*zip(*points, strict=True), ".-" if name.startswith("G") else ".--", label=name)
        ax.set(xscale="log", xlabel="real images with a label", title="G saw all 60,000 training images" if who == "all"
               else "G saw the same few images")
        ax.set_xticks([int(n) for n in found], list(found))
        ax.minorticks_off()
        ax.legend(fontsize=8)
    axes[0].set_ylabel("test images read (%)")
    return fig


def main():
    opt = parse(Options)
    real, test = opt.mnist(), opt.mnist(train=False)
    whole = drawn(*opt.networks(MODEL), 10_000 if opt.quick else 60_000, 0)
    fakes = drawn(*opt.networks(MODEL), 10_000, 1)
    grid = portions(real, whole, {"real": test, "synthetic": fakes}, opt)
    ways, kept = {}, {}
    for n in FEW[:1] if opt.quick else FEW:
        of_few = drawn(*generator_of(opt, n), len(whole), 0)
        ways[str(n)], kept[str(n)] = few(real, n, whole, of_few, test, opt)
    save(opt.out / "retraining.png", drawing(ways))
    say(f"see {opt.write('retraining', {'portions': grid, 'few': ways, 'kept': kept, 'updates': opt.updates})}")


if __name__ == "__main__":
    with refusing("misc/studies/retraining.py"):
        main()

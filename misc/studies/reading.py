"""Does a conditional GAN draw what it is asked for, and does its IS say so?    python misc/studies/reading.py

Coursework on conditional GANs compares the digit that was asked for with the one that a classifier reads, and wants
these accuracies held against the inception score, and against the classifier's accuracy on the real test images. Here:
of each variant of Conditional_GAN that misc/seeds.py left, 10,000 samples with the labels of the test images, read by
two classifiers that have nothing in common: the scorer, from which IS is computed, and the model Classification, which
no GAN and no metric has seen. In all, and digit by digit."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import ROOT, Study  # noqa: E402

sys.path.insert(0, str(ROOT / "misc"))
from generate import draw  # noqa: E402

from common import Count  # noqa: E402
from common.images import figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402

REAL = "real test images"


@dataclass
class Options(Study):
    """Does a conditional GAN draw what it is asked for?"""

    model: str = "Conditional_GAN"  # the folder of a model that draws the digit that it is asked for
    classifier: Path | None = None  # a checkpoint of Classification; default: what its train.py or misc/seeds.py left
    n: Count = 10_000  # samples of each variant, no more than there are test images


def by_digit(read, labels):
    """(share read as their label, the same for each digit) of labels, int64 (N,)."""
    right = (read == labels).double()
    return right.mean().item(), [right[labels == digit].mean().item() for digit in range(10)]


def described(images, labels, classify):
    """Plain numbers of images, uint8 (N, 1, 32, 32); classify: float32 images in [0, 1] -> logits (N, 10)."""
    logits = scorer.score(images)[1]
    with torch.no_grad():
        read = torch.cat([classify(part.float() / 255).argmax(1) for part in images.split(500)])
    (scored, scored_digits), (other, other_digits) = by_digit(logits.argmax(1), labels), by_digit(read, labels)
    return {"is": metrics.inception_score(logits), "scorer": scored, "Classification": other,
            "scorer, by digit": scored_digits, "Classification, by digit": other_digits}


def drawing(rows):
    """The share of misread images of each digit, a line a row."""
    fig, ax = figure(6.4, 4.2)
    for name, found in rows.items():
        ax.plot(range(10), [100 * (1 - right) for right in found["Classification, by digit"]], ".-", label=name)
    ax.set(xlabel="digit that was asked for", ylabel="read as another digit (%), logarithmic", xticks=range(10),
           yscale="symlog", ylim=(0, 100), title="as read by a classifier that took no part")
    ax.set_yticks((0, 1, 10, 100), ("0", "1", "10", "100"))
    ax.legend(fontsize=7, ncol=5, loc="upper center", bbox_to_anchor=(0.5, 0.95))  # where no line is
    return fig


def main():
    opt = parse(Options)
    if opt.quick:
        opt.n = min(opt.n, 1_000)
    _, nets = opt.networks("Classification", opt.classifier or opt.left("Classification"))
    test = opt.mnist(train=False)
    images, labels = test.images[:opt.n], test.labels[:opt.n]
    left = sorted((ROOT / opt.model / "checkpoints" / "seeds").glob("*/0/checkpoints/checkpoint.pt"))
    variants = {path.parents[2].name.replace("_", " "): path for path in left}
    if opt.checkpoint or not variants:
        variants = {opt.model: opt.checkpoint}
    rows = {REAL: described(images, labels, nets["net_ema"])}
    for name, path in variants.items():
        model, made_by = opt.networks(opt.model, path)
        made, asked = draw(model, made_by, opt.n, opt.seed, labels=labels)
        rows[name] = described(made, asked, nets["net_ema"])
    for name, found in rows.items():
        say(f"{name}: " + "  ".join(f"{key} {found[key]:.4g}" for key in ("is", "scorer", "Classification")))
    save(opt.out / "reading.png", drawing(rows))
    say(f"see {opt.write('reading', {'model': opt.model, 'n': opt.n, 'rows': rows})}")


if __name__ == "__main__":
    with refusing("misc/studies/reading.py"):
        main()

"""Does a fully connected GAN collapse?    python misc/studies/collapse.py

Coursework on GANs says that a shallow GAN without convolutions ends in mode collapse: after 200,000 iterations its
images are of a few digits, D's loss is near 0 and G's still rises; and that convolutional ones do not. Here: the GAN
with --networks dense and dropout in D, as its paper has it, with the settings that people usually take (Adam 2e-4,
betas (0.5, 0.999), no noise, no average of the weights), for 100,000 updates, or until no more than three digits are
left. At each point 1,000 samples: how many digits make up 1% of them and more, how much of the variety of real images
is there (recall), and the losses since the point before. Seeds that collapse.json has are not trained again."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import ROOT, Study  # noqa: E402

sys.path.insert(0, str(ROOT / "misc"))
from generate import generate  # noqa: E402
from seeds import train  # noqa: E402

from common import Count  # noqa: E402
from common.images import figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402
from misc.places import find_checkpoint  # noqa: E402

FLAGS = ["--networks", "dense", "--g-width", "400", "--d-width", "400", "--lr", "2e-4", "--lr-fall", "1e-9", "--beta1",
         "0.5", "--beta2", "0.999", "--dropout", "0.5", "--instance-noise", "0", "--ema", "0", "--batch-size", "32",
         "--dataset", "mnist"]
SHARE = 0.01  # of the samples: a digit that has less is gone
LEFT = 3


@dataclass
class Options(Study):
    """Does a fully connected GAN collapse?"""

    seeds: tuple[int, ...] = (0, 1, 2)
    updates: Count = 100_000
    every: Count = 5_000  # updates between two looks


def point(images, real):
    """What 1,000 samples, uint8, are like: digits that are left, recall."""
    features, logits = scorer.score(images)
    shares = torch.bincount(logits.argmax(1), minlength=10) / len(images)
    return {"digits": int((shares >= SHARE).sum()), "shares": shares.tolist(),
            "recall": metrics.precision_recall(real, features)[1]}


def collapsed(digits):
    """Whether no more than LEFT digits are left, where there had been more; digits: how many at each point."""
    return digits[-1] <= LEFT < max(digits)


def course(opt, seed, real):
    """[`point` with the update and the losses since the point before, ...] of one training."""
    flags = ["--seed", str(seed), *FLAGS, "--epochs", str(-(-opt.updates // (60_000 // 32))),
             *(["--data-dir", str(opt.data_dir)] if opt.data_dir else [])]
    points = []
    with tempfile.TemporaryDirectory() as place:
        for until in range(opt.every, opt.updates + 1, opt.every):
            train(ROOT / "GAN", Path(place), flags, until=until)
            images, _, state = generate(ROOT / "GAN", find_checkpoint(Path(place)), 1_000, seed)
            losses = state["losses"]
            means = losses["values"][until - opt.every:].double().mean(0).tolist()
            points.append({"update": until, **point(images, real), **dict(zip(losses["names"], means, strict=True))})
            say(f"seed {seed}, update {until:,}: {points[-1]['digits']} digits, recall {points[-1]['recall']:.3f}")
            if collapsed([p["digits"] for p in points]):
                break
    return points


def drawing(courses):
    fig, axes = figure(6.4, 6.4, 3, sharex=True)
    for seed, points in courses.items():
        x = [p["update"] for p in points]
        for ax, name in zip(axes, ("digits", "recall"), strict=False):
            ax.plot(x, [p[name] for p in points], ".-", label=f"seed {seed}")
        for name, style in (("D", "-"), ("G", "--")):
            axes[2].plot(x, [p[name] for p in points], style, color=axes[0].lines[-1].get_color(),
                         label=name if seed == next(iter(courses)) else None)
    axes[0].set(title="fully connected GAN", ylabel="digits left", ylim=(0, 10.5))
    axes[1].set(ylabel="recall", ylim=(0, None))
    axes[2].set(ylabel="losses", xlabel="updates", ylim=(0, None))
    axes[0].legend(fontsize=8)
    axes[2].legend(fontsize=8)
    return fig


def main():
    opt = parse(Options)
    if opt.quick:
        opt.updates, opt.every, opt.seeds = opt.updates // 10, opt.every // 5, opt.seeds[:1]
    real = scorer.score(opt.mnist(train=False).images[:2_000])[0]
    asked = {"flags": FLAGS, "updates": opt.updates, "every": opt.every}
    courses = opt.kept("collapse", "courses", dict[str, list[dict[str, Any]]], **asked)
    for seed in opt.seeds:
        courses[str(seed)] = courses.get(str(seed)) or course(opt, seed, real)
        save(opt.out / "collapse.png", drawing(courses))
        opt.write("collapse", {**asked, "courses": courses})
    say(f"see {opt.out / 'collapse.json'}")


if __name__ == "__main__":
    with refusing("misc/studies/collapse.py"):
        main()

"""Draws the first two principal components of all training images:    python misc/pca.py"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import data  # noqa: E402
from common.images import save, scatter  # noqa: E402
from common.log import say  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc.places import misc_folder, writable_file  # noqa: E402


@dataclass
class Options:
    """Draws the first two principal components of all training images."""

    dataset: str = "mnist"  # mnist, fashion-mnist, kmnist, usps, digits, or folder:PATH
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    out: Path | None = None  # the picture; default: misc/samples/pca.png
    publish: bool = False  # write misc/results/pca.png, which is committed, instead


def main():
    from sklearn.decomposition import PCA

    opt = parse(Options)
    out = writable_file(opt.out or misc_folder(ROOT, opt.publish) / "pca.png", "--out", ".png")
    root = data.data_dir(opt.data_dir)
    name, notice = data.resolve(opt.dataset, root)
    if opt.publish and name != "mnist":
        raise InputError(f"--publish: the page shows mnist, not {name}")
    train = data.load(name, root)
    shown = name + (" (NOT MNIST)" if notice else "")
    pixels = train.images.flatten(1).float().numpy() / 255
    pca = PCA(svd_solver="covariance_eigh" if len(pixels) > pixels.shape[1] else "full").fit(pixels)
    points, share = pca.transform(pixels)[:, :2], pca.explained_variance_ratio_ * 100

    fig = scatter(torch.from_numpy(points), train.labels, train.classes,
                  f"PCA of all {len(train):,} training images of {shown}")
    fig.set_size_inches(7.2, 6.4)
    ax = fig.axes[0]
    ax.set(xlabel=f"first principal component ({share[0]:.1f}% of the variance)", ylabel=f"second ({share[1]:.1f}%)",
           aspect="auto")
    inset = ax.inset_axes([0.7, 0.11, 0.28, 0.22])
    inset.plot(np.arange(1, len(share[:200]) + 1), np.cumsum(share)[:200], color="black")
    inset.set(xlabel="components", ylabel="% of variance", ylim=(0, 100))
    inset.tick_params(labelsize=7)
    inset.patch.set_alpha(0.8)
    for label in (inset.xaxis.label, inset.yaxis.label):
        label.set_size(7)
    save(out, fig)
    total = np.cumsum(share)
    parts = [f"{n} components {total[n - 1]:.1f}%" for n in (2, 50, 100) if n <= len(total)]
    say(f"{out}: of the variance hold {', '.join(parts)}")


if __name__ == "__main__":
    with refusing("misc/pca.py"):
        main()

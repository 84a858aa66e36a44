"""Draws a t-SNE of training images:    python misc/tsne.py

t-SNE (van der Maaten & Hinton 2008) of the first --n training images, on their first 50 principal components."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import Count, Positive, data  # noqa: E402
from common.images import save, scatter  # noqa: E402
from common.log import say  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc.places import misc_folder, writable_file  # noqa: E402


@dataclass
class Options:
    """Draws a t-SNE of training images."""

    n: Count = 10_000  # how many of the training images, the first ones
    perplexity: Positive = 30.0  # roughly how many neighbours each image keeps near
    dataset: str = "mnist"  # mnist, fashion-mnist, kmnist, usps, digits, or folder:PATH
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    out: Path | None = None  # the picture; default: misc/samples/tsne.png
    publish: bool = False  # write misc/results/tsne.png, which is committed, instead


def main():
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    opt = parse(Options)
    out = writable_file(opt.out or misc_folder(ROOT, opt.publish) / "tsne.png", "--out", ".png")
    root = data.data_dir(opt.data_dir)
    name, notice = data.resolve(opt.dataset, root)
    if opt.publish and name != "mnist":
        raise InputError(f"--publish: the page shows mnist, not {name}")
    train = data.load(name, root)[:opt.n]
    if len(train) <= opt.perplexity:
        raise InputError(f"--perplexity: must be below the number of images, {len(train)}")
    shown = name + (" (NOT MNIST)" if notice else "")
    pixels = train.images.flatten(1).float().numpy() / 255
    few = PCA(min(50, *pixels.shape), random_state=0).fit_transform(pixels)
    points = TSNE(perplexity=opt.perplexity, init="pca", random_state=0, n_jobs=-1).fit_transform(few)
    fig = scatter(torch.from_numpy(points), train.labels, train.classes,
                  f"t-SNE of {len(train):,} training images of {shown}, perplexity {opt.perplexity:g}")
    fig.set_size_inches(7.2, 6.4)
    fig.axes[0].set(xticks=[], yticks=[], xlabel="the axes have no unit: only who lies near whom has a meaning",
                    ylabel="", aspect="auto")
    save(out, fig)
    say(f"see {out}")


if __name__ == "__main__":
    with refusing("misc/tsne.py"):
        main()

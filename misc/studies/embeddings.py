"""Do synthetic digits lie where real ones do?    python misc/studies/embeddings.py

Coursework asks for the embeddings of 100 real and 100 synthetic digits of each class, by the last layer but one of a
digit classifier, in two dimensions (PCA and t-SNE), and for the classifier's confidence in both. A picture of an
embedding shows clusters, not whether two sets are alike: so beside it stands how often a nearest neighbour tells real
from synthetic (Lopez-Paz & Oquab 2017, arXiv 1610.06545; 0.5: it cannot), in these features and in pixels,
and the same for two sets of real digits."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import SURE, Study, to_bytes  # noqa: E402

from common.images import figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import scorer  # noqa: E402

EACH = 100  # images of a class


@dataclass
class Options(Study):
    """Do synthetic digits lie where real ones do?"""

    model: str = "Conditional_GAN"  # the folder of a model that draws the digit that it is asked for


def of_each_class(images, labels, skip=0):
    """EACH images of each class, the first ones after some that are skipped."""
    return torch.cat([images[(labels == c).nonzero().flatten()[skip:skip + EACH]] for c in range(10)])


def two_sample(a, b):
    """The share of points (N, D), of two sets of equal size, whose nearest other point is of their own set."""
    points, own = torch.cat([a, b]), torch.arange(len(a) + len(b)) < len(a)
    distances = torch.cdist(points, points).fill_diagonal_(float("inf"))
    return (own[distances.argmin(1)] == own).float().mean().item()


def drawing(features, labels):
    """Figure of PCA and t-SNE of features {name: (N, D)}, together, coloured by label, a marker a set."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    together = torch.cat([*features.values()]).numpy()
    fig, axes = figure(11.0, 5.2, ncols=2)
    for ax, (title, points) in zip(axes, {
            "PCA": PCA(2).fit_transform(together),
            "t-SNE": TSNE(init="pca", perplexity=30, random_state=0).fit_transform(together)}.items(), strict=True):
        for i, (name, marker) in enumerate(zip(features, ("o", "x"), strict=True)):
            part = points[i * len(labels):(i + 1) * len(labels)]
            drawn = ax.scatter(*part.T, c=labels.numpy(), cmap="tab10", vmin=-0.5, vmax=9.5, marker=marker, s=14,
                               linewidths=0.7, alpha=0.7)
            ax.scatter([], [], c="black", marker=marker, label=name)
        ax.set(xticks=[], yticks=[], title=f"{title} of the classifier's features")
    axes[0].legend()
    fig.colorbar(drawn, ax=axes, label="digit", ticks=range(10))
    return fig


def confidences(logits):
    """Figure of the classifier's confidence in each image, a graph a set: {name: logits (N, 10)}."""
    fig, axes = figure(9.0, 3.4, ncols=2, sharey=True)
    for ax, (name, of) in zip(axes, logits.items(), strict=True):
        sure = of.softmax(1).amax(1)
        ax.hist(sure.numpy(), [i / 20 for i in range(21)], weights=[100 / len(sure)] * len(sure))
        ax.set(title=f"{name}: {(sure > SURE).float().mean():.1%} above {SURE}", yscale="log",
               xlabel="the classifier's highest probability")
        ax.set_yticks((0.1, 1, 10, 100), ("0.1", "1", "10", "100"))
    axes[0].set_ylabel("share of the images (%), logarithmic")
    return fig


def main():
    opt = parse(Options)
    model, nets = opt.networks(opt.model)
    test, labels = opt.mnist(train=False), torch.arange(10).repeat_interleave(EACH)
    made = model.sample(nets, len(labels), labels=labels, generator=opt.generator()).cpu()
    sets = {"real": of_each_class(test.images, test.labels), "synthetic": to_bytes(made)}
    others = of_each_class(test.images, test.labels, skip=EACH)
    scores = {name: scorer.score(images) for name, images in sets.items()}
    features = {name: of[0] for name, of in scores.items()}

    def pixels(images):
        return images.flatten(1).float() / 255

    found = {"features": two_sample(*features.values()),
             "features, real and real": two_sample(features["real"], scorer.score(others)[0]),
             "pixels": two_sample(*map(pixels, sets.values())),
             "pixels, real and real": two_sample(pixels(sets["real"]), pixels(others))}
    read = {name: {"as asked": (of[1].argmax(1) == labels).float().mean().item(),
                   "sure": (of[1].softmax(1).amax(1) > SURE).float().mean().item()} for name, of in scores.items()}
    say(f"two-sample accuracy {found}, {read}")
    save(opt.out / "embeddings.png", drawing(features, labels))
    save(opt.out / "confidences.png", confidences({name: of[1] for name, of in scores.items()}))
    say(f"see {opt.write('embeddings', {'model': opt.model, 'two-sample': found, 'read': read})}")


if __name__ == "__main__":
    with refusing("misc/studies/embeddings.py"):
        main()

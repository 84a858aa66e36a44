"""Measures a model or a file of generated images:    python misc/evaluate.py GAN      or  samples.npz

Prints all metrics of misc/metrics.py beside those of real test images, and writes them, with four pictures, to
<Model>/samples/evaluation/ (of a file: beside it). The classifier that scores knows digits, so the model must have been
trained on them. Of a model of two domains it prints what misc/translations.py measures."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from generate import brought_back, generate  # noqa: E402

from common import Count, data  # noqa: E402
from common.files import writable_folder  # noqa: E402
from common.images import captioned, figure, save  # noqa: E402
from common.log import environment, say, write_json  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import InputError, Seed, parse, refusing  # noqa: E402
from misc import metrics, others, scorer, translations  # noqa: E402
from misc.places import find_checkpoint, find_folder  # noqa: E402

DIGITS = ("mnist", "usps", "digits")  # data sets that the scoring classifier knows
TITLES = {"fid": "FID", "kid": "KID", "is": "IS", "precision": "precision", "recall": "recall",
          "class_kl": "KL of classes", "nearest": "nearest training image", "agreement": "label agreement",
          "back: FID": "FID of what comes back", "back: recall": "recall of what comes back",
          "back: label kept": "label kept by what comes back",
          "class_recall": "recall in a class", "class_spread": "spread in a class", "reading": "1-NN from samples",
          "inception_fid": "Inception FID"}
REAL = "real images"


@dataclass
class Options:
    """Measures a model or a file of generated images."""

    what: tyro.conf.Positional[str]  # a model's folder, for instance GAN, or images: .npz, .npy, a folder of pictures
    n: Count | None = None  # images drawn from the model; default 10,000
    variant: str | None = None  # which of the model's variants, where it has some: the name of its samples' folder
    checkpoint: Path | None = None  # another checkpoint than that of the model's folder
    seed: Seed | None = None  # of the latent vectors; default 0
    inception: bool = False  # also the FID of Inception features, to compare with papers; downloads its weights
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    out_dir: Path | None = None  # where the results go; default: samples/evaluation/ in the model's folder


def references(options, root):
    """The data set that a model with these options (a checkpoint's) was trained on, and the one it is held against: the
    test images, or with --holdout the training images that were kept out.

    Raises InputError where the scoring classifier does not know the data set."""
    dataset, size, holdout = (options.get(name, value) for name, value in (
        ("dataset", "mnist"), ("image_size", 32), ("holdout", 0)))
    if dataset not in DIGITS or size != 32:
        raise InputError(f"the classifier that scores knows digits of 32 x 32 ({', '.join(DIGITS)}), "
                         f"not {dataset} of {size} x {size}")
    data.resolve(dataset, root)
    train, held_out = data.hold_out(data.load(dataset, root), holdout)
    return train, held_out if holdout else data.load(dataset, root, train=False)


def some(images, n, seed):
    """n of the images or labels (all, where there are fewer), chosen by the seed."""
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]]


def floor(train, test, n, seed=0):
    """The metrics of real images, what a perfect model would reach: n training images are scored like generated ones;
    `nearest` alone is that of the test images. Both are data sets."""
    images, labels = (some(part, n, seed) for part in (train.images, train.labels))
    return {**metrics.measure(images, test.images, train.images, labels, test.labels),
            "nearest": metrics.nearest(test.images, train.images)[0].median().item()}


def inception_metric():
    """The FID of the Inception network's 2,048 features, as in papers; its weights, 90 MB, are downloaded once."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    try:
        return FrechetInceptionDistance(2048)
    except ModuleNotFoundError as error:
        raise InputError(f"--inception: {error}") from None
    except Exception as error:  # the download fails in many ways
        raise InputError(f"--inception: its weights could not be downloaded ({error})") from None


def inception_fid(metric, images, real):
    """`inception_metric` of images, uint8 (N, 1 or 3, H, W), held against real ones."""
    metric.reset()
    for which, of_real in ((real, True), (images, False)):
        for part in which.split(100):
            metric.update(part.expand(-1, 3, -1, -1), real=of_real)
    return metric.compute().item()


def table(columns):
    """Lines of a Markdown table of {column: {metric: number}}."""
    names = [name for name in TITLES if any(name in values for values in columns.values())]
    width, widths = max(len(TITLES[name]) for name in names), [max(len(column), 8) for column in columns]
    heads = [f"{column:>{w}}" for column, w in zip(columns, widths, strict=True)]
    rules = ["-" * (width + 2), *("-" * (w + 1) + ":" for w in widths)]
    lines = [f"| {'':{width}} | {' | '.join(heads)} |", f"|{'|'.join(rules)}|"]
    for name in names:
        cells = [f"{values[name]:{w}.4g}" if name in values else " " * w
                 for values, w in zip(columns.values(), widths, strict=True)]
        lines.append(f"| {TITLES[name]:{width}} | {' | '.join(cells)} |")
    return "\n".join(lines)


def embedding(groups):
    """Figure of a t-SNE of features, all groups together, coloured by digit, a marker a group.

    groups: {label: (features (N, D), classes (N,))}, arrays."""
    from sklearn.manifold import TSNE

    features = np.concatenate([features for features, _ in groups.values()])
    points = TSNE(init="pca", perplexity=min(30, len(features) // 4), random_state=0).fit_transform(features)
    fig, ax = figure(6.4, 6.0)
    start = 0
    for (label, (_, classes)), marker, size in zip(groups.items(), ("o", "x"), (10, 18), strict=False):
        part = points[start:start + len(classes)]
        start += len(classes)
        drawn = ax.scatter(*part.T, c=classes, cmap="tab10", vmin=-0.5, vmax=9.5, marker=marker, s=size, linewidths=0.8,
                           alpha=0.7)
        ax.scatter([], [], c="black", marker=marker, s=size, label=f"{label} ({len(classes):,} images)")
    fig.colorbar(drawn, label="digit, as the classifier reads it", ticks=range(10))
    ax.set(xticks=[], yticks=[], title="t-SNE of the classifier's features (the axes have no unit)")
    ax.legend()
    return fig


def draw(folder, name, images, scores, real_scores, train):
    """Draws what the numbers stand for: classes, confidence, embedding, nearest training images. Scores are what
    scorer.score makes of the images and of the real ones they are held against."""
    (features, logits), (real_features, real_logits) = scores, real_scores
    series = {REAL: real_logits, name: logits}

    fig, ax = figure()
    for i, (label, values) in enumerate(series.items()):
        share = metrics.class_histogram(values).numpy() * 100
        ax.bar([digit + 0.4 * i - 0.2 for digit in range(10)], share, 0.4, label=label)
    ax.set(xlabel="digit, as the classifier reads it", ylabel="share of the images (%)", xticks=range(10),
           title=f"classes of {len(images):,} images")
    ax.legend(loc="lower right")
    save(folder / "classes.png", fig)

    fig, ax = figure()
    bins = [i / 20 for i in range(21)]
    for label, values in series.items():
        confidence = values.softmax(1).amax(1).numpy()
        ax.hist(confidence, bins, weights=[100 / len(confidence)] * len(confidence), alpha=0.6, label=label)
    ax.set(xlabel="the classifier's highest probability", ylabel="share of the images (%), logarithmic", yscale="log",
           title="confidence: what cannot be read lies to the left")
    ax.legend(loc="upper left")
    save(folder / "confidence.png", fig)

    save(folder / "embedding.png", embedding(
        {REAL: _of_each_class(real_features, real_logits), name: _of_each_class(features, logits)}))

    distances, index = metrics.nearest(images[:10], train)
    pairs = torch.stack([images[:10], train[index]], 1).flatten(0, 1)
    captions = [text for d in distances for text in ("generated", f"nearest: {d:.1f}")]
    title = "the first ten samples and their nearest training images (distance of the pixels)"
    save(folder / "nearest.png", captioned(pairs, captions, title, columns=10))


def _of_each_class(features, logits, most=100):
    """Features and classes of the first `most` images of each class."""
    predicted = logits.argmax(1)
    chosen = torch.cat([(predicted == c).nonzero().flatten()[:most] for c in range(10)])
    return features[chosen].numpy(), predicted[chosen].numpy()


def main():
    opt = parse(Options)
    inception = inception_metric() if opt.inception else None  # its failure is told before the work
    root, folder = data.data_dir(opt.data_dir), None
    if others.is_images(opt.what):
        if not opt.n is opt.variant is opt.checkpoint is opt.seed is None:
            raise InputError("--n, --variant, --checkpoint and --seed are of a model, not of a file of images")
        file = Path(opt.what).expanduser()
        images, labels, options = others.load(file)
        name, out = file.stem, file.with_name(file.stem + "-evaluation")
    else:
        folder = find_folder(opt.what)
        path = opt.checkpoint or find_checkpoint(folder, opt.variant)
        model = load_file(folder / "model.py")
        if hasattr(model, "translate") and not hasattr(model, "sample"):
            for name, value in translations.measured(folder, path, root, opt.seed or 0).items():
                print(f"| {name:36} | {value:8.4g} |")
            return
        images, labels, state = generate(folder, path, opt.n or 10_000, opt.seed or 0,
                                         labels=lambda options: references(options, root)[1].labels)
        options, name = state["options"], folder.name
        inside = (folder / "checkpoints") in path.parents  # then its folder is named like the variant
        out = folder / "samples" / (path.parent.relative_to(folder / "checkpoints") if inside else "") / "evaluation"
    name = "generated" if name == REAL else name
    train, test = references(options, root)
    metrics.check(images, test.images)
    out = writable_folder(opt.out_dir or out, "--out-dir")
    columns = {name: metrics.measure(images, test.images, train.images, labels, test.labels),
               REAL: floor(train, test, len(images))}
    back = brought_back(folder, path, test.images) if folder else None
    if back is not None:
        columns[name] |= metrics.measure_back(back, test.images)
    if labels is None:  # what asks for labels says nothing beside a model that has none
        columns[REAL] = {metric: value for metric, value in columns[REAL].items() if metric in columns[name]}
    train, test = train.images, test.images
    if inception:
        columns[name]["inception_fid"] = inception_fid(inception, images, test)
        columns[REAL]["inception_fid"] = inception_fid(inception, some(train, len(images), 0), test)
    print(table(columns))
    scores = scorer.score(images)
    draw(out, name, images, scores, scorer.score(test), train)
    write_json(out / "metrics.json", {
        "images": len(images), "against": len(test), "scorer": scorer.sha256(scorer.WEIGHTS), "metrics": columns,
        "classes": metrics.class_histogram(scores[1]).tolist(), **environment()})
    say(f"see {out}")


if __name__ == "__main__":
    with refusing("misc/evaluate.py"):
        main()

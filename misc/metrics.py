"""What generated images are measured by, with the features and classes of the digit classifier of misc/scorer.py.

Features are float32 (N, D), logits (N, 10), images uint8 (N, 1, 32, 32); "fake" is scored against "real".
Nothing here changes or depends on the global random state."""

import math
import warnings

import torch
from torch import nn

from common.options import InputError
from misc import scorer

HIGHER_IS_BETTER = ("is", "precision", "recall", "agreement", "class_recall", "class_spread", "reading")


def given(num_features):
    """A feature network for torchmetrics that takes features for images: they are computed once, for all metrics."""
    network = nn.Identity()
    network.num_features = num_features
    return network


def fid(real, fake):
    """Frechet distance |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of the features' means and covariances, in float64
    (Heusel et al. 2017, arXiv 1706.08500, equation 6)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(given(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return metric.compute().item()


def kid(real, fake, subsets=100, size=1000):
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, the mean over random subsets
    (Binkowski et al. 2018, arXiv 1801.01401, section 4)."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with torch.random.fork_rng(devices=()), warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        size = min(size, len(real), len(fake))
        metric = KernelInceptionDistance(given(real.shape[1]), subsets=subsets, subset_size=size)
        metric.update(real.double(), real=True)
        metric.update(fake.double(), real=False)
        return metric.compute()[0].item()


def inception_score(logits, splits=10):
    """exp E_x KL(p(y|x) || p(y)), 1 to 10, the mean over random splits (Salimans et al. 2016, arXiv 1606.03498,
    section 4). It depends on the classifier's calibration: read it beside that of real images."""
    from torchmetrics.image.inception import InceptionScore

    with torch.random.fork_rng(devices=()), warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        metric = InceptionScore(given(logits.shape[1]), splits=splits)
        metric.update(logits)
        return metric.compute()[0].item()


def precision_recall(real, fake, k=3):
    """(precision, recall): the share of fake images that lie within the real ones' manifold, and of real images within
    the fake ones'; a manifold is the union of balls around each image that reach its k-th nearest other
    (Kynkaanniemi et al. 2019, arXiv 1904.06991, equations 1 and 2)."""
    return _share_within(real, fake, k), _share_within(fake, real, k)


def _share_within(centres, points, k):
    radius = torch.cat([torch.cdist(part, centres).kthvalue(k + 1).values for part in centres.split(1000)])  # + itself
    return sum((torch.cdist(part, centres) <= radius).any(1).sum().item() for part in points.split(1000)) / len(points)


def class_histogram(logits):
    """The share of each class among the predictions, float64 (10,)."""
    return torch.bincount(logits.argmax(1), minlength=logits.shape[1]).double() / len(logits)


def class_kl(logits):
    """KL divergence, in nats, of the class histogram from the uniform distribution: mode collapse as a number, from 0
    (all classes alike) to log 10 (one class)."""
    share = class_histogram(logits)
    return max(0.0, math.log(len(share)) + torch.special.xlogy(share, share).sum().item())


def agreement(logits, labels):
    """The share of images that are classified as the label that was asked for."""
    return (logits.argmax(1) == labels).double().mean().item()


def within_classes(real, real_labels, fake, labels, k=3):
    """(recall, spread), each the mean over the classes: the share of a class's real images that lie within the manifold
    of the fake ones that were asked for (as in `precision_recall`), and the mean distance of two fake images over that
    of two real ones. 1 is as varied as the data; None where no class has k + 1 images of each kind."""
    parts = [(real[real_labels == c], fake[labels == c]) for c in real_labels.unique().tolist()]
    parts = [(ours, theirs) for ours, theirs in parts if min(len(ours), len(theirs)) > k]
    if not parts:
        return None
    recall = sum(_share_within(theirs, ours, k) for ours, theirs in parts)
    spread = sum((torch.pdist(theirs).mean() / torch.pdist(ours).mean()).item() for ours, theirs in parts)
    return recall / len(parts), spread / len(parts)


def nearest(images, others, size=500):
    """For each image the Euclidean distance of its pixels in [0, 1] to the nearest of the others, and its index:
    float32 (N,), int64 (N,)."""
    flat, pool = images.flatten(1).float() / 255, others.flatten(1).float() / 255
    squares = pool.square().sum(1)
    index = torch.cat([(squares - 2 * part @ pool.T).argmin(1) for part in flat.split(size)])
    return (flat - pool[index]).norm(dim=1), index


def check(images, real):
    """Raises InputError where images or those they are held against are fewer than 10, or not of the scorer's form."""
    if min(len(images), len(real)) < 10:
        raise InputError(f"{min(len(images), len(real))} images are too few to be measured")
    scorer.check(images)


def measure(images, real, train, labels=None, real_labels=None):
    """All metrics of images, as {name: number}: fid, kid, is, precision, recall, class_kl, nearest (the median distance
    to the nearest training image; far below that of real test images: memorised); where labels are given agreement,
    class_recall and class_spread of `within_classes`, and reading: the share of the real images whose digit is that
    of the nearest of `images` (what the samples teach a classifier that has nothing else).

    Args:
        images: what is scored. real: the images it is held against. train: the images a model could have memorised.
        labels: int64 (N,), the digits that were asked for. real_labels: int64, those of `real`.
    Raises InputError as `check` does."""
    check(images, real)
    (fake_features, logits), (real_features, _) = scorer.score(images), scorer.score(real)
    precision, recall = precision_recall(real_features, fake_features)
    values = {"fid": fid(real_features, fake_features), "kid": kid(real_features, fake_features),
              "is": inception_score(logits), "precision": precision, "recall": recall, "class_kl": class_kl(logits),
              "nearest": nearest(images, train)[0].median().item()}
    if labels is None:
        return values
    values["agreement"] = agreement(logits, labels)
    if within := within_classes(real_features, real_labels, fake_features, labels):
        values["class_recall"], values["class_spread"] = within
    return {**values, "reading": (labels[nearest(real, images)[1]] == real_labels).double().mean().item()}


def measure_back(images, real):
    """What comes back of real images of digits, image by image, as {name: number}: FID and recall as of generated ones,
    and the share that is still read as the same digit. Raises InputError as `check` does."""
    check(images, real)
    (features, logits), (real_features, real_logits) = scorer.score(images), scorer.score(real)
    return {"back: FID": fid(real_features, features), "back: recall": precision_recall(real_features, features)[1],
            "back: label kept": agreement(logits, real_logits.argmax(1))}

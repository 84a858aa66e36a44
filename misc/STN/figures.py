"""What is measured and drawn of the STN: its errors, and how far it turns digits upright."""

import math

import torch

from common import beside, evaluating
from common.data import to_float
from common.images import and_back

model = beside(__file__, "model")


def distorted(run, n=None):
    """The first n test images, or all, distorted in the same way each time, and the angles, on the run's device."""
    test = run.test[:n]
    x, angles = model.distorted(to_float(test.images.cpu()), run.options.distortion, torch.Generator().manual_seed(0))
    return x.to(test.images.device), angles, test.labels


def straightened(run, nets, n=50):
    """n distorted test images in rows of ten, below each as the classifier sees it: (2 n, C, S, S)."""
    x = distorted(run, n)[0]
    with evaluating(nets["net"]):
        return and_back(x, nets["net"].transform(x))


def error(run, nets):
    """The share of the distorted test images that it reads wrongly, in percent."""
    x, _, labels = distorted(run)
    with evaluating(nets["net"]):
        wrong = sum((nets["net"](some).argmax(1) != y).sum()
                    for some, y in zip(x.split(1000), labels.split(1000), strict=True))
    return (100 * wrong / len(labels)).item()


def linear_part(net, x):
    """The matrix A (N, 2, 2) of the affine map next to what a network's transformer does with images, in the sense of
    least squares over all pixels, on the CPU."""
    grid = net.grid(net.theta(x), x.shape[-1]).flatten(1, 2).cpu()
    p = model.points(x.shape[-1]).view(-1, 2)
    return torch.linalg.lstsq(p.expand(len(x), -1, -1), grid - grid.mean(1, keepdim=True)).solution.mT


def turns(A):
    """The angle in radians by which each of these maps from the result to the image turns what is in the image, to the
    left, (N,)."""
    return torch.atan2(A[:, 1, 0] - A[:, 0, 1], A[:, 0, 0] + A[:, 1, 1])


def upright(run, nets):
    """What becomes of the angles by which test images were turned: their correlation with the angles by which the
    transformer turns them back, and their spread within a class, in degrees, before and after; and the mean zoom."""
    x, angles, labels = distorted(run)
    with evaluating(nets["net"]):
        A = torch.cat([linear_part(nets["net"], some) for some in x.split(1000)])
    found = {"zoom": (A.det().abs() ** -0.5).mean()}
    if run.options.distortion in ("R", "RTS"):
        left, labels = angles + turns(A), labels.cpu()
        found["angle correlation"] = torch.corrcoef(torch.stack([angles, -turns(A)]))[0, 1]
        for name, some in (("before", angles), ("after", left)):
            variances = torch.stack([some[labels == c].var() for c in labels.unique()])
            found[f"spread {name}"] = variances.mean().sqrt() * 180 / math.pi
    return found


def draw(run, nets):
    """After a training, or from a checkpoint."""
    run.record({"error": error(run, nets), **(upright(run, nets) if nets["net"].locate is not None else {})})


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    net, x = nets["net"], torch.zeros(1, 1, 32, 32)
    locate, classify = parts.Net("Localisation", net.locate, x), parts.Net("Classifier", net.classify, x)
    seen, theta = parts.variable("$x$", x, "distorted"), parts.variable("$\\theta$", locate.output, "a map")
    logits = parts.variable("logits", classify.output)
    transformed = parts.variable("$x(T_\\theta(p))$", x, "seen")
    cross_entropy = parts.loss("Both descend the cross-entropy", r"$-\log\,\mathrm{softmax}(\mathrm{logits})_y$")
    drawing = parts.Diagram()
    drawing.row(seen, locate, theta)
    drawing.row(transformed, classify, logits)
    drawing.row(parts.variable("$y$", note="label"), cross_entropy)
    drawing.arrow(theta.at("bottom"), transformed.at("top", transformed.x1 - 15))
    drawing.arrow(seen.at("bottom"), transformed.at("top"))
    drawing.arrow(logits.at("bottom"), cross_entropy.at("top", logits.at("top").x))
    drawing.arrow(cross_entropy.at("top", classify.at("top").x), classify.at("bottom"), update=True)
    return drawing

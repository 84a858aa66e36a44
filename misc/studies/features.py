"""What D of a GAN has learned about digits without a label:    python misc/studies/features.py

Radford et al. 2015 (arXiv 1511.06434, section 5): the features of D's convolutions and a linear classifier on them read
images well with few labels, better than the same network trained on these labels alone. Here with 100 and 1,000 labels,
the same draws for all: a linear support vector machine (one against the rest) on pixels, on the features of a D
that was never trained, and on D's; and D's network itself, trained to read. Features: all stages, pooled by their
maximum to 4 x 4 or smaller, each scaled to mean 0 and variance 1; the machine's C is chosen by 2,000 training images
that no draw has.

Guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806): which pixels speak for a feature, the gradient being
let through only where activation and gradient are positive. Radford et al. show it to tell what D looks at; Adebayo et
al. 2018 (arXiv 1810.03292) find that it hardly depends on the weights. So beside it: the same of the untrained D, the
plain gradient, and how alike they are (SSIM)."""

import copy
import statistics
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import Study  # noqa: E402

from common import Count  # noqa: E402
from common.blocks import Down, initialize, stage_widths  # noqa: E402
from common.data import Dataset, to_float  # noqa: E402
from common.images import captioned, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import scorer  # noqa: E402

HELD = 2_000  # training images that choose C
CS = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass
class Options(Study):
    """What D of a GAN has learned about digits without a label."""

    draws: Count = 10  # of the labels
    updates: Count = 300  # of the network that is trained to read


def stages(D, x):
    """What each stage of D gives for images x: [(N, C, h, w), ...]."""
    found = []
    for layer in D:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            found.append(x)
    return found


@torch.no_grad()
def features(D, images):
    """uint8 (N, 1, 32, 32) -> (N, all features)."""
    return torch.cat([torch.cat([F.adaptive_max_pool2d(y, min(4, y.shape[-1])).flatten(1)
                                 for y in stages(D, to_float(part))], 1) for part in images.split(500)])


def untrained(D, images):
    """A D as it starts, its BatchNorm knowing the statistics of images."""
    D = initialize(copy.deepcopy(D), "he")
    for layer in D:
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all it sees
    with torch.no_grad():
        D.train()(to_float(images[:1000]))
    return D.eval()


def machine(x, y, C):
    """A linear support vector machine as a function of features, which are scaled as those of x are."""
    from sklearn.svm import LinearSVC

    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    svm = LinearSVC(C=C, random_state=0).fit(((x - mean) / std).numpy(), y.numpy())
    weight, bias = torch.from_numpy(svm.coef_).float(), torch.from_numpy(svm.intercept_).float()
    return lambda z: ((z - mean) / std @ weight.T + bias).argmax(1)


def right(predict, x, y):
    return (predict(x) == y).float().mean().item()


def few_labels(rows, train, test, D, n, draws, updates):
    """{row: accuracies of test images over the draws} with n labels; rows: {name: (of training, of test images)}."""
    found = {}
    for name, (x, x_test) in rows.items():
        def fitted(seed, C, x=x):
            few = Dataset(x[HELD:], train.labels[HELD:]).stratified(n, seed)
            return machine(few.images, few.labels, C)

        C = max(CS, key=lambda C: right(fitted(1000, C), x[:HELD], train.labels[:HELD]))  # noqa: B023
        found[name] = [right(fitted(seed, C), x_test, test.labels) for seed in range(draws)]
        say(f"{n} labels, {name}: {statistics.mean(found[name]):.4f} (C {C:g})")
    width, found["the same network, trained"] = D[0].out_channels, []
    for seed in range(draws):
        torch.manual_seed(seed)
        net = initialize(Down(1, 10, 32, stage_widths(32, width)), "he")
        few = train[HELD:].stratified(n, seed)
        net = scorer.fit(net, few, updates, batch_size=min(n, 64), lr=2e-3, seed=seed)
        found["the same network, trained"].append(scorer.accuracy(net, test))
    say(f"{n} labels, the network: {statistics.mean(found['the same network, trained']):.4f}")
    return found


def speaking_pixels(D, x, feature, guided):
    """The gradient of the sum of a map of the last stage with respect to images x, plain or guided."""
    handles = []
    if guided:
        def let_through(layer, of_inputs, of_outputs):
            return (of_outputs[0].clamp(min=0) * (layer.seen > 0),)

        def remember(layer, inputs, output):
            layer.seen = output.detach()

        layers = [layer for layer in D if isinstance(layer, nn.LeakyReLU)]
        handles = [layer.register_forward_hook(remember) for layer in layers]
        handles += [layer.register_full_backward_hook(let_through) for layer in layers]
    x = x.clone().requires_grad_()
    gradient, = torch.autograd.grad(stages(D, x)[-1][:, feature].sum(), x)
    for handle in handles:
        handle.remove()
    return gradient


def shown(gradient):
    """Gradients (N, 1, H, W) as images: grey is 0, each to its own scale."""
    return 0.5 + 0.5 * gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)


def guided(D, random, test, n=6):
    """({pair: mean SSIM}, figure) of what speaks for n features of the last stage, those with the largest responses,
    in the test image where each responds most."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    with torch.no_grad():
        responses = torch.cat([stages(D, x)[-1].sum((2, 3)) for x, _ in test.batches(1000)])
    best = responses.amax(0).topk(n).indices
    x = to_float(test.images[responses[:, best].argmax(0)])
    rows = {name: torch.cat([shown(speaking_pixels(net, x[i:i + 1], feature, by_rule))
                             for i, feature in enumerate(best.tolist())])
            for name, net, by_rule in (("guided", D, True), ("guided, untrained", random, True), ("gradient", D, False),
                                       ("gradient, untrained", random, False))}
    alike = {f"{a}, {b}": ssim(rows[a], rows[b], data_range=1.0).item() for a, b in (
        ("guided", "guided, untrained"), ("gradient", "gradient, untrained"), ("guided", "gradient"))}
    images = torch.cat([x, *rows.values()])
    captions = [name.replace(", ", ",\n") for name in ("image", *rows) for _ in range(n)]
    return alike, captioned((images * 255).round().to(torch.uint8), captions, "what speaks for a feature of D", n)


def main():
    opt = parse(Options)
    warnings.filterwarnings("ignore", message="Liblinear failed to converge")
    _, nets = opt.networks("GAN")
    D, train, test = nets["D"], opt.mnist(), opt.mnist(train=False)
    train = train[:HELD + (4_000 if opt.quick else 20_000)]
    torch.manual_seed(opt.seed)
    random = untrained(D, train.images)
    rows = {name: tuple(make(part.images) for part in (train, test)) for name, make in (
        ("pixels", lambda images: images.flatten(1).float() / 255),
        ("an untrained D", lambda images: features(random, images)), ("D", lambda images: features(D, images)))}
    accuracy = {str(n): few_labels(rows, train, test, D, n, *((2, 50) if opt.quick else (opt.draws, opt.updates)))
                for n in (100, 1000)}
    alike, picture = guided(D, random, test)
    say(f"SSIM: {alike}")
    save(opt.out / "features_guided.png", picture)
    say(f"see {opt.write('features', {'accuracy': accuracy, 'ssim': alike})}")


if __name__ == "__main__":
    with refusing("misc/studies/features.py"):
        main()

"""Is an EBGAN easier to set up than a GAN?    python misc/studies/grid.py

Zhao et al. 2016 (arXiv 1609.03126, section 4.1) train thousands of fully connected GANs and EBGANs with settings drawn
at random, and find that far more EBGANs come to something. Here: so many drawn settings, each trained as a GAN, as an
EBGAN with the pull-away term and without, and, as a control, as a GAN that keeps to Adam 1e-3 as an EBGAN does. The
ranges are the paper's, but for the widths (up to 3200 in G and 1024 in D there), and were fixed before anything was
run. As in the paper images lie in [-1, 1], BatchNorm follows each hidden layer but D's first, and weights start from
N(0, 0.02) in G and N(0, 0.002) in D: without these three an EBGAN makes one image of every z. Of each 2,000 samples:
IS, and the paper's I' = E_x KL(p(y) || p(y|x))^2. What is done is kept, and not done again."""

import json
import random
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import ROOT, Study, to_bytes  # noqa: E402

from common import Count, bce, descend, noise_like  # noqa: E402
from common.acceleration import accelerate, find_precision, optimizer_settings  # noqa: E402
from common.data import Batches  # noqa: E402
from common.images import figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402

NETWORKS = {"g_layers": (2, 3, 4, 5), "d_layers": (2, 3, 4, 5), "g_width": (400, 800, 1600), "d_width": (128, 256, 512),
            "dropout": (0.0, 0.5)}
STEPS = {"g_optimizer": ("Adam", "SGD"), "d_optimizer": ("Adam", "SGD"), "g_lr": (1e-2, 1e-3, 1e-4),
         "d_lr": (1e-2, 1e-3, 1e-4)}  # of the GAN alone
ADAM = {"g_optimizer": "Adam", "d_optimizer": "Adam", "g_lr": 1e-3, "d_lr": 1e-3}
MARGIN, PULL_AWAY, BATCH, FAILED = 10.0, 0.1, 100, 2.0  # m; w; images; IS below which one has failed
WAYS = ("GAN", "EBGAN, pull-away", "EBGAN", "GAN, Adam 1e-3")


@dataclass
class Options(Study):
    """Is an EBGAN easier to set up than a GAN?"""

    settings: Count = 24
    updates: Count = 1_500


def drawn(n, seed):
    """n settings: {name: value}."""
    generator = random.Random(seed)
    return [{name: generator.choice(values) for name, values in (NETWORKS | STEPS).items()} for _ in range(n)]


@torch.no_grad()
def prepare(net, mlp, layers, std):
    """Gives a network its initial weights, and puts BatchNorm behind a slice of the fully connected layers of mlp, a
    part of it."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.normal_(0, std)
            layer.bias.zero_()
    for i in [i for i, layer in enumerate(mlp) if isinstance(layer, nn.Linear)][layers][::-1]:
        mlp.insert(i + 1, nn.BatchNorm1d(mlp[i].out_features))


def losses(way, G, D):
    """The losses of D and of G as functions of (x, fake): the GAN's, or the EBGAN's (equations 1, 2 and 14)."""
    if way.startswith("GAN"):
        return (lambda x, fake: bce(D(x), 1) + bce(D(fake), 0)), lambda fake: bce(D(fake), 1)

    def of_g(fake):
        energy, codes = D(fake)
        cosines = F.normalize(codes) @ F.normalize(codes).T
        n = len(codes)
        apart = (cosines.square().sum() - n) / (n * (n - 1))
        return energy.mean() + (PULL_AWAY * apart if way == "EBGAN, pull-away" else 0)

    return (lambda x, fake: D(x)[0].mean() + F.relu(MARGIN - D(fake)[0]).mean()), of_g


def trained(way, setting, images, updates, seed):
    """G after so many updates, in eval mode, or None where a loss is no number any more."""
    model = load_file(ROOT / way[:way.index("GAN") + 3] / "model.py")
    torch.manual_seed(seed)
    nets = model.build(networks="dense", average=False, **{name: setting[name] for name in NETWORKS})
    G, D = nets["G"], nets["D"]
    prepare(G, G, slice(None, -1), 0.02)
    prepare(D, *((D, slice(1, -1)) if way.startswith("GAN") else (D.encoder, slice(1, None))), 0.002)
    steps = setting if way == "GAN" else ADAM
    device = torch.device("cpu")

    def optimizer(name, net):
        kind = getattr(optim, steps[f"{name}_optimizer"])
        return kind(net.parameters(), lr=steps[f"{name}_lr"], **optimizer_settings(kind, device))

    of_g, of_d = optimizer("g", G), optimizer("d", D)
    d_loss, g_loss = losses(way, G, D)

    def update(x):
        x, fake = 2 * x - 1, 2 * G(noise_like(x, 100)) - 1
        descend((of_d, d_loss(x, fake.detach())))
        loss = g_loss(fake)
        descend((of_g, loss))
        return loss

    update = accelerate(update, device, find_precision("auto", device))
    batches = Batches((images,), batch_size=BATCH, seed=seed)
    for step in range(updates):
        if not update(*batches[step]).isfinite():
            return None
    return G.eval()


def described(G, seed):
    """{"is", "i"} of 2,000 samples; of None 1 and 0, as if all were the same."""
    if G is None:
        return {"is": 1.0, "i": 0.0}
    with torch.no_grad():
        images = G(torch.randn(2_000, 100, generator=torch.Generator().manual_seed(seed)))
    logits = scorer.score(to_bytes(images))[1].double()
    log_p = logits.log_softmax(1)
    mean = log_p.exp().mean(0)
    divergence = (mean * (mean.clamp(min=1e-300).log() - log_p)).sum(1)
    return {"is": metrics.inception_score(logits.float(), splits=1), "i": divergence.square().mean().item()}


def kept(file, asked):
    """What a run that was asked for the same has left: {way: [{"is", "i"}, ...]}, as far as it came."""
    try:
        found = json.loads(file.read_text("utf-8"))
        return found["runs"] if {name: found[name] for name in asked} == asked else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def interval(draw, n, rounds=10_000, seed=0):
    """The middle 95% of draw(which) over resamples of n settings, which: an index array."""
    generator = np.random.default_rng(seed)
    return np.percentile([draw(generator.integers(n, size=n)) for _ in range(rounds)], [2.5, 97.5]).tolist()


def summary(runs):
    """{way: the share that failed, quartiles of IS and the best, and, over the GAN, how much less fail and how much
    higher the median is, each with its interval}."""
    scores = {way: np.array([run["is"] for run in found]) for way, found in runs.items()}
    gan, n, table = scores[WAYS[0]], len(scores[WAYS[0]]), {}
    for way, own in scores.items():
        table[way] = {"failed": float((own < FAILED).mean()), "best": float(own.max()),
                      "quartiles": np.percentile(own, [25, 50, 75]).tolist(),
                      "median I'": statistics.median(run["i"] for run in runs[way])}
        if way != WAYS[0]:
            table[way] |= {
                "fewer failed": interval(lambda i, own=own: (gan[i] < FAILED).mean() - (own[i] < FAILED).mean(), n),
                "median higher": interval(lambda i, own=own: np.median(own[i]) - np.median(gan[i]), n)}
    return table


def drawing(runs):
    """The IS of all settings, each way sorted: how many reach how much."""
    fig, ax = figure(6.4, 4.0)
    for way, found in runs.items():
        ax.plot(np.arange(1, len(found) + 1), sorted((run["is"] for run in found), reverse=True), ".-", label=way)
    ax.axhline(FAILED, color="0.6", linestyle="--", linewidth=1)
    ax.set(xlabel="settings, the best first", ylabel="IS (2,000 samples)", ylim=(1, 10),
           title=f"{len(found)} settings drawn at random, fully connected")
    ax.legend()
    return fig


def main():
    opt = parse(Options)
    if opt.quick:
        opt.settings, opt.updates = 4, opt.updates // 3
    settings, images = drawn(opt.settings, opt.seed), opt.mnist().images
    asked = {"settings": settings, "updates": opt.updates, "seed": opt.seed, "margin": MARGIN, "weight": PULL_AWAY}
    runs = {way: [] for way in WAYS} | kept(opt.out / "grid.json", asked)
    for way in WAYS:
        for number, setting in enumerate(settings[len(runs[way]):], len(runs[way])):
            runs[way].append(described(trained(way, setting, images, opt.updates, opt.seed + number), opt.seed))
            say(f"{way}, {number + 1} of {len(settings)}: IS {runs[way][-1]['is']:.2f}")
            opt.write("grid", {**asked, "runs": runs})
    save(opt.out / "grid.png", drawing(runs))
    say(f"see {opt.write('grid', {**asked, 'runs': runs, 'summary': summary(runs)})}")


if __name__ == "__main__":
    with refusing("misc/studies/grid.py"):
        main()

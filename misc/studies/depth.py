"""Does a wider generator balance a DCGAN?    python misc/studies/depth.py

Coursework on DCGANs for MNIST tries three generators, whose two inner stages have 128 and 64 channels (shallow), 256
and 128 (medium), 512 and 256 (deep), with Adam 2e-3, beta1 0.5 and dropout of 0.25 in D. It finds that deeper ones
balance more easily, that in the medium one both losses end near 1 and swing least, that none collapses, that the
dropout helps, and that virtual batch normalisation leaves the balance as it is but makes the images of a batch less
alike. Here: these, each claim as a number, over several seeds, and the three generators with this project's settings
beside them.

Of the second half of the updates: the mean losses of D (of a real and a generated image together) and of G; imbalance,
the distance of G's from half of D's; swing, the standard deviation of the means of 50 updates, of both losses. Then
FID, IS, recall, and how much more alike two images of one batch are than two of different batches. A seed takes three
quarters of an hour; those that depth.json has, of as many updates, are not trained again."""

import copy
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.optim import Adam

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import ROOT, Study, to_bytes  # noqa: E402

from common import Count, bce, descend, evaluating, moving_average, noise_like  # noqa: E402
from common.acceleration import accelerate, find_precision, place  # noqa: E402
from common.blocks import (  # noqa: E402
    AtLeastFloat32,
    ConvTranspose2d,
    Down,
    initialize,
    normalisation,
    stage_widths,
)
from common.data import Batches  # noqa: E402
from common.images import and_back, figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402

BATCH, LATENT, REFERENCE = 32, 100, 32


@dataclass
class Row:
    """A training. ours: this project's settings (Adam 1e-3, betas (0, 0.99), falling over the last quarter, noise of
    0.2 on what D sees, images from a moving average of G) in place of the coursework's."""

    widths: tuple[int, int]
    ours: bool = False
    dropout: float = 0.25  # in D
    smoothing: float = 0.0  # D's target of real images is 1 minus this
    virtual: bool = False  # virtual batch normalisation in G


SHALLOW, MEDIUM, DEEP = Row((128, 64)), Row((256, 128)), Row((512, 256))
ROWS = {"shallow": SHALLOW, "medium": MEDIUM, "deep": DEEP, "medium, no dropout": replace(MEDIUM, dropout=0.0),
        "medium, smoothing": replace(MEDIUM, smoothing=0.1), "medium, virtual": replace(MEDIUM, virtual=True),
        **{f"{name}, our settings": replace(row, ours=True, dropout=0.0)
           for name, row in (("shallow", SHALLOW), ("medium", MEDIUM), ("deep", DEEP))}}


@dataclass
class Options(Study):
    """Does a wider generator balance a DCGAN?"""

    seeds: tuple[int, ...] = (0, 1, 2)
    updates: Count = 2_000


def networks(row):
    """G: (z, label 0) -> images, by a map of 8 x 8 and two transposed convolutions; D: that of GAN/, with dropout."""
    conditional = load_file(ROOT / "Conditional_GAN" / "model.py")  # for its virtual batch normalisation
    norm = (lambda width: conditional.VirtualBatchNorm(width, REFERENCE)) if row.virtual else "batch"
    a, b = row.widths
    net = nn.Sequential(nn.Linear(LATENT + 1, 64 * a), nn.Unflatten(1, (a, 8, 8)), *normalisation(norm, a), nn.ReLU(),
                        ConvTranspose2d(a, b, 4, 2, 1, bias=False), *normalisation(norm, b), nn.ReLU(),
                        ConvTranspose2d(b, 1, 4, 2, 1), AtLeastFloat32(), nn.Sigmoid())
    G = conditional.Generator(net, LATENT, 1, REFERENCE if row.virtual else 0)
    D = Down(1, 1, 32, stage_widths(32, 32), dropout=row.dropout)
    return [initialize(part, "pytorch") for part in (G, D)]


def trained(row, images, updates, seed):
    """(G, what samples are drawn from, the losses of D and G, float32 (updates, 2)) of a row."""
    torch.manual_seed(seed)
    G, D = networks(row)
    average, device = copy.deepcopy(G), torch.device("cpu")
    for net in (G, D, average):
        place(net, device)
    lr, noise = torch.tensor(1e-3 if row.ours else 2e-3), 0.2 if row.ours else 0.0
    of_g, of_d = (Adam(net.parameters(), lr=lr, betas=(0.0, 0.99) if row.ours else (0.5, 0.999)) for net in (G, D))

    def noisy(x):
        return x + noise * torch.randn_like(x)

    def update(x):
        fake = G(noise_like(x, LATENT), torch.zeros(len(x), dtype=torch.int64))
        d_loss = bce(D(noisy(x)), 1 - row.smoothing) + bce(D(noisy(fake.detach())), 0)
        descend((of_d, d_loss))
        g_loss = bce(D(noisy(fake)), 1)
        descend((of_g, g_loss))
        return torch.stack([d_loss, g_loss]).detach()

    update = accelerate(update, device, find_precision("auto", device))
    batches, losses = Batches((images,), batch_size=BATCH, seed=seed), []
    for step in range(updates):
        if row.ours:
            lr.fill_(1e-3 * min(1, 4 * (1 - step / updates)))
        losses.append(update(*batches[step]))
        if row.ours:
            moving_average(average, G, min(0.999, step / (step + 10)))
    return G, average if row.ours else G, torch.stack(losses)


def smoothed(losses, window=50):
    """The means of so many updates each, (updates // window, 2), of losses (updates, 2)."""
    return losses[:len(losses) // window * window].unflatten(0, (-1, window)).mean(1)


def balance(losses):
    """{"D", "G", "imbalance", "swing of D", "swing of G"} of the second half of the losses (updates, 2)."""
    late = losses[len(losses) // 2:]
    d, g = late.mean(0).tolist()
    swing = smoothed(late).std(0).tolist()
    return {"D": d, "G": g, "imbalance": abs(g - d / 2), "swing of D": swing[0], "swing of G": swing[1]}


def drawn(G, n, seed):
    """n images in [0, 1]."""
    z = torch.randn(n, LATENT, generator=torch.Generator().manual_seed(seed))
    with evaluating(G):
        return torch.cat([G(part, torch.zeros(len(part), dtype=torch.int64)) for part in z.split(500)])


def described(G, source, losses, real, seed):
    """Plain numbers of a training; real: the features of the test images."""
    features, logits = scorer.score(to_bytes(drawn(source, 10_000, seed)))
    _, correlation = load_file(ROOT / "Conditional_GAN" / "figures.py").batch_effect(G)
    return {**balance(losses), "fid": metrics.fid(real, features), "is": metrics.inception_score(logits),
            "recall": metrics.precision_recall(real, features)[1], "class_kl": metrics.class_kl(logits),
            "batch correlation": correlation}


def drawing(curves, window=50):
    """The losses of the rows, {name: (updates, 2)}, one below the other: means of so many updates."""
    fig, axes = figure(6.4, 1.6 * len(curves) + 0.6, len(curves), sharex=True, sharey=True, squeeze=False)
    for ax, (name, losses) in zip(axes[:, 0], curves.items(), strict=True):
        for label, values in zip("DG", smoothed(losses, window).T, strict=True):
            ax.plot([window * (i + 1) for i in range(len(values))], values, label=label)
        ax.set(ylabel="loss", title=name, ylim=(0, 4))
    axes[0, 0].legend(fontsize=8)
    axes[-1, 0].set(xlabel="update")
    return fig


def main():
    opt = parse(Options)
    if opt.quick:
        opt.seeds, opt.updates = opt.seeds[:1], opt.updates // 4
    if opt.updates < 200:
        raise InputError("--updates: 200 or more, as losses swing over means of 50 in the second half")
    images, real = opt.mnist().images, scorer.score(opt.mnist(train=False).images)[0]
    found = opt.kept("depth", "seeds", dict[str, dict[str, dict[str, float]]], updates=opt.updates)
    for seed in opt.seeds:
        if str(seed) in found:
            continue
        runs, curves, pictures = {}, {}, []
        for name, row in ROWS.items():
            G, source, curves[name] = trained(row, images, opt.updates, seed)
            runs[name] = described(G, source, curves[name], real, seed)
            pictures.append(drawn(source, 10, seed))
            say(f"seed {seed}, {name}: " + "  ".join(f"{k} {v:.3g}" for k, v in runs[name].items()))
        if not found:
            save(opt.out / "depth_losses.png", drawing(curves))
            save(opt.out / "depth_samples.png", and_back(*pictures))
        found[str(seed)] = runs
        mean = {name: {key: statistics.mean(runs[name][key] for runs in found.values()) for key in runs[name]}
                for name in ROWS}
        opt.write("depth", {"updates": opt.updates, "seeds": found, "mean": mean})
    say(f"see {opt.out / 'depth.json'}")


if __name__ == "__main__":
    with refusing("misc/studies/depth.py"):
        main()

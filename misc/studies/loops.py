"""A generator that is made to forget loops:    python misc/studies/loops.py

Radford et al. 2015 (arXiv 1511.06434, section 6.3.1) mark windows in generated bedrooms, find which maps of G's last
stage but one speak for them, by a logistic regression, leave these maps out, and mostly get bedrooms without windows.
A digit's windows are its closed loops, which can be found without marking: black that white surrounds. So here: a
regression that tells places inside loops from others by the maps of G before its last convolution; the maps with a
positive weight are left out; how many samples still have a loop, and what digits they became. Beside it, as many maps
chosen at random, ten times."""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import Study, read  # noqa: E402

from common.images import and_back, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402

LEAST = 3  # pixels of a loop


@dataclass
class Options(Study):
    """A generator that is made to forget loops."""


def inside_loops(images):
    """Which pixels of images (N, 1, H, W) in [0, 1] lie in a closed loop: black from which no black way leads to the
    border, LEAST pixels and more; bool (N, H, W)."""
    from scipy.ndimage import label

    found = np.zeros((len(images), *images.shape[2:]), bool)
    for mask, image in zip(found, images[:, 0].numpy(), strict=True):
        areas, n = label(np.pad(image < 0.5, 1, constant_values=True))
        sizes = np.bincount(areas.flatten(), minlength=n + 1)
        loops = [i for i in range(1, n + 1) if i != areas[0, 0] and sizes[i] >= LEAST]
        mask[:] = np.isin(areas, loops)[1:-1, 1:-1]
    return torch.from_numpy(found)


def halves(G):
    """(z -> the maps before G's last convolution; the maps -> images), as functions."""
    layers = list(G)
    cut = max(i for i, layer in enumerate(layers) if hasattr(layer, "kernel_size"))
    first, last = torch.nn.Sequential(*layers[:cut]), torch.nn.Sequential(*layers[cut:])
    return lambda z: first(z.view(len(z), -1, 1, 1)), last


def speaking_maps(maps, inside, generator):
    """The maps (N, C, h, w) that speak for loops: those with a positive weight in a logistic regression that tells
    places inside (bool (N, h, w)) from as many others; and its accuracy on a fifth of the places, which it has not
    seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    places = maps.permute(0, 2, 3, 1)
    yes = places[inside]
    others = places[~inside]
    no = others[torch.randperm(len(others), generator=generator)[:len(yes)]]
    x, y = torch.cat([yes, no]), torch.cat([torch.ones(len(yes)), torch.zeros(len(no))])
    order = torch.randperm(len(x), generator=generator)
    x, y, cut = x[order].numpy(), y[order].numpy(), len(x) // 5
    scaler = StandardScaler().fit(x[cut:])
    fitted = LogisticRegression(max_iter=1000).fit(scaler.transform(x[cut:]), y[cut:])
    return torch.from_numpy(fitted.coef_[0] > 0), fitted.score(scaler.transform(x[:cut]), y[:cut])


def described(images, real):
    """Plain numbers of images: the share with a loop, the shares of the classes, confidence, FID."""
    label, confidence, features = read(images)
    return {"loops": inside_loops(images).any((1, 2)).float().mean().item(),
            "classes": (torch.bincount(label, minlength=10) / len(label)).tolist(),
            "confidence": confidence.mean().item(), "fid": metrics.fid(real, features)}


def main():
    opt = parse(Options)
    _, nets = opt.networks("GAN")
    start, end = halves(nets.get("G_ema", nets["G"]))
    generator, test = opt.generator(), opt.mnist(train=False)
    real = scorer.score(test.images)[0]
    z = torch.randn(1000 if opt.quick else 5000, nets["G"].latent_dim, generator=generator)
    with torch.no_grad():
        maps = torch.cat([start(part) for part in z.split(500)])

        def made(kept):
            return torch.cat([end(part * kept.view(1, -1, 1, 1)) for part in maps.split(500)])

        whole = made(torch.ones(maps.shape[1]))
        share = F.avg_pool2d(inside_loops(whole)[:, None].float(), whole.shape[-1] // maps.shape[-1])[:, 0]
        speaking, accuracy = speaking_maps(maps, share > 0.5, generator)
        left_out = [torch.randperm(len(speaking), generator=generator)[:speaking.sum()] for _ in range(10)]
        of = [made(torch.ones(len(speaking)).index_fill(0, maps_out, 0)) for maps_out in left_out]
        forgotten = made((~speaking).float())
    before, after = described(whole, real), described(forgotten, real)
    controls = [described(images, real) for images in of]
    had, label, now = inside_loops(whole).any((1, 2)), read(whole)[0], read(forgotten)[0]
    became = torch.stack([torch.bincount(now[label == c], minlength=10) for c in range(10)])
    found = {"maps": len(speaking), "left out": int(speaking.sum()), "regression": accuracy,
             "real": inside_loops(test.images[:5000].float() / 255).any((1, 2)).float().mean().item(),
             "before": before, "after": after, "became": became.tolist(),
             "random": {name: [control[name] for control in controls] for name in ("loops", "confidence", "fid")}}
    say(f"{found['left out']} of {found['maps']} maps left out, found with {accuracy:.3f}: loops {before['loops']:.3f} "
        f"-> {after['loops']:.3f}, at random {statistics.mean(found['random']['loops']):.3f}")
    some = had.nonzero().flatten()[:30]
    save(opt.out / "loops.png", and_back(*(images[some] for images in (whole, forgotten, of[0]))))
    say(f"see {opt.write('loops', found)}")


if __name__ == "__main__":
    with refusing("misc/studies/loops.py"):
        main()

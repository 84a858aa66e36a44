"""What the latent space of a GAN knows:    python misc/studies/latent.py

Radford et al. 2015 (arXiv 1511.06434, section 6): on the way from one z to another images change smoothly, which a
generator that knew its images by heart would not do; and sums of z mean something: thick 3 = thin 3 + thick 7 - thin 7,
each of them the mean of three. Here both are counted, beside the same in pixels, and nearest training images are
shown.

Walks: 10 points from z to z', on the line and on the sphere. Arithmetic: random triples of a class a, a class b, and
exemplars of each kind, one, three (the paper's), ten and fifty, thin and thick being the tenths of a class's samples
with the thinnest and the thickest strokes; right is a result that is read as a and is thicker than the mean of the
class. A mean of several z is shorter than a z, so each sum is tried at the length of a z, too. Control:
thin a alone."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from study import ROOT, SURE, Study, read, to_bytes  # noqa: E402

from common.data import to_float  # noqa: E402
from common.images import and_back, captioned, save  # noqa: E402
from common.log import say  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics  # noqa: E402

POINTS = 10  # of a walk, with its ends
EXEMPLARS = (1, 3, 10, 50)
MOST = max(EXEMPLARS)


@dataclass
class Options(Study):
    """What the latent space of a GAN knows."""

    model: str = "GAN"  # the folder of a model that samples from z


def line(a, b, t):
    return a + (b - a) * t


def sphere(a, b, t):
    """The way from a to b (N, D) along the arc between them (Shoemake 1985), at t in [0, 1]; its length changes
    steadily, too."""
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    a, b = a / norms[0], b / norms[1]
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).arccos()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return arc * line(*norms, t)


def walked(images):
    """What a walk (POINTS, N, C, H, W) is like: the share of the points between the ends that are read with confidence,
    the length of the way in the scorer's features over the distance of its ends, and its largest step over the length
    of the way (1 / 9 where all are equal); means over the walks whose ends differ."""
    label, confidence, features = (part.unflatten(0, images.shape[:2]) for part in read(images.flatten(0, 1)))
    steps = (features[1:] - features[:-1]).norm(dim=2)
    ends = (features[-1] - features[0]).norm(dim=1)
    kept = label[0] != label[-1]
    return {"sure": (confidence[1:-1][:, kept] > SURE).float().mean().item(),
            "length": (steps.sum(0) / ends)[kept].mean().item(),
            "largest step": (steps.amax(0) / steps.sum(0))[kept].mean().item()}


def walks(sample, dim, n, generator):
    """{way: `walked`} of n walks, between the same ends, and ten of the walks along the sphere."""
    a, b = (torch.randn(n, dim, generator=generator) for _ in range(2))
    times = [i / (POINTS - 1) for i in range(POINTS)]
    images = {name: torch.stack([sample(way(a, b, t)) for t in times])
              for name, way in (("line", line), ("sphere", sphere))}
    images["pixels"] = torch.stack([line(images["line"][0], images["line"][-1], t) for t in times])
    return {name: walked(of) for name, of in images.items()}, images["sphere"][:, :10], images["pixels"][:, :10]


class Kinds:
    """Many samples, sorted into thin and thick ones of each class."""

    def __init__(self, sample, dim, n, width, generator):
        self.z = torch.randn(n, dim, generator=generator)
        self.images = torch.cat([sample(z) for z in self.z.split(1000)])
        label, confidence, _ = read(self.images)
        self.width = width(self.images)
        self.mean, self.of = {}, {}
        for c in range(10):
            known = ((label == c) & (confidence > SURE)).nonzero().flatten()
            order = known[self.width[known].argsort()]
            self.mean[c] = self.width[known].mean()
            self.of[c] = {"thin": order[:len(order) // 10], "thick": order[-(len(order) // 10):]}

    def described(self):
        """Mean stroke widths of all samples and of the kinds, in pixels, and what the length of z has to do with it."""
        from torchmetrics.functional import spearman_corrcoef

        of = {kind: torch.cat([self.of[c][kind] for c in range(10)]) for kind in ("thin", "thick")}
        return {"widths": {"all": self.width.mean().item(), **{k: self.width[i].mean().item() for k, i in of.items()}},
                "rho of length and width": spearman_corrcoef(self.z.norm(dim=1).double(), self.width).item()}

    def draw(self, c, kind, generator):
        """The indices of MOST exemplars."""
        of = self.of[c][kind]
        return of[torch.randint(len(of), (MOST,), generator=generator)]


def arithmetic(sample, kinds, width, n, generator):
    """({form: of n results, shares: "right"; "class", read as a; "thicker" than those of thin a}, pictures of six
    triples: an exemplar of each kind, then the results of three, of fifty, of three in pixels)."""
    triples = []
    for _ in range(n):
        a, b = torch.randperm(10, generator=generator)[:2].tolist()
        triples.append((a, [kinds.draw(*kind, generator) for kind in ((a, "thin"), (b, "thick"), (b, "thin"))]))
    goal = torch.tensor([a for a, _ in triples])
    index = torch.stack([torch.stack(exemplars) for _, exemplars in triples])  # (n, 3 kinds, MOST)
    mean = torch.stack([kinds.mean[a] for a in goal.tolist()])

    def summed(values, of, signs=(1, 1, -1)):  # the first `of` exemplars of values (M, ...) -> (n, ...)
        means = values[index[:, :, :of]].mean(2)
        return sum(sign * means[:, i] for i, sign in enumerate(signs))

    made = {}
    for of in EXEMPLARS:
        for what, signs in (("", (1, 1, -1)), (", thin a alone", (1, 0, 0))):
            z = summed(kinds.z, of, signs)
            made[f"{of}{what}"] = sample(z)
            made[f"{of}{what}, at the length of a z"] = sample(z * (z.shape[1] ** 0.5 / z.norm(dim=1, keepdim=True)))
    made["3, pixels"] = summed(kinds.images, 3).clamp(0, 1)
    found = {}
    for name, images in made.items():
        right, wide = read(images)[0] == goal, width(images)
        thicker = wide > kinds.width[index[:, 0, :3]].mean(1)
        found[name] = {key: value.float().mean().item() for key, value in (
            ("right", right & (wide > mean)), ("class", right), ("thicker", thicker))}
        found[name]["width"] = wide.mean().item()
    results = [made[name] for name in ("3", f"{MOST}", "3, pixels")]
    shown = [image for i in range(6) for image in (*kinds.images[index[i, :, 0]], *(of[i] for of in results))]
    return found, torch.stack(shown)


def main():
    opt = parse(Options)
    model, nets = opt.networks(opt.model)
    width = load_file(ROOT / "InfoGAN" / "figures.py").stroke_width
    generator, share = opt.generator(), 10 if opt.quick else 1
    dim = nets["G"].latent_dim

    def sample(z):
        return model.sample(nets, len(z), z=z).cpu()

    ways, along, pixels = walks(sample, dim, 500 // share, generator)
    say(f"walks: {ways}")
    kinds = Kinds(sample, dim, 20_000 // share, width, generator)
    sums, shown = arithmetic(sample, kinds, width, 200 // share, generator)
    say(f"arithmetic: {sums}")

    train, test = opt.mnist(), opt.mnist(train=False)
    drawn = to_bytes(kinds.images[:2000 // share])
    near = {name: metrics.nearest(of, train.images)[0].median().item()
            for name, of in (("samples", drawn), ("test images", test.images[:len(drawn)]))}
    neighbours = train.images[metrics.nearest(drawn[:30], train.images)[1]]

    save(opt.out / "latent_walks.png", and_back(*(of[:, :5].transpose(0, 1).flatten(0, 1) for of in (along, pixels))))
    save(opt.out / "latent_arithmetic.png", captioned(to_bytes(shown), 6 * (
        "thin a", "thick b", "thin b", "of 3", f"of {MOST}", "of 3, pixels"), "thin a + thick b - thin b", columns=6))
    save(opt.out / "latent_neighbours.png", and_back(to_float(drawn[:30]), to_float(neighbours)))
    found = {"model": opt.model, "walks": ways, "arithmetic": sums, "nearest": near, **kinds.described()}
    say(f"see {opt.write('latent', found)}")


if __name__ == "__main__":
    with refusing("misc/studies/latent.py"):
        main()

"""A hundred numbers for an image, by PCA and by a GAN:    python misc/studies/against_pca.py

misc/README.md says how PCA samples: badly, and any GAN draws better. But to sample is not all that a code is for. Here
both have a hundred numbers, and are asked for what the other is good at: to give back test images that they have not
seen, and to walk from one image to another. PCA gives back by projection, the least error that a linear map can have. A
GAN has no way from an image to its z: z is found by 300 steps of Adam on the squared error of the pixels, from the best
of 1,000 draws."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from latent import POINTS, line  # noqa: E402
from study import SURE, Study, read  # noqa: E402

from common import Count  # noqa: E402
from common.data import to_float  # noqa: E402
from common.images import and_back, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402


@dataclass
class Options(Study):
    """A hundred numbers for an image, by PCA and by a GAN."""

    model: str = "GAN"  # the folder of a model that samples from z
    steps: Count = 300  # of Adam, for each z


def nearest_z(G, x, start, steps):
    """z (N, D) whose G(z) is near images x (N, C, H, W): descent on the squared error from the best of z `start`."""
    with torch.no_grad():
        drawn = torch.cat([G(part) for part in start.split(500)]).flatten(1)
        z = start[torch.cdist(x.flatten(1), drawn).argmin(1)].clone()
    z.requires_grad_()
    adam = torch.optim.Adam([z], lr=0.05)
    for _ in range(steps):
        loss = (G(z) - x).square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return z.detach()


class PCA:
    """The first n principal components of images, as a code."""

    def __init__(self, images, n):
        from sklearn.decomposition import PCA

        self.pca = PCA(n, svd_solver="covariance_eigh").fit(images.flatten(1).numpy())
        self.shape = images.shape[1:]

    def encode(self, x):
        return torch.from_numpy(self.pca.transform(x.flatten(1).numpy())).float()

    def decode(self, code):
        return torch.from_numpy(self.pca.inverse_transform(code.numpy())).float().view(-1, *self.shape).clamp(0, 1)


def given_back(made, x, labels):
    """How near images are to those they are to be: squared error per image, the share that is read as the same digit,
    FID against them in the scorer's features."""
    label, _, features = read(made)
    return {"squared error": (made - x).square().flatten(1).sum(1).mean().item(),
            "label kept": (label == labels).float().mean().item(), "fid": metrics.fid(read(x)[2], features)}


def walked(decode, codes, half):
    """The images on the way between the codes of two halves of images, (POINTS, half, C, H, W)."""
    return torch.stack([decode(line(codes[:half], codes[half:2 * half], i / (POINTS - 1))) for i in range(POINTS)])


def main():
    opt = parse(Options)
    model, nets = opt.networks(opt.model)
    G, test = nets.get("G_ema", nets["G"]), opt.mnist(train=False)[:100 if opt.quick else 1000]
    x, dim = to_float(test.images).contiguous(), nets["G"].latent_dim
    pca = PCA(to_float(opt.mnist().images), dim)
    start = torch.randn(1000, dim, generator=opt.generator())
    z = torch.cat([nearest_z(G, part, start, opt.steps // (10 if opt.quick else 1)) for part in x.split(100)])

    def generate(z):
        return model.sample(nets, len(z), z=z)

    codes = {"PCA": (pca.encode(x), pca.decode), "GAN": (z, generate)}
    back = {name: decode(code) for name, (code, decode) in codes.items()}
    found = {name: given_back(made, x, test.labels) for name, made in back.items()}
    ways = {name: walked(decode, code, len(x) // 2) for name, (code, decode) in codes.items()}
    sure = {name: (read(way[1:-1].flatten(0, 1))[1] > SURE).float().mean().item() for name, way in ways.items()}
    say(f"given back: {found}; sure on the way: {sure}; length of z {z.norm(dim=1).mean():.1f} of {dim**0.5:.1f}")
    save(opt.out / "against_pca_back.png", and_back(x[:30], *(made[:30] for made in back.values())))
    save(opt.out / "against_pca_walks.png", and_back(*(way[:, :5].transpose(0, 1).flatten(0, 1)
                                                       for way in ways.values())))
    file = opt.write("against_pca", {"given back": found, "sure": sure, "real sure": (
        read(x)[1] > SURE).float().mean().item(), "scorer": scorer.sha256(scorer.WEIGHTS)})
    say(f"see {file}")


if __name__ == "__main__":
    with refusing("misc/studies/against_pca.py"):
        main()

"""The networks of the CoGAN (arXiv 1606.07536): two generators and two discriminators that share layers, DCGAN's stages
at 32 x 32."""

import copy

import torch
from torch import nn

from common.blocks import AtLeastFloat32, Conv2d, ConvTranspose2d, leaky, stage_widths
from common.updates import evaluating

FIT = 200  # steps in which `translate` looks for z


def build(latent_dim=100, channels_a=1, channels_b=1, image_size=32, classes=10, shared=4, g_width=48, d_width=32,
          average=True):
    """G: z (N, latent_dim) -> a pair of images, of a (N, channels_a, S, S) and of b, in [0, 1].
    D: images and their domain, "a" or "b" -> logits (N, 1), features (N, F), logits of the classes (N, classes).
    G_ema, D_ema (where average): copies of G and D, to hold the moving averages of their weights.

    shared: how many of G's layers both domains share, from z on. g_width, d_width: channels of the stages next to the
    images; the others have 2, 4, ... times as many."""
    channels = {"a": channels_a, "b": channels_b}
    nets = {"G": Generator(latent_dim, channels, stage_widths(image_size, g_width)[::-1], shared),
            "D": Discriminator(channels, stage_widths(image_size, d_width), classes)}
    if average:
        nets |= {f"{name}_ema": copy.deepcopy(nets[name]) for name in "GD"}
    return nets


class Generator(nn.Module):
    """z -> a pair of images: the first layers are one for both domains, the others each domain's own."""

    def __init__(self, latent_dim, channels, widths, shared):
        super().__init__()
        if not 0 <= shared <= len(widths):
            raise ValueError(f"shared must be 0 to {len(widths)}, not {shared}")
        self.latent_dim = latent_dim

        def stage(before, after):
            return nn.Sequential(ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

        before = (latent_dim, *widths)
        self.shared = nn.Sequential(*map(stage, before[:shared], widths[:shared]))
        self.own = nn.ModuleDict({name: nn.Sequential(
            *map(stage, before[shared:-1], widths[shared:]), ConvTranspose2d(widths[-1], out, 4, 2, 1, bias=False),
            AtLeastFloat32(), nn.Sigmoid()) for name, out in channels.items()})

    def forward(self, z):
        h = self.shared(z.view(-1, self.latent_dim, 1, 1))
        return self.own["a"](h), self.own["b"](h)


class Discriminator(nn.Module):
    """Images of one domain -> whether they are real, and of which class: the first layer is each domain's own, the
    others are one for both."""

    def __init__(self, channels, widths, classes):
        super().__init__()
        self.own = nn.ModuleDict({name: nn.Sequential(Conv2d(inputs, widths[0], 4, 2, 1), leaky())
                                  for name, inputs in channels.items()})
        layers = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), leaky()]
        self.shared = nn.Sequential(*layers, nn.Flatten(), AtLeastFloat32())
        self.real, self.label = nn.Linear(4 * widths[-1], 1), nn.Linear(4 * widths[-1], classes)

    def forward(self, x, domain):
        f = self.shared(self.own[domain](x))
        return self.real(f).float(), f, self.label(f).float()


def sample(nets, n, labels=None, z=None, generator=None, domain="a"):
    """n images of a domain, float32 (n, C, H, W) in [0, 1], from G_ema where there is one, else from G; in eval mode.
    The same z gives in both domains what belongs together.

    Args:
        labels: must be None: this model is not conditional.
        z: latent vectors (n, latent_dim); drawn from N(0, I) with `generator` where None."""
    if labels is not None:
        raise ValueError("a CoGAN cannot sample by label")
    G = nets.get("G_ema", nets["G"])
    if z is None:
        z = torch.randn(n, G.latent_dim, generator=generator, device=generator.device if generator else None)
    with evaluating(G):
        return G(z.to(next(G.parameters()).device))["ab".index(domain)]


def classify(nets, x, domain):
    """Logits of the classes (N, classes) of images of a domain, from D_ema where there is one, else from D."""
    D = nets.get("D_ema", nets["D"])
    with evaluating(D):
        return D(x, domain)[2]


def translate(nets, x, direction):
    """Images x (N, C, S, S) in [0, 1] of a ("ab") or of b ("ba") -> float32 images of the other domain: those of the z
    whose image is nearest to x, found by FIT steps of Adam down the squared difference, always from the same z, each
    for itself (the paper's section 5)."""
    G = nets.get("G_ema", nets["G"])
    source, target = ("ab".index(name) for name in direction)
    x = x.to(next(G.parameters()).device)
    with evaluating(G), torch.enable_grad():
        z = torch.randn(1, G.latent_dim, generator=torch.Generator().manual_seed(0)).to(x.device)
        z = z.repeat(len(x), 1).requires_grad_()
        mean, square = torch.zeros_like(z), torch.zeros_like(z)
        for step in range(1, FIT + 1):
            g, = torch.autograd.grad((G(z)[source] - x).square().sum(), z)
            mean.lerp_(g, 0.1)
            square.lerp_(g.square(), 0.01)
            ahead = mean / (1 - 0.9**step) / ((square / (1 - 0.99**step)).sqrt() + 1e-8)
            z = (z.detach() - 0.05 * ahead).requires_grad_()
        return G(z)[target].detach()

"""What is measured of the conditional GAN: whether D heeds the label, and how far samples depend on their batch."""

import copy

import torch

from common import evaluating


def right_and_wrong(D, data):
    """The mean of D(x|y), the probability that an image x is real, over a data set: with each image's own label, and
    with the next class's in its place."""
    classes = len(data.classes)
    with evaluating(D):
        values = [torch.stack([D(x, y).sigmoid().sum(), D(x, (y + 1) % classes).sigmoid().sum()])
                  for x, y in data.batches(1000)]
    return (sum(values) / len(data)).tolist()


@torch.no_grad()
def batch_effect(G, n=32, batches=200):
    """How far G's images depend on their batch in training: (spread, correlation).

    Two places of a batch of n keep their z and label, the others are drawn anew for each of the batches. spread: the
    standard deviation, over the batches, of the pixels in [0, 1] of the first place. correlation: of the deviations of
    the two places from their means in one batch, minus the same in two different batches; 0 where there are none."""
    G, device = copy.deepcopy(G).train(), G.z_reference.device
    generator = torch.Generator(device).manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, device=device)  # noqa: E731
    fixed, labels = draw(2, G.latent_dim), torch.arange(n, device=device) % G.classes
    pairs = torch.stack([G(torch.cat([fixed, draw(n - 2, G.latent_dim)]), labels)[:2].flatten(1)
                         for _ in range(batches)]).cpu().double()  # (batches, 2, pixels); mps has no float64
    deviations = pairs - pairs.mean(0)
    first, second = torch.nn.functional.normalize(deviations, dim=2).unbind(1)
    correlation = (first * second).sum(1).mean() - (first * second.roll(1, 0)).sum(1).mean()
    return deviations[:, 0].square().mean().sqrt().item(), correlation.item()


def draw(run, nets):
    """After a training, or from a checkpoint."""
    right, wrong = right_and_wrong(nets["D"], run.test)
    spread, correlation = batch_effect(nets["G"])
    run.record({"D(x|y)": right, "D(x|wrong y)": wrong, "batch spread": spread, "batch correlation": correlation})


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x, y = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.long)
    G, D = parts.Net("Generator $G$", nets["G"], z, y), parts.Net("Discriminator $D$", nets["D"], x, y)
    fake, output = parts.variable("$G(z|y)$", G.output, "fake"), parts.variable("logit", D.output, r"of $D(\cdot|y)$")
    d_loss = parts.loss("$D$ ascends", r"$\log D(x|y) + \log(1 - D(G(z|y)|y))$")
    g_loss = parts.loss("$G$ ascends", r"$\log D(G(z|y)|y)$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$z, y$", torch.zeros(1, nets["G"].latent_dim + nets["G"].classes), "noise, label"), G,
                fake)
    drawing.row(parts.variable("$x, y$", x, "real, label"), D, output)
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), D.at("top", D.x0 + parts.STAGE / 2), label="detached for the loss of $D$")
    drawing.arrow(output.at("bottom"), d_loss.at("top", d_loss.x1 - 30))
    drawing.arrow(output.at("bottom"), g_loss.at("top", output.at("top").x))
    drawing.arrow(d_loss.at("top"), D.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

"""What is measured and drawn of the InfoGAN: which digit each category has become, and what the other codes turn."""

import math

import torch

from common import beside
from common.images import figure

model = beside(__file__, "model")
SHAPES = ("slant", "stroke width")


def crossed(nets, data, classes):
    """How often each category (row) is read in images of each class (column), int64 (codes, classes)."""
    counts = torch.zeros(nets["G"].codes, classes, dtype=torch.long)
    for x, y in data.batches(1000):
        pairs = model.read(nets, x)[0].argmax(1) * classes + y
        counts += torch.bincount(pairs, minlength=counts.numel()).view_as(counts).cpu()
    return counts


def matching(counts):
    """{category: class}, one to one, for which most images of `crossed` agree: the Hungarian method (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment

    return dict(zip(*(index.tolist() for index in linear_sum_assignment(counts.numpy(), maximize=True)), strict=True))


def slant(x):
    """How far the strokes of images (N, 1, H, W) lean, (N,): the shear, columns to the right a row upwards."""
    x = x[:, 0].cpu().double()
    down, right = torch.meshgrid(torch.arange(x.shape[1]).to(x), torch.arange(x.shape[2]).to(x), indexing="ij")
    ink = x.sum((1, 2)).clamp(min=1e-9)
    down, right = (axis - ((x * axis).sum((1, 2)) / ink)[:, None, None] for axis in (down, right))
    return -(x * down * right).sum((1, 2)) / (x * down.square()).sum((1, 2)).clamp(min=1e-9)


def stroke_width(x):
    """The width of the strokes of images (N, 1, H, W) in pixels, (N,): twice their area over their outline. The outline
    is the total variation, which is the mean length of the image's contours over all grey levels."""
    x = torch.nn.functional.pad(x[:, 0].cpu().double(), (0, 1, 0, 1))
    across, down = x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]
    return 2 * x.sum((1, 2)) / (across.square() + down.square()).sqrt().sum((1, 2)).clamp(min=1e-9)


def correlations(nets, n=2000):
    """Spearman's rank correlation of each continuous code with the slant and the stroke width of the images that have
    it, z and the category varied: float64 (continuous, 2)."""
    from torchmetrics.functional import spearman_corrcoef

    generator = torch.Generator().manual_seed(0)
    u = 2 * torch.rand(n, nets["G"].continuous, generator=generator) - 1
    images = model.sample(nets, n, u=u, generator=generator).mean(1, keepdim=True).cpu()
    return torch.tensor([[spearman_corrcoef(code, shape(images)).item() for shape in (slant, stroke_width)]
                         for code in u.T.cpu().double()]).reshape(-1, 2)


def information(nets, n=2000):
    """L_I in nats: what Q reads of c (at most log(codes)) and, the mean of them, of a continuous code (at most log 2
    where it is known to within 0.5; Q(u|x) here has the standard deviation that it errs by)."""
    generator = torch.Generator().manual_seed(1)
    c = torch.randint(nets["G"].codes, (n,), generator=generator)
    u = 2 * torch.rand(n, nets["G"].continuous, generator=generator) - 1
    device = next(nets["Q"].parameters()).device
    logits, means = (part.cpu() for part in model.read(
        nets, model.sample(nets, n, labels=c, u=u, generator=generator).to(device)))
    of_u = math.log(2) - 0.5 * torch.log(2 * math.pi * math.e * (means - u).square().mean(0))
    return (math.log(nets["G"].codes) - torch.nn.functional.cross_entropy(logits, c).item(),
            of_u.mean().item() if len(of_u) else 0.0)


def table(counts, matched, classes):
    """Figure of `crossed` in percent of each class, the categories in the order of the classes that they stand for."""
    order = sorted(range(len(counts)), key=lambda c: matched.get(c, len(classes)))
    share = (100 * counts / counts.sum(0).clamp(min=1))[order].numpy()
    fig, ax = figure(6.4, 5.6)
    drawn = ax.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    fig.colorbar(drawn, label="share of the digit's test images (%)")
    if share.size <= 400:
        for row, values in enumerate(share):
            for column, value in enumerate(values):
                if value >= 0.5:
                    ax.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if value > 50 else "k")
    ax.set(xticks=range(len(classes)), xticklabels=classes, yticks=range(len(order)), yticklabels=order,
           xlabel="digit", ylabel="category that Q reads", title="which digit a category has become")
    return fig


def draw(run, nets):
    """After a training, or from a checkpoint. Categories are matched to classes by training images, whose labels
    nothing else has seen; what is told is of the test images."""
    classes, G = run.train.classes, nets["G"]
    matched, counts = matching(crossed(nets, run.train, len(classes))), crossed(nets, run.test, len(classes))
    told, of_u = information(nets)
    results = {"code accuracy": sum(counts[c, y] for c, y in matched.items()) / counts.sum(),
               "purity": counts.amax(1).sum() / counts.sum(), "L_I of c": told, "L_I of u": of_u}
    if G.continuous >= len(SHAPES):
        rho = correlations(nets).abs()
        results |= {f"rho of {SHAPES[shape]}": rho[code, shape] for code, shape in matching(rho).items()}
    run.record(results)
    run.save("categories", table(counts, matched, classes))
    steps, rows = torch.linspace(-1.5, 1.5, 10).repeat(min(G.codes, 10)), min(G.codes, 10)
    labels = torch.arange(rows).repeat_interleave(10)
    for code in range(G.continuous):
        u = torch.zeros(len(steps), G.continuous)
        u[:, code] = steps
        z = torch.erf(run.noise(1, G.latent_dim).cpu() / 2**0.5).expand(len(steps), -1)  # uniform in [-1, 1]
        run.save(f"continuous_{code + 1}", model.sample(nets, len(steps), labels=labels, z=z, u=u))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x, c = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.long)
    u, codes = torch.zeros(1, nets["G"].continuous), nets["G"].codes
    G, D = parts.Net("Generator $G$", nets["G"], z, c, u), parts.Net("Discriminator $D$", nets["D"].trunk, x)
    fake, seen = parts.variable("$G$", G.output, "fake"), parts.variable("features", D.output)
    verdict, again = parts.variable("logit", torch.zeros(1, 1)), parts.variable("features")
    Q = parts.Net("Reader $Q$", nets["Q"].net, D.output)
    d_loss = parts.loss("$D$ and $Q$ ascend", r"$\log D(x) + \log(1 - D(G)) + \lambda\,\log Q(c,u|G)$")
    g_loss = parts.loss("$G$ ascends", r"$\log D(G) + \lambda\,\log Q(c,u|G)$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$z, c, u$", torch.zeros(1, len(z[0]) + codes + len(u[0])), "with codes"), G, fake)
    drawing.row(parts.variable("$x$", x, "real"), D, (verdict, seen))
    drawing.row(again, Q, parts.variable("$c, u$", torch.zeros(1, codes + len(u[0])), "as read"))
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), D.at("top", D.x0 + parts.STAGE / 2), label="detached for the loss of $D$")
    drawing.arrow(seen.at("bottom"), again.at("top"))
    drawing.arrow(Q.at("bottom", Q.x1 - 30), g_loss.at("top"))
    drawing.arrow(Q.at("bottom", Q.x1 - 60), d_loss.at("top", Q.x1 - 60))
    drawing.arrow(verdict.at("right"), g_loss.at("top", g_loss.x1 - 30), verdict.x1 + 7, Q.row[1] + 23)
    drawing.arrow(d_loss.at("top", Q.x0 + 30), Q.at("bottom", Q.x0 + 30), update=True)
    drawing.arrow(d_loss.at("left"), D.at("left", D.y1 - 20), 13, update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

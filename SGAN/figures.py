"""What is measured of the SGAN: how many test images its D reads."""

import torch

from common import beside

model = beside(__file__, "model")


def accuracy(nets, data):
    """The share of a data set's images whose class D_ema names, FAKE not among the answers."""
    right = sum((model.classify(nets, x).argmax(1) == y).sum() for x, y in data.batches(1000))
    return (right / len(data)).item()


def draw(run, nets):
    """After a training, or from a checkpoint."""
    run.record({"accuracy": accuracy(nets, run.test)})


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32)
    G, D = parts.Net("Generator $G$", nets["G"].net, z), parts.Net("Discriminator $D$", nets["D"].trunk, x)
    fake, features = parts.variable("$G(z)$", G.output, "fake"), parts.variable("$f$", D.output, "features")
    logits = parts.variable("logits", nets["D"](x)[0], "$K + 1$")
    d_loss = parts.loss("$D$ descends", r"$-\log p(y|x) - \log(1 - p(F|x^{\prime})) - \log p(F|G)$")
    g_loss = parts.loss("$G$ descends", r"$\|\mathrm{E} f(x^{\prime}) - \mathrm{E} f(G)\|^2$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$z$", z, "noise"), G, fake)
    drawing.row(parts.variable("$x$, $x^{\\prime}$", x, "images"), D, (logits, features))
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), D.at("top", D.x0 + parts.STAGE / 2), label="detached for the loss of $D$")
    drawing.arrow(logits.at("right"), d_loss.at("top", d_loss.x1 - 30), logits.x1 + 7, D.row[1] + 23)
    drawing.arrow(features.at("bottom"), g_loss.at("top", features.at("bottom").x))
    drawing.arrow(d_loss.at("top"), D.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

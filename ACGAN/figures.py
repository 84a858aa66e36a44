"""What is measured of the ACGAN: how well D's class head reads real images."""

import torch

from common import evaluating


def class_accuracy(D, data):
    """The share of a data set's images whose class D's class head names."""
    with evaluating(D):
        right = sum((D(x)[1].argmax(1) == y).sum() for x, y in data.batches(1000))
    return (right / len(data)).item()


def draw(run, nets):
    """After a training, or from a checkpoint."""
    run.record({"accuracy of D": class_accuracy(nets["D"], run.test)})


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x, c = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.long)
    G, D = parts.Net("Generator $G$", nets["G"], z, c), parts.Net("Discriminator $D$", nets["D"].net, x)
    fake = parts.variable("$G(c,z)$", G.output, "fake")
    output = parts.variable("logits", D.output, "$S$, $C$")
    d_loss = parts.loss("$D$ ascends", r"$L_S + L_C$")
    g_loss = parts.loss("$G$ ascends", r"$\log P(S=\mathrm{real}) + \log P(C=c)$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$c, z$", torch.zeros(1, nets["G"].latent_dim + nets["G"].classes), "noise, class"), G,
                fake)
    drawing.row(parts.variable("$x$", x, "real"), D, output)
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), D.at("top", D.x0 + parts.STAGE / 2), label="detached for the loss of $D$")
    drawing.arrow(output.at("bottom"), d_loss.at("top", d_loss.x1 - 30))
    drawing.arrow(output.at("bottom"), g_loss.at("top", output.at("top").x))
    drawing.arrow(d_loss.at("top"), D.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

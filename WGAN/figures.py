"""Figures of this model."""

import torch


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32)
    G, D = parts.Net("Generator $G$", nets["G"], z), parts.Net("Critic $D$", nets["D"], x)
    fake, output = parts.variable("$G(z)$", G.output, "fake"), parts.variable("score", D.output, r"$D(\cdot)$")
    d_loss = parts.loss("$D$ ascends, and is clipped", "$D(x) - D(G(z))$")
    g_loss = parts.loss("$G$ ascends", "$D(G(z))$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$z$", z, r"$\mathcal{N}(0, I)$"), G, fake)
    drawing.row(parts.variable("$x$", x, "real"), D, output)
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), D.at("top", D.x0 + parts.STAGE / 2), label="detached for the loss of $D$")
    drawing.arrow(output.at("bottom"), d_loss.at("top", d_loss.x1 - 30))
    drawing.arrow(output.at("bottom"), g_loss.at("top", output.at("top").x))
    drawing.arrow(d_loss.at("top"), D.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

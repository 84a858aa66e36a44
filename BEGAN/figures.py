"""What is measured and drawn of the BEGAN: its balance on images that it has not seen, and what D makes of images."""

import torch

from common import beside
from common.images import and_back
from common.updates import evaluating

model = beside(__file__, "model")


def reconstructed(nets, x):
    """Images (N, C, H, W) in rows of ten, and below each row what D makes of them: (2 N, C, H, W)."""
    with evaluating(nets["D"]):
        return and_back(x, nets["D"].reconstruct(x))


def balance(nets, data, n=1000):
    """L of test images and of as many generated ones, n at most: two numbers."""
    x = next(iter(data.batches(n)))[0]
    fake = model.sample({"G": nets["G"]}, len(x), generator=torch.Generator().manual_seed(0)).to(x)
    with evaluating(nets["D"]):
        return nets["D"](x).mean().item(), nets["D"](fake).mean().item()


def draw(run, nets):
    """After a training, or from a checkpoint."""
    real, generated = balance(nets, run.test)
    run.record({"L(x)": real, "L(G(z))": generated, "L(G(z)) / L(x)": generated / real})
    x = next(iter(run.test.batches(30)))[0]
    run.save("real_and_back", reconstructed(nets, x))
    fake = model.sample(nets, 30, z=run.noise(30, nets["G"].latent_dim)).to(x)
    run.save("fake_and_back", reconstructed(nets, fake))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x, D = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32), nets["D"]
    G, encoder = parts.Net("Generator $G$", nets["G"], z), parts.Net("Encoder of $D$", D.encoder, x)
    decoder = parts.Net("Decoder of $D$", D.decoder, encoder.output)
    fake, code = parts.variable("$G(z)$", G.output, "fake"), parts.variable("code", encoder.output)
    again, error = parts.variable("code"), parts.variable("$L$", torch.zeros(1, 1), "error")
    d_loss = parts.loss("$D$ descends", r"$L(x) - k\,L(G(z))$")
    g_loss = parts.loss("$G$ descends", r"$L(G(z))$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$z$", z, "noise"), G, fake)
    drawing.row(parts.variable("$x$", x, "real"), encoder, code)
    drawing.row(again, decoder, error)
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), encoder.at("top", encoder.x0 + parts.STAGE / 2))
    drawing.arrow(code.at("bottom"), again.at("top"))
    drawing.arrow(error.at("bottom"), d_loss.at("top", d_loss.x1 - 30))
    drawing.arrow(error.at("bottom"), g_loss.at("top", error.at("bottom").x))
    drawing.arrow(d_loss.at("top"), decoder.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(d_loss.at("left"), encoder.at("left", encoder.y1 - 20), 13, update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

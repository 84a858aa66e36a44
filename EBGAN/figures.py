"""What is measured and drawn of the EBGAN: the energies, and what D makes of real and of generated images."""

import torch

from common import beside
from common.images import and_back
from common.updates import evaluating

model = beside(__file__, "model")


def energies(nets, batches):
    """The mean energy of images, given as batches (N, C, H, W) in [0, 1], with D in eval mode."""
    with evaluating(nets["D"]):
        return torch.cat([nets["D"](x)[0] for x in batches]).mean().item()


def reconstructed(nets, x):
    """Images (N, C, H, W) in rows of ten, and below each row what D makes of them: (2 N, C, H, W)."""
    with evaluating(nets["D"]):
        return and_back(x, nets["D"].reconstruct(x))


def draw(run, nets):
    """After a training, or from a checkpoint."""
    device, G = run.test.images.device, nets["G"]
    generator = torch.Generator().manual_seed(0)
    fake = model.sample(nets, 1000, generator=generator).to(device)
    run.record({"energy of real": energies(nets, (x for x, _ in run.test.batches(1000))),
                "energy of fake": energies(nets, fake.split(500))})
    real = next(iter(run.test.batches(30)))[0]
    run.save("real_and_back", reconstructed(nets, real))
    run.save("fake_and_back", reconstructed(nets, model.sample(nets, 30, z=run.noise(30, G.latent_dim)).to(device)))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x, D = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32), nets["D"]
    G, encoder = parts.Net("Generator $G$", nets["G"], z), parts.Net("Encoder of $D$", D.encoder, x)
    decoder = parts.Net("Decoder of $D$", D.decoder, encoder.output)
    fake, code = parts.variable("$G(z)$", G.output, "fake"), parts.variable("code", encoder.output)
    again, energy = parts.variable("code"), parts.variable("energy", torch.zeros(1, 1), "of the error")
    d_loss = parts.loss("$D$ descends", r"$D(x) + [m - D(G(z))]^+$")
    g_loss = parts.loss("$G$ descends", r"$D(G(z)) + w\, f_{PT}(\mathrm{Enc}(G(z)))$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$z$", z, "noise"), G, fake)
    drawing.row(parts.variable("$x$", x, "real"), encoder, code)
    drawing.row(again, decoder, energy)
    drawing.row(d_loss, g_loss, joined=False)
    drawing.arrow(fake.at("bottom"), encoder.at("top", encoder.x0 + parts.STAGE / 2),
                  label="detached for the loss of $D$")
    drawing.arrow(code.at("bottom"), again.at("top"))
    drawing.arrow(energy.at("bottom"), d_loss.at("top", d_loss.x1 - 30))
    drawing.arrow(energy.at("bottom"), g_loss.at("top", energy.at("bottom").x))
    drawing.arrow(d_loss.at("top"), decoder.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(d_loss.at("left"), encoder.at("left", encoder.y1 - 20), 13, update=True)
    drawing.arrow(g_loss.at("right"), G.at("top"), *drawing.outside, update=True)
    return drawing

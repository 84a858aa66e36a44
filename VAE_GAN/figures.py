"""What is measured and drawn of the VAE-GAN: images and what comes back of them, and the way from one to another."""

import torch

from common import beside
from common.images import and_back

model = beside(__file__, "model")


def pixel_error(nets, data):
    """The squared error of a data set's reconstructions, the sum over the pixels of an image, the mean over images."""
    return sum((model.reconstruct(nets, x) - x).square().sum().item() for x, _ in data.batches(1000)) / len(data)


def between(nets, x, steps=10):
    """From each image (N, C, H, W) to the next, N - 1 ways of so many steps along the line of their codes."""
    codes, share = model.encode(nets, x), torch.linspace(0, 1, steps, device=x.device)[None, :, None]
    z = (codes[:-1, None] * (1 - share) + codes[1:, None] * share).flatten(0, 1)
    return model.sample(nets, len(z), z=z)


def draw(run, nets):
    """After a training, or from a checkpoint."""
    run.record({"pixel error": pixel_error(nets, run.test)})
    x = next(iter(run.test.batches(50)))[0]
    run.save("back", and_back(x, model.reconstruct(nets, x)))
    run.save("between", between(nets, x[:11]))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    z, x = torch.zeros(1, nets["G"].latent_dim), torch.zeros(1, 1, 32, 32)
    E, G = parts.Net("Encoder $E$", nets["E"].net, x), parts.Net("Generator $G$", nets["G"], z)
    D = parts.Net("Discriminator $D$", torch.nn.Sequential(nets["D"].trunk, nets["D"].head), x)
    logit, features = parts.variable("logit", D.output), parts.variable("$f$", nets["D"](x)[1], "3rd stage")
    code = parts.variable("$z$", z, r"$\mu + \sigma\epsilon$")
    fake = parts.variable("$\\tilde{x}$, $x_p$", G.output, "generated")
    d_loss = parts.loss("$D$ ascends", r"$L_{GAN}$")
    e_loss = parts.loss("$E$ and $G$ descend", r"$L_{prior} + L_{like}$,   $\gamma L_{like} - L_{GAN}$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$x$", x, "real"), E, code)
    drawing.row(parts.variable("$z_p$", z, "noise"), G, fake)
    drawing.row(parts.variable("$x$", x, "real"), D, (logit, features))
    drawing.row(d_loss, e_loss, joined=False)
    drawing.arrow(code.at("bottom"), G.at("top", G.x0 + parts.STAGE / 2))
    drawing.arrow(fake.at("bottom"), D.at("top", D.x0 + parts.STAGE / 2), label="detached for the loss of $D$")
    drawing.arrow(logit.at("right"), d_loss.at("top", d_loss.x1 - 30), logit.x1 + 7, D.row[1] + 23)
    drawing.arrow(features.at("bottom"), e_loss.at("top", features.at("bottom").x))
    drawing.arrow(d_loss.at("top"), D.at("bottom", d_loss.at("top").x), update=True)
    drawing.arrow(e_loss.at("right"), E.at("top"), *drawing.outside, update=True)
    drawing.arrow(e_loss.at("right"), G.at("right", G.y1 - 20), drawing.outside[0], update=True)
    return drawing

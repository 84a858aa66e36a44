"""What is measured and drawn of an adversarial autoencoder: its error, and whether its codes follow the prior."""

import torch

from common import beside, evaluating
from common.images import scatter, unit_square

model = beside(__file__, "model")


def shown(run):
    """The test images (100, C, H, W) whose reconstructions are drawn."""
    return next(iter(run.test.batches(100)))[0]


def squared_error(nets, data):
    """E_x |x - decoder(encoder(x))|^2 over a data set, pixels in [0, 1]."""
    with evaluating(*nets.values()):
        return sum((nets["decoder"](nets["encoder"](x)) - x).square().sum() for x, _ in data.batches(1000)) / len(data)


def two_sample_accuracy(a, b):
    """The share of points, of two sets (N, D) and (M, D) together, whose nearest other point is of their own set: near
    0.5 where both are draws of one distribution (N = M), 1 where they lie apart, below 0.5 where one copies the other
    (the nearest neighbour two-sample test of Xu et al. 2018, arXiv 1806.07755)."""
    from sklearn.neighbors import NearestNeighbors

    points, own = torch.cat([a, b]).cpu().numpy(), torch.cat([torch.zeros(len(a)), torch.ones(len(b))])
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)[:, 0]  # never itself
    return (own == own[nearest]).float().mean().item()


def draw(run, nets):
    """After a training, or from a checkpoint."""
    opt, test = run.options, run.test
    codes = torch.cat([model.encode(nets, x) for x, _ in test.batches(1000)])
    z = model.draw(opt.prior, len(codes), torch.Generator().manual_seed(opt.seed)).to(codes)
    run.record({"squared error": squared_error(nets, test), "two-sample accuracy": two_sample_accuracy(codes, z)})
    run.save("original", shown(run))
    run.save("random", model.sample(nets, 100, generator=torch.Generator().manual_seed(opt.seed)))
    run.save("scatter", scatter(codes, test.labels, test.classes, "codes of the test images over the prior", z))
    low, high = z.quantile(0.01, 0), z.quantile(0.99, 0)  # the prior's rectangle, but for the outermost 1% on each side
    run.save("manifold", model.sample(nets, 400, z=low + (high - low) * unit_square(20).to(z)))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    x, z = torch.zeros(1, 1, 32, 32), torch.zeros(1, 2)
    encoder, decoder = parts.Net("Encoder", nets["encoder"], x), parts.Net("Decoder", nets["decoder"], z)
    D = parts.Net("Discriminator $D$", nets["D"], z)
    code, output = parts.variable("code", encoder.output), parts.variable("$x'$", decoder.output)
    again, prior = parts.variable("code"), parts.variable("$z$", z, "prior $p(z)$")
    logit = parts.variable("logit", D.output, r"of $D(\cdot)$")
    error = parts.loss("1: both descend", "$|x - x'|^2$")
    d_loss = parts.loss("2: $D$ ascends", r"$\log D(z) + \log(1 - D(\mathrm{code}))$")
    e_loss = parts.loss("2: encoder ascends", r"$\log D(\mathrm{code})$")
    drawing = parts.Diagram()
    drawing.row(parts.variable("$x$", x, "image"), encoder, code)
    drawing.row(again, decoder, output, error)
    drawing.row(prior, D, logit)
    drawing.row(d_loss, e_loss, joined=False)
    drawing.arrow(code.at("bottom"), again.at("top"))
    drawing.arrow(again.at("bottom"), D.at("top"), label="detached for the loss of $D$")
    drawing.arrow(logit.at("bottom"), d_loss.at("top", d_loss.x1 - 30))
    drawing.arrow(logit.at("bottom"), e_loss.at("top", logit.at("top").x))
    drawing.arrow(error.at("bottom"), decoder.at("bottom", decoder.x1 - parts.STAGE / 2), decoder.y1 + 23, update=True)
    drawing.arrow(d_loss.at("top", D.x0 + parts.STAGE / 2), D.at("bottom", D.x0 + parts.STAGE / 2), update=True)
    for phase in (error, e_loss):
        drawing.arrow(phase.at("right"), encoder.at("top"), *drawing.outside, update=True)
    return drawing

"""What is measured and drawn of a VAE: its bound on the test images, and what its codes look like."""

import torch
import torch.nn.functional as F

from common import beside, evaluating
from common.images import scatter, unit_square

model = beside(__file__, "model")


def pixels(run):
    """What the model sees of the test images, (N, pixels); with --binarise black or white, the same for every seed."""
    x = torch.cat([model.middle(x, run.options.margin) for x, _ in run.test.batches(1000)])
    if run.options.binarise:
        x = torch.bernoulli(x.cpu(), generator=torch.Generator().manual_seed(0)).to(x)
    return x


def nats(run, nets, x):
    """-ELBO of images, `pixels`, and its two terms in nats, the mean, with one draw of z an image, always the same."""
    epsilon = run.noise(len(x), run.options.latent_dim)
    error, divergence = 0, 0
    with evaluating(*nets.values()):
        for part, e in zip(x.split(1000), epsilon.split(1000), strict=True):
            mu, logvar = nets["encoder"](part)
            logits = nets["decoder"](mu + (logvar / 2).exp() * e)
            error += F.binary_cross_entropy_with_logits(logits, part, reduction="sum") / len(x)
            divergence += 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum() / len(x)
    return {"-ELBO": error + divergence, "-log p(x|z)": error, "KL": divergence}


def draw(run, nets):
    """After a training, or from a checkpoint."""
    opt, x, labels = run.options, pixels(run), run.test.labels
    results = nats(run, nets, x)
    if opt.binarise and opt.iw_samples:
        results["importance-weighted bound"] = model.importance_weighted(nets, x[::10], opt.iw_samples)
    run.record(results)
    run.save("original", nets["decoder"].images(x[:100]))
    run.save("random", model.sample(nets, 100, z=run.noise(100, opt.latent_dim)))
    means = torch.stack([x[labels == label].mean(0) for label in labels.unique()])
    pairs = torch.stack([nets["decoder"].images(means),
                         model.sample(nets, len(means), z=model.encode(nets, means))], 1)
    run.save("means", pairs.flatten(0, 1))  # each mean image, and its reconstruction to the right of it
    if opt.latent_dim == 2:
        codes = model.encode(nets, x)
        run.save("scatter", scatter(codes, labels, run.test.classes, "means of q(z|x) of the test images"))
        # the unit square through the inverse normal CDF: each image stands for as much of p(z)
        run.save("manifold", model.sample(nets, 400, z=torch.special.ndtri(unit_square(20))))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    x = torch.zeros(1, 784)
    encoder = parts.Net("Encoder $q(z|x)$", nets["encoder"], x)
    mu, logvar = encoder.output
    decoder = parts.Net("Decoder $p(x|z)$", nets["decoder"], mu)
    z, logits = parts.variable("$z$", mu, r"$\mu + \sigma\epsilon$"), parts.variable("logits", decoder.output)
    mean, log_variance = parts.variable(r"$\mu$", mu), parts.variable(r"$\log\sigma^2$", logvar)
    elbo = parts.loss("Encoder and decoder descend",
                      r"$-\log p(x|z) + \mathrm{KL}(\mathcal{N}(\mu, \sigma^2)\,||\,\mathcal{N}(0, I))$")
    drawing = parts.Diagram(columns=4)
    drawing.row(parts.variable("$x$", x, "pixels"), encoder, (mean, log_variance))
    drawing.row(parts.variable(r"$\epsilon$", mu, r"$\mathcal{N}(0, I)$"), z, decoder, logits)
    drawing.row(elbo)
    drawing.arrow(log_variance.at("bottom"), z.at("top"))
    drawing.arrow(mean.at("right"), z.at("top"), mean.x1 + parts.ARROW / 2, z.row[0] - 23)
    drawing.arrow(logits.at("bottom"), elbo.at("top", logits.at("top").x))
    drawing.arrow(elbo.at("top", decoder.at("top").x), decoder.at("bottom"), update=True)
    drawing.arrow(elbo.at("right"), encoder.at("top"), *drawing.outside, update=True)
    return drawing

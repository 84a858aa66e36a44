"""What is measured and drawn of an autoencoder: its error beside that of PCA, and what its codes look like."""

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


def pca_error(run):
    """The squared error |x - x'|^2 of a test image x, with x' its projection on as many principal components of the
    training images as the code has dimensions; the mean."""
    from sklearn.decomposition import PCA

    train, test = (data.images.cpu().flatten(1).float().numpy() / 255 for data in (run.train, run.test))
    solver = "covariance_eigh" if train.shape[1] <= 1024 else "randomized"  # exact while that is fast
    pca = PCA(min(run.options.latent_dim, *train.shape), svd_solver=solver, random_state=0).fit(train)
    return float(((pca.inverse_transform(pca.transform(test)) - test) ** 2).sum(1).mean())


def errors(run, nets, pca):
    """For the curve over the epochs; pca: `pca_error`."""
    return {"train": squared_error(nets, run.train), "test": squared_error(nets, run.test), "PCA, test": pca}


def draw(run, nets):
    """After a training, or from a checkpoint."""
    run.record({"squared error": squared_error(nets, run.test), "squared error of PCA": pca_error(run)})
    run.save("original", shown(run))
    run.save("random", model.sample(nets, 100, generator=torch.Generator().manual_seed(run.options.seed)))
    if run.options.latent_dim == 2:
        codes = torch.cat([model.encode(nets, x) for x, _ in run.test.batches(1000)])
        run.save("scatter", scatter(codes, run.test.labels, run.test.classes, "codes of the test images"))
        low, high = codes.new_zeros(2), codes.new_ones(2)
        if run.options.code == "linear":  # the rectangle where the codes lie, but for the outermost 2% on each side
            low, high = codes.quantile(0.02, 0), codes.quantile(0.98, 0)
        run.save("manifold", model.sample(nets, 400, z=low + (high - low) * unit_square(20).to(codes)))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    x = torch.zeros(1, 1, 32, 32)
    encoder = parts.Net("Encoder", nets["encoder"], x)
    decoder = parts.Net("Decoder", nets["decoder"], encoder.output)
    code, output = parts.variable("$z$", encoder.output, "code"), parts.variable("$x'$", decoder.output)
    again = parts.variable("$z$")
    error = parts.loss("Encoder and decoder descend", r"$|x - x'|^2 + \lambda\,|z|^2$")
    drawing = parts.Diagram(columns=4)
    drawing.row(parts.variable("$x$", x, "image"), encoder, code)
    drawing.row(again, decoder, output)
    drawing.row(error)
    drawing.arrow(code.at("bottom"), again.at("top"))
    drawing.arrow(output.at("bottom"), error.at("top", output.at("top").x))
    drawing.arrow(error.at("top", decoder.at("top").x), decoder.at("bottom"), update=True)
    drawing.arrow(error.at("right"), encoder.at("top"), *drawing.outside, update=True)
    return drawing

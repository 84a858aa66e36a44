"""The losses and updates of the models against the papers' formulas, computed another way."""

import json
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from conftest import load_model
from running import ROOT, load_train, train_here
from torch import distributions as dist

import common
from common import Run, checkpoint, data, domains
from common.models import load_file, trained
from common.options import InputError


@pytest.fixture
def one_update(tmp_path):
    """A function of a model's folder and flags that makes one update in float32 with the digits of scikit-learn.

    n: how many batches of 32 an update takes. Returns the networks before and after it, in float64, the images x, the
    losses, and the optimizers' states. The global random state is then as it was before the update."""
    def make(name, fields, *flags, n=1):
        status, _ = train_here(ROOT / name, "--dataset", "digits", "--max-steps", 1, "--precision", "fp32",
                               "--batch-size", 32, "--out-dir", tmp_path, *flags)
        assert status == 0
        model = load_model(name)
        checkpoint.seed_everything(0)
        before = {key: net.double() for key, net in model.build(**fields).items()}
        after = {key: net.double() for key, net in model.build(**fields).items()}
        saved = checkpoint.load(next(tmp_path.glob("checkpoints/**/checkpoint.pt")))
        for key, net in after.items():
            net.load_state_dict(saved["networks"][key])
        digits = data.load("digits", None)
        x, _ = data.Batches((digits.images, digits.labels), batch_size=32 * n, seed=0)[0]
        losses = json.loads(next(tmp_path.glob("samples/**/run.json")).read_text())["final_losses"]
        checkpoint.seed_everything(1)
        return before, after, x, losses, saved["optimizers"]

    return make


def adam(loss, *nets, state, lr, betas=(0.9, 0.999), within=1e-2):
    """Holds an optimizer's state after its first step against Adam's formula, and makes that step: the mean of the
    gradient is (1 - beta1) g, that of its square (1 - beta2) g^2, the step lr g / |g|."""
    parameters = [p for net in nets for p in net.parameters()]
    assert float(state["param_groups"][0]["lr"]) == pytest.approx(lr)
    assert tuple(state["param_groups"][0]["betas"]) == betas
    for i, (p, g) in enumerate(zip(parameters, torch.autograd.grad(loss, parameters), strict=True)):
        found = state["state"][i]["exp_avg"].double() / (1 - betas[0])
        assert (found - g).norm() <= within * g.norm(), i
        p.data -= lr * g / (g.abs() + 1e-8)


def with_gradients(net, gradients):
    """A loss whose gradients in the parameters of a network are these."""
    return sum((p * g).sum() for p, g in zip(net.parameters(), gradients, strict=True))


def assert_like(found, expected, lr):
    """Weights agree but where the gradient is so near 0 that rounding gives it another sign."""
    for name, net in expected.items():
        for (key, p), q in zip(net.named_parameters(), found[name].parameters(), strict=True):
            wrong = ((p - q).abs() > 0.1 * lr).sum().item()
            assert wrong <= max(3, 0.02 * p.numel()), (name, key, wrong)


@pytest.mark.parametrize("fields", [{}, {"networks": "dense", "dropout": 0.5}])
def test_gan(one_update, monkeypatch, fields):
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)  # it draws, which float64 would do otherwise
    flags = [word for name, value in fields.items() for word in (f"--{name}", value)]
    nets, after, x, losses, states = one_update("GAN", fields, "--lr", 2e-4, *flags)
    G, D, x = nets["G"], nets["D"], x.double()
    fake = G(torch.randn(32, 100).double())
    noise = [0.2 * torch.randn(x.shape).double() for _ in range(3)]
    p, q = torch.sigmoid(D(x + noise[0])), torch.sigmoid(D(fake.detach() + noise[1]))
    d_loss = -(p.log() + (1 - q).log()).sum() / 32
    means = {"D(x)": p.mean().item(), "D(G(z))": q.mean().item()}
    adam(d_loss, D, state=states[1], lr=2e-4, betas=(0, 0.99))
    g_loss = -torch.sigmoid(D(fake + noise[2])).log().sum() / 32
    adam(g_loss, G, state=states[0], lr=2e-4, betas=(0, 0.99))
    assert losses == pytest.approx({"D": d_loss.item(), "G": g_loss.item(), **means}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)
    for p, q, start in zip(*(net.parameters() for net in (after["G_ema"], after["G"], nets["G_ema"])), strict=True):
        torch.testing.assert_close(p, start / 11 + q * 10 / 11, rtol=1e-4, atol=1e-6)  # with decay 1 / (1 + 10)


def test_gan_lets_the_one_ahead_wait(tmp_path, monkeypatch):
    """By the losses of the update before, each of one image; who waits keeps every weight."""
    seen, log = [], Run.log

    def spy(run, losses):
        nets = [[p.detach().clone() for p in run._networks[name].parameters()] for name in "DG"]
        seen.append((losses["D"].item() / 2, losses["G"].item(), *nets))
        log(run, losses)

    monkeypatch.setattr(Run, "log", spy)
    train_here(ROOT / "GAN", "--dataset", "digits", "--max-steps", 60, "--batch-size", 32, "--out-dir", tmp_path,
               "--balance", "--g-width", 8, "--d-width", 8, "--instance-noise", 0, "--lr", 0.02)
    moved = [[any(not torch.equal(p, q) for p, q in zip(*nets, strict=True))
              for nets in zip(before[2:], after[2:], strict=True)] for before, after in pairwise(seen)]
    assert moved == [[2 * d >= g, 2 * g >= d] for d, g, *_ in seen[:-1]]
    steps = [1 + sum(part) for part in zip(*moved, strict=True)]
    assert min(steps) < 60
    results = json.loads((tmp_path / "samples" / "run.json").read_text())["results"]
    assert results == pytest.approx({"steps of D": steps[0] / 60, "steps of G": steps[1] / 60})


def labels_of_the_batch():
    """Those of the images that `one_update` gives."""
    digits = data.load("digits", None)
    return data.Batches((digits.images, digits.labels), batch_size=32, seed=0)[0][1]


@pytest.mark.parametrize("fields, smoothing", [
    ({}, 0), ({"norm": "virtual"}, 0.1), ({"networks": "dense", "norm": "none"}, 0)])
def test_conditional_gan(one_update, monkeypatch, fields, smoothing):
    flags = [word for name, value in fields.items() for word in (f"--{name}", value)]
    if "networks" in fields:  # dropout draws, which float64 would do otherwise
        monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)
    flags += ["--lr", 2e-4, "--smoothing", smoothing]
    nets, after, x, losses, states = one_update("Conditional_GAN", {"init": "he", **fields}, *flags)
    x, y, z = x.double(), labels_of_the_batch(), torch.randn(32, 100).double()
    noise = [0.1 * torch.randn(x.shape).double() for _ in range(3)]
    G, D = nets["G"], nets["D"]
    fake = G(z, y)
    p, q = torch.sigmoid(D(x + noise[0], y)), torch.sigmoid(D(fake.detach() + noise[1], y))
    d_loss = -((1 - smoothing) * p.log() + smoothing * (1 - p).log() + (1 - q).log()).sum() / 32
    adam(d_loss, D, state=states[1], lr=2e-4, betas=(0, 0.99))
    g_loss = -torch.sigmoid(D(fake + noise[2], y)).log().sum() / 32
    adam(g_loss, G, state=states[0], lr=2e-4, betas=(0, 0.99))
    means = {"D(x)": p.mean().item(), "D(G(z))": q.mean().item()}
    assert losses == pytest.approx({"D": d_loss.item(), "G": g_loss.item(), **means}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3,)])
def test_virtual_batch_normalisation(shape):
    """The reference batch by its own statistics, any other input by those of that batch joined by itself alone."""
    torch.manual_seed(0)
    layer = load_model("Conditional_GAN").VirtualBatchNorm(3, 5).double()
    layer.weight.data.uniform_(0.5, 1.5)
    layer.bias.data.uniform_(-1, 1)
    x = torch.randn(9, *shape, dtype=torch.float64) * 2 + 1
    out, per_channel = layer(x), (-1, *[1] * (len(shape) - 1))

    def normalised(one, batch):  # the latter: a list of as many inputs, of equal weight
        values = torch.stack(batch).transpose(0, 1).flatten(1)
        mean, variance = values.mean(1).view(per_channel), values.var(1, correction=0).view(per_channel)
        return (one - mean) / (variance + 1e-5).sqrt() * layer.weight.view(per_channel) + layer.bias.view(per_channel)

    for i, found in enumerate(out):
        batch = list(x[:5]) + ([] if i < 5 else [x[i]])
        torch.testing.assert_close(found, normalised(x[i], batch))
    torch.testing.assert_close(layer(x[[*range(5), 7]])[5], out[7])  # does not depend on what else is in the batch
    x.requires_grad_()
    gradient, = torch.autograd.grad(layer(x)[7].square().sum(), x)
    assert gradient[:5].abs().min() > 0 and gradient[7].abs().min() > 0 and not gradient[[5, 6, 8]].any()


def test_conditional_gan_with_a_classifier(one_update, tmp_path):
    """G's loss has the cross-entropy of the label besides, by a classifier that no update moves."""
    place = tmp_path / "C"
    assert train_here(ROOT / "Classification", "--dataset", "digits", "--max-steps", 1, "--out-dir", place)[0] == 0
    path = place / "checkpoints" / "checkpoint.pt"
    C = trained("Classification", path, torch.device("cpu"))["net_ema"].double()
    nets, _, x, losses, states = one_update("Conditional_GAN", {"init": "he"}, "--lr", 2e-4, "--classifier", path,
                                            "--class-weight", 3)
    assert not any(p.requires_grad for p in C.parameters()) and not C.training
    G, D, x, y = nets["G"], nets["D"], x.double(), labels_of_the_batch()
    fake = G(torch.randn(32, 100).double(), y)
    noise = [0.1 * torch.randn(x.shape).double() for _ in range(3)]
    d_loss = -(torch.sigmoid(D(x + noise[0], y)).log() + torch.sigmoid(-D(fake.detach() + noise[1], y)).log()).mean()
    adam(d_loss, D, state=states[1], lr=2e-4, betas=(0, 0.99))
    class_loss = -C(fake).softmax(1)[torch.arange(32), y].log().mean()
    adam(torch.nn.functional.softplus(-D(fake + noise[2], y)).mean() + 3 * class_loss, G, state=states[0], lr=2e-4,
         betas=(0, 0.99))
    assert losses["C"] == pytest.approx(class_loss.item(), rel=1e-3)


def test_first_weights_of_a_conditional_discriminator():
    """As large as if D had no inputs but the image and one plane: of a label's ten planes nine are 0."""
    torch.manual_seed(0)
    weight = load_model("Conditional_GAN").build(init="he", d_width=512)["D"].net[0].weight
    assert weight.shape[1] == 11 and weight.std().item() == pytest.approx(math.sqrt(2 / (2 * 16)), rel=0.02)


@pytest.mark.parametrize("term", ["both", "real", "none"])
def test_acgan(one_update, term):
    """Classes by log P(C = c) of one softmax over the logits; of generated images they are those asked for."""
    nets, after, x, losses, states = one_update("ACGAN", {}, "--lr", 2e-4, "--class-term", term, "--class-weight", 2)
    x, c, z = x.double(), labels_of_the_batch(), torch.randn(32, 100).double()
    noise = [0.1 * torch.randn(x.shape).double() for _ in range(3)]
    G, D, weight = nets["G"], nets["D"], 0 if term == "none" else 2
    fake = G(z, c)

    def log_likelihoods(images):
        """log P(S = real), log P(S = fake), log P(C = c)."""
        source, classes = D(images)
        p = torch.sigmoid(source[:, 0])
        return p.log(), (1 - p).log(), (classes.exp() / classes.exp().sum(1, keepdim=True))[torch.arange(32), c].log()

    (real, _, of_real), (_, generated, of_generated) = map(log_likelihoods, (x + noise[0], fake.detach() + noise[1]))
    class_loss = -(of_real + of_generated if term == "both" else of_real).mean()
    d_loss = -(real + generated).mean()
    adam(d_loss + weight * class_loss, D, state=states[1], lr=2e-4, betas=(0, 0.99))
    real, _, of_fake = log_likelihoods(fake + noise[2])
    adam(-real.mean() - weight * of_fake.mean(), G, state=states[0], lr=2e-4, betas=(0, 0.99))
    expected = {"D": d_loss, "G": -real.mean(), "class of D": class_loss, "class of G": -of_fake.mean()}
    assert {name: losses[name] for name in expected} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)


def test_class_accuracy_of_the_acgan():
    figures = load_file(ROOT / "ACGAN" / "figures.py")

    class Reads(torch.nn.Linear):  # two of three classes, from images that hold them in each pixel
        def forward(self, x):
            return x[:, :1, 0, 0], torch.nn.functional.one_hot((x[:, 0, 0, 0] * 255).round().long().clamp(max=1), 3)

    classes = torch.arange(30) % 3
    images = classes.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    assert figures.class_accuracy(Reads(1, 1), data.Dataset(images, classes)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("info, share, weights, strengths", [
    (0.5, 0.375, (0.3, 0), (1, 1)), (0.5, 0.55, (0.6, 0), (0.5, 1)), (0, 0.675, (0.6, 0.3), (0, 1)),
    (0.5, 0.825, (0.6, 0.6), (0, 0.5))])
def test_infogan(one_update, monkeypatch, info, share, weights, strengths):
    """Both steps ascend log Q = log softmax(logits)_c + w log N(u; mean, 1), D's the reader's weights and all of D;
    with lambda 0 Q alone learns, on features that it does not move. After a share of the run w, of each number of u, is
    this, and of this strength are turns and shears of all that D sees, and the other distortions."""
    limits = []
    monkeypatch.setattr(Run, "schedule", lambda run, function: torch.tensor(float(function(share))))
    monkeypatch.setattr(common, "distorted", lambda x, *of: limits.append([*map(float, of)]) or x)
    flags = "--lr", 2e-4, "--lr-fall", 0.1, "--info", info, "--info-u", 0.6
    nets, after, x, losses, states = one_update("InfoGAN", {}, *flags)
    turn, rest = strengths
    assert limits == [pytest.approx([20 * turn, 0, 0.5 * turn, 2 * rest, 0.25 * rest], abs=1e-6)] * 3
    x, z, u = x.double(), 2 * torch.rand(32, 8).double() - 1, 2 * torch.rand(32, 2).double() - 1
    c = torch.randint(10, (32,))
    noise = [0.1 * torch.randn(x.shape).double() for _ in range(3)]
    G, D, Q = nets["G"], nets["D"], nets["Q"]
    fake = G(z, c, u)

    def log_q(features):
        """(log Q(c|x), the weighted log Q(u|x) without its constant)."""
        logits, mean = Q(features)
        of_u = dist.Normal(mean, 1).log_prob(u) + math.log(2 * math.pi) / 2
        return dist.Categorical(logits=logits).log_prob(c).mean(), (of_u @ torch.tensor(weights).double()).mean()

    (real, _), (generated, features) = D(x + noise[0]), D(fake.detach() + noise[1])
    p, q = torch.sigmoid(real), torch.sigmoid(generated)
    d_loss = -(p.log() + (1 - q).log()).mean()
    of_c, of_u = log_q(features if info else features.detach())
    adam(d_loss - (info or 1) * (of_c + of_u), D, Q, state=states[1], lr=2e-4, betas=(0, 0.99))
    verdict, features = D(fake + noise[2])
    g_loss = -torch.sigmoid(verdict).log().mean()
    adam(g_loss - info * sum(log_q(features)), G, state=states[0], lr=2e-4, betas=(0, 0.99))
    assert losses == pytest.approx({
        "D": d_loss.item(), "G": g_loss.item(), "L_I of c": math.log(10) + of_c.item(),
        "-log Q": -(of_c + of_u).item(), "D(x)": p.mean().item(), "D(G(z))": q.mean().item()}, rel=1e-3, abs=1e-4)
    assert_like({name: after[name] for name in "GDQ"}, {"G": G, "D": D, "Q": Q}, 2e-4)


def test_what_codes_are_measured_by():
    figures, model = load_file(ROOT / "InfoGAN" / "figures.py"), load_model("InfoGAN")
    # three categories for three classes: the best pairs, each alone, lose to the best one to one
    assert figures.matching(torch.tensor([[9, 8, 0], [8, 0, 0], [0, 0, 1]])) == {0: 1, 1: 0, 2: 2}

    x = torch.zeros(4, 1, 32, 32)
    x[0, 0, 6:26, 15:17] = 1  # a straight stroke, 2 wide
    x[1, 0, 6:26, 13:18] = 1  # 5 wide
    for row in range(6, 26):  # leaning by half a column a row, to the right or to the left
        for image, way in ((2, -1), (3, 1)):
            start = 15 + way * (row - 16) // 2
            x[image, 0, row, start:start + 2] = 1
    torch.testing.assert_close(figures.slant(x), torch.tensor([0, 0, 0.5, -0.5]).double(), atol=0.02, rtol=0)
    width = figures.stroke_width(x)
    assert width[0] == pytest.approx(2, rel=0.15) and width[1] == pytest.approx(5, rel=0.25)
    torch.testing.assert_close(figures.stroke_width(x / 2), width)  # grey strokes are as wide
    assert figures.stroke_width(torch.zeros(1, 1, 32, 32)) == figures.slant(torch.zeros(1, 1, 32, 32)) == 0

    class Draws(torch.nn.Linear):  # a stroke of category c at a place of its own, as wide as the first u says
        latent_dim, codes, continuous = 3, 4, 2

        def forward(self, z, c, u):
            across = torch.arange(32.0).expand(len(z), 32)
            stroke = (4 + 4 * u[:, :1] - (across - 8 * c[:, None] - 4).abs()).clamp(0, 1)
            return stroke[:, None, None].expand(-1, 1, 32, 32) * (torch.arange(32) < 24)[None, None, :, None]

    torch.manual_seed(0)
    nets = {"G": Draws(1, 1), "D": model.build()["D"], "Q": model.build(codes=4)["Q"]}
    rho = figures.correlations(nets, 500)
    assert rho[0, 1] > 0.9 and rho[1].abs().max() < 0.15

    class Knows(torch.nn.Linear):  # D of images whose first pixels hold c and u
        def forward(self, x):
            return None, x[:, 0, 0, :3]

    class Reads(torch.nn.Linear):
        def forward(self, features):
            return 20 * torch.nn.functional.one_hot(features[:, 0].round().long(), 4).float(), features[:, 1:] + 0.05

    class Writes(Draws):
        def forward(self, z, c, u):
            return torch.nn.functional.pad(torch.stack([c, *u.T], 1)[:, None, None], (0, 29, 0, 31))

    told, of_u = figures.information({"G": Writes(1, 1), "D": Knows(1, 1), "Q": Reads(1, 1)})
    assert told == pytest.approx(math.log(4), abs=1e-3)
    assert of_u == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi * math.e * 0.05**2), abs=1e-3)
    counts = figures.crossed({"G": Draws(1, 1), "D": Knows(1, 1), "Q": Reads(1, 1)}, data.Dataset(
        torch.zeros(6, 1, 32, 32, dtype=torch.uint8), torch.arange(6) % 3), 3)
    assert counts.tolist() == [[2, 2, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("form, flags, moved", [
    ("vae-gan", (), "EGD"), ("pixels", (), "EG"), ("features", (), "EGD"), ("vae-gan", ("--balance",), "EGD")])
def test_vae_gan(one_update, form, flags, moved):
    """Each of the three networks by its own loss alone, all gradients before any step; errors are summed over what an
    image has, and averaged over images."""
    nets, after, x, losses, states = one_update("VAE_GAN", {}, "--lr", 2e-4, "--form", form, "--gamma", 0.01,
                                                "--variance", 4, *flags)
    x, z_p, epsilon = x.double(), torch.randn(32, 20).double(), torch.randn(32, 20).double()
    noise, another = (0.2 * torch.randn_like(x.float()).double() for _ in range(2))
    E, G, D = nets["E"], nets["G"], nets["D"]
    mu, logvar = E(x)
    back = G(mu + logvar.exp().sqrt() * epsilon)
    prior = dist.kl_divergence(dist.Normal(mu, logvar.exp().sqrt()), dist.Normal(0, 1)).sum() / 32

    if form == "pixels":
        like = ((back - x) ** 2).sum() / 64
        d_loss, e_loss, g_loss = None, prior + like, like
        expected = {"prior": prior, "like": like}
    else:
        (of_real, f), (of_back, f_back), (of_fake, _) = D(x + noise), D(back + noise), D(G(z_p) + another)
        p, q, r = (torch.sigmoid(logit) for logit in (of_real, of_back, of_fake))
        like = ((f - f_back) ** 2).sum() / 64 / 4
        d_loss = -(p.log() + ((1 - q).log() + (1 - r).log()) / 2).mean()
        gan = -(q.log() + r.log()).mean() / 2
        e_loss, g_loss = prior + like, {"vae-gan": 0.01 * like + gan, "features": like}[form]
        expected = {"prior": prior, "like": like, "D": d_loss, "G": gan, "D(x)": p.mean(), "D(G(z))": r.mean()}
    assert losses == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-3)
    gradients = [torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
                 for loss, net, name in ((e_loss, E, "E"), (g_loss, G, "G"), (d_loss, D, "D")) if name in moved]
    for gradient, name in zip(gradients, moved, strict=True):
        adam(with_gradients(nets[name], gradient), nets[name], state=states["EGD".index(name)], lr=2e-4,
             betas=(0, 0.99))
    assert_like({name: after[name] for name in "EGD"}, {"E": E, "G": G, "D": D}, 2e-4)


@pytest.mark.parametrize("still, of_losses", [
    ("D", (0.2, 0.1, 0.3, 0.5, 0.5)), ("", (0.2, 0.2, 0.2, 0.28, 0.5)), ("G", (1.0, 0.5, 1.5, 0.48, 0.5)),
    ("", (1.0, 1.0, 1.0, 0.52, 0.5))])
def test_balance_of_the_vae_gan(one_update, monkeypatch, still, of_losses):
    """Whose loss of an image is less than half of the other's does not move."""
    values = iter(of_losses)  # -log D(x), -log(1 - D) of x~ and x_p, -log D of both: their values, with some gradient
    monkeypatch.setattr(common, "bce", lambda logits, _: logits.mean() - logits.mean().detach() + next(values))
    nets, after, *_ = one_update("VAE_GAN", {}, "--balance", "--gamma", 1e-3)
    for name in "GD":
        same = [torch.equal(p, q) for p, q in zip(nets[name].parameters(), after[name].parameters(), strict=True)]
        assert all(same) if name == still else not any(same), name


@pytest.mark.parametrize("gamma, rate, k, eta", [(0.5, 0.1, None, 1), (0.2, 1000, 0, 1), (9, 1000, 1, 2)])
def test_began(one_update, monkeypatch, gamma, rate, k, eta):
    """Both gradients are taken before any step, with the k from before; then k moves, and stays in [0, 1]."""
    tensor = Run.tensor
    monkeypatch.setattr(Run, "tensor", lambda run, name, value: tensor(run, name, 0.3 if name == "k" else value))
    nets, after, x, losses, states = one_update("BEGAN", {"eta": eta}, "--lr", 2e-4, "--lambda-k", rate,
                                                "--gamma", gamma, "--eta", eta)
    G, D, x = nets["G"], nets["D"], x.double()
    fake = G(torch.randn(32, 64).double())
    real, generated = (((images - D.decoder(D.encoder(images))).abs() ** eta).sum() / (32 * 1024)
                       for images in (x, fake))
    d_gradient = torch.autograd.grad(real - 0.3 * generated, list(D.parameters()), retain_graph=True)
    adam(generated, G, state=states[0], lr=2e-4, betas=(0, 0.99))
    adam(with_gradients(D, d_gradient), D, state=states[1], lr=2e-4, betas=(0, 0.99))
    away = gamma * real - generated
    expected = 0.3 + rate * away.item() if k is None else k
    assert losses == pytest.approx({"L(x)": real.item(), "L(G(z))": generated.item(), "k": expected,
                                    "M": (real + away.abs()).item()}, rel=1e-4)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)


@pytest.mark.parametrize("weight", [3, 0])
def test_ebgan(one_update, weight):
    """The hinge of each image, closed for about half of them; the energy's gradient through image and reconstruction;
    the squared cosines of all pairs of codes, in G's loss alone."""
    nets, after, x, losses, states = one_update("EBGAN", {}, "--lr", 2e-5, "--margin", 8.5, "--pull-away", weight)
    G, D, x = nets["G"], nets["D"], x.double()
    fake = G(torch.randn(32, 100).double())

    def energy(images):
        return (D.decoder(D.encoder(images)) - images).square().sum((1, 2, 3)).sqrt()

    real, generated = energy(x), energy(fake.detach())
    assert 8 < (generated < 8.5).sum() < 24
    d_loss = (real.sum() + sum(8.5 - e for e in generated if e < 8.5)) / 32
    adam(d_loss, D, state=states[1], lr=2e-5, betas=(0, 0.99))
    codes = D.encoder(fake)
    apart = sum(torch.cosine_similarity(codes[i], codes[j], dim=0) ** 2
                for i in range(32) for j in range(32) if i != j) / (32 * 31)
    g_loss = energy(fake).mean() + weight * apart
    adam(g_loss, G, state=states[0], lr=2e-5, betas=(0, 0.99), within=3e-2)  # D's step had rounded signs
    assert losses == pytest.approx({"D": d_loss.item(), "G": g_loss.item(), "f_PT": apart.item(),
                                    "D(x)": real.mean().item(), "D(G(z))": generated.mean().item()}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-5)


@pytest.mark.parametrize("form", ["classifier", "labelled", "unlabelled", "matching"])
def test_sgan(one_update, monkeypatch, form):
    """By the probabilities of one softmax over K classes and FAKE; the classes alone where FAKE is not among them."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # the noise in D, which float64 would draw otherwise
    nets, after, x, losses, states = one_update("SGAN", {"width": 400}, "--form", form, "--lr", 2e-4)
    digits = data.load("digits", None)
    few = digits.stratified(100, 0)
    _, _, few_x, y = data.Batches(*((part.images, part.labels) for part in (digits, few)), batch_size=32, seed=0)[0]
    x, few_x, z = x.double(), few_x.double(), torch.randn(32, 100).double()
    G, D = nets["G"], nets["D"]
    fake = G(z)

    def p(images):
        logits = D(images)[0].exp()
        return logits / logits.sum(1, keepdim=True)

    known, generated = p(few_x), p(fake.detach())
    of_label = known[torch.arange(32), y]
    terms = {"class": -(of_label if form == "labelled" else of_label / (1 - known[:, 10])).log().mean()}
    if form != "classifier":
        terms["fake"] = -generated[:, 10].log().mean()
    if form in ("unlabelled", "matching"):
        terms["real"] = -(1 - p(x)[:, 10]).log().mean()
    adam(sum(terms.values()), D, state=states[1], lr=2e-4, betas=(0.5, 0.999))
    D.fix_lengths()
    for layer in D.trunk:  # of each unit
        assert not hasattr(layer, "weight") or torch.allclose(layer.weight.square().sum(1), torch.tensor(2.0).double())
    if form == "classifier":
        assert not states[0]["state"]  # G is never moved
    else:
        generated = p(fake)[:, 10]
        terms["G"] = {"labelled": generated.log().mean(), "unlabelled": -(1 - generated).log().mean(),
                      "matching": ((D(x)[1] - D(fake)[1]).sum(0) / 32).norm() ** 2}[form]
        adam(terms["G"], G, state=states[0], lr=2e-4, betas=(0.5, 0.999))
    assert losses == pytest.approx({name: value.item() for name, value in terms.items()}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)


@pytest.mark.parametrize("form", ["classifier", "labelled", "unlabelled", "matching"])
def test_an_update_of_the_sgan_sees_the_labels_that_it_was_given(tmp_path, monkeypatch, form):
    """With wrong labels on all images once the few are drawn, every weight comes out the same."""
    def weights(place):
        assert train_here(ROOT / "SGAN", "--dataset", "digits", "--max-steps", 12, "--labels", 20, "--batch-size", 50,
                          "--form", form, "--out-dir", tmp_path / place)[0] == 0
        nets = checkpoint.load(next((tmp_path / place).glob("checkpoints/**/checkpoint.pt")))["networks"]
        return [tensor for net in nets.values() for tensor in net.values()]

    expected, told, stratified = weights("true"), [], data.Dataset.stratified

    def few(digits, n, seed):
        chosen = stratified(digits, n, seed)
        told.append((len(chosen), torch.bincount(chosen.labels).tolist()))
        digits.labels.copy_((digits.labels + 1 + torch.arange(len(digits)) % 8) % 10)
        return chosen

    monkeypatch.setattr(data.Dataset, "stratified", few)
    for found, true in zip(weights("false"), expected, strict=True):
        assert torch.equal(found, true)
    assert told == [(20, [2] * 10)]


def test_accuracy_of_the_sgan_is_over_the_classes():
    """FAKE is never the answer, however probable."""
    figures = load_file(ROOT / "SGAN" / "figures.py")

    class Reads(torch.nn.Linear):  # two of three classes, from images that hold them in each pixel
        def forward(self, x):
            classes = (x[:, 0, 0, 0] * 255).round().long().clamp(max=1)
            return torch.cat([torch.nn.functional.one_hot(classes, 3), torch.full((len(x), 1), 9)], 1).float(), None

    classes = torch.arange(30) % 3
    images = classes.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    assert figures.accuracy({"D_ema": Reads(1, 1)}, data.Dataset(images, classes)) == pytest.approx(2 / 3)


def test_a_classifier_of_another_kind_is_refused(tmp_path):
    assert train_here(ROOT / "GAN", "--dataset", "digits", "--max-steps", 1, "--out-dir", tmp_path)[0] == 0
    path = tmp_path / "checkpoints" / "checkpoint.pt"
    with pytest.raises(InputError, match="is a checkpoint of GAN"):
        trained("Classification", path, torch.device("cpu"))
    with pytest.raises(InputError, match="with latent_dim 100, not 7"):
        trained("GAN", path, torch.device("cpu"), latent_dim=7)


def test_what_moves_in_a_batch():
    """The measures of the conditional GAN's figures.py, on networks whose answers are known."""
    figures, model = load_file(ROOT / "Conditional_GAN" / "figures.py"), load_model("Conditional_GAN")
    torch.manual_seed(0)
    assert figures.batch_effect(model.build(norm="virtual")["G"], batches=5) == (0, 0)
    spread, correlation = figures.batch_effect(model.build()["G"], batches=50)
    assert spread > 1e-3 and 0 < correlation <= 1

    class Knows(torch.nn.Linear):  # D of images that hold their class in each pixel
        def forward(self, x, y):
            return torch.where((x[:, 0, 0, 0] * 255).round() == y, 3.0, -3.0)[:, None]

    classes = torch.arange(30) % 10
    images = classes.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    right, wrong = figures.right_and_wrong(Knows(1, 1), data.Dataset(images, classes))
    assert right == pytest.approx(1 / (1 + math.exp(-3))) and wrong == pytest.approx(1 / (1 + math.exp(3)))


def test_lsgan(one_update):
    he = {"init": "he"}  # from PyTorch's weights all images are nearly one at first, and BatchNorm enlarges roundings
    nets, after, x, losses, states = one_update("LSGAN", he, "--init", "he", "--a", -1, "--b", 2, "--c", 0.5,
                                                "--lr", 2e-4)
    G, D, x = nets["G"], nets["D"], x.double()
    fake = G(torch.randn(32, 100).double())
    noise = [0.2 * torch.randn(x.shape).double() for _ in range(3)]
    real, generated = D(x + noise[0]), D(fake.detach() + noise[1])
    means = {"D(x)": real.mean().item(), "D(G(z))": generated.mean().item()}
    d_loss = (sum((score - 2) ** 2 for score in real) + sum((score + 1) ** 2 for score in generated)).squeeze() / 64
    adam(d_loss, D, state=states[1], lr=2e-4, betas=(0, 0.99))
    g_loss = sum((score - 0.5) ** 2 for score in D(fake + noise[2])).squeeze() / 64
    adam(g_loss, G, state=states[0], lr=2e-4, betas=(0, 0.99))
    assert losses == pytest.approx({"D": d_loss.item(), "G": g_loss.item(), **means}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)


def test_wgan(one_update):
    """Five steps of the critic on a batch each, with clipped weights, then one of G; RMSprop from its formula."""
    nets, after, batches, losses, _ = one_update("WGAN", {}, "--n-critic", 5, "--lr", 5e-5, "--clip", 0.01,
                                                 "--instance-noise", 0.1, n=5)
    G, D = nets["G"], nets["D"]
    squares = {p: torch.zeros_like(p) for net in (G, D) for p in net.parameters()}

    def rmsprop(loss, net):
        for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
            squares[p].mul_(0.99).add_(0.01 * g ** 2)
            p.data -= 5e-5 * g / (squares[p].sqrt() + 1e-8)

    for x in batches.double().split(32):
        fake = G(torch.randn(32, 100).double()).detach()
        noise = [0.1 * torch.randn(x.shape).double() for _ in range(2)]
        real, generated = D(x + noise[0]).sum() / 32, D(fake + noise[1]).sum() / 32
        estimate = real - generated
        rmsprop(-estimate, D)
        for p in D.parameters():
            p.data = p.data.clip(-0.01, 0.01)
    g_loss = -D(G(torch.randn(32, 100).double()) + 0.1 * torch.randn(x.shape).double()).sum() / 32
    rmsprop(g_loss, G)
    expected = {"D's estimate": estimate.item(), "G": g_loss.item(), "D(x)": real.item(), "D(G(z))": generated.item()}
    assert losses == pytest.approx(expected, rel=1e-2, abs=1e-5)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 1e-3)
    assert max(p.abs().max() for p in after["D"].parameters()) <= 0.01 + 1e-9


def test_wgan_gp(one_update):
    nets, after, batches, losses, states = one_update("WGAN-GP", {}, "--instance-noise", 0.1, "--lr", 1e-4)
    G, D, x = nets["G"], nets["D"], batches.double()
    real = x + 0.1 * torch.randn(x.shape).double()
    fake = G(torch.randn(32, 100).double()).detach() + 0.1 * torch.randn(x.shape).double()
    epsilon = torch.rand(32, 1, 1, 1).double()
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    squares = [torch.autograd.grad(D(one[None]), between, create_graph=True)[0].square().sum() for one in between]
    penalty = sum((square.sqrt() - 1) ** 2 for square in squares) / 32
    means = {"D(x)": D(real).mean().item(), "D(G(z))": D(fake).mean().item()}
    estimate = D(real).mean() - D(fake).mean()
    adam(10 * penalty - estimate, D, state=states[1], lr=1e-4, betas=(0, 0.99))
    g_loss = -D(G(torch.randn(32, 100).double()) + 0.1 * torch.randn(x.shape).double()).mean()
    adam(g_loss, G, state=states[0], lr=1e-4, betas=(0, 0.99))
    norm = sum(square.sqrt() for square in squares) / 32
    expected = {"D's estimate": estimate.item(), "G": g_loss.item(), "gradient norm": norm.item(), **means}
    assert losses == pytest.approx(expected, rel=1e-2, abs=1e-4)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 1e-4)


def batch_of(pair, paired=False):
    """The first images of a and of b (32, C, 32, 32), float64, that a run on a pair of scikit-learn's digits sees."""
    a, _, b, _ = data.Batches(*domains.load(pair, paired, "digits", None).tensors, batch_size=32, seed=0)[0]
    return a.double(), b.double()


@pytest.mark.parametrize("gan, l1", [("conditional", 200), ("conditional", 0), ("unconditional", 200), ("none", 200)])
def test_pix2pix(one_update, gan, l1):
    flags = ("--gan", gan, "--l1", l1, "--dropout", 0, "--direction", "ab", "--pair", "coloured")
    fields = {"channels_b": 3, "direction": "ab", "dropout": 0, "conditional": gan == "conditional"}
    nets, after, _, losses, states = one_update("pix2pix", fields, *flags)
    G, D, (x, y) = nets["G"], nets["D"], batch_of("coloured", paired=True)
    fake = G(x)
    error = sum((p - q).abs().sum() for p, q in zip(y, fake, strict=True)) / y.numel()
    expected = {"L1": error.item()}
    if gan == "none":
        adam(error, G, state=states[0], lr=1e-3, betas=(0, 0.99))
    else:
        beside = [x] if gan == "conditional" else []
        p, q = (torch.sigmoid(D(torch.cat([*beside, part], 1))) for part in (y, fake.detach()))
        assert p.shape == (32, 1, 8, 8)
        d_loss = -(p.log().sum() + (1 - q).log().sum()) / (32 * 64)
        expected |= {"D": d_loss.item(), "D(y)": p.mean().item(), "D(G(x))": q.mean().item()}
        adam(d_loss, D, state=states[1], lr=1e-3, betas=(0, 0.99))
        g_loss = -torch.sigmoid(D(torch.cat([*beside, fake], 1))).log().sum() / (32 * 64)
        expected |= {"G": g_loss.item()}
        adam(g_loss + l1 * error, G, state=states[0], lr=1e-3, betas=(0, 0.99))
    assert losses == pytest.approx(expected, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 1e-3)


def test_dropout_of_pix2pix_is_on_in_translations():
    model = load_model("pix2pix")
    x, nets = torch.rand(4, 1, 32, 32), model.build()
    drawn = [model.translate(nets, x, "ba", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    half = model.left_out(torch.ones(1000, 10), 0.25)
    assert set(half.unique().tolist()) == {0, half.max().item()} and half.max() == pytest.approx(4 / 3)
    assert half.mean() == pytest.approx(1, abs=0.03)
    alone = model.translate(nets, x[:1], "ba", torch.Generator().manual_seed(0))
    assert alone.shape == (1, 1, 32, 32)
    with pytest.raises(ValueError, match="b to a alone"):
        model.translate(nets, x, "ab")


@pytest.mark.parametrize("pool", [0, 2])
def test_cyclegan(one_update, pool):
    """At first the pools are empty, so D sees the images that were just made."""
    fields = {"channels_b": 3, "width": 8, "d_width": 8}
    nets, after, _, losses, states = one_update("CycleGAN", fields, "--pair", "coloured", "--pool", pool,
                                                "--width", 8, "--d-width", 8)
    (G, F, D_a, D_b), (a, b) = (nets[name] for name in ("G", "F", "D_a", "D_b")), batch_of("coloured")
    fake_b, fake_a = G(a), F(b)
    assert D_b(fake_b).shape == (32, 1, 4, 4)
    g_loss, f_loss = ((1 - D_b(fake_b)) ** 2).sum() / (32 * 16), ((1 - D_a(fake_a)) ** 2).sum() / (32 * 16)
    cycle = (F(fake_b) - a).abs().sum() / a.numel() + (G(fake_a) - b).abs().sum() / b.numel()
    both = torch.nn.ModuleList([G, F])
    adam(g_loss + f_loss + 4 * cycle, both, state=states[0], lr=5e-4, betas=(0, 0.99))
    a_loss, b_loss = (((1 - D(real)) ** 2).mean() + (D(fake.detach()) ** 2).mean()
                      for D, real, fake in ((D_a, a, fake_a), (D_b, b, fake_b)))
    adam(a_loss + b_loss, torch.nn.ModuleList([D_a, D_b]), state=states[1], lr=5e-4, betas=(0, 0.99))
    assert losses == pytest.approx({"G": g_loss.item(), "F": f_loss.item(), "cycle": cycle.item(),
                                    "D_a": a_loss.item(), "D_b": b_loss.item()}, rel=1e-3)
    assert_like(after, {"G": G, "F": F, "D_a": D_a, "D_b": D_b}, 5e-4)


def test_pool_of_older_images():
    """It is filled first; then half of what D sees are images that were in it, whose places the new ones take."""
    pooled = load_train(ROOT / "CycleGAN").pooled
    pool, used = torch.zeros(60, 1, 1, 1), torch.zeros(60)
    given, seen = [], []
    for i in range(200):
        new = torch.arange(20 * i, 20 * (i + 1)).float().view(20, 1, 1, 1) + 1
        found = pooled(new, pool, used)
        older = found.flatten() != new.flatten()
        assert i or not older.any()
        given += new.flatten().tolist()
        seen += found.flatten().tolist()
        assert len(seen) - len(set(seen)) <= 60  # once, or twice where it was put in an empty place
        if i > 20:
            assert used.all() and set(pool.flatten().tolist()) | set(seen) == set(given)
    share = sum(value <= 20 * (i // 20) for i, value in enumerate(seen)) / len(seen)
    assert share == pytest.approx(0.5, abs=0.05)


def randn_like(x):
    """As an update draws it, whose tensors have channels last in memory; in float64."""
    return torch.randn_like(torch.empty(x.shape).to(memory_format=torch.channels_last)).double()


@pytest.mark.parametrize("labels_of", ["none", "a", "b"])
def test_cogan(one_update, labels_of):
    flags = ("--pair", "coloured", "--g-width", 8, "--d-width", 8, "--lr", 2e-4, "--labels-of", labels_of,
             "--shared", 2)
    fields = {"channels_b": 3, "g_width": 8, "d_width": 8, "shared": 2}
    nets, after, _, losses, states = one_update("CoGAN", fields, *flags)
    G, D, (a, b) = nets["G"], nets["D"], batch_of("coloured")
    fakes = G(torch.randn(32, 100).double())

    def noisy(x):
        return x + 0.2 * randn_like(x)

    reals = [D(noisy(x), domain) for x, domain in zip((a, b), "ab", strict=True)]
    false = [D(noisy(x.detach()), domain) for x, domain in zip(fakes, "ab", strict=True)]
    p, q = ([torch.sigmoid(found[0]) for found in part] for part in (reals, false))
    d_loss = -sum((p[i].log() + (1 - q[i]).log()).sum() for i in (0, 1)) / 32
    expected, whole = {"D": d_loss.item()}, d_loss
    if labels_of != "none":
        which = "ab".index(labels_of)
        label = data.Batches(*domains.load("coloured", False, "digits", None).tensors, batch_size=32, seed=0)[0][
            1 + 2 * which]
        read = -sum(reals[which][2].softmax(1)[i, label[i]].log() for i in range(32)) / 32
        apart = sum(((f - g) ** 2).sum() for f, g in zip(false[0][1], false[1][1], strict=True)) / 32
        expected |= {"label": read.item(), "apart": apart.item()}
        whole = d_loss + 10 * read + 0.01 * apart
    used = D if labels_of != "none" else torch.nn.ModuleList([D.own, D.shared, D.real])
    adam(whole, used, state=states[1], lr=2e-4, betas=(0, 0.99))
    g_loss = -sum(torch.sigmoid(D(noisy(x), domain)[0]).log().sum() for x, domain in zip(fakes, "ab", strict=True)) / 32
    adam(g_loss, G, state=states[0], lr=2e-4, betas=(0, 0.99))
    assert losses == pytest.approx(expected | {"G": g_loss.item()}, rel=1e-3)
    assert_like({name: after[name] for name in "GD"}, {"G": G, "D": D}, 2e-4)


def test_cogan_shares_the_first_layers_of_g_and_the_last_of_d():
    model = load_model("CoGAN")
    for shared in range(5):
        nets = model.build(shared=shared)
        own = {name: list(part.parameters()) for name, part in nets["G"].own.items()}
        assert len(nets["G"].shared) == shared and not {*map(id, own["a"])} & {*map(id, own["b"])}
        assert sum(len(layer.weight.shape) == 4 for layer in nets["G"].own["a"].modules()
                   if hasattr(layer, "weight")) == 5 - shared  # of five layers
        assert [len(list(part.children())) for part in nets["D"].own.values()] == [2, 2]
    z = torch.randn(3, 100)
    a, b = (model.sample(nets, 3, z=z, domain=domain) for domain in "ab")
    assert a.shape == b.shape and not torch.equal(a, b)
    with pytest.raises(ValueError, match="shared must be 0 to 4"):
        model.build(shared=5)


def test_cogan_translates_by_the_z_whose_image_is_nearest():
    model = load_model("CoGAN")
    torch.manual_seed(0)
    nets = model.build(latent_dim=4, g_width=8, average=False)
    z = torch.randn(6, 4)
    a, b = (model.sample(nets, 6, z=z, domain=domain) for domain in "ab")
    found = model.translate(nets, a, "ab")
    assert (found - b).square().mean() < 0.2 * (found.roll(1, 0) - b).square().mean()
    torch.testing.assert_close(model.translate(nets, a[:2], "ab"), found[:2], rtol=0.1, atol=0.02)


@pytest.mark.parametrize("shared", [True, False])
def test_unit(one_update, shared):
    flags = ("--pair", "coloured", "--width", 8, "--d-width", 8, "--lr", 1e-4, "--kl", 0.3, "--cycle-kl", 0.2,
             *([] if shared else ["--no-shared"]))
    nets, after, _, losses, states = one_update("UNIT", {"channels_b": 3, "width": 8, "d_width": 8, "shared": shared},
                                                *flags)
    (E, G, D_a, D_b), (a, b) = (nets[name] for name in ("E", "G", "D_a", "D_b")), batch_of("coloured")

    def code(mu):
        return mu + randn_like(mu)

    def kl(mu):  # of two normal distributions, by torch
        one = torch.ones_like(mu)
        return dist.kl_divergence(dist.Normal(mu, one), dist.Normal(0 * mu, one)).mean()

    def l1(p, q):
        return (p - q).abs().sum() / q.numel()

    mu = E(a, "a"), E(b, "b")
    z = code(mu[0]), code(mu[1])
    fake_b, fake_a = G(z[0], "b"), G(z[1], "a")
    mu_back = E(fake_b, "b"), E(fake_a, "a")
    same = l1(G(z[0], "a"), a) + l1(G(z[1], "b"), b)
    again = l1(G(code(mu_back[0]), "a"), a) + l1(G(code(mu_back[1]), "b"), b)
    vae = 0.3 * (kl(mu[0]) + kl(mu[1])) + 200 * same
    cycle = 0.2 * sum(map(kl, (*mu, *mu_back))) + 200 * again
    p = torch.sigmoid(D_b(fake_b)), torch.sigmoid(D_a(fake_a))
    g_loss = -(p[0].log().mean() + p[1].log().mean())
    both = torch.nn.ModuleList([E, G])
    assert len(states[0]["state"]) == len(list(both.parameters()))  # each once, also where domains share it
    adam(vae + 10 * g_loss + cycle, both, state=states[0], lr=1e-4, betas=(0, 0.99))
    d_loss = -sum((torch.sigmoid(D(real)).log() + (1 - torch.sigmoid(D(fake.detach()))).log()).mean()
                  for D, real, fake in ((D_a, a, fake_a), (D_b, b, fake_b)))
    adam(d_loss, torch.nn.ModuleList([D_a, D_b]), state=states[1], lr=1e-4, betas=(0, 0.99))
    expected = {"VAE": vae, "cycle": cycle, "G": g_loss, "D": d_loss, "KL": kl(mu[0]) + kl(mu[1]), "L1": same,
                "L1 of cycles": again}
    assert losses == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-3)
    assert_like(after, {"E": E, "G": G, "D_a": D_a, "D_b": D_b}, 1e-4)


def test_unit_shares_the_layers_next_to_the_codes():
    model = load_model("UNIT")
    for shared in (True, False):
        E, G = (model.build(shared=shared)[name] for name in "EG")
        for part in (E.last, G.first):
            assert (part["a"] is part["b"]) == shared
        for part in (E.own, G.own):
            assert part["a"] is not part["b"]
        assert len({*map(id, E.parameters())}) == len(list(E.parameters()))


def test_gradient_norm():
    gradient_norm = load_train(ROOT / "WGAN-GP").gradient_norm
    real, fake = torch.rand(2, 4, 1, 3, 3, dtype=torch.float64)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 1).double())
    torch.testing.assert_close(gradient_norm(linear, real, fake), linear[1].weight.norm().expand(4).detach())
    # |x|^2 has the gradient 2 x: at each image's own point between the two
    torch.manual_seed(3)
    found = gradient_norm(lambda x: x.square().flatten(1).sum(1), real, fake)
    torch.manual_seed(3)
    epsilon = torch.rand(4, 1, 1, 1)
    for i, norm in enumerate(found):
        point = epsilon[i] * real[i] + (1 - epsilon[i]) * fake[i]
        assert norm.item() == pytest.approx(2 * point.norm().item())
    assert len(set(epsilon.flatten().tolist())) == 4


@pytest.mark.parametrize("code, l2", [("linear", 0.0), ("linear", 0.2), ("sigmoid", 0.0)])
def test_autoencoder(one_update, code, l2):
    nets, after, x, losses, (state,) = one_update("AE", {"latent_dim": 2, "code": code}, "--latent-dim", 2,
                                                  "--code", code, "--l2", l2)
    x = x.double()
    z = nets["encoder"](x)
    error = sum(((a - b) ** 2).sum() for a, b in zip(x, nets["decoder"](z), strict=True)) / len(x)
    length = sum(code @ code for code in z) / len(x)
    expected = {"squared error": error.item(), "squared length of the code": length.item()}
    assert losses == pytest.approx(expected, rel=1e-4)
    adam(error + l2 * length, *nets.values(), state=state, lr=1e-3)
    assert_like(after, nets, 1e-3)
    torch.testing.assert_close(after["encoder"].mean, 0.01 * z.mean(0), rtol=1e-3, atol=1e-6)
    covariance = 0.99 * torch.eye(2) + 0.01 * z.detach().T.cov(correction=0)
    torch.testing.assert_close(after["encoder"].covariance, covariance, rtol=1e-3, atol=1e-6)


def test_code_is_drawn_where_the_codes_were():
    encoder = load_model("AE").build(latent_dim=3)["encoder"]
    mixing = torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [0, 0, 0.1]])
    for _ in range(800):
        with torch.autocast("cpu", torch.bfloat16):
            encoder.track(torch.randn(500, 3) @ mixing + torch.tensor([5.0, 0, -1]))
    drawn = encoder.draw(20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([5.0, 0, -1]), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), mixing.T @ mixing, atol=0.2, rtol=0)
    uniform = load_model("AE").build(latent_dim=3, code="sigmoid")["encoder"].draw(20_000)
    assert uniform.min() >= 0 and uniform.max() <= 1 and (uniform.var(0) - 1 / 12).abs().max() < 0.01
    single = load_model("AE").build(latent_dim=1)["encoder"]
    single.track(torch.full((1, 1), 3.0), decay=0.5)  # a batch of one image has no spread
    assert (single.mean.item(), single.covariance.item()) == pytest.approx((1.5, 0.5))


def test_nats_of_a_vae():
    """The bound that is measured, of all images, by the library's distributions; in two parts of the images."""
    figures, model = (load_file(ROOT / "VAE" / f"{name}.py") for name in ("figures", "model"))
    torch.manual_seed(0)
    nets, x, epsilon = model.build(latent_dim=3), torch.rand(1500, 784), torch.randn(1500, 3)
    run = SimpleNamespace(options=SimpleNamespace(latent_dim=3), noise=lambda n, dim: epsilon)
    with torch.no_grad():
        mu, logvar = nets["encoder"](x)
        q = dist.Normal(mu, torch.exp(logvar) ** 0.5)
        D = torch.sigmoid(nets["decoder"](mu + q.scale * epsilon)).double()
    error = -(x * D.log() + (1 - x) * (1 - D).log()).sum(1).mean().item()
    divergence = dist.kl_divergence(q, dist.Normal(0.0, 1.0)).sum(1).mean().item()
    found = {name: float(value) for name, value in figures.nats(run, nets, x).items()}
    expected = {"-ELBO": error + divergence, "-log p(x|z)": error, "KL": divergence}
    assert found == pytest.approx(expected, rel=1e-4)


def test_importance_weighted_bound_is_the_likelihood_in_the_limit():
    """Against the integral of p(x|z) p(z) over a grid of the two-dimensional z."""
    torch.manual_seed(0)
    nets = {"encoder": load_model("VAE").Encoder(3, 5, 2).double(), "decoder": torch.nn.Linear(2, 3).double()}
    x = torch.tensor([[1.0, 0, 1]], dtype=torch.float64)
    line = torch.linspace(-8, 8, 801, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    with torch.no_grad():
        log_p = dist.Normal(0, 1).log_prob(z).sum(1) + dist.Bernoulli(logits=nets["decoder"](z)).log_prob(x).sum(1)
    likelihood = -(log_p.exp().sum() * 0.02**2).log().item()
    one, five, many = (load_model("VAE").importance_weighted(nets, x.repeat(n, 1), k).item()
                       for k, n in ((1, 5000), (5, 5000), (20_000, 1)))
    assert many == pytest.approx(likelihood, abs=0.02)
    assert one > five + 0.005 > likelihood + 0.01


@pytest.mark.parametrize("binarise", [False, True])
def test_vae(one_update, binarise):
    nets, after, x, losses, (state,) = one_update("VAE", {}, *["--binarise"] * binarise)
    pixels = x[:, 0, 2:30, 2:30].reshape(-1, 784)
    pixels = (torch.bernoulli(pixels) if binarise else pixels).double()
    mu, logvar = nets["encoder"](pixels)
    q = dist.Normal(mu, (logvar.exp()) ** 0.5)
    z = mu + q.scale * torch.randn(32, 2).double()
    error = -(dist.Bernoulli(logits=nets["decoder"](z), validate_args=False).log_prob(pixels)).sum() / 32
    divergence = dist.kl_divergence(q, dist.Normal(0.0, 1.0)).sum() / 32
    assert losses == pytest.approx({"-log p(x|z)": error.item(), "KL": divergence.item()}, rel=1e-4)
    adam(error + divergence, *nets.values(), state=state, lr=1e-3)
    assert_like(after, nets, 1e-3)


def test_vae_margin_is_black_and_comes_back():
    model, x = load_model("VAE"), torch.rand(3, 3, 20, 20)
    nets = model.build(margin=4, channels=3, image_size=20)
    images = nets["decoder"].images(model.middle(x, 4))
    assert torch.equal(images[:, :, 4:16, 4:16], x[:, :, 4:16, 4:16])
    images[:, :, 4:16, 4:16] = 0
    assert not images.any()


def test_a_margin_that_leaves_nothing_is_told_in_one_line(tmp_path, capsys):
    assert train_here(ROOT / "VAE", "--dataset", "digits", "--margin", 16, "--out-dir", tmp_path)[0] == 2
    assert capsys.readouterr().err == "VAE/train.py: error: a margin of 16 leaves nothing of 32 pixels\n"


def test_adversarial_autoencoder(one_update):
    nets, after, x, losses, states = one_update("Adversarial_Autoencoder", {"prior": "donut"}, "--prior", "donut")
    encoder, decoder, D, x = nets["encoder"], nets["decoder"], nets["D"], x.double()
    error = (x - decoder(encoder(x))).pow(2).sum() / 32
    adam(error, encoder, decoder, state=states[0], lr=5e-4)
    z = load_model("Adversarial_Autoencoder").draw("donut", 32).double()
    noise = [0.2 * torch.randn(32, 2).double() for _ in range(3)]
    p, q = torch.sigmoid(D(z + noise[0])), torch.sigmoid(D(encoder(x) + noise[1]))
    d_loss = -(p.log() + (1 - q).log()).sum() / 32
    means = {"D(z)": p.mean().item(), "D(code)": q.mean().item()}
    adam(d_loss, D, state=states[1], lr=1e-4, betas=(0.5, 0.999))
    e_loss = -torch.sigmoid(D(encoder(x) + noise[2])).log().sum() / 32
    adam(e_loss, encoder, state=states[2], lr=5e-4, betas=(0.5, 0.999))
    expected = {"squared error": error.item(), "D": d_loss.item(), "encoder": e_loss.item(), **means}
    assert losses == pytest.approx(expected, rel=1e-3)
    assert_like(after, nets, 5e-4)


def test_priors():
    model = load_model("Adversarial_Autoencoder")
    points = {prior: model.draw(prior, 100_000, torch.Generator().manual_seed(0)).double() for prior in model.PRIORS}
    assert all(z.shape == (100_000, 2) for z in points.values())
    near = {"atol": 0.03, "rtol": 0}
    torch.testing.assert_close(points["gaussian"].T.cov(), torch.eye(2, dtype=torch.float64), **near)

    angles = torch.arange(10) * 2 * math.pi / 10
    along = torch.stack([angles.cos(), angles.sin()]).double()
    across = torch.stack([-angles.sin(), angles.cos()]).double()
    component = (points["mixture"] @ along).argmax(1)
    assert (torch.bincount(component, minlength=10) / 1e5 - 0.1).abs().max() < 0.005
    u, v = ((points["mixture"] * direction.T[component]).sum(1) for direction in (along, across))
    assert (u.mean(), u.std(), v.mean(), v.std()) == pytest.approx((4, 0.7, 0, 0.2), abs=0.02)

    x, y = points["triangle"].T
    assert y.min() >= -2 and y.max() <= 2 and (x.abs() <= (2 - y) / 2).all()
    assert ((y < 0).double().mean(), (x < 0).double().mean()) == pytest.approx((0.75, 0.5), abs=0.01)

    radius = points["donut"].norm(dim=1)
    assert (radius.mean(), radius.std()) == pytest.approx((2, 0.2), abs=0.01) and points["donut"].mean(0).norm() < 0.02

    radius, angle = points["swiss-roll"].norm(dim=1), torch.atan2(*points["swiss-roll"].flip(1).T)
    turns = radius / 2 - angle / (2 * math.pi)  # whole numbers on r = 4 t, angle = 4 pi t
    assert (turns - turns.round())[radius > 1].abs().mean() < 0.07 and 3.8 < radius.quantile(0.99) < 4.2

    assert points["uniform"].abs().max() <= 2
    torch.testing.assert_close(points["uniform"].T.cov(), torch.eye(2, dtype=torch.float64) * 4 / 3, **near)

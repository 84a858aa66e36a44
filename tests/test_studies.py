"""What the studies count, on inputs whose answer is known."""

import copy
import json
import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from conftest import load_model
from running import ROOT
from torch import nn

from common import data
from common.models import load_file
from common.options import InputError

STUDIES = ROOT / "misc" / "studies"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    return lambda name: load_file(STUDIES / f"{name}.py")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_walks_on_the_sphere(study):
    """Equal angles, and norms that change steadily."""
    sphere = study("latent").sphere
    a, b = torch.randn(2, 5, 7, generator=seeded())
    way = torch.stack([sphere(a, b, i / 4) for i in range(5)])
    torch.testing.assert_close(way[0], a)
    torch.testing.assert_close(way[-1], b)
    angles = F.cosine_similarity(way[1:], way[:-1], dim=2).arccos()
    torch.testing.assert_close(angles, angles[:1].expand(4, -1), rtol=1e-3, atol=1e-4)
    norms = way.norm(dim=2)
    torch.testing.assert_close(norms[2], (norms[0] + norms[-1]) / 2)


def test_what_a_walk_is_like(study, monkeypatch):
    """Three walks: of equal steps, of one jump, and one that ends in the class where it began, which does not count."""
    latent = study("latent")
    steady, jump = torch.arange(10.0), torch.tensor([0.0] * 5 + [9.0] * 5)
    place = torch.stack([steady, jump, jump], 1)
    label = torch.stack([(steady > 4).long(), (jump > 4).long(), torch.zeros(10).long()], 1)
    sure = torch.full((10, 3), 0.95)
    sure[3:5, 0] = 0.5
    monkeypatch.setattr(latent, "read", lambda images: (label.flatten(), sure.flatten(), place.view(-1, 1)))
    found = latent.walked(torch.zeros(10, 3, 1, 32, 32))
    assert found == pytest.approx({"sure": 14 / 16, "length": 1, "largest step": (1 / 9 + 1) / 2})


class Plain:
    """A sampler whose images show their z: the class in the first ten numbers, the thickness in the next."""

    def __init__(self, latent, monkeypatch):
        def read(images):
            values, label = images.flatten(1)[:, :10].max(1)
            return label, (values > 0).float(), images.flatten(1)[:, :2]

        monkeypatch.setattr(latent, "read", read)

    def sample(self, z):
        return F.pad(z, (0, 1024 - z.shape[1])).view(-1, 1, 32, 32)

    def width(self, images):
        return images.flatten(1)[:, 10]


def test_arithmetic_where_z_is_linear(study, monkeypatch):
    """A sum of means keeps the class of the first and takes the thickness of the second; in these images pixels are z,
    so that they do as well."""
    latent = study("latent")
    plain, generator = Plain(latent, monkeypatch), seeded()
    one_hot, randn = torch.eye(10), torch.randn
    monkeypatch.setattr(torch, "randn", lambda n, dim, generator=None: torch.cat([
        5 * one_hot[torch.randint(10, (n,), generator=generator)], randn(n, dim - 10, generator=generator)], 1))
    kinds = latent.Kinds(plain.sample, 12, 2000, plain.width, generator)
    for c in range(10):
        thin, thick = (kinds.width[kinds.of[c][kind]] for kind in ("thin", "thick"))
        assert thin.max() < kinds.mean[c] < thick.min() and len(thin) == len(thick) > 10
    found, shown = latent.arithmetic(plain.sample, kinds, plain.width, 40, generator)
    for of in ("1", "3", "10", "50", "3, pixels"):
        assert found[of] | {"width": 0} == {"right": 1, "class": 1, "thicker": 1, "width": 0}, of
    assert found["3, thin a alone"]["class"] == 1 and found["3, thin a alone"]["right"] == 0
    widths = kinds.described()["widths"]
    assert widths["thin"] < widths["all"] < widths["thick"]
    assert found["50"]["width"] == pytest.approx(widths["thick"], abs=0.1)
    assert shown.shape == (36, 1, 32, 32)


def ring(size=32, gap=False):
    x = torch.zeros(size, size)
    x[8:24, 8:24] = 1
    x[11:21, 11:21] = 0
    if gap:
        x[14:17, 20:24] = 0
    return x


def test_loops_are_what_white_encloses(study):
    inside = study("loops").inside_loops
    eight = ring()
    eight[15:17, 8:24] = 1
    speck = torch.zeros(32, 32)
    speck[8:24, 8:24] = 1
    speck[12, 12:14] = 0  # two pixels
    found = inside(torch.stack([ring(), ring(gap=True), eight, speck])[:, None])
    assert found.sum((1, 2)).tolist() == [100, 0, 80, 0]
    assert found[0, 11:21, 11:21].all()


def test_maps_that_speak_for_loops(study):
    loops = study("loops")
    inside = torch.rand(40, 8, 8, generator=seeded()) < 0.2
    maps = torch.randn(40, 3, 8, 8, generator=seeded(1))
    maps[:, 0] += 3 * inside
    maps[:, 2] -= 3 * inside
    speaking, accuracy = loops.speaking_maps(maps, inside, seeded())
    assert speaking[0] and not speaking[2] and accuracy > 0.9


def test_a_generator_in_two_halves(study):
    G, z = load_model("GAN").build(g_width=8)["G"].eval(), torch.randn(3, 100, generator=seeded())
    start, end = study("loops").halves(G)
    maps = start(z)
    assert maps.shape == (3, 8, 16, 16)
    torch.testing.assert_close(end(maps), G(z))


def test_features_of_all_stages(study):
    features = study("features")
    D = load_model("GAN").build(d_width=4)["D"].eval()
    digits = data.load("digits", None)
    found = features.features(D, digits.images[:7])
    assert found.shape == (7, 16 * (4 + 8 + 16) + 4 * 32)
    first = F.leaky_relu(D[0](data.to_float(digits.images[:1])), 0.2)
    torch.testing.assert_close(found[0, :64], first.unfold(2, 4, 4).unfold(3, 4, 4).amax((4, 5)).flatten())
    random = features.untrained(D, digits.images)
    assert not torch.equal(random[0].weight, D[0].weight) and not random.training
    with torch.no_grad():
        second = random[2](F.leaky_relu(random[0](data.to_float(digits.images[:1000])), 0.2))
    torch.testing.assert_close(random[3].running_mean, second.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_guided_backpropagation(study):
    """Against its rule, written out for two layers: a gradient passes where it and the activation are positive."""
    features = study("features")
    torch.manual_seed(0)
    D = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(0.2), nn.Conv2d(3, 2, 3), nn.LeakyReLU(0.2))
    x = torch.randn(2, 1, 6, 6)
    a = D[0](x)
    b = D[2](F.leaky_relu(a, 0.2))
    at_b = torch.zeros_like(b)
    at_b[:, 1] = (b[:, 1] > 0).float()  # of the sum of the map, the gradient is 1
    at_a = F.conv_transpose2d(at_b, D[2].weight)
    at_a = at_a.clamp(min=0) * (a > 0)
    torch.testing.assert_close(features.speaking_pixels(D, x, 1, True), F.conv_transpose2d(at_a, D[0].weight))
    x.requires_grad_()
    plain, = torch.autograd.grad(D(x)[:, 1].sum(), x)
    torch.testing.assert_close(features.speaking_pixels(D, x.detach(), 1, False), plain)


def test_few_labels_are_stratified_and_drawn_by_the_seed():
    labels = data.load("digits", None).labels
    places = data.Dataset(torch.arange(len(labels)), labels)  # what a row of features.few_labels is drawn from

    def draw(n, seed):
        return places.stratified(n, seed).images

    chosen = draw(50, 3)
    assert torch.bincount(labels[chosen]).tolist() == [5] * 10 and len(set(chosen.tolist())) == 50
    assert torch.equal(draw(50, 3), chosen) and not torch.equal(draw(50, 4), chosen)


def test_the_machine_finds_a_line(study):
    x = torch.randn(200, 3, generator=seeded())
    y = torch.stack([x[:, 0], x[:, 1], -x[:, 0] - x[:, 1]], 1).argmax(1)
    predict = study("features").machine(x * torch.tensor([1, 1e4, 1]) + 7, y, 1.0)
    assert (predict(x * torch.tensor([1, 1e4, 1]) + 7) == y).float().mean() > 0.9


def test_what_a_classifier_is_sure_of(study):
    retraining, digits = study("retraining"), data.load("digits", None)[:20]

    def by(x):  # sure of each image's class, but for the last ten of class 0
        logits = 10 * F.one_hot(digits.labels, 10).float()
        logits[10:] = 10 * F.one_hot(torch.zeros(10, dtype=torch.long), 10)
        return logits

    kept = retraining.sure(digits, by)
    expected = [i for i in range(20) if i < 10 or digits.labels[i] == 0]
    assert torch.equal(kept.images, digits.images[expected])


def test_half_of_each_batch_is_of_each_set(study, monkeypatch):
    retraining, digits = study("retraining"), data.load("digits", None)
    seen = []
    monkeypatch.setattr(retraining.scorer, "fit", lambda net, train, *args, **kwargs: seen.append(train) or net)
    few, many = digits[:30], digits[100:1000]
    retraining.fitted((few, many), 5)
    train, = seen
    of_few = (train.images.flatten(1)[:, None] == few.images.flatten(1)[None]).all(2).any(1)
    assert len(train) == 1800 and of_few.float().mean() == pytest.approx(0.5, abs=0.01)
    assert math.isclose(sum(of_few), 900, abs_tol=5)


def test_synthetic_digits_have_the_labels_that_were_asked_for(study):
    retraining = study("retraining")
    model = load_model("Conditional_GAN")
    made = retraining.drawn(model, model.build(g_width=4, d_width=4), 25, 1)
    assert made.images.shape == (25, 1, 32, 32) and made.images.dtype == torch.uint8
    assert made.labels.tolist() == [i % 10 for i in range(25)]


def test_a_collapse_is_a_loss_of_digits(study):
    collapse = study("collapse")
    assert [collapse.collapsed(digits) for digits in ([2], [2, 9], [2, 9, 4], [2, 9, 3], [9, 1])] == [
        False, False, False, True, True]
    images = torch.zeros(100, 1, 32, 32, dtype=torch.uint8)
    found = collapse.point(images, torch.rand(100, 128))
    assert found["digits"] == 1 and max(found["shares"]) == 1


def test_a_course_that_is_there_is_not_trained_again(study, monkeypatch, tmp_path):
    collapse, seen = study("collapse"), []
    digits = data.Dataset(torch.zeros(10, 1, 32, 32, dtype=torch.uint8), torch.arange(10))
    monkeypatch.setattr(collapse.Options, "mnist", lambda self, train=True: digits)
    monkeypatch.setattr(collapse.Options, "out", tmp_path)
    monkeypatch.setattr(collapse, "course", lambda opt, seed, real: seen.append(seed) or [
        {"update": 5, "digits": 9 - seed, "recall": 0.1, "D": 1.0, "G": 2.0}])
    for seeds in (["0"], ["1", "0"]):
        monkeypatch.setattr("sys.argv", ["collapse.py", "--seeds", *seeds])
        collapse.main()
    assert seen == [0, 1] and (tmp_path / "collapse.png").exists()
    courses = json.loads((tmp_path / "collapse.json").read_text())["courses"]
    assert {seed: points[0]["digits"] for seed, points in courses.items()} == {"0": 9, "1": 8}


def test_two_samples_that_are_alike_or_not(study):
    two_sample = study("embeddings").two_sample
    a, b = torch.randn(2, 400, 3, generator=seeded())
    assert two_sample(a, b) == pytest.approx(0.5, abs=0.08) and two_sample(a, b + 9) == 1
    assert two_sample(a, a + 1e-6) < 0.01  # each is the neighbour of its copy


def test_as_many_of_each_class(study):
    labels = torch.arange(10).repeat(300)
    images = torch.arange(3000).view(-1, 1)
    embeddings = study("embeddings")
    first, second = (embeddings.of_each_class(images, labels, skip).flatten() for skip in (0, 100))
    assert (labels[first] == torch.arange(10).repeat_interleave(100)).all() and not set(first.tolist()) & set(
        second.tolist())


def test_z_is_found_again(study):
    torch.manual_seed(0)
    against = study("against_pca")
    G = nn.Sequential(nn.Linear(4, 40), nn.Unflatten(1, (1, 5, 8)), nn.Sigmoid()).requires_grad_(False)
    z = torch.randn(6, 4)
    found = against.nearest_z(G, G(z), torch.randn(50, 4), 400)
    torch.testing.assert_close(found, z, rtol=0.02, atol=0.02)


def test_pca_gives_back_what_its_components_span(study):
    codes = torch.rand(50, 3, generator=seeded())
    basis = torch.rand(3, 20, generator=seeded(1)) / 3
    images = (codes @ basis).view(50, 1, 4, 5)
    pca = study("against_pca").PCA(images, 3)
    torch.testing.assert_close(pca.decode(pca.encode(images)), images, rtol=1e-4, atol=1e-4)


def test_losses_of_the_grid(study):
    """The EBGAN's by hand, from energies 3 and 12 and codes of which two are parallel and the others perpendicular."""
    grid = study("grid")
    codes = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 5.0]])

    def D(x):
        return x, codes

    x, fake = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([3.0, 12.0, 3.0])
    d_loss, g_loss = grid.losses("EBGAN, pull-away", None, D)
    assert d_loss(x, fake).item() == pytest.approx(3 + (7 + 0 + 7) / 3)
    assert g_loss(fake).item() == pytest.approx(6 + 0.1 * 2 / 6)  # of 6 pairs, 2 have a squared cosine of 1, 4 of 0
    assert grid.losses("EBGAN", None, D)[1](fake).item() == pytest.approx(6)
    d_loss, g_loss = grid.losses("GAN, Adam 1e-3", None, lambda x: x)
    assert d_loss(x, fake).item() == pytest.approx(F.softplus(-x).mean().item() + F.softplus(fake).mean().item())
    assert g_loss(fake).item() == pytest.approx(F.softplus(-fake).mean().item())


def test_networks_of_the_grid_are_the_papers(study):
    """BatchNorm behind each fully connected layer but G's last and D's first; small initial weights."""
    grid = study("grid")
    mlp = nn.Sequential(nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 1))
    for layers, expected in ((slice(None, -1), "LBRLBRL"), (slice(1, -1), "LRLBRL"), (slice(1, None), "LRLBRLB")):
        net = copy.deepcopy(mlp)
        grid.prepare(net, net, layers, 0.002)
        assert "".join(type(layer).__name__[0] for layer in net) == expected
        assert net[0].weight.std().item() == pytest.approx(0.002, rel=0.02) and not net[0].bias.any()


def test_settings_of_the_grid(study):
    """Drawn by the seed, from all values; the first n are the same however many are drawn."""
    grid = study("grid")
    settings = grid.drawn(200, 0)
    for name, values in (grid.NETWORKS | grid.STEPS).items():
        assert {setting[name] for setting in settings} == set(values)
    assert grid.drawn(24, 0) == settings[:24] != grid.drawn(24, 1)


@pytest.mark.parametrize("way", ["GAN", "GAN, Adam 1e-3", "EBGAN", "EBGAN, pull-away"])
def test_a_run_of_the_grid(study, way):
    """The same twice; and with steps that are too large none."""
    grid, images = study("grid"), torch.randint(0, 256, (300, 1, 32, 32), dtype=torch.uint8)
    setting = {"g_layers": 2, "d_layers": 3, "g_width": 8, "d_width": 8, "dropout": 0.5, **grid.ADAM}
    a, b = (grid.trained(way, setting, images, 3, 0) for _ in range(2))
    z = torch.randn(2, 100)
    assert torch.equal(a(z), b(z)) and a(z).shape == (2, 1, 32, 32)
    if way == "GAN":
        assert grid.trained(way, setting | {"g_lr": float("inf")}, images, 3, 0) is None


def test_summary_of_the_grid(study):
    grid = study("grid")
    assert grid.described(None, 0) == {"is": 1.0, "i": 0.0}
    grey = grid.described(lambda z: torch.full((len(z), 1, 32, 32), 0.5), 0)
    assert grey["is"] == pytest.approx(1, abs=1e-4) and grey["i"] == pytest.approx(0, abs=1e-6)
    runs = {way: [{"is": value, "i": 0.0} for value in values] for way, values in {
        "GAN": [1.0, 1.0, 1.0, 5.0], "EBGAN": [1.0, 6.0, 7.0, 8.0]}.items()}
    table = grid.summary(runs)
    assert table["GAN"]["failed"] == 0.75 and table["EBGAN"]["failed"] == 0.25 and table["EBGAN"]["best"] == 8
    low, high = table["EBGAN"]["fewer failed"]
    assert 0 <= low < 0.5 < high <= 1 and table["EBGAN"]["quartiles"][1] == 6.5


def test_balance_of_losses(study):
    """By hand: D at 1 and G at 2 swing by 1 and 3 from window to window; the first half does not count."""
    late = torch.stack([torch.tensor([1.0, 2.0]) + sign * torch.tensor([1.0, 3.0]) for sign in (1, -1, 1, -1)])
    losses = torch.cat([torch.full((200, 2), 9.0), late.repeat_interleave(50, 0)])
    found = study("depth").balance(losses)
    std = statistics.stdev([1, -1, 1, -1])
    assert found == pytest.approx({"D": 1, "G": 2, "imbalance": 1.5, "swing of D": std, "swing of G": 3 * std})


@pytest.mark.parametrize("flags", [{}, {"ours": True, "dropout": 0.0}, {"virtual": True, "smoothing": 0.1}])
def test_a_run_of_the_depths(study, flags):
    """The same twice; samples come from the average where the settings have one; virtual batch normalisation makes an
    image whatever its batch is."""
    depth, images = study("depth"), torch.randint(0, 256, (100, 1, 32, 32), dtype=torch.uint8)
    row = depth.Row((8, 4), **flags)
    (G, source, losses), (_, again, same) = (depth.trained(row, images, 3, 0) for _ in range(2))
    assert losses.shape == (3, 2) and losses.isfinite().all() and torch.equal(losses, same)
    assert torch.equal(depth.drawn(source, 4, 1), depth.drawn(again, 4, 1)) and (source is G) == (not row.ours)
    z, label = torch.randn(6, 100), torch.zeros(6, dtype=torch.int64)
    alike = torch.allclose(G.train()(z, label)[:2], G(torch.cat([z[:2], -z[2:]]), label)[:2], atol=1e-5)
    assert alike == row.virtual


def test_seeds_that_are_there_are_not_trained_again(study, monkeypatch, tmp_path):
    """Seed 1 after seed 0: only seed 1 is trained, the mean is that of both, the picture stays seed 0's. Of another
    number of updates both are new. A damaged file is one line."""
    depth, seen = study("depth"), []
    digits = data.Dataset(torch.zeros(10, 1, 32, 32, dtype=torch.uint8), torch.arange(10), tuple("0123456789"))
    monkeypatch.setattr(depth.Options, "mnist", lambda self, train=True: digits)
    monkeypatch.setattr(depth.Options, "out", tmp_path)
    monkeypatch.setattr(depth, "ROWS", {"shallow": depth.Row((8, 4))})
    monkeypatch.setattr(depth, "trained", lambda row, images, updates, seed: (
        seen.append(seed), None, torch.full((updates, 2), seed + 1.0)))
    monkeypatch.setattr(depth, "described", lambda G, source, losses, real, seed: depth.balance(losses))
    monkeypatch.setattr(depth, "drawn", lambda G, n, seed: torch.zeros(n, 1, 32, 32))

    def run(*flags):
        monkeypatch.setattr("sys.argv", ["depth.py", *flags])
        depth.main()
        return json.loads((tmp_path / "depth.json").read_text())

    run("--seeds", "0", "--updates", "200")
    picture = (tmp_path / "depth_losses.png").read_bytes()
    found = run("--seeds", "0", "1", "--updates", "200")
    assert seen == [0, 1] and found["mean"]["shallow"]["D"] == 1.5 and list(found["seeds"]) == ["0", "1"]
    assert (tmp_path / "depth_losses.png").read_bytes() == picture
    assert list(run("--seeds", "1", "--updates", "400")["seeds"]) == ["1"] and seen == [0, 1, 1]
    (tmp_path / "depth.json").write_text("{")
    with pytest.raises(InputError, match="depth.json is damaged"):
        run()
    (tmp_path / "depth.json").write_text('{"updates": 2000, "seeds": [0]}')
    with pytest.raises(InputError, match="depth.json is damaged"):
        run()
    with pytest.raises(InputError, match="--updates: 200 or more"):
        run("--updates", "199")


def test_what_is_read_digit_by_digit(study):
    """A classifier that reads the number in the corner, on images of which every second 3 says 5."""
    labels = torch.arange(10).repeat(4)
    images = torch.zeros(40, 1, 32, 32, dtype=torch.uint8)
    images[:, 0, 0, 0] = labels.to(torch.uint8)
    images[[3, 13], 0, 0, 0] = 5

    def classify(x):
        return F.one_hot((x[:, 0, 0, 0] * 255).round().long(), 10).float()

    found = study("reading").described(images, labels, classify)
    assert found["Classification"] == pytest.approx(38 / 40)
    assert found["Classification, by digit"] == pytest.approx([0.5 if digit == 3 else 1 for digit in range(10)])

"""STN and transfer learning: maps of the plane against other formulas, and who is trained on what."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import load_model
from running import ROOT, load_train, train_here
from scipy.interpolate import RBFInterpolator

from common import data, domains
from common.models import load_file

STN = load_model("misc/STN")
DIGITS = ("--dataset", "digits", "--precision", "fp32")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_affine_grid():
    theta = torch.randn(3, 6, generator=seeded())
    expected = F.affine_grid(theta.view(3, 2, 3) + torch.eye(2, 3), (3, 1, 8, 8), align_corners=False)
    torch.testing.assert_close(STN.affine(theta, 8), expected)


def test_projective_grid():
    """Against the eight linear equations of a homography whose corners are known."""
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).double()
    moved = corners + 0.2 * torch.randn(3, 4, 2, generator=seeded())
    grid = STN.projective(moved, 6)
    for goal, found in zip(moved, grid, strict=True):
        zero = torch.zeros(3).double()
        rows = [row for (x, y), (u, v) in zip(corners, goal, strict=True) for p in [torch.stack([x, y, x * 0 + 1])]
                for row in (torch.cat([p, zero, -u * p[:2]]), torch.cat([zero, p, -v * p[:2]]))]
        H = torch.cat([torch.linalg.solve(torch.stack(rows), goal.flatten()), torch.ones(1)]).view(3, 3)
        p = torch.cat([STN.points(6), torch.ones(6, 6, 1)], 2).double() @ H.T
        torch.testing.assert_close(found, p[..., :2] / p[..., 2:], check_dtype=False, rtol=1e-4, atol=1e-4)


def test_thin_plate_grid():
    """Against scipy's thin-plate splines."""
    moves = 0.3 * torch.randn(2, 32, generator=seeded())
    held = torch.cartesian_prod(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 4)).flip(1)
    for found, goal in zip(STN.thin_plate(moves, 9), held + moves.view(2, 16, 2), strict=True):
        spline = RBFInterpolator(held.numpy(), goal.numpy(), kernel="thin_plate_spline", degree=1)
        expected = torch.from_numpy(spline(STN.points(9).view(-1, 2).numpy())).view(9, 9, 2)
        torch.testing.assert_close(found, expected, check_dtype=False, rtol=1e-3, atol=1e-3)


def test_images_are_drawn_bilinearly():
    """Equation 5: the value at a point is that of the pixels around it, by their distances; outside it is 0."""
    x = torch.rand(1, 2, 5, 5, generator=seeded())
    point = torch.tensor([0.13, -0.37])
    column, row = (point * 5 + 5 - 1) / 2
    expected = sum(x[0, :, m, n] * (1 - abs(column - n)).clamp(0) * (1 - abs(row - m)).clamp(0)
                   for m in range(5) for n in range(5))
    torch.testing.assert_close(STN.resample(x, point.view(1, 1, 1, 2)).flatten(), expected)
    assert STN.resample(x, torch.full((1, 1, 1, 2), 1.5)).abs().max() == 0


def test_angles_turn_to_the_left():
    x, zero = torch.rand(1, 1, 8, 8, generator=seeded()), torch.zeros(1)
    for turns in (1, -1):
        made = STN.turned(x, zero + turns * math.pi / 2, zero + 1, zero, zero, 8)
        torch.testing.assert_close(made, x.rot90(turns, (2, 3)), rtol=0, atol=1e-5)


def test_scale_and_place():
    x = F.pad(torch.ones(1, 1, 8, 8), (4, 4, 4, 4))
    zero = torch.zeros(1)
    made = STN.turned(x, zero, zero + 0.5, zero + 0.5, zero, 24)  # half as large, a quarter of 24 pixels to the right
    assert made.sum() == pytest.approx(16, rel=0.01)
    assert (made[0, 0].sum(0) * (torch.arange(24) + 0.5)).sum() / made.sum() == pytest.approx(12 + 6, rel=0.01)


@pytest.mark.parametrize("distortion", STN.DISTORTIONS)
def test_distortions(distortion):
    """Drawn by the generator, of the canvas's size; R, RTS and E keep the digits on it."""
    digits = data.load("digits", None, image_size=32)
    x = data.to_float(F.pad(data.resize(digits.images[:200], 20), (6, 6, 6, 6)))
    made, angles = STN.distorted(x, distortion, seeded())
    size = STN.canvas(distortion, 32)
    assert made.shape == (200, 1, size, size) and angles.shape == (200,) and made.min() >= 0 and made.max() <= 1
    for found, expected in zip(STN.distorted(x, distortion, seeded()), (made, angles), strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(STN.distorted(x, distortion, seeded(1))[0], made)
    if distortion != "P":
        border = torch.cat([made[:, 0, [0, -1]].flatten(1), made[:, 0, :, [0, -1]].flatten(1)], 1)
        assert (border.amax(1) > 0.5).float().mean() < 0.02
    assert angles.abs().max() <= {"R": math.pi / 2, "RTS": math.pi / 4}.get(distortion, 0)


@pytest.mark.parametrize("transformer", ["affine", "thin-plate", "none"])
def test_a_transformer_starts_as_the_identity(transformer):
    net, x = STN.build(transformer)["net"], torch.rand(2, 1, 32, 32, generator=seeded())
    torch.testing.assert_close(net.transform(x), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(net(x), net.classify(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("distortion", STN.DISTORTIONS)
def test_rows_have_as_many_weights(distortion):
    sizes = [sum(p.numel() for p in STN.build(transformer, distortion)["net"].parameters())
             for transformer in STN.PARAMETERS]
    assert max(sizes) < 1.03 * min(sizes)


def test_what_an_stn_is_not_is_refused():
    with pytest.raises(ValueError, match="distortion"):
        STN.build(distortion="X")


def test_the_update_of_the_stn(tmp_path):
    """The loss is that of the transformed distorted image, and its gradient moves the localisation, too."""
    assert train_here(ROOT / "misc/STN", *DIGITS, "--max-steps", 1, "--batch-size", 32, "--out-dir", tmp_path)[0] == 0
    torch.manual_seed(0)
    net = load_file(ROOT / "misc/STN/model.py").build()["net"]
    digits = data.load("digits", None)
    x, label = data.Batches((digits.images, digits.labels), batch_size=32, seed=0)[0]
    torch.manual_seed(1)
    x, _ = STN.distorted(x, "R")
    probabilities = net.classify(STN.resample(x, STN.affine(net.locate(x), 32))).softmax(1)
    loss = -probabilities[range(32), label].log().mean()
    run = json.loads((tmp_path / "samples" / "run.json").read_text())
    assert run["final_losses"]["cross-entropy"] == pytest.approx(loss.item(), rel=1e-4)
    saved = torch.load(tmp_path / "checkpoints" / "checkpoint.pt", weights_only=True)["networks"]["net"]
    gradient, = torch.autograd.grad(loss, net.locate[-1].weight)
    moved = saved["locate.9.weight"]  # it started at 0: Adam's first step is the learning rate, against the gradient
    assert torch.allclose(moved, -1e-3 * gradient.sign(), atol=1e-5) and gradient.abs().max() > 0


def test_how_far_digits_are_turned_back():
    """A transformer that undoes every turn leaves none; one that does nothing leaves all."""
    figures = load_file(ROOT / "misc/STN/figures.py")
    digits = data.load("digits", None)
    run = type("", (), {"test": digits[:100], "options": type("", (), {"distortion": "R"})})
    net = figures.model.build("affine", "R")["net"]
    found = figures.upright(run, {"net": net})
    assert found["spread after"] == pytest.approx(found["spread before"].item(), rel=1e-4)
    assert found["zoom"].item() == pytest.approx(1, rel=1e-4)
    angles, size = figures.distorted(run)[1], 1.25

    def theta(x):
        cos, sin = angles.cos() / size, angles.sin() / size
        return torch.stack([cos - 1, sin, 0 * cos + 0.3, -sin, cos - 1, 0 * cos], 1)

    net.theta = theta
    found = figures.upright(run, {"net": net})
    found = {name: value.item() for name, value in found.items()}
    assert found == pytest.approx({"spread after": 0, "zoom": size, "angle correlation": 1,
                                   "spread before": found["spread before"]}, rel=1e-3, abs=0.1)


# ---- transfer learning


def test_low_and_high_digits():
    pair, whole = domains.load("low-high", False, "digits", None), data.load("digits", None)
    assert pair.a.classes == tuple("01234") and pair.b.classes == tuple("56789")
    assert len(pair.a) + len(pair.b) == len(whole)
    assert torch.equal(pair.b.labels + 5, whole.labels[whole.labels > 4])
    assert torch.equal(pair.a.images, whole.images[whole.labels < 5])


def test_subsets_have_as_many_of_each_class():
    train = load_train(ROOT / "misc/Transfer_Learning")
    b = domains.load("low-high", False, "digits", None).b
    sets = train.subsets(b, 3)
    assert [len(few) for few in sets] == [5, 15, 50, 150, 500, len(b)]  # there are no 300 of a class
    assert torch.bincount(sets[2].labels).tolist() == [10] * 5
    assert torch.equal(train.subsets(b, 3)[2].images, sets[2].images)
    assert not torch.equal(train.subsets(b, 4)[2].images, sets[2].images)


def test_what_adaptation_moves():
    """Frozen features keep every weight; the ones given are never changed; the layer descends the cross-entropy."""
    train = load_train(ROOT / "misc/Transfer_Learning")
    nets = train.model.build(width=4)
    few = domains.load("low-high", False, "digits", None).b[:20]
    options = type("", (), {"batch_size": 64, "seed": 0, "lr": 0.01, "lr_fall": 0.5, "updates": 30, "max_steps": 0})
    before = [p.clone() for net in nets.values() for p in net.parameters()]

    def loss(features, layer):
        return F.cross_entropy(layer(features(data.to_float(few.images))), few.labels)

    for frozen in (True, False):
        features, layer = train.adapt(nets["features"], nets["target"], few, options, frozen)
        kept = [torch.equal(p, q) for p, q in zip(features.parameters(), nets["features"].parameters(), strict=True)]
        assert all(kept) if frozen else not any(kept)
        assert loss(features, layer) < 0.5 * loss(nets["features"], nets["target"])
    assert all(torch.equal(p, q) for p, q in zip(before, (p for net in nets.values() for p in net.parameters()),
                                                 strict=True))


def test_what_transfer_learning_records(tmp_path):
    assert train_here(ROOT / "misc/Transfer_Learning", *DIGITS, "--holdout", 400, "--max-steps", 3, "--updates", 2,
                      "--out-dir", tmp_path)[0] == 0
    results = json.loads((tmp_path / "samples" / "run.json").read_text())["results"]
    forms = ("scratch", "random", "frozen", "fine-tuned")
    assert {f"{form}, {n} labels" for form in forms for n in (5, 15, 50, 150)} < results.keys()
    assert len(results) == 1 + 4 * 5 and all(0 <= value <= 1 for value in results.values())

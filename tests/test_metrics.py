"""The metrics against definitions computed another way, and on images whose answer is known."""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, write_idx
from running import run_here

from common import data
from common.options import InputError
from misc import metrics, scorer


def features(n, dim=5, seed=0, shift=0.0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) + shift


def test_fid_is_that_of_an_independent_computation():
    """In float64, by a Cholesky factor L of C': tr (C C')^(1/2) is the sum of the roots of L' C L's eigenvalues."""
    a = features(400) * torch.tensor([1.0, 2, 3, 4, 0.5])
    b = features(300, seed=1, shift=0.7) @ features(5, seed=2)
    means, covariances = zip(*((x.double().mean(0).numpy(), np.cov(x.double().numpy().T)) for x in (a, b)), strict=True)
    root = np.linalg.cholesky(covariances[1])
    cross = np.sqrt(np.linalg.eigvalsh(root.T @ covariances[0] @ root)).sum()
    expected = ((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * cross
    assert metrics.fid(a, b) == pytest.approx(expected, rel=1e-6)


def test_fid_of_a_shift_is_its_square():
    assert metrics.fid(features(100), features(100) + 3) == pytest.approx(5 * 9, rel=1e-4)
    assert metrics.fid(features(100), features(100)) == pytest.approx(0, abs=1e-4)


def test_kid_is_the_unbiased_estimate():
    a, b = features(30).double(), features(30, seed=1, shift=0.5).double()

    def kernel(x, y):
        return (x @ y / 5 + 1) ** 3

    pairs = [(i, j) for i in range(30) for j in range(30)]
    within = sum((kernel(x[i], x[j]) for x in (a, b) for i, j in pairs if i != j), torch.tensor(0.0)) / (30 * 29)
    across = sum(kernel(a[i], b[j]) for i, j in pairs) / 900
    assert metrics.kid(a, b, subsets=1) == pytest.approx((within - 2 * across).item(), rel=1e-6)


def test_inception_score_from_one_to_ten():
    sure = 100 * torch.eye(10)
    assert metrics.inception_score(sure.repeat(1000, 1)) == pytest.approx(10, abs=0.1)  # splits are not quite balanced
    assert metrics.inception_score(sure[:1].repeat(1000, 1)) == pytest.approx(1, abs=1e-5)  # one class
    assert metrics.inception_score(torch.zeros(1000, 10)) == pytest.approx(1, abs=1e-5)  # nothing can be read


def test_inception_score_is_its_formula():
    logits = features(50, 10) * 3
    p = logits.double().softmax(1)
    expected = (p * (p.log() - p.mean(0).log())).sum(1).mean().exp().item()
    assert metrics.inception_score(logits, splits=1) == pytest.approx(expected, rel=1e-5)


def test_precision_and_recall_by_hand():
    """On a line, k = 1: balls around 0, 1 and 10 reach 1, 1 and 9; around 0.5 and 30 they reach 29.5."""
    real, fake = torch.tensor([[0.0], [1], [10]]), torch.tensor([[0.5], [30]])
    assert metrics.precision_recall(real, fake, k=1) == (0.5, 1.0)
    assert metrics.precision_recall(fake, real, k=1) == (1.0, 0.5)


def test_precision_and_recall_are_their_definition():
    real, fake = features(60), features(40, seed=1, shift=0.8)

    def share(centres, points):
        radius = [sorted((c - other).norm().item() for other in centres)[3] for c in centres]  # the first is itself
        return np.mean([any((p - c).norm().item() <= r for c, r in zip(centres, radius, strict=True)) for p in points])

    assert metrics.precision_recall(real, fake) == pytest.approx((share(real, fake), share(fake, real)))


def test_classes():
    logits = torch.eye(10).repeat(3, 1)
    assert torch.equal(metrics.class_histogram(logits), torch.full((10,), 0.1, dtype=torch.float64))
    assert metrics.class_kl(logits) == pytest.approx(0, abs=1e-12)
    assert metrics.class_kl(torch.eye(10)[:5]) == pytest.approx(math.log(2))
    assert metrics.class_kl(torch.eye(10)[:1]) == pytest.approx(math.log(10))
    assert metrics.agreement(logits[:4], torch.tensor([0, 1, 5, 3])) == 0.75


def test_within_classes():
    real, labels = features(60, 8), torch.arange(60) % 3
    fake = real + 5 * labels[:, None]  # each class elsewhere than the real one: only class 0 is where it should be
    expected = np.mean([metrics.precision_recall(real[labels == c], fake[labels == c])[1] for c in range(3)])
    recall, spread = metrics.within_classes(real, labels, fake, labels)
    assert recall == pytest.approx(expected) and 0.3 < recall < 0.7 and spread == pytest.approx(1)
    scale = torch.tensor([1.0, 0.5, 0.0])[labels][:, None]  # class 2: the same image always
    assert metrics.within_classes(real, labels, real * scale, labels)[1] == pytest.approx(0.5)
    middle = metrics.within_classes(real, labels, real * 0.1, labels)
    assert middle[0] < 0.5 and middle[1] == pytest.approx(0.1)
    few = labels.clone()
    few[labels == 2] = 0  # class 2 was never asked for: the others count
    assert metrics.within_classes(real, labels, real, few)[0] == 1
    assert metrics.within_classes(real[:3], labels[:3], real[:3], labels[:3]) is None


def test_nearest():
    pool = torch.randint(0, 256, (50, 1, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    images = pool[[7, 3]].clone()
    images[1, 0, 0, 0] ^= 255
    distance, index = metrics.nearest(images, pool)
    assert index.tolist() == [7, 3] and distance[0] == 0
    changed = abs(int(images[1, 0, 0, 0]) - int(pool[3, 0, 0, 0])) / 255
    assert distance[1].item() == pytest.approx(changed)


def test_nothing_depends_on_the_random_state():
    a, b, logits = features(1100), features(1100, seed=1), features(1100, 10)
    before = torch.get_rng_state()
    first = metrics.kid(a, b, subsets=10), metrics.inception_score(logits)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert (metrics.kid(a, b, subsets=10), metrics.inception_score(logits)) == first


def test_too_few_or_other_images():
    images = torch.zeros(20, 1, 32, 32, dtype=torch.uint8)
    with pytest.raises(InputError, match="9 images are too few"):
        metrics.measure(images[:9], images, images)
    with pytest.raises(InputError, match="must be uint8"):
        metrics.measure(images.float(), images, images)
    with pytest.raises(InputError, match="must be uint8"):
        metrics.measure(torch.zeros(20, 3, 32, 32, dtype=torch.uint8), images, images)


@pytest.fixture(scope="module")
def cases():
    """{case: metrics of 2,000 images}, by the real digits."""
    root = data.data_dir()
    if not all(file.exists() for file in data._files("mnist", root)):
        pytest.skip(f"MNIST is not in {root} (environment variable FUN_WITH_MNIST_DATA)")
    train, test = data.load("mnist", root)[:4000], data.load("mnist", root, train=False)[:2000]
    real, other = test.images, train.images[:2000]
    generator = torch.Generator().manual_seed(0)
    half = train.images[train.labels < 5][:2000].repeat(2, 1, 1, 1)[:2000]
    images = {
        "itself": real, "other real images": other, "half the classes": half, "one image": other[:1].expand_as(real),
        "blurred a little": F.avg_pool2d(other.float(), 3, 1, 1).byte(),
        "blurred": F.avg_pool2d(other.float(), 7, 1, 3).byte(),
        "noise": torch.randint(0, 256, real.shape, generator=generator).byte(),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "kid", functools.partial(metrics.kid, subsets=10))  # 100 take most of the time
        patch.setattr(scorer, "score", functools.cache(scorer.score))  # the real ones once
        return {name: metrics.measure(part, real, train.images) for name, part in images.items()}


def test_what_is_asked_of_labels(cases):
    """One image a digit: all is read, nothing varies; the labels of others: nothing is read."""
    train, test = (part[:1000] for part in (data.load("mnist", data.data_dir(), train=t) for t in (True, False)))
    one = torch.stack([train.images[train.labels == c][0] for c in range(10)])[train.labels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "kid", functools.partial(metrics.kid, subsets=2))
        real, poor, wrong = (metrics.measure(images, test.images, train.images, labels, test.labels)
                             for images, labels in ((train.images, train.labels), (one, train.labels),
                                                    (train.images, (train.labels + 1) % 10)))
    assert real["class_recall"] > 0.6 and 0.9 < real["class_spread"] < 1.1 and real["reading"] > 0.8
    assert poor["agreement"] == 1 and poor["class_recall"] < 0.1 and poor["class_spread"] == 0 < poor["reading"] < 0.6
    assert wrong["agreement"] < 0.01 and wrong["reading"] < 0.05 and wrong["class_recall"] < 0.3


def test_fid_and_kid_order_the_cases(cases):
    for metric in ("fid", "kid"):
        values = {name: case[metric] for name, case in cases.items()}
        order = ["itself", "other real images", "blurred a little", "blurred", "noise"]
        assert [values[name] for name in order] == sorted(values[name] for name in order), metric
        assert values["other real images"] < values["half the classes"] < values["one image"], metric
        assert values["half the classes"] > 10 * abs(values["other real images"]), metric
    assert cases["itself"]["fid"] == pytest.approx(0, abs=0.01)


def test_precision_and_recall_tell_quality_from_diversity(cases):
    assert cases["itself"]["precision"] == cases["itself"]["recall"] == 1
    assert min(cases["other real images"]["precision"], cases["other real images"]["recall"]) > 0.75
    assert cases["one image"]["precision"] in (0, 1) and cases["one image"]["recall"] < 0.01
    assert cases["half the classes"]["precision"] > 0.75 and 0.3 < cases["half the classes"]["recall"] < 0.6
    assert cases["noise"]["precision"] < 0.05
    assert cases["noise"]["precision"] <= cases["blurred"]["precision"] < cases["blurred a little"]["precision"]


def test_scores_and_classes_of_the_cases(cases):
    assert 9.5 < cases["itself"]["is"] <= 10 and 9.5 < cases["other real images"]["is"] <= 10
    assert 4.5 < cases["half the classes"]["is"] < 5.1
    assert cases["one image"]["is"] == pytest.approx(1, abs=1e-3)
    assert cases["blurred"]["is"] < cases["blurred a little"]["is"] < cases["other real images"]["is"]
    assert cases["itself"]["class_kl"] < 0.01
    assert cases["half the classes"]["class_kl"] == pytest.approx(math.log(2), abs=0.03)
    assert cases["one image"]["class_kl"] == pytest.approx(math.log(10))


def test_what_comes_back(cases):
    """As it was: all is kept; another image of the data set: a tenth, though as a whole they are alike."""
    real = data.load("mnist", data.data_dir(), train=False)[:2000].images
    same, other = metrics.measure_back(real, real), metrics.measure_back(real.roll(7, 0), real)
    assert same == pytest.approx({"back: FID": 0, "back: recall": 1, "back: label kept": 1}, abs=0.01)
    assert other["back: FID"] == pytest.approx(0, abs=0.01) and other["back: label kept"] < 0.2
    blurred = metrics.measure_back(F.avg_pool2d(real.float(), 7, 1, 3).byte(), real)
    assert blurred["back: FID"] > 100 and blurred["back: label kept"] < 0.9


def test_memorising_shows(cases):
    assert cases["other real images"]["nearest"] == 0  # they are training images
    assert cases["itself"]["nearest"] > 3


def test_the_classifier_is_the_one_of_its_record():
    net = scorer.load()
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert scorer.WEIGHTS.stat().st_size <= 2_000_000


def test_the_classifier_reads_digits(real_mnist):
    test = data.load("mnist", real_mnist, train=False)
    _, logits = scorer.score(test.images)
    right = (logits.argmax(1) == test.labels).double().mean().item()
    assert right >= 0.996


@pytest.mark.parametrize("damage", ["other weights", "missing", "record"])
def test_another_classifier_is_refused_in_one_line(tmp_path, damage):
    path, record = tmp_path / "scorer.pt", tmp_path / "scorer.json"
    path.write_bytes(scorer.WEIGHTS.read_bytes())
    record.write_bytes(scorer.RECORD.read_bytes())
    if damage == "other weights":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif damage == "missing":
        path.unlink()
    else:
        record.write_text("{")
    with pytest.raises(InputError, match="scor") as refused:
        scorer.load(path, record)
    assert "\n" not in str(refused.value) and "git checkout misc" in str(refused.value)


def test_its_training_script(tmp_path):
    """An epoch of it; the committed weights are left alone."""
    before = scorer.sha256(scorer.WEIGHTS)
    write_idx(tmp_path)
    status, _ = run_here(ROOT / "misc" / "scorer.py", "--epochs", 1, "--batch-size", 10, "--data-dir", tmp_path,
                         "--out", tmp_path / "x.pt")
    assert status == 0 and scorer.sha256(scorer.WEIGHTS) == before
    assert scorer.load(tmp_path / "x.pt", tmp_path / "x.json")(torch.rand(2, 1, 32, 32)).shape == (2, 10)

"""The commands of misc/ that draw images, measure them, and write the results."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import load_model, write_idx
from forked import Forked
from running import ROOT, run_here, train_here
from scipy.stats import ttest_rel
from test_resume import make_narrow

from common import checkpoint, data
from common.files import lock
from common.models import load_file
from common.options import InputError
from misc import scorer
from misc.generate import load_networks
from misc.places import find_checkpoint, find_folder

MISC, GAN = ROOT / "misc", ROOT / "GAN"
CONDITIONAL = """
import torch
from torch import nn


def build(classes=10):
    return {"G": nn.Linear(1, classes)}


def sample(nets, n, labels, z=None, generator=None):
    return (labels / 255).view(n, 1, 1, 1).expand(n, 1, 32, 32).float()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a GAN of two updates on scikit-learn's digits."""
    out = tmp_path_factory.mktemp("gan")
    assert train_here(GAN, "--dataset", "digits", "--max-steps", 2, "--out-dir", out)[0] == 0
    return out / "checkpoints" / "checkpoint.pt"


@pytest.fixture(scope="module")
def drawn(trained, tmp_path_factory):
    """300 of its images."""
    out = tmp_path_factory.mktemp("drawn") / "gan.npz"
    assert run_here(MISC / "generate.py", "GAN", "--checkpoint", trained, "--n", 300, "--out", out)[0] == 0
    return out


def refused(capsys, script, *args):
    """The one line with which misc/<script>.py refuses these arguments."""
    status, _ = run_here(MISC / f"{script}.py", *args)
    said = capsys.readouterr().err.strip()
    assert status == 2 and said.startswith(f"misc/{script}.py: error: ") and "\n" not in said, (status, said)
    return said


def test_generated_images_are_those_of_sample(trained, drawn):
    with np.load(drawn) as arrays:
        images, options = arrays["images"], json.loads(str(arrays["options"]))
        assert set(arrays.files) == {"images", "options"}
    assert images.dtype == np.uint8 and images.shape == (300, 1, 32, 32)
    assert options["dataset"] == "digits" and options["seed"] == 0
    model, state = load_model("GAN"), checkpoint.load(trained)
    nets = load_networks(model, state, trained)
    expected = model.sample(nets, 300, generator=torch.Generator().manual_seed(0))
    assert np.abs(images / 255 - expected.numpy()).max() < 0.51 / 255


def test_generate_does_not_train_and_repeats_itself(trained, drawn, tmp_path):
    before = trained.read_bytes()
    again, other = tmp_path / "again.npz", tmp_path / "other.npz"
    for out, seed in ((again, 0), (other, 1)):
        args = ("GAN", "--checkpoint", trained, "--n", 300, "--seed", seed, "--out", out)
        assert run_here(MISC / "generate.py", *args)[0] == 0
    with np.load(again) as a, np.load(drawn) as b, np.load(other) as c:
        assert (a["images"] == b["images"]).all() and (a["images"] != c["images"]).any()
    assert trained.read_bytes() == before


def test_generate_draws_a_grid_from_a_copied_folder(trained, tmp_path):
    folder = tmp_path / "My-GAN.2"
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(GAN / "model.py", folder)
    shutil.copy(trained, folder / "checkpoints")
    assert run_here(MISC / "generate.py", folder, "--n", 20, "--out", tmp_path / "grid.png")[0] == 0
    from PIL import Image

    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (10 * 34 + 2, 2 * 34 + 2)


def test_generate_gives_labels_of_a_conditional_model(trained, tmp_path):
    (tmp_path / "model.py").write_text(CONDITIONAL)
    model, state = load_file(tmp_path / "model.py"), checkpoint.load(trained)
    state |= {"fields": {"classes": 10}, "networks": {"G": model.build()["G"].state_dict()}}
    checkpoint.save(tmp_path / "checkpoints" / "checkpoint.pt", state)
    out = tmp_path / "drawn.npz"
    assert run_here(MISC / "generate.py", tmp_path, "--n", 25, "--batch-size", 10, "--out", out)[0] == 0
    with np.load(out) as arrays:
        assert arrays["labels"].tolist() == [i % 10 for i in range(25)]
        assert (arrays["images"][:, 0, 0, 0] == arrays["labels"]).all()
    assert run_here(MISC / "generate.py", tmp_path, "--n", 5, "--labels", 3, 7, "--batch-size", 2, "--out", out)[0] == 0
    with np.load(out) as arrays:
        assert arrays["labels"].tolist() == arrays["images"][:, 0, 0, 0].tolist() == [3, 7, 3, 7, 3]
    # of a model that may be asked, but need not
    (tmp_path / "model.py").write_text(CONDITIONAL.replace("labels, z=None", "labels=None, z=None").replace(
        "    return (labels", "    labels = torch.full((n,), 5) if labels is None else labels\n    return (labels"))
    for asked, drawn, told in ((("--labels", 4), 4, [4, 4]), ((), 5, None)):
        assert run_here(MISC / "generate.py", tmp_path, "--n", 2, *asked, "--out", out)[0] == 0
        with np.load(out) as arrays:
            assert (arrays["images"] == drawn).all() and (arrays["labels"].tolist() if asked else None) == told
            assert ("labels" in arrays) == bool(asked)


def test_an_error_of_a_model_is_not_blamed_on_labels(trained, tmp_path):
    (tmp_path / "model.py").write_text(CONDITIONAL.replace("return (", "raise ValueError('x')\n    return ("))
    state = checkpoint.load(trained) | {"fields": {"classes": 10}}
    state["networks"] = {"G": load_file(tmp_path / "model.py").build()["G"].state_dict()}
    checkpoint.save(tmp_path / "checkpoints" / "checkpoint.pt", state)
    with pytest.raises(ValueError, match="x"):
        run_here(MISC / "generate.py", tmp_path, "--n", 2, "--out", tmp_path / "x.npz")


def test_benchmark_refuses_in_one_line(capsys):
    for flags in (("--pairs", 4), ("--updates", 0), ("--dataset", "usps"), ("--other",), ("--out-dir", "/dev/null/x")):
        assert flags[0] in refused(capsys, "benchmark", *flags)


def test_generate_draws_pairs(tmp_path):
    """One seed draws the same z for both domains of a model that has two."""
    flags = ("--dataset", "digits", "--max-steps", 1, "--batch-size", 16, "--g-width", 8, "--d-width", 8)
    assert train_here(ROOT / "CoGAN", *flags, "--out-dir", tmp_path)[0] == 0
    path, model = tmp_path / "checkpoints" / "checkpoint.pt", load_file(ROOT / "CoGAN" / "model.py")
    nets = load_networks(model, checkpoint.load(path), path)
    z = torch.randn(4, 100, generator=torch.Generator().manual_seed(3))
    for domain in "ab":
        args = ("CoGAN", "--checkpoint", path, "--n", 4, "--seed", 3, "--domain", domain, "--out", tmp_path / "x.npz")
        assert run_here(MISC / "generate.py", *args)[0] == 0
        with np.load(tmp_path / "x.npz") as arrays:
            expected = (model.sample(nets, 4, z=z, domain=domain) * 255).round().byte()
            assert (arrays["images"] == expected.numpy()).all()


def test_generate_refuses_in_one_line(capsys, trained, tmp_path):
    assert "--out" in refused(capsys, "generate", "GAN", "--out", tmp_path / "x.jpg")
    assert "no-such is not a model" in refused(capsys, "generate", "no-such", "--out", tmp_path / "x.npz")
    assert "does not generate" in refused(capsys, "generate", "Classification", "--checkpoint", trained,
                                          "--out", tmp_path / "x.npz")
    assert "one domain alone" in refused(capsys, "generate", "GAN", "--checkpoint", trained, "--domain", "b",
                                         "--out", tmp_path / "x.npz")
    assert "there is no checkpoint" in refused(capsys, "generate", "GAN", "--checkpoint", tmp_path / "x.pt")
    assert "--n" in refused(capsys, "generate", "GAN", "--n", 0)
    out, asked = tmp_path / "x.npz", ("--checkpoint", trained, "--labels")
    assert "--labels: a GAN without labels" in refused(capsys, "generate", "GAN", *asked, 3, "--out", out)
    assert "--labels: GAN knows 0 to 9, not 10" in refused(capsys, "generate", "GAN", *asked, 3, 10, "--out", out)
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(trained.read_bytes()[:2000])
    assert "damaged" in refused(capsys, "generate", "GAN", "--checkpoint", damaged, "--out", tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize("change", [
    {"fields": {"latent_dim": 10**9}}, {"fields": {"other": 1}}, {"fields": {"latent_dim": 7}},
    {"networks": {}}, {"networks": {"G": 3, "D": 3, "G_ema": 3}}])
def test_a_checkpoint_that_does_not_fit_is_refused(trained, change):
    """Without taking the memory that it asks for."""
    state = {**checkpoint.load(trained), **change}
    with pytest.raises(InputError, match="does not fit"):
        load_networks(load_model("GAN"), state, trained)


def test_find_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_folder("GAN") == find_folder(GAN) == GAN
    with pytest.raises(InputError, match="is not a model's folder"):
        find_folder(tmp_path / "GAN")  # a path is not taken for a name
    (tmp_path / "GAN").mkdir()
    shutil.copy(GAN / "model.py", tmp_path / "GAN")
    assert find_folder("GAN") == tmp_path / "GAN"


def test_evaluate_a_file(drawn, capsys, tmp_path):
    assert run_here(MISC / "evaluate.py", drawn, "--out-dir", tmp_path)[0] == 0
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "metrics.json").read_text())
    ours, real = record["metrics"]["gan"], record["metrics"]["real images"]
    assert ours["fid"] > 3 * real["fid"] and ours["is"] < real["is"] and ours["recall"] < real["recall"]
    assert len(record["classes"]) == 10 and sum(record["classes"]) == pytest.approx(1)
    assert record["scorer"] == scorer.sha256(scorer.WEIGHTS) and record["images"] == 300
    assert f"{ours['fid']:.4g}" in said and f"{real['fid']:.4g}" in said
    lines = said.strip().splitlines()
    assert len(lines) == 2 + len(ours) and len(set(map(len, lines))) == 1
    for name in ("classes", "confidence", "embedding", "nearest"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_evaluate_a_file_that_is_called_like_the_real_images(drawn, tmp_path):
    file = tmp_path / "real images.npz"
    shutil.copy(drawn, file)
    assert run_here(MISC / "evaluate.py", file)[0] == 0
    columns = json.loads((tmp_path / "real images-evaluation" / "metrics.json").read_text())["metrics"]
    assert columns["generated"]["fid"] > 2 * columns["real images"]["fid"]


def test_evaluate_a_model(trained, tmp_path):
    args = ("GAN", "--checkpoint", trained, "--n", 50, "--out-dir", tmp_path)
    assert run_here(MISC / "evaluate.py", *args)[0] == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["images"] == 50


def test_references(monkeypatch):
    monkeypatch.syspath_prepend(str(MISC))
    evaluate = load_file(MISC / "evaluate.py")
    digits = data.load("digits", None), data.load("digits", None, train=False)
    train, test = evaluate.references({"dataset": "digits", "image_size": 32, "holdout": 0}, None)
    assert torch.equal(train.images, digits[0].images) and torch.equal(test.images, digits[1].images)
    train, test = evaluate.references({"dataset": "digits", "image_size": 32, "holdout": 100}, None)
    assert torch.equal(train.images, digits[0].images[:-100]) and torch.equal(test.images, digits[0].images[-100:])


def test_inception_fid(monkeypatch):
    """With another network in the place of Inception's: grey images reach it in three channels, real and fake apart."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    from misc import metrics

    class Network(torch.nn.Module):
        num_features = 6

        def forward(self, images):
            assert images.dtype == torch.uint8 and images.shape[1:] == (3, 32, 32)
            return images.double().view(len(images), 6, -1).mean(2)

    monkeypatch.syspath_prepend(str(MISC))
    evaluate = load_file(MISC / "evaluate.py")
    a, b = (torch.randint(0, high, (250, 1, 32, 32), dtype=torch.uint8) for high in (256, 100))
    metric, net = FrechetInceptionDistance(Network()), Network()
    expected = metrics.fid(*(net(images.expand(-1, 3, -1, -1)) for images in (a, b)))
    for _ in range(2):  # the metric is used again
        assert evaluate.inception_fid(metric, b, a) == pytest.approx(expected, rel=1e-6)


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_evaluate_refuses_in_one_line(capsys, drawn, tmp_path):
    images = np.zeros((20, 1, 32, 32), np.uint8)
    assert "cannot be read" in refused(capsys, "evaluate", tmp_path / "none.npz")
    (tmp_path / "x.npz").write_bytes(drawn.read_bytes()[:500])
    assert "cannot be read" in refused(capsys, "evaluate", tmp_path / "x.npz")
    pickled = write_npz(tmp_path / "x.npz", images=np.array([{}], object))
    assert "cannot be read" in refused(capsys, "evaluate", pickled)
    labels = np.zeros(3, np.int64)
    assert "labels must be" in refused(capsys, "evaluate", write_npz(tmp_path / "x.npz", images=images, labels=labels))
    fashion = json.dumps({"dataset": "fashion-mnist"})
    assert "knows digits" in refused(capsys, "evaluate", write_npz(tmp_path / "x.npz", images=images, options=fashion))
    digits = json.dumps({"dataset": "digits"})
    few = write_npz(tmp_path / "x.npz", images=images[:3], options=digits)
    assert "too few" in refused(capsys, "evaluate", few, "--out-dir", tmp_path / "out")
    deep = write_npz(tmp_path / "x.npz", images=images, options="[" * 200_000)
    assert "cannot be read" in refused(capsys, "evaluate", deep)
    assert "--n" in refused(capsys, "evaluate", drawn, "--n", 50)
    assert "--variant" in refused(capsys, "evaluate", "GAN", "--variant", "../x")


def test_inception_without_weights_is_refused_in_one_line(capsys, drawn, tmp_path, monkeypatch):
    """The library that has them is missing, or its download fails."""
    import torchmetrics.image.fid

    class Fails:
        def __init__(self, *args, **kwargs):
            raise ConnectionError("no network")

    monkeypatch.setattr(torchmetrics.image.fid, "_TORCH_FIDELITY_AVAILABLE", True)
    monkeypatch.setattr(torchmetrics.image.fid, "NoTrainInceptionV3", Fails)
    assert "no network" in refused(capsys, "evaluate", drawn, "--inception", "--out-dir", tmp_path)
    monkeypatch.setattr(torchmetrics.image.fid, "_TORCH_FIDELITY_AVAILABLE", False)
    assert "--inception" in refused(capsys, "evaluate", drawn, "--inception", "--out-dir", tmp_path)


@pytest.fixture
def repository(tmp_path):
    """A repository of the GAN alone, with narrow networks, to be written to."""
    root = tmp_path / "repository"
    for name in ("common", "misc", "GAN"):
        shutil.copytree(ROOT / name, root / name,
                        ignore=shutil.ignore_patterns("__pycache__", "checkpoints", "samples", "logs", "results"))
    make_narrow(root / "GAN")
    return root


SEEDS = ("misc/seeds.py", "GAN", "--n", "100")
SHORT = ("--", "--dataset", "digits", "--batch-size", "256")


def seeds(root, *args):
    """The command in a forked process."""
    return Forked(*SEEDS, *args, cwd=root).finish()


def seeds_here(capsys, root, *args):
    """As `seeds`, in this process. Returns the exit status and what was said."""
    status, _ = run_here(root / "misc" / "seeds.py", root / "GAN", *SEEDS[2:], *args)
    return status, capsys.readouterr().err


def test_seeds(repository, capsys):
    done = seeds(repository, "--seeds", "0", "1", *SHORT, "--max-steps", "2")
    assert done.returncode == 0, done.stderr
    file = repository / "GAN" / "results" / "result.json"
    entry = json.loads(file.read_text())["default"]
    assert entry["seeds"] == [0, 1] and entry["images"] == 100 and [run["steps"] for run in entry["runs"]] == [2, 2]
    for name in ("fid", "kid", "is", "precision", "recall", "class_kl"):
        value = entry["metrics"][name]
        assert value["mean"] == pytest.approx(np.mean(value["seeds"])) and len(value["seeds"]) == 2
        assert value["std"] == pytest.approx(np.std(value["seeds"], ddof=1))
    assert entry["metrics"]["fid"]["seeds"][0] != entry["metrics"]["fid"]["seeds"][1]
    assert entry["command"] == f"python {' '.join(SEEDS)} --seeds 0 1 {' '.join(SHORT)} --max-steps 2"
    for run in entry["runs"]:
        assert run["device"] and run["versions"]["torch"] == torch.__version__ and run["dataset"] == "digits"
    assert not (repository / "GAN" / "samples").exists()  # a user's own pictures are left alone
    work = repository / "GAN" / "checkpoints" / "seeds" / "default"
    shown = {path.name: path for path in (repository / "GAN" / "results" / "default").iterdir()}
    assert set(shown) == {"samples.png", "losses.png"}  # of seed 0; a GIF comes with the first frame
    assert shown["samples.png"].read_bytes() == (work / "0" / "samples" / "epoch_0001.png").read_bytes()
    assert entry["code"] and "commit" in entry

    # what is done is not redone, another variant stays beside it, other options are not mixed in
    work = repository / "GAN" / "checkpoints" / "seeds" / "default"
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.pt")}
    assert seeds_here(capsys, repository, "--seeds", "0", *SHORT, "--max-steps", "2")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.pt")} == kept
    assert json.loads(file.read_text())["default"]["seeds"] == [0]
    assert json.loads((file.parent / "result.json.previous").read_text())["default"] == entry  # has seed 1
    status, said = seeds_here(capsys, repository, "--seeds", "0", *SHORT, "--max-steps", "3")
    assert status == 2 and "results of other settings (flags)" in said
    status, _ = seeds_here(capsys, repository, "--seeds", "0", "--variant", "short", *SHORT, "--max-steps", "1")
    assert status == 0 and set(json.loads(file.read_text())) == {"default", "short"}
    status, said = seeds_here(capsys, repository, "--seeds", "0", "--pictures", "no", *SHORT, "--max-steps", "2")
    assert status == 2 and "--pictures: there is no no, only samples, losses" in said and len(shown) == 2
    assert seeds_here(capsys, repository, "--seeds", "0", "--pictures", "losses", *SHORT, "--max-steps", "2")[0] == 0
    assert [path.name for path in (file.parent / "default").iterdir()] == ["losses.png"]

    # --fresh puts aside what was done
    status, _ = seeds_here(capsys, repository, "--seeds", "0", "--fresh", *SHORT, "--max-steps", "3")
    assert status == 0 and json.loads((work / "0" / "training.json").read_text())["made"]["steps"] == 3
    assert json.loads((work / "0" / "previous" / "training.json").read_text())["made"]["steps"] == 2
    assert checkpoint.load(find_checkpoint(work / "0" / "previous"))["step"] == 2
    status, said = seeds_here(capsys, repository, "--seeds", "0", "--fresh", *SHORT, "--max-step", "3")
    assert status == 2 and checkpoint.load(find_checkpoint(work / "0" / "previous"))["step"] == 3
    status, said = seeds_here(capsys, repository, "--seeds", "0", "--fresh", *SHORT, "--batch-size", "99999")
    assert status == 2 and checkpoint.load(find_checkpoint(work / "0" / "previous"))["step"] == 3

    # nor are those of changed code
    source = repository / "GAN" / "train.py"
    source.write_text(source.read_text().replace("= 0.2  #", "= 0.3  #"))
    status, said = seeds_here(capsys, repository, "--seeds", "1", *SHORT, "--max-steps", "2")
    assert status == 2 and "results of other settings (code)" in said

    file.write_text("[")
    status, said = seeds_here(capsys, repository, "--seeds", "0", *SHORT)
    assert status == 2 and "damaged" in said and file.read_text() == "["


def test_changed_code_is_known_by_what_it_does(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(MISC))
    code, folder = load_file(MISC / "seeds.py").code, repository / "GAN"
    before, source = code(folder), folder / "train.py"
    source.write_text("# a comment\n" + source.read_text().replace('"""GAN: ', '"""The GAN: '))
    assert code(folder) == before
    source.write_text(source.read_text().replace("= 0.2  #", "= 0.3  #"))
    assert code(folder) != before


def test_variants_lie_in_folders_of_their_own(repository):
    """A model whose options have a `variant`, and one that does not generate."""
    source = repository / "GAN" / "train.py"
    source.write_text(source.read_text().replace("    lr:", "    variant: str = 'plain'  # a name\n    lr:"))
    assert train_here(source.parent, *SHORT[1:], "--max-steps", 2)[0] == 0
    assert train_here(source.parent, *SHORT[1:], "--max-steps", 1, "--variant", "other")[0] == 0
    assert train_here(source.parent, "--max-steps", 3, "--variant", "other", "--resume")[0] == 0
    assert {path.name for path in (repository / "GAN" / "samples").iterdir()} == {"plain", "other"}
    assert find_checkpoint(source.parent, "other") == source.parent / "checkpoints" / "other" / "checkpoint.pt"
    assert checkpoint.load(find_checkpoint(source.parent, "other"))["step"] == 3
    with pytest.raises(InputError, match="choose with --variant one of other, plain"):
        find_checkpoint(source.parent)
    args = (source.parent, "--variant", "plain", "--n", 20, "--out", repository / "x.npz")
    assert run_here(repository / "misc" / "generate.py", *args)[0] == 0


def test_the_mean_over_seeds_of_an_infinite_result(monkeypatch):
    monkeypatch.syspath_prepend(str(MISC))
    summary = load_file(MISC / "seeds.py").summary([{"nll": 1.0, "fid": 1.0}, {"nll": float("inf"), "fid": 3.0}])
    assert summary["nll"] == {"mean": float("inf"), "std": None, "seeds": [1.0, float("inf")]}
    assert summary["fid"]["mean"] == 2 and summary["fid"]["std"] == pytest.approx(2**0.5)


def test_seeds_of_a_model_that_does_not_generate(repository, monkeypatch):
    monkeypatch.chdir(repository)
    shutil.copytree(ROOT / "Classification", repository / "Classification",
                    ignore=shutil.ignore_patterns("__pycache__", "checkpoints", "samples", "logs", "results"))
    args = ("--seeds", "0", *SHORT, "--max-steps", "2")
    assert run_here(repository / "misc" / "seeds.py", "Classification", *args)[0] == 0
    entry = json.loads((repository / "Classification" / "results" / "result.json").read_text())["default"]
    assert set(entry["metrics"]) == {"accuracy"} and 0 <= entry["metrics"]["accuracy"]["mean"] <= 1


def test_seeds_without_images(repository, capsys):
    """--n 0 keeps what the training has measured, and draws nothing; later the images of the same training are."""
    args = ("--seeds", "0", *SHORT, "--max-steps", "2")
    assert seeds_here(capsys, repository, "--n", "0", *args)[0] == 0
    file = repository / "GAN" / "results" / "result.json"
    entry = json.loads(file.read_text())["default"]
    assert entry["images"] == 0 and entry["metrics"] == {}
    assert seeds_here(capsys, repository, *args)[0] == 0
    later = json.loads(file.read_text())["default"]
    assert later["images"] == 100 and "fid" in later["metrics"] and later["runs"] == entry["runs"]


def test_damaged_records_are_told_before_any_work(repository, capsys):
    work = repository / "GAN" / "checkpoints" / "seeds" / "default" / "1"
    work.mkdir(parents=True)
    result = repository / "GAN" / "results" / "result.json"
    result.parent.mkdir()
    asked = {"asked": {}}
    numbers = [{"made": {"fid": value}} for value in ("x", None, [])]
    runs = [{"made": {"results": {}, **more}} for more in ({}, {"date": 1}, {"steps": "many"})]
    points = [{"points": value} for value in (None, {}, [1], [{"epoch": 1}], [{"epoch": 1, "updates": 2, "losses": 3}])]
    entries = [{"default": value} for value in (None, 1, [], {}, {"seeds": 3}, {"seeds": ["a"]},
                                                {"seeds": [0], "minutes": 3})]
    for file, contents in ((work / "metrics.json", [{}, [], "x", {"asked": 1}, *({**asked, **one} for one in numbers)]),
                           (work / "training.json", [{}, [], 3, *({**asked, **one} for one in runs)]),
                           (work / "course.json", [[], None, *points]), (result, [[], None, 1, *entries])):
        for content in contents:
            text = json.dumps(content)
            file.write_text(text)
            status, said = seeds_here(capsys, repository, "--seeds", "0", "1", *SHORT, "--max-steps", "2")
            assert status == 2 and file.name in said and "damaged" in said and said.count("\n") == 1, (text, said)
            assert file.read_text() == text and not (work.parent / "0").exists()
        file.unlink()


def test_seeds_go_on_after_an_interruption(repository):
    """A training that ended early (as after SIGINT) is continued, not measured and not begun again."""
    work = repository / "GAN" / "checkpoints" / "seeds" / "default" / "0"
    args = ("--seeds", "0", *SHORT, "--epochs", "12")  # of five updates
    with subprocess.Popen([sys.executable, *SEEDS, *args], cwd=repository, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as child:
        while not (work / "samples" / "epoch_0002.png").exists():
            assert child.poll() is None
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)  # as Ctrl-C does
        said = child.stderr.read()
    assert child.returncode == 130 and "goes on from there" in said and "Traceback" not in said, said
    before = checkpoint.load(work / "checkpoints" / "checkpoint.pt")
    assert 10 <= before["step"] < 60
    assert not (repository / "GAN" / "results" / "result.json").exists()

    done = seeds(repository, *args)
    assert done.returncode == 0, done.stderr
    after = checkpoint.load(work / "checkpoints" / "checkpoint.pt")
    assert after["step"] == 60 and torch.equal(after["losses"]["values"][:before["step"]], before["losses"]["values"])
    assert not list(work.glob("previous*"))


def test_seeds_leave_nobody_behind(repository):
    """Killed, or left by its terminal, the script leaves no training that goes on alone and holds the folder."""
    work = repository / "GAN" / "checkpoints" / "seeds" / "default" / "0"
    for number in (signal.SIGKILL, signal.SIGHUP):
        child = Forked(*SEEDS, "--seeds", "0", *SHORT, "--epochs", "1000", cwd=repository)
        real = work / "samples" / "real.png"
        while not real.exists():
            assert child.poll() is None, child.communicate()
            time.sleep(0.05)
        child.send_signal(number)
        assert child.wait() in (-number, 128 + number)
        lock(work / "checkpoints", "--out-dir").release()  # free at once
        lock(work, "--variant").release()
        real.unlink()


def test_seeds_measured_every_epoch(repository, capsys):
    """Piece by piece is the same as in one go; the points are drawn."""
    assert seeds_here(capsys, repository, "--seeds", "1", "--every", "1.2", *SHORT, "--epochs=2")[0] == 0
    file = repository / "GAN" / "results" / "result.json"
    run = json.loads(file.read_text())["default"]["runs"][0]
    points = run["course"]
    assert [(point["epoch"], point["updates"]) for point in points] == [(1.2, 6), (2, 10)] and run["steps"] == 10
    assert points[0]["fid"] != points[1]["fid"] and 0 < points[0]["seconds"] < points[1]["seconds"]

    args = (*SHORT[1:], "--epochs", 2, "--seed", 1, "--out-dir", repository / "whole")
    assert train_here(repository / "GAN", *args)[0] == 0
    whole = checkpoint.load(find_checkpoint(repository / "whole"))
    work = repository / "GAN" / "checkpoints" / "seeds" / "default" / "1"
    parts = checkpoint.load(find_checkpoint(work))
    for name, weight in whole["networks"]["G_ema"].items():
        assert torch.equal(weight, parts["networks"]["G_ema"][name]), name
    values = whole["losses"]["values"].double()
    for point, mean in zip(points, (values[:6].mean(0), values[6:].mean(0)), strict=True):
        assert list(point["losses"].values()) == pytest.approx(mean.tolist())

    status, said = seeds_here(capsys, repository, "--seeds", "1", *SHORT, "--epochs=2")
    assert status == 2 and "results of other settings (every)" in said
    course = repository / "misc" / "course.py"
    assert run_here(course, repository / "GAN", "--out", repository / "x.png")[0] == 0
    assert (repository / "GAN" / "results" / "default" / "course.png").exists() and (repository / "x.png").exists()
    for flags, place in (((), "samples"), (("--publish",), "results")):
        picture = repository / "misc" / place / "course.png"
        picture.unlink(missing_ok=True)
        assert run_here(course, repository / "GAN", *flags)[0] == 0 and picture.exists()

    beside = repository / "quality.json"
    beside.write_text(json.dumps({"points": {"usual": [{"minutes": 1, "fid": 900}, {"minutes": 9, "fid": 30}]}}))
    args = (course, repository / "GAN", "--out", repository / "y.png", "--beside", beside)
    capsys.readouterr()
    assert run_here(*args)[0] == 2 and "is not of misc/time_to_quality.py (KeyError('real'))" in capsys.readouterr().err
    beside.write_text(json.dumps({"real": 4.0, **json.loads(beside.read_text())}))
    assert run_here(*args)[0] == 0 and (repository / "y.png").exists()


def test_seeds_note_the_minutes_of_a_training(repository, capsys):
    args = ("--seeds", "0", *SHORT, "--epochs", "4")
    status, said = seeds_here(capsys, repository, "--minutes", *args)
    assert status == 2 and "--minutes: " in said and "has no default yet" in said
    assert seeds_here(capsys, repository, *args)[0] == 0
    assert seeds_here(capsys, repository, "--minutes", *args)[0] == 0
    file = repository / "GAN" / "results" / "result.json"
    minutes = json.loads(file.read_text())["default"]["minutes"]
    assert 0 < minutes["minutes"] < 5 and minutes["device"] and minutes["threads"] >= 1
    assert seeds_here(capsys, repository, *args)[0] == 0  # the same code: they are kept
    assert json.loads(file.read_text())["default"]["minutes"] == minutes


def test_course_refuses_in_one_line(capsys, repository):
    assert "name one model" in refused(capsys, "course")
    assert "not a model's folder" in refused(capsys, "course", "Nothing")
    assert "each once" in refused(capsys, "course", "GAN", "GAN")
    assert "has no course of default" in refused(capsys, "course", repository / "GAN")


def test_rank_correlation_of_a_loss():
    correlation = load_file(MISC / "course.py").correlation
    falls = [{"fid": fid, "losses": {"a": fid ** 2, "b": -fid, "c": 1.0}} for fid in (9, 5, 4, 2)]
    assert correlation(falls, "a") == pytest.approx(1) and correlation(falls, "b") == pytest.approx(-1)
    assert correlation(falls, "c") is None and correlation(falls[:2], "a") is None


FEW = {"plain, 100 labels": {0: 0.8, 1: 0.7, 2: 0.9, 5: 0.1}, "plain, 20 labels": {0: 0.5},
       "better, 100 labels": {2: 0.95, 0: 0.88, 1: 0.76}, "better, 20 labels": {0: 0.7, 1: 0.6}, "default": {0: 0.3}}


def of_few_labels():
    return {variant: {"seeds": list(seeds), "metrics": {"accuracy": {"seeds": list(seeds.values())}}}
            for variant, seeds in FEW.items()}


def test_gains_are_those_of_pairs(monkeypatch):
    """Against scipy's interval of the paired t-test; one pair says nothing of its spread."""
    monkeypatch.syspath_prepend(str(MISC))
    labels = load_file(MISC / "labels.py")
    found = labels.accuracies(of_few_labels())
    assert list(found) == ["plain", "better"] and list(found["better"]) == [100, 20]
    (mean, half), = labels.gains(found)["better"].values()
    expected = ttest_rel([88, 76, 95], [80, 70, 90]).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))


def test_forms_that_one_training_measures(capsys, repository, monkeypatch):
    """A picture for each variant that has them, a table of means and spreads."""
    monkeypatch.syspath_prepend(str(MISC))
    labels, tables = load_file(MISC / "labels.py"), load_file(MISC / "tables.py")
    metrics = {"plain, 5 labels": (0.5, 0.6), "plain, 1500 labels": (0.9, 0.9), "better, 5 labels": (0.7, 0.8),
               "source": (1, 1)}
    run = {"device": "", "versions": {"torch": ""}, "date": "", "threads": 1}
    entry = {"seeds": [3, 4], "scorer": scorer.sha256(scorer.WEIGHTS), "images": 0, "command": "", "commit": "",
             "runs": [run] * 2, "metrics": {name: {"mean": sum(seeds) / 2, "std": 0.1, "seeds": list(seeds)}
                                            for name, seeds in metrics.items()}}
    plain = {1500: {3: 0.9, 4: 0.9}, 5: {3: 0.5, 4: 0.6}}
    assert labels.curves(entry) == {"plain": plain, "better": {5: {3: 0.7, 4: 0.8}}}
    lines = tables.labels_table(entry).splitlines()
    assert lines[0] == "| labels | plain | better |"
    assert lines[2:] == ["| 5 | 0.5500 ± 0.1000 | 0.7500 ± 0.1000 |", "| 1,500 | 0.9000 ± 0.1000 |  |"]
    assert "5 labels" not in tables.metric_table({"x": entry}, {}) and "source" in tables.metric_table({"x": entry}, {})
    (repository / "GAN" / "results").mkdir()
    (repository / "GAN" / "results" / "result.json").write_text(json.dumps({"other": entry}))
    assert run_here(MISC / "labels.py", repository / "GAN")[0] == 0
    assert "other: better gains on plain: 5 labels +20.0" in capsys.readouterr().err
    assert (repository / "GAN" / "results" / "other" / "labels.png").exists()


def test_accuracies_over_labels_are_drawn(capsys, repository, monkeypatch):
    folder = repository / "GAN"
    assert "FORM, N labels" in refused(capsys, "labels", folder)
    run, entries = {"device": "", "versions": {"torch": ""}, "date": "", "threads": 1}, of_few_labels()
    for entry in entries.values():
        entry["metrics"]["accuracy"] |= {"mean": 0.5, "std": None}
        entry |= {"scorer": scorer.sha256(scorer.WEIGHTS), "images": 0, "command": "", "commit": "",
                  "runs": [run] * len(entry["seeds"])}
    (folder / "results").mkdir()
    (folder / "results" / "result.json").write_text(json.dumps(entries))
    assert run_here(MISC / "labels.py", folder)[0] == 0
    assert "better gains on plain: 100 labels +6.3" in capsys.readouterr().err
    assert (folder / "results" / "default" / "labels.png").exists()


@pytest.mark.parametrize("args", [
    ("--seeds",), ("--seeds", "0", "0"), ("--seeds", "-1"), ("--n", "5"), ("--variant", "../x"), ("--variant", "/x"),
    ("--minutes", "--", "--max-steps", "2"),
    ("--", "--image-size", "64"), ("--every", "0.01"),
    ("--every", "1", "--", "--epochs", "2", "--max_steps", "3"), ("--", "--seed", "7"),
    ("--", "--out_dir=x"), ("--", "--resume"), ("--", "--dataset", "fashion-mnist"),
    ("--", "--lr", "-1")])
def test_seeds_refuse_in_one_line(repository, args):
    """Before any work, or as train.py does."""
    done = Forked(SEEDS[0], "GAN", *args, cwd=repository).finish()
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (repository / "GAN" / "results" / "result.json").exists()
    assert not list((repository / "GAN").glob("checkpoints/**/*.pt"))
    assert not list((repository / "GAN").glob("checkpoints/**/training.json"))  # the right flags are not refused next


def test_baselines(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(MISC))
    baselines = load_file(MISC / "baselines.py")
    images = torch.randint(0, 256, (300, 1, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    images[:, :, :16] = 0
    for name, make in baselines.BASELINES.items():
        if make is not None:
            drawn = make(images, 200, 0)
            assert drawn.shape == (200, 1, 32, 32) and drawn.dtype == torch.uint8, name
            assert torch.equal(make(images, 200, 0), drawn) and not torch.equal(make(images, 200, 1), drawn), name
    drawn = baselines.gaussian_in_pca_space(images, 2000, 100, 0).float()
    assert drawn[:, :, :16].max() == 0  # where all images agree, so do these
    assert (drawn.mean(0) - images.float().mean(0)).abs().max() < 15


@pytest.mark.parametrize("script", ["pca", "tsne"])
def test_scatter_plots(script, tmp_path):
    out = tmp_path / "plot.png"
    if script == "pca":
        write_idx(tmp_path, train=1100)  # more images than pixels
        args = ("--data-dir", tmp_path)
    else:
        args = ("--dataset", "digits", "--n", 200)
    assert run_here(MISC / f"{script}.py", *args, "--out", out)[0] == 0
    assert out.stat().st_size > 10_000

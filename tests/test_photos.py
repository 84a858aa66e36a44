"""Faces and scenes, in small files of the form of the real ones."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, train

from common import data, photos
from common.options import InputError

PEOPLE = 12


def face(person, n):
    """A photograph: a colour of the person's, a mark that is to be cut away beside it, and noise."""
    pixels = np.full((250, 250, 3), (20 * person, 100, 10 * n), np.uint8)
    pixels[:60] = 255
    return Image.fromarray(pixels)


@pytest.fixture
def lfw(tmp_path):
    home = tmp_path / "lfw_home"
    for person in range(PEOPLE):
        folder = home / "lfw_funneled" / f"Person_{person:02d}"
        folder.mkdir(parents=True)
        for n in range(1, 4):
            face(person, n).save(folder / f"Person_{person:02d}_{n:04d}.jpg", quality=95)
    for name in ("pairsDevTrain", "pairsDevTest", "pairs"):
        (home / f"{name}.txt").write_text("")
    return tmp_path


@pytest.fixture
def lsun(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    place = tmp_path / "lsun" / "church_outdoor_val_lmdb"
    place.mkdir(parents=True)
    with lmdb.open(str(place)) as environment, environment.begin(write=True) as transaction:
        for i in range(40):
            image, file = Image.new("RGB", (90, 60), (6 * i, 0, 200)), io.BytesIO()
            image.paste((255, 255, 255), (0, 0, 15, 60))  # what lies beside the middle square
            image.save(file, "WEBP" if i % 2 else "JPEG", quality=95)
            transaction.put(f"{i:04d}".encode(), file.getvalue())
    return tmp_path


def test_faces_of_other_people_are_kept_for_tests(lfw):
    name, notice = data.resolve("lfw", lfw)
    parts = [data.load(name, lfw, part, 64) for part in (True, False)]
    assert (name, notice) == ("lfw", "") and [len(part) for part in parts] == [3 * (PEOPLE - 1), 3]
    assert all(part.images.shape[1:] == (3, 64, 64) and part.images.dtype == torch.uint8 for part in parts)
    assert parts[0].classes == ("face",) and parts[0].labels.tolist() == [0] * 33
    known, held = ({round(red.item() / 20) for red in part.images[:, 0].float().mean((1, 2))} for part in parts)
    assert held == {9} and known == set(range(PEOPLE)) - {9}
    assert parts[0].images[:, 1].float().mean() == pytest.approx(100, abs=2)  # neither 255 from above, nor scaled


def test_scenes_are_cut_to_their_middle_and_kept(lsun, monkeypatch):
    name, _ = data.resolve("lsun:church_outdoor_val", lsun)
    train_part, test_part = (data.load(name, lsun, part, 32) for part in (True, False))
    assert (len(train_part), len(test_part)) == (36, 4) and train_part.images.shape[1:] == (3, 32, 32)
    assert test_part.images[:, 0].float().mean((1, 2)) == pytest.approx([54, 114, 174, 234], abs=4)
    assert test_part.images[:, 1].float().mean() < 6 and train_part.classes == ("church outdoor val",)
    monkeypatch.setattr(photos, "_square", lambda *_: pytest.fail("read anew"))
    assert torch.equal(data.load(name, lsun, True, 32).images, train_part.images)
    monkeypatch.undo()
    assert len(data.load("lsun:church_outdoor_val:20", lsun, True, 32)) == 18


@pytest.mark.parametrize("name, told", [
    ("lsun:church", "church_lmdb does not exist"), ("lsun:../x", "lsun:CLASS"), ("lsun:", "lsun:CLASS"),
    ("lsun:a:5", "at least 10"), ("lfw:x", "unknown data set")])
def test_what_is_not_there_is_told(tmp_path, name, told):
    with pytest.raises(InputError, match=told):
        data.resolve(name, tmp_path)


def test_no_faces_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_answers", lambda urls: False)
    with pytest.raises(InputError, match="lfw_funneled does not exist, and its server did not answer"):
        data.resolve("lfw", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    import sklearn.datasets

    def fails(data_home, **settings):
        (tmp_path / data_home / "lfw_home").mkdir(parents=True)
        raise OSError("cut")

    monkeypatch.setattr(data, "_answers", lambda urls: True)
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fails)
    with pytest.raises(InputError, match="its download failed.*cut"):
        data.resolve("lfw", tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_scenes_are_named(lsun):
    (lsun / "lsun" / "church_outdoor_val_lmdb" / "data.mdb").write_bytes(b"nothing" * 1000)
    with pytest.raises(InputError, match="church_outdoor_val_lmdb cannot be used"):
        data.load("lsun:church_outdoor_val", lsun)


def test_a_gan_of_faces(lfw):
    done = train(ROOT / "GAN", "--dataset", "lfw", "--image-size", 64, "--batch-size", 8, "--max-steps", 2,
                 "--g-width", 4, "--d-width", 4, "--data-dir", lfw, "--out-dir", lfw / "out")
    assert done.returncode == 0, done.stderr
    assert "GAN on lfw" in done.stderr and (lfw / "out" / "samples" / "real.png").exists()

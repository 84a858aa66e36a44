"""People's own images: the layouts of folders, and what Pillow reads, by images whose look is known."""

import hashlib
import io
import os
import shutil
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from running import ROOT, train_here

from common import data, folders
from common.data import InputError, load, resolve
from common.images import scatter


def ramp(seed=0, size=40):
    """A bar in the upper half, right of the middle: turning, mirroring and blackening show. uint8 (size, size)."""
    x = np.zeros((size, size), np.uint8)
    x[size // 8:size // 2, size // 3:-size // 8] = 120 + 12 * (seed % 10)
    return x


def write(folder, counts, first=0, ending="png"):
    """counts: {"class" or "train/class": n}. Image i of each is `ramp`, in its own brightness."""
    for name, n in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.fromarray(ramp(first + i)).save(folder / name / f"{i:02d}.{ending}")


def read(folder, train=True, size=32, root=None):
    return load(f"folder:{folder}", root, train, size)


def counts(folder):
    """{"train": {class: n}, "test": ...}, of what is read."""
    return {part: {name: (found.labels == i).sum().item() for i, name in enumerate(found.classes)}
            for part, found in (("train", read(folder)), ("test", read(folder, False)))}


TWO = {"cat": 10, "dog": 20}
SPLIT = {"train": {"cat": 3, "dog": 2}, "test": {"cat": 1, "dog": 2}}


def split(train="train", test="test", extra=()):
    return {f"{part}/{name}": n for part, own in ((train, "train"), (test, "test")) for name, n in SPLIT[own].items()
            } | dict(extra)


GOOD = {  # layouts: what is written, and what is to be found
    **{f"{train} {test}": (split(train, test), SPLIT) for train in ("train", "Train", "TRAIN", "training")
       for test in ("test", "Test", "val", "Valid", "validation", "testing")},
    "test and val": (split(extra={"val/cat": 4}), SPLIT),
    "hidden": (TWO | {".ipynb_checkpoints": 3, ".git/cat": 2, "__MACOSX/cat": 2, "@eaDir": 1, "cat/.thumbs": 2}, None),
    "deeper": ({"cat/a": 5, "cat/b/c": 5, "dog": 20}, None),
    "a class called testing": ({"train/cat": 3, "train/test": 2, "test/cat": 1, "test/test": 2}, {
        "train": {"cat": 3, "test": 2}, "test": {"cat": 1, "test": 2}}),
    "no dogs to test": ({"train/cat": 3, "train/dog": 2, "val/dog": 2}, {
        "train": {"cat": 3, "dog": 2}, "test": {"cat": 0, "dog": 2}}),
    "training alone": ({"train/cat": 10, "train/dog": 20}, None),
}
BAD = {  # and a word of what is said
    "a class beside train": (split(extra={"bird": 3}), "bird"),
    "two for training": (split(extra={"Training/cat": 3}), "two folders"),
    "no training": ({"test/cat": 3, "val/cat": 3}, "no folder for training"),
    "nine images": ({"a": 3, "b": 3, "c": 3}, "too few"),
    "one image": ({"a": 1}, "too few"),
    "unknown class to test": (split(extra={"test/bird": 1}), "bird"),
    "nothing": ({}, "neither"),
    "an empty class": (TWO | {"bird": 0}, "bird"),
    "an empty training set": ({"train": 0, "test/cat": 2}, "train"),
}


@pytest.mark.parametrize("name", GOOD)
def test_layout(tmp_path, name):
    written, expected = GOOD[name]
    write(tmp_path, written)
    for junk in ("labels.csv", "Thumbs.db", ".DS_Store", "._00.png", "~00.png"):
        (next(path for path in tmp_path.rglob("*.png")).parent / junk).write_bytes(b"\0\5\x16\7 no image")
        (tmp_path / junk).write_bytes(b"no image")
    assert counts(tmp_path) == (expected or {"train": {"cat": 9, "dog": 18}, "test": {"cat": 1, "dog": 2}})


@pytest.mark.parametrize("name", BAD)
def test_layout_that_is_refused(tmp_path, name):
    write(tmp_path, BAD[name][0])
    with pytest.raises(InputError, match=BAD[name][1]) as error:
        read(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_images_without_classes_are_one_class(tmp_path):
    write(tmp_path / "plain", {".": 20})
    assert counts(tmp_path / "plain") == {"train": {"plain": 18}, "test": {"plain": 2}}
    write(tmp_path / "halves", {"train": 5, "test": 3})
    assert counts(tmp_path / "halves") == {"train": {"train": 5}, "test": {"train": 3}}
    write(tmp_path / "both", {".": 5, "cat": 20})
    with pytest.raises(InputError, match="beside the folders"):
        read(tmp_path / "both")


def test_what_is_found_is_told(tmp_path, capsys):
    write(tmp_path, TWO)
    read(tmp_path)
    assert "27 images to train (cat 9, dog 18), 3 images to test (cat 1, dog 2)" in capsys.readouterr().err
    write(tmp_path / "many", {f"{i:02d}": 2 for i in range(60)})
    read(tmp_path / "many")
    assert "108 images to train (60 classes of 1 to 2), 12 images to test (60 classes" in capsys.readouterr().err


def test_the_order_mixes_the_classes_and_is_always_the_same(tmp_path):
    """What is held out, or drawn first, is a sample of all classes."""
    write(tmp_path / "first", {"a": 50, "b": 50, "c": 50})
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    first, second = read(tmp_path / "first"), read(tmp_path / "second")
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    held_out = data.hold_out(first, 40)[1]
    assert torch.bincount(held_out.labels, minlength=3).min() >= 5
    brightest = first.images.amax((1, 2, 3)).int()  # image i is as bright in each class: labels moved with the images
    found = sorted(zip(first.labels.tolist(), brightest.tolist(), strict=True))
    kept = [i for i in range(150) if i % 10 != 9]
    assert found == sorted((i // 50, 120 + 12 * (i % 10)) for i in kept)


# ---- pixels


def to_lab(x):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(Image.fromarray(x).convert("RGB"), *profiles, outputMode="LAB")


def turned(x, tag):
    """Pixels that EXIF's orientation `tag` turns back to x."""
    return {1: x, 2: x[:, ::-1], 3: x[::-1, ::-1], 4: x[::-1], 5: x.T, 6: np.rot90(x), 7: x[::-1, ::-1].T,
            8: np.rot90(x, -1)}[tag].copy()


def exif(tag):
    tags = Image.Exif()
    tags[0x0112] = tag
    return tags


def with_alpha(mode):
    """Black ink, as opaque as x says, on nothing: what a viewer shows is 255 - x."""
    return lambda x: Image.fromarray(np.dstack([np.zeros_like(x)] * (len(mode) - 1) + [255 - x]), mode)


MODES = {  # from the pixels of a grey image to one in another mode that looks like it, and the ending of a file
    "L": (Image.fromarray, "png"),
    "RGB": (lambda x: Image.fromarray(x).convert("RGB"), "png"),
    "palette": (lambda x: Image.fromarray(x).convert("P"), "png"),
    "LA": (lambda x: Image.fromarray(x).convert("LA"), "png"),
    "RGBA": (lambda x: Image.fromarray(x).convert("RGBA"), "png"),
    "transparent grey": (with_alpha("LA"), "png"),
    "transparent": (with_alpha("RGBA"), "png"),
    "transparent TIFF": (with_alpha("RGBA"), "tiff"),
    "transparent WebP": (with_alpha("RGBA"), "webp"),
    "CMYK": (lambda x: Image.fromarray(x).convert("CMYK"), "tiff"),
    "YCbCr": (lambda x: Image.fromarray(x).convert("YCbCr"), "tiff"),
    "LAB": (to_lab, "tiff"),
    "16 bits": (lambda x: Image.fromarray(x.astype(np.uint16) * 257), "png"),
    "16 bits TIFF": (lambda x: Image.fromarray(x.astype(np.uint16) * 257), "tif"),
    "32 bits, 8 used": (lambda x: Image.fromarray(x.astype(np.int32)), "tif"),
    "32 bits, 16 used": (lambda x: Image.fromarray(x.astype(np.int32) * 257), "tif"),
    "32 bits": (lambda x: Image.fromarray((x.astype(np.int64) * (2**31 - 1) // 255).astype(np.int32)), "tif"),
    "float": (lambda x: Image.fromarray(x.astype(np.float32) / 255), "tif"),
    "float to 255": (lambda x: Image.fromarray(x.astype(np.float32)), "tif"),
    **{ending: (Image.fromarray, ending) for ending in ("gif", "bmp", "tga", "pgm", "ppm", "pcx", "PNG", "Tif", "webp",
                                                        "jp2", "sgi", "dib")},
    "JPEG": (Image.fromarray, "jpg"), "JPEG in colour": (lambda x: Image.fromarray(x).convert("RGB"), "JPEG"),
}


@pytest.mark.parametrize("name", MODES)
def test_mode(tmp_path, name):
    """Class a in that mode looks like class b, plain PNGs of the same pixels; all of it is grey."""
    make, ending = MODES[name]
    white = 255 - ramp(0)
    for i in range(3):
        x = np.maximum(ramp(i), 0) if i else white  # the first reaches 255, so that the range is known
        for part, image, end in (("a", make(x), ending), ("b", Image.fromarray(x), "png")):
            (tmp_path / "train" / part).mkdir(parents=True, exist_ok=True)
            options = {"lossless": True} if end == "webp" else {"quality": 98} if end.lower() in ("jpg", "jpeg") else {}
            image.save(tmp_path / "train" / part / f"{i}.{end}", **options)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    found = read(tmp_path, size=32)
    assert found.images.shape == (6, 3 if name == "LAB" else 1, 32, 32)  # that is not exact
    images = found.images.float().mean(1)
    a, b = (torch.stack(sorted(images[found.labels == label], key=torch.mean)) for label in (0, 1))
    assert (a - b).abs().max() <= (14 if name in ("JPEG", "JPEG in colour", "jp2", "LAB") else 1.01)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_orientation(tmp_path, tag, ending):
    write(tmp_path, {"test/a": 1})
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.fromarray(turned(ramp(), tag)).save(tmp_path / "train" / "a" / f"0.{ending}", exif=exif(tag))
    found, right = read(tmp_path).images, read(tmp_path, False).images
    assert (found.float() - right.float()).abs().mean() < 4


def test_colours_stay(tmp_path):
    write(tmp_path, {"a": 11})
    Image.new("RGB", (40, 40), (10, 20, 30)).save(tmp_path / "a" / "99.png")
    found, test = read(tmp_path), read(tmp_path, False)
    assert found.images.shape[1] == test.images.shape[1] == 3  # grey and coloured together: coloured, in both parts
    assert [10, 20, 30] in found.images[:, :, 16, 16].tolist()


@pytest.mark.parametrize("size", [32, 64])
def test_the_middle_square_is_taken(tmp_path, size):
    columns = np.tile(np.arange(0, 128, dtype=np.uint8), (64, 1))
    write(tmp_path, {"test/a": 1})
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.fromarray(columns).save(tmp_path / "train" / "a" / "wide.png")
    Image.fromarray(columns.T.copy()).save(tmp_path / "train" / "a" / "high.png")
    images = read(tmp_path, size=size).images[:, 0].float()
    wide = next(image for image in images if image[0, 0] < image[0, -1])
    high = next(image for image in images if image[0, 0] < image[-1, 0])
    expected = torch.linspace(32 + 64 / size / 2 - 0.5, 96 - 64 / size / 2 - 0.5, size)
    assert (wide - expected).abs().max() <= 1 and (high.T - expected).abs().max() <= 1


def damaged():
    """{name: bytes of a file that is no whole image}."""
    whole = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(whole, "PNG")
    jpeg = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(jpeg, "JPEG")
    negative, nan = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.full((8, 8), -1, np.int32)).save(negative, "TIFF")
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(nan, "TIFF")
    header = bytearray(whole.getvalue())
    header[16:24] = (100_000).to_bytes(4, "big") * 2  # 10 billion pixels, says the header
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    return {"empty": b"", "text": b"no image", "half": whole.getvalue()[:200], "half a JPEG": jpeg.getvalue()[:300],
            "negative": negative.getvalue(), "nan": nan.getvalue(), "huge": bytes(header),
            "flipped": whole.getvalue()[:60] + b"\0" + whole.getvalue()[61:]}


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_image_is_named(tmp_path, name):
    write(tmp_path, {"a": 12})
    (tmp_path / "a" / "05.png").write_bytes(damaged()[name])
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(tmp_path / "a" / "05.png") in str(error.value) and "\n" not in str(error.value)
    assert ("exceeds limit" in str(error.value)) == (name == "huge")


def test_a_very_long_image_takes_no_memory(tmp_path):
    write(tmp_path, {"a": 11})
    Image.new("L", (1_000_000, 1), 77).save(tmp_path / "a" / "long.png")
    assert 77 in read(tmp_path).images.float().mean((1, 2, 3)).tolist()


# ---- the whole of it


def test_many_images_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "MANY", 20)
    place, root = tmp_path / "images", tmp_path / "data"
    write(place, {"a": 15, "b": 15})
    first = read(place, root=root)
    assert "reading 30 images" in capsys.readouterr().err and len(list((root / "cache").iterdir())) == 1
    assert not [path for path in place.rglob("*") if path.suffix != ".png" and path.is_file()]
    opened = []
    monkeypatch.setattr(folders, "pixels", lambda *given: opened.append(given) or np.zeros((32, 32, 3), np.uint8))
    again = read(place, root=root)
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels) and not opened
    cache = next((root / "cache").iterdir())
    kept = cache.read_bytes()
    for change in (lambda: os.utime(place / "a" / "03.png", (1, 1)), lambda: (place / "b" / "14.png").unlink(),
                   lambda: cache.write_bytes(kept[:100]), lambda: cache.write_bytes(b"")):
        change()
        opened.clear()
        read(place, root=root)
        assert len(opened) >= 29, change


def test_resume_knows_its_images(tmp_path, capsys):
    """Moved as they are they are the same; others are refused, though their folder has the same name."""
    place, out = tmp_path / "images", tmp_path / "out"
    write(place, {"a": 20, "b": 20})

    def train(folder, *flags):
        status, _ = train_here(ROOT / "Classification", "--dataset", f"folder:{folder}", "--batch-size", 8,
                               "--out-dir", out, *flags)
        return status, capsys.readouterr().err

    assert train(place, "--max-steps", 2)[0] == 0
    moved = shutil.move(place, tmp_path / "moved")
    assert train(moved, "--max-steps", 3, "--resume")[0] == 0
    before = hashlib.sha256((out / "checkpoints" / "checkpoint.pt").read_bytes()).hexdigest()
    os.rename(moved / "a", moved / "c")  # the labels of a and b would change places
    status, said = train(moved, "--max-steps", 4, "--resume")
    assert status == 2 and "not the data" in said
    os.rename(moved / "c", moved / "a")
    Image.new("L", (40, 40), 9).save(moved / "a" / "77.png")
    status, said = train(moved, "--max-steps", 4, "--resume")
    assert status == 2 and "not the data" in said
    assert hashlib.sha256((out / "checkpoints" / "checkpoint.pt").read_bytes()).hexdigest() == before


def test_nothing_is_written_among_the_images(tmp_path, capsys):
    write(tmp_path, {"a": 40})
    status, _ = train_here(ROOT / "GAN", "--dataset", f"folder:{tmp_path}", "--out-dir", tmp_path / "a" / "out")
    assert status == 2 and "--out-dir" in capsys.readouterr().err and not (tmp_path / "a" / "out").exists()


def test_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match="is not a folder") as error:
        resolve(f"folder:{tmp_path / 'nowhere'}", tmp_path)
    assert str(tmp_path / "nowhere") in str(error.value)


def test_sixty_classes_are_drawn_apart():
    classes = tuple(f"class {i:03d}" for i in range(60))
    fig = scatter(torch.randn(600, 2), torch.arange(600) % 60, classes, "codes")
    points, = fig.axes[0].collections
    assert len(np.unique(points.cmap(points.norm(np.arange(60))), axis=0)) == 60
    assert 5 <= len(fig.axes[1].get_yticks()) <= 20

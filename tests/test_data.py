import bz2
import contextlib
import gzip
import hashlib
import http.server
import socket
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from conftest import write_idx
from PIL import Image
from torchvision import datasets

from common import data
from common.data import Batches, InputError, load, resolve, to_float

PARTS = {True: "train", False: "t10k"}


def write_usps(root, train=12, test=7):
    """Tiny USPS files: values -1 to 1, labels 1 to 10. Returns {train: (pixels uint8 (N, 16, 16), labels 0 to 9)}."""
    rng, written = np.random.default_rng(0), {}
    for is_train, name, n in ((True, "usps.bz2", train), (False, "usps.t.bz2", test)):
        values, labels = rng.choice([-1.0, 0.0, 0.5, 1.0], (n, 256)), rng.permutation(n) % 10
        lines = (f"{label + 1} " + " ".join(f"{i + 1}:{v}" for i, v in enumerate(row)) + "\n"
                 for label, row in zip(labels, values, strict=True))
        (root / name).write_bytes(bz2.compress("".join(lines).encode()))
        pixels = np.select([values == -1, values == 0, values == 0.5], [0, 127, 191], 255).astype(np.uint8)
        written[is_train] = pixels.reshape(n, 16, 16), labels
    return written


def enlarged(pixels, size):
    """Bilinear, by Pillow: within a level of ours."""
    return torch.tensor(np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BILINEAR))
                                  for p in pixels])).int()


def is_one_line_about(error, file):
    return str(file) in str(error.value) and "\n" not in str(error.value)


# ---- what each name gives


def check_padded(loaded, images, labels):
    assert loaded.images.dtype == torch.uint8 and loaded.labels.dtype == torch.int64
    assert loaded.images.shape == (len(images), 1, 32, 32)
    assert torch.equal(loaded.images[:, 0, 2:30, 2:30], torch.as_tensor(images))
    border = loaded.images.clone()
    border[:, :, 2:30, 2:30] = 0
    assert not border.any()
    assert torch.equal(loaded.labels, torch.as_tensor(labels).long())


@pytest.mark.parametrize("train", [True, False])
def test_real_mnist_is_torchvisions_padded(real_mnist, train):
    theirs = datasets.MNIST(str(real_mnist), train=train)
    ours = load(*resolve("mnist", real_mnist)[:1], real_mnist, train)
    assert len(ours) == (60_000 if train else 10_000)
    check_padded(ours, theirs.data, theirs.targets)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", data.IDX)
def test_idx_files(tmp_path, name, train):
    written = write_idx(tmp_path, data.IDX[name], train=11, test=5)
    assert resolve(name, tmp_path) == (name, "")
    check_padded(load(name, tmp_path, train), *written[PARTS[train]])


def test_auto_is_mnist_where_it_is(tmp_path):
    write_idx(tmp_path)
    assert resolve("auto", tmp_path) == ("mnist", "")


def test_unknown_name(tmp_path):
    with pytest.raises(InputError, match="--dataset.*cifar.*fashion-mnist.*folder:PATH"):
        resolve("cifar", tmp_path)


@pytest.mark.parametrize("train", [True, False])
def test_usps(tmp_path, train):
    pixels, labels = write_usps(tmp_path)[train]
    assert resolve("usps", tmp_path) == ("usps", "")
    usps = load("usps", tmp_path, train)
    assert usps.images.dtype == torch.uint8 and usps.images.shape == (len(pixels), 1, 32, 32)
    assert (usps.images[:, 0, 2:30, 2:30].int() - enlarged(pixels, 28)).abs().max() <= 1
    assert not usps.images[:, :, :2].any() and not usps.images[..., 30:].any()
    assert usps.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("train, n", [(True, 7291), (False, 2007)])
def test_real_usps(train, n):
    root = data.data_dir()
    if not all(file.exists() for file in data._files("usps", root)):
        pytest.skip(f"USPS is not in {root}")
    usps = load("usps", root, train)
    assert usps.images.shape == (n, 1, 32, 32) and sorted(set(usps.labels.tolist())) == list(range(10))
    assert usps.images.max() == 255 and usps.images[:, :, :2].max() == 0


def test_digits(tmp_path):
    from sklearn.datasets import load_digits

    theirs = load_digits()
    assert resolve("digits", tmp_path) == ("digits", "")
    train, test = load("digits", tmp_path), load("digits", tmp_path, train=False)
    assert (len(train), len(test)) == (1500, 297)
    images, labels = torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels])
    pixels = np.round(theirs.images / 16 * 255).astype(np.uint8)
    assert (images[:, 0].int() - enlarged(pixels, 32)).abs().max() <= 1
    assert labels.tolist() == theirs.target.tolist()


@pytest.mark.parametrize("name, first", [("mnist", "0"), ("fashion-mnist", "T-shirt/top"), ("kmnist", "o"),
                                         ("usps", "0"), ("digits", "0")])
def test_names_of_the_classes(tmp_path, name, first):
    write_idx(tmp_path, data.IDX.get(name, "MNIST"))
    write_usps(tmp_path)
    classes = [load(name, tmp_path, train).classes for train in (True, False)]
    assert classes[0] == classes[1] and len(set(classes[0])) == 10 and classes[0][0] == first


# ---- sizes, memory, place


@pytest.mark.parametrize("name", [*data.IDX, "usps", "digits"])
def test_image_size_64(tmp_path, name):
    for folder in data.IDX.values():
        write_idx(tmp_path, folder, train=3, test=2)
    write_usps(tmp_path, train=3, test=2)
    small, large = load(name, tmp_path, False), load(name, tmp_path, False, 64)
    assert large.images.shape == (len(small), 1, 64, 64) and large.images.dtype == torch.uint8
    assert (large.images[:2, 0].int() - enlarged(small.images[:2, 0].numpy(), 64)).abs().max() <= 1


def test_to_float():
    images = torch.arange(256, dtype=torch.uint8).repeat(2, 3, 1, 1)
    floats = to_float(images)
    assert floats.dtype == torch.float32 and floats.is_contiguous(memory_format=torch.channels_last)
    assert floats[0, 0, 0].tolist() == pytest.approx([i / 255 for i in range(256)], rel=1e-6)
    assert floats.min() == 0 and floats.max() == 1 and images.max() == 255


def test_dataset_in_order_and_in_parts():
    images = torch.randint(0, 256, (7, 1, 32, 32), dtype=torch.uint8)
    whole = data.Dataset(images, torch.arange(7), tuple("abcdefg"))
    batches = list(whole.batches(3))
    assert [len(x) for x, _ in batches] == [3, 3, 1]
    assert torch.cat([y for _, y in batches]).tolist() == list(range(7))
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), images / 255)
    part = whole[torch.tensor([5, 2])]
    assert part.labels.tolist() == [5, 2] and torch.equal(part.images, images[[5, 2]])
    assert part.classes == whole.classes == whole.to("cpu").classes


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("FUN_WITH_MNIST_DATA", "/from/the/environment")
    assert str(data.data_dir(tmp_path)) == str(tmp_path)
    assert str(data.data_dir()) == "/from/the/environment"
    monkeypatch.setenv("FUN_WITH_MNIST_DATA", "")
    assert data.data_dir().name == "data" and (data.data_dir().parent / "common").is_dir()


# ---- damaged and missing files

DAMAGE = {
    "truncated": lambda content: content[:-5],
    "longer": lambda content: content + b"12345",
    "rubbish": lambda content: b"<html>not found</html>" * 20,
    "empty": lambda content: b"",
    "header alone": lambda content: content[:4],
    "missing": None,
}


def damage(file, how):
    if how is None:
        file.unlink()
    else:
        file.write_bytes(how(file.read_bytes()))


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("which", range(4))
def test_damaged_idx_files(tmp_path, which, how):
    write_idx(tmp_path)
    file = data._files("mnist", tmp_path)[which]
    damage(file, DAMAGE[how])
    with pytest.raises(InputError) as error:
        load("mnist", tmp_path, train=which < 2)
    assert is_one_line_about(error, file)


@pytest.mark.parametrize("how", [how for how in DAMAGE if how != "longer"])  # bz2 ignores what follows its end
@pytest.mark.parametrize("which", range(2))
def test_damaged_usps_files(tmp_path, which, how):
    write_usps(tmp_path)
    file = data._files("usps", tmp_path)[which]
    damage(file, DAMAGE[how])
    with pytest.raises(InputError) as error:
        load("usps", tmp_path, train=which == 0)
    assert is_one_line_about(error, file)


@pytest.mark.parametrize("text", ["", "11 " + "1:0 " * 256, "0 " + "1:0 " * 256, "1 " + "1:0 " * 255, "x" * 300])
def test_usps_files_of_other_contents(tmp_path, text):
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(text.encode()))
    with pytest.raises(InputError) as error:
        load("usps", tmp_path)
    assert is_one_line_about(error, tmp_path / "usps.bz2")


def test_idx_files_that_do_not_fit(tmp_path):
    images, labels = data._files("mnist", tmp_path)[:2]
    write_idx(tmp_path, train=5)
    whole = labels.read_bytes()
    for content in (whole[:-1] + b"\x0a",  # a label of 10
                    np.array([0x0801, 4], ">i4").tobytes() + whole[8:12],  # 4 labels for 5 images
                    np.array([0x0801, 0], ">i4").tobytes()):
        labels.write_bytes(content)
        with pytest.raises(InputError) as error:
            load("mnist", tmp_path)
        assert is_one_line_about(error, labels)
    labels.write_bytes(np.array([0x0801, 2], ">i4").tobytes() + bytes(2))
    images.write_bytes(np.array([0x0803, 2, 14, 14], ">i4").tobytes() + bytes(2 * 14 * 14))
    with pytest.raises(InputError) as error:
        load("mnist", tmp_path)
    assert is_one_line_about(error, images)


# ---- downloads


def files_below(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def serve(monkeypatch):
    """serve(handler) starts an HTTP server on 127.0.0.1 and returns its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(data, "PATIENCE", 5)
    servers = []

    def start(handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Files(http.server.BaseHTTPRequestHandler):
    """Serves `contents`, {name: bytes}, as `send` sends it."""

    contents = {}

    def do_HEAD(self, body=None):
        content = self.contents.get(self.path.removeprefix("/"))
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if body and content:
            body(content)

    def do_GET(self):
        self.do_HEAD(self.send)

    def send(self, content):
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def mirror(monkeypatch, tmp_path, name, address):
    """Makes `address` the server of a data set, serving tiny files. Returns {file: its contents}."""
    source = tmp_path / "source"
    source.mkdir()
    if name == "usps":
        write_usps(source)
        served = {file.name: file.read_bytes() for file in source.iterdir()}
        monkeypatch.setattr(datasets.USPS, "split_list", {
            split: [address + file, file, hashlib.md5(served[file]).hexdigest()]
            for split, file in (("train", "usps.bz2"), ("test", "usps.t.bz2"))})
        return served
    kind = getattr(datasets, data.IDX[name])
    write_idx(source, data.IDX[name])
    served = {f"{file.name}.gz": gzip.compress(file.read_bytes(), mtime=0) for file in data._files(name, source)}
    monkeypatch.setattr(kind, "mirrors", [address])
    monkeypatch.setattr(kind, "resources", [(file, hashlib.md5(gz).hexdigest()) for file, gz in served.items()])
    return served


@pytest.mark.parametrize("name", [*data.IDX, "usps", "auto"])
def test_download(monkeypatch, tmp_path, serve, name):
    class Handler(Files):
        pass

    resolved = "mnist" if name == "auto" else name
    Handler.contents = mirror(monkeypatch, tmp_path, resolved, serve(Handler))
    root = tmp_path / "new" / "data"
    assert resolve(name, root) == (resolved, "")
    source = tmp_path / "source"
    assert files_below(root) == files_below(source)
    assert all((root / file).read_bytes() == (source / file).read_bytes()
               for file in files_below(root) if (root / file).is_file())
    assert len(load(resolved, root)) and len(load(resolved, root, train=False))
    Handler.contents = {}
    assert resolve(name, root) == (resolved, "")  # not downloaded again


def test_download_from_the_mirror_that_answers(monkeypatch, tmp_path, serve):
    class Handler(Files):
        pass

    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    address = serve(Handler)
    Handler.contents = mirror(monkeypatch, tmp_path, "mnist", address)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [dead, address])
    assert resolve("mnist", tmp_path / "data") == ("mnist", "")


def break_off(handler, content):
    handler.wfile.write(content[:len(content) // 2])


def damage_on_the_way(handler, content):
    handler.wfile.write(content[:-20] + bytes(20))


@pytest.mark.parametrize("send", [break_off, damage_on_the_way])
@pytest.mark.parametrize("failing", [0, 3])
def test_failed_download_leaves_nothing(monkeypatch, tmp_path, serve, failing, send):
    class Handler(Files):
        def send(self, content):
            send(self, content) if content == list(self.contents.values())[failing] else super().send(content)

    Handler.contents = mirror(monkeypatch, tmp_path, "mnist", serve(Handler))
    root = tmp_path / "data"
    with pytest.raises(InputError) as error:
        resolve("mnist", root)
    assert is_one_line_about(error, data._files("mnist", root)[0])
    assert not root.exists() or not files_below(root)
    assert resolve("auto", root)[0] == "digits"


def test_download_that_stalls_is_given_up(monkeypatch, tmp_path, serve):
    """The server answers at first, then sends nothing more."""
    over = threading.Event()

    class Handler(Files):
        def send(self, content):
            self.wfile.write(content[:100])
            self.wfile.flush()
            over.wait(4)

    Handler.contents = mirror(monkeypatch, tmp_path, "mnist", serve(Handler))
    monkeypatch.setattr(data, "PATIENCE", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError):
        resolve("mnist", tmp_path / "data")
    over.set()
    assert time.monotonic() - began < 3.5


@pytest.mark.parametrize("answer, pause", [
    (b"", 0), (b"this is no HTTP\r\n\r\n", 0), (b"HTTP/1.1 200 OK\r\nServer: very slow indeed, as one sees", 0.1)],
    ids=["silent", "rubbish", "slow"])
def test_server_that_does_not_answer_is_given_up(monkeypatch, tmp_path, answer, pause):
    """It accepts connections, and says nothing, or nothing of use, or a byte now and then that no time-out notices."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(data, "PATIENCE", 0.5)
    failures, over = [], threading.Event()
    monkeypatch.setattr(threading, "excepthook", failures.append)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.getsockname()[1]}/"])

        def reply():
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                for byte in answer:
                    connection.send(bytes([byte]))
                    time.sleep(pause)
                over.wait(5)

        for _ in range(2):
            threading.Thread(target=reply, daemon=True).start()
        began = time.monotonic()
        name, notice = resolve("auto", tmp_path)
        assert name == "digits" and "NOT MNIST" in notice
        with pytest.raises(InputError):
            resolve("mnist", tmp_path)
        assert time.monotonic() - began < 3
        over.set()
    assert not files_below(tmp_path) and not failures


def test_auto_without_network_is_digits_and_says_so(tmp_path, offline):
    name, notice = resolve("auto", tmp_path)
    assert name == "digits" and "NOT MNIST" in notice and "1,797" in notice and "\n" not in notice
    assert len(load(name, tmp_path)) == 1500 and not files_below(tmp_path)


@pytest.mark.parametrize("name", [*data.IDX, "usps"])
def test_named_data_set_without_network(tmp_path, offline, name):
    with pytest.raises(InputError) as error:
        resolve(name, tmp_path)
    assert is_one_line_about(error, data._files(name, tmp_path)[0]) and not files_below(tmp_path)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("which", range(4))
def test_auto_has_no_substitute_for_damaged_files(tmp_path, offline, which, how):
    write_idx(tmp_path)
    file = data._files("mnist", tmp_path)[which]
    damage(file, DAMAGE[how])
    with pytest.raises(InputError) as error:
        load(*resolve("auto", tmp_path)[:1], tmp_path, train=which < 2)
    assert is_one_line_about(error, file)


# ---- batches


def numbers(n):
    """A set whose elements are their own indices."""
    return (torch.arange(n),)


def epoch(batches, e=0):
    return torch.cat([batches[t][0] for t in range(e * batches.per_epoch, (e + 1) * batches.per_epoch)]).tolist()


@pytest.mark.parametrize("n, size, left_out", [(20, 5, 0), (23, 5, 3), (5, 5, 0), (9, 5, 4), (7, 1, 0)])
def test_epoch_takes_no_image_twice(n, size, left_out):
    batches = Batches(numbers(n), batch_size=size)
    for e in range(3):
        seen = epoch(batches, e)
        assert len(seen) == len(set(seen)) == n - left_out and set(seen) <= set(range(n))
        assert all(len(batches[t][0]) == size for t in range(batches.per_epoch))


def test_left_out_images_come_in_other_epochs():
    batches = Batches(numbers(23), batch_size=5)
    assert set().union(*(epoch(batches, e) for e in range(20))) == set(range(23))


def test_epochs_and_seeds_have_their_own_order():
    orders = [epoch(Batches(numbers(40), batch_size=10, seed=seed), e) for seed in range(4) for e in range(4)]
    assert len({tuple(order) for order in orders}) == 16
    assert all(order != sorted(order) for order in orders)


def test_every_place_is_equally_likely():
    """Chi-squared of 400 epochs' first element over 10 values: 9 degrees of freedom, 27.9 is passed once in 1,000."""
    batches = Batches(numbers(10), batch_size=10)
    counts = np.bincount([epoch(batches, e)[0] for e in range(400)], minlength=10)
    assert ((counts - 40) ** 2 / 40).sum() < 27.9


def test_batch_is_a_function_of_its_number_alone():
    def make():
        return Batches(numbers(23), numbers(11), batch_size=5, seed=3)

    in_order = make()
    expected = [in_order[t] for t in range(12)]
    torch.manual_seed(99)
    any_order, state = make(), torch.get_rng_state()
    for t in (7, 0, 11, 3, 7, 4, 11, 1):
        torch.testing.assert_close(any_order[t], expected[t], rtol=0, atol=0)
        torch.testing.assert_close(make()[t], expected[t], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_a_batch(ranks):
    images = torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8)

    def make(rank, ranks):
        return Batches((images, torch.arange(30)), numbers(14), batch_size=6, rank=rank, ranks=ranks)

    whole, parts = make(0, 1), [make(rank, ranks) for rank in range(ranks)]
    for t in range(7):
        slices = [part[t] for part in parts]
        assert all(len(tensor) == 6 // ranks for part in slices for tensor in part)
        for joined, tensor in zip(zip(*slices, strict=True), whole[t], strict=True):
            assert torch.equal(torch.cat(joined), tensor)


def test_several_sets_of_different_lengths():
    """Each set goes through its own passes; an epoch is one of the first's."""
    images = torch.randint(0, 256, (12, 1, 4, 4), dtype=torch.uint8)
    batches = Batches((images, torch.arange(12)), numbers(7), batch_size=3)
    assert batches.per_epoch == 4
    drawn = [batches[t] for t in range(12)]
    for x, label, _ in drawn:
        assert torch.equal(x, to_float(images[label]))  # image and label stay together
    for start in range(0, 12, 4):
        assert sorted(torch.cat([label for _, label, _ in drawn[start:start + 4]]).tolist()) == list(range(12))
    for start in range(0, 12, 2):
        seen = torch.cat([other for *_, other in drawn[start:start + 2]]).tolist()
        assert len(set(seen)) == 6 and set(seen) <= set(range(7))


def test_a_second_set_smaller_than_a_batch_is_repeated():
    drawn = [Batches(numbers(40), numbers(3), batch_size=8, seed=1)[t][1] for t in range(5)]
    for batch in drawn:  # of nine, each of the three thrice, eight
        assert sorted(torch.bincount(batch, minlength=3).tolist()) == [2, 3, 3]
    assert len({tuple(batch.tolist()) for batch in drawn}) > 1


def test_stratified():
    labels = torch.arange(300) % 10
    some = data.Dataset(torch.arange(300).view(-1, 1, 1, 1), labels)
    for n in (10, 25, 100):
        few = some.stratified(n, seed=4)
        counts = torch.bincount(few.labels, minlength=10)
        assert len(few) == n and counts.max() - counts.min() == (n % 10 > 0)
        assert len(few.images.unique()) == n and torch.equal(few.images.flatten() % 10, few.labels)
        assert torch.equal(few.images, some.stratified(n, seed=4).images)
        assert not torch.equal(few.images, some.stratified(n, seed=5).images)
    picked = torch.stack([torch.bincount(some.stratified(25, seed=s).labels, minlength=10) for s in range(40)])
    assert (picked.float().mean(0) - 2.5).abs().max() < 0.35  # which classes have one more is drawn, too
    for n, problem in ((9, "9 are too few for 10 classes"), (310, "310 are too many for 10 classes of 30 images")):
        with pytest.raises(InputError, match=f"--labels: {problem}"):
            some.stratified(n, seed=0)


def test_equal_sets_have_orders_of_their_own():
    a, b = zip(*(Batches(numbers(40), numbers(40), batch_size=20)[t] for t in range(2)), strict=True)
    assert torch.cat(a).tolist() != torch.cat(b).tolist()


def test_images_become_floats_and_nothing_else_does():
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    points, labels = torch.randn(4, 1, 2, 2), torch.arange(4, dtype=torch.uint8)
    x, p, y = Batches((images, points, labels), batch_size=4)[0]
    assert x.dtype == torch.float32 and y.dtype == torch.uint8
    assert torch.equal(x, to_float(images)[y.long()]) and torch.equal(p, points[y.long()])


def test_several_batches_at_once():
    """n at once are the same elements as one by one, and every rank has its part of each of them."""
    single, several = Batches(numbers(50), batch_size=4, seed=1), Batches(numbers(50), batch_size=4, n=3, seed=1)
    assert several.per_epoch == 4 and several.size == 12
    ranks = [Batches(numbers(50), batch_size=4, n=3, seed=1, rank=rank, ranks=2) for rank in (0, 1)]
    for t in range(4):
        (x,) = several[t]
        assert x.shape[:2] == (3, 4)
        assert torch.equal(x, torch.stack([single[3 * t + i][0] for i in range(3)]))
        assert torch.equal(x, torch.cat([part[t][0] for part in ranks], 1))
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    assert Batches((images,), batch_size=2, n=3)[0][0].dtype == torch.float32
    with pytest.raises(InputError, match="--batch-size: 3 times 4 is larger than the set of 10"):
        Batches(numbers(10), batch_size=4, n=3)
    with pytest.raises(InputError, match="3 does not divide by 2"):
        Batches(numbers(50), batch_size=3, n=2, ranks=2)


def test_batches_refuse():
    with pytest.raises(InputError, match="6 is larger than the set of 5"):
        Batches(numbers(5), batch_size=6)
    with pytest.raises(InputError, match="does not divide by 3 ranks"):
        Batches(numbers(50), batch_size=4, ranks=3)

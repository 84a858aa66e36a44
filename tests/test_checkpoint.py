"""What comes from a checkpoint is checked where it is read: wrong values, flipped bits, small files that are large."""

import random
import resource
import zipfile

import numpy as np
import pytest
import torch
from running import ROOT, run_here, train_here
from test_resume import small_gan

from common import checkpoint
from common.options import InputError
from misc.generate import generate

SAMPLE = 10  # of the wrong values that pass the door: all of them take minutes
WRONG = (None, "x", -1, 1e30, float("nan"), float("inf"), [], {}, [None], True, 2**70, b"x", ("a", 1),
         torch.full((3,), float("nan")), torch.zeros(2, 5, dtype=torch.int64))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a model with narrow networks, and its checkpoint after two updates."""
    folder = small_gan(tmp_path_factory.mktemp("small"))
    flags = ("--dataset", "digits", "--batch-size", 8, "--max-steps", 2)
    assert train_here(folder, *flags)[0] == 0
    return folder, folder / "checkpoints" / "checkpoint.pt"


def places(value, place=()):
    """Every place in nested data, of the tensors of a network or an optimizer and of long lists two."""
    if place:
        yield place
    parts = [] if place[2:] == ("param_groups",) else list(  # those are not read
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ())
    alike = {type(part) for _, part in parts} in ({torch.Tensor}, {dict}, {int}) and place
    for key, part in parts[:2] if alike else parts:
        yield from places(part, (*place, key))


def replaced(state, place, value):
    """A copy with another value in one place."""
    key, *rest = place
    part = replaced(state[key], rest, value) if rest else value
    if isinstance(state, dict):
        return {**state, key: part}
    return type(state)([*state[:key], part, *state[key + 1:]])


def test_every_field_with_wrong_values(small, tmp_path, capsys):
    """Of what passes the door, generate makes images and resume goes on, or either refuses it; nothing else happens."""
    folder, path = small
    state = torch.load(path, weights_only=True)
    passed, tried = [], 0
    for place in places(state):
        for value in WRONG:
            changed = replaced(state, place, value)
            tried += 1
            try:
                checkpoint.check(changed, path)
            except InputError as error:
                assert "\n" not in str(error) and str(path) in str(error)
            else:
                passed.append((place, value, changed))
    assert tried > 1000 and "step" not in {place[0] for place, _, _ in passed}
    kept = path.read_bytes()
    chance = random.Random(0)
    for place, value, changed in chance.sample(passed, SAMPLE):
        torch.save(changed, path)
        given = path.read_bytes()
        try:
            generate(folder, path, n=2)
        except InputError as error:
            assert "\n" not in str(error)
        capsys.readouterr()
        status, _ = train_here(folder, "--resume", "--max-steps", 2)
        said = capsys.readouterr().err
        assert status in (0, 2), (place, value)
        assert status == 0 or (said.count("error:") == 1 and path.read_bytes() == given), (place, value, said)
    path.write_bytes(kept)


def test_flipped_bits(small, tmp_path):
    """Refused, or what is loaded is what was saved."""
    _, path = small
    whole, right, chance, refused = path.read_bytes(), checkpoint.load(path), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        try:
            found = checkpoint.load(tmp_path / "checkpoint.pt")
        except InputError:
            refused += 1
        else:
            same = [found, right]
            for i, state in enumerate(same):
                same[i] = repr(torch.utils._pytree.tree_map(
                    lambda x: x.numpy().tobytes() if isinstance(x, torch.Tensor) else x, state))
            assert same[0] == same[1]
    assert refused > 150


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB


@pytest.mark.parametrize("kind", ["deflated", "expanded", "on top of each other"])
def test_a_small_file_takes_little_memory(small, tmp_path, kind):
    _, path = small
    target, before = tmp_path / "checkpoint.pt", peak()
    if kind == "expanded":
        for place in (("losses", "values"), ("random", 0, "torch"), ("tensors", "t"), ("networks", "G", "0.weight")):
            state = replaced(torch.load(path, weights_only=True), place, torch.zeros(1).expand(10**10))
            torch.save(state, target)
            with pytest.raises(InputError, match="larger than its memory"):
                checkpoint.load(target)
    else:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for record in source.infolist():
                packed.writestr(record.filename, source.read(record), zipfile.ZIP_STORED)
            if kind == "deflated":
                with packed.open("archive/data/999", "w") as record:
                    for _ in range(100):
                        record.write(bytes(10_000_000))
            else:
                packed.filelist += [max(packed.filelist, key=lambda record: record.file_size)] * 1000
        with pytest.raises(InputError, match="damaged"):
            checkpoint.load(target)
    assert peak() - before < 200


def test_evaluate_refuses_weights_that_are_not_finite(small, tmp_path, capsys):
    folder, path = small
    state = torch.load(path, weights_only=True)
    state["networks"]["G_ema"]["0.weight"][0, 0, 0, 0] = np.nan
    torch.save(state, tmp_path / "nan.pt")
    for tool in ("evaluate", "generate"):
        assert run_here(ROOT / "misc" / f"{tool}.py", folder, "--checkpoint", tmp_path / "nan.pt")[0] == 2
        assert "networks.G_ema.0.weight is not finite" in capsys.readouterr().err

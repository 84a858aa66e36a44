"""Two gloo ranks against one process. One update and the GAN are started by torchrun itself, the others forked."""

import os
import subprocess
import sys

import pytest
import torch
from forked import Forked
from running import FEW, ROOT, TRAINABLE, leaving, run_ranks

# One update of a GAN in float64; each rank takes its half of x and z. Rank 0 (or the only process) saves the weights.
UPDATE = """
import glob, sys, torch
sys.path.insert(0, {root!r})
from common import distribution
from common.blocks import Down, Up
from common.updates import bce, descend
distribution.start(torch.device("cpu"))
torch.manual_seed(3 + distribution.rank())
G, D = (net.double() for net in (Up(8, widths=(16, 8, 8, 8), norm={norm!r}), Down(widths=(8, 8, 8, 16), norm={norm!r})))
generator = torch.Generator().manual_seed(7)
x, z = torch.rand(3, 12, 1, 32, 32, generator=generator).double(), torch.randn(3, 12, 8, generator=generator).double()
if distribution.ranks() == 1:
    torch.manual_seed(3)
    G, D = (net.double() for net in (Up(8, widths=(16, 8, 8, 8), norm={norm!r}),
                                     Down(widths=(8, 8, 8, 16), norm={norm!r})))
for net in (G, D):
    distribution.broadcast_(net.state_dict().values())
sgd_g, sgd_d = (torch.optim.SGD(net.parameters(), lr=0.05) for net in (G, D))
share = slice(distribution.rank() * 12 // distribution.ranks(), (distribution.rank() + 1) * 12 // distribution.ranks())
for t in range(3):
    fake = G(z[t, share])
    descend((sgd_d, bce(D(x[t, share]), 1) + bce(D(fake.detach()), 0)))
    descend((sgd_g, bce(D(fake), 1)))
if distribution.rank() == 0:
    torch.save([p.detach() for net in (G, D) for p in net.parameters()], {out!r})
distribution.stop()
assert not [name for name in glob.glob("/proc/self/task/*/comm") if "gloo" in open(name).read()], "stop left threads"
"""


def torchrun(*args, **kwargs):
    return subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0",
                           "--nnodes=1", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", *map(str, args)],
                          capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"},
                          **kwargs)


@pytest.fixture(scope="module", params=["none", "batch"])
def both(request, tmp_path_factory):
    """The weights after three updates: of one process, of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    weights = []
    for ranks in (1, 2):
        script, out = folder / f"{ranks}.py", folder / f"{ranks}.pt"
        script.write_text(UPDATE.format(root=str(ROOT), norm=request.param, out=str(out)))
        if ranks == 1:
            finished = [Forked(script).finish()]
        else:  # by torchrun once: its processes have imported nothing before the group is there
            finished = [torchrun(script)] if request.param == "none" else run_ranks(script)
        for done in finished:
            assert done.returncode == 0, done.stderr
        weights.append(torch.load(out, weights_only=True))
    return request.param, *weights


def test_two_ranks_make_the_update_of_the_joined_batch(both):
    norm, one, two = both
    if norm == "none":
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)
    else:  # each rank normalises by the statistics of its own half of the batch: close, but another update
        difference = max((a - b).abs().max().item() for a, b in zip(one, two, strict=True))
        assert 1e-4 < difference < 0.5


SMALL = ["--dataset", "digits", "--holdout", 1440, "--batch-size", 16, "--epochs", 2]


@pytest.mark.parametrize("folder", TRAINABLE, ids=lambda folder: folder.name)
def test_two_ranks_train(tmp_path, folder):
    few = (*leaving(folder, 100), "--batch-size", 16, "--max-steps", 3)  # 100: one update of WGAN
    args = (folder / "train.py", *few, *FEW.get(folder.name, ()), "--epochs", 3, "--out-dir", tmp_path)
    for done in [torchrun(*args)] if folder.name == "GAN" else run_ranks(*args):
        assert done.returncode == 0, done.stderr
    assert any(tmp_path.glob("samples/**/losses.png"))


def test_two_ranks_resume_bit_for_bit(tmp_path):
    args = [ROOT / "GAN" / "train.py", *SMALL]
    one, parts = tmp_path / "one", tmp_path / "parts"
    for extra in (["--max-steps", 5, "--out-dir", one], ["--max-steps", 2, "--out-dir", parts],
                  ["--max-steps", 5, "--out-dir", parts, "--resume"]):
        for done in run_ranks(*args, *extra):
            assert done.returncode == 0, done.stderr
    a, b = (torch.load(out / "checkpoints" / "checkpoint.pt", weights_only=True) for out in (one, parts))
    assert a["step"] == b["step"] == 5 and len(a["random"]) == 2
    assert not torch.equal(a["random"][0]["torch"], a["random"][1]["torch"])
    for name, network in a["networks"].items():
        assert all(torch.equal(value, b["networks"][name][key]) for key, value in network.items())
    assert torch.equal(a["losses"]["values"], b["losses"]["values"])


def test_a_batch_that_the_ranks_do_not_divide_is_refused_once(tmp_path):
    ranks = run_ranks(ROOT / "GAN" / "train.py", "--dataset", "digits", "--batch-size", 33, "--out-dir", tmp_path)
    assert all(done.returncode != 0 for done in ranks)
    assert "".join(done.stderr for done in ranks).count("--batch-size: 33 does not divide by 2 ranks") == 1

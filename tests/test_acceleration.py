"""Precision and devices; what needs a GPU is skipped without one."""

import subprocess
import sys

import pytest
import torch
from running import ROOT, train_here
from test_resume import assert_same, state_of

from common import acceleration
from common.options import InputError

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GAN = ROOT / "GAN"
ARGS = ("--dataset", "digits", "--holdout", 1000, "--batch-size", 50, "--epochs", 10)


def test_precision_is_resolved_by_the_processor(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(acceleration, "fast_bf16_cpu", lambda: True)
    assert acceleration.find_precision("auto", cpu) == "bf16"
    monkeypatch.setattr(acceleration, "fast_bf16_cpu", lambda: False)
    assert acceleration.find_precision("auto", cpu) == "fp32"
    assert acceleration.find_precision("bf16", cpu) == "bf16"
    assert acceleration.find_precision("auto", torch.device("mps")) == "fp32"
    with pytest.raises(InputError, match="tf32"):
        acceleration.find_precision("tf32", cpu)


def test_fast_bf16_needs_the_instructions(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not acceleration.fast_bf16_cpu()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert acceleration.fast_bf16_cpu()


def test_bf16_updates_compute_products_in_bf16_and_keep_float32_weights():
    net = torch.nn.Linear(4, 4)
    seen = []

    def update(x):
        seen.append(net(x).dtype)
        return {}

    for precision in ("bf16", "fp32"):
        acceleration.accelerate(update, torch.device("cpu"), precision)(torch.randn(2, 4))
    assert seen == [torch.bfloat16, torch.float32] and net.weight.dtype == torch.float32


def first_losses(out):
    flags = ("--precision", "bf16", "--device", "cpu", "--max-steps", 2, "--out-dir", out)
    assert train_here(GAN, *ARGS, *flags)[0] == 0
    return state_of(out)["losses"]["values"]


@pytest.fixture(scope="module")
def all_on(tmp_path_factory):
    return first_losses(tmp_path_factory.mktemp("all-on"))


@pytest.mark.parametrize("switch", acceleration.SWITCHES)
def test_every_switch_changes_speed_alone(monkeypatch, tmp_path, all_on, switch):
    """In bf16 the losses of the first updates differ by rounding only."""
    monkeypatch.setitem(acceleration.SWITCHES, switch, False)
    torch.testing.assert_close(first_losses(tmp_path), all_on, rtol=0.1, atol=0.1)


def test_a_light_start():
    """What is not needed at once is imported later: the start would take twice as long."""
    code = "import sys; sys.path.insert(0, {!r}); import common; print(*[m for m in {} if m in sys.modules])"
    heavy = ("torchvision", "matplotlib", "sklearn", "imageio", "torch.utils.tensorboard", "PIL")
    done = subprocess.run([sys.executable, "-c", code.format(str(ROOT), heavy)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == [], done.stdout + done.stderr


def gpu_losses(tmp_path, name, *flags, updates=20):
    torch.use_deterministic_algorithms(True)
    try:
        args = () if "--resume" in flags else (*ARGS, "--device", "cuda", "--precision", "fp32")
        assert train_here(GAN, *args, "--max-steps", updates, "--out-dir", tmp_path / name, *flags)[0] == 0
    finally:
        torch.use_deterministic_algorithms(False)
    return state_of(tmp_path / name)


@gpu
def test_graph_equals_eager(tmp_path):
    graph, eager = gpu_losses(tmp_path, "graph"), gpu_losses(tmp_path, "eager", "--eager")
    torch.testing.assert_close(graph["losses"]["values"], eager["losses"]["values"], rtol=1e-3, atol=1e-3)
    for name, network in graph["networks"].items():
        for key, value in network.items():
            torch.testing.assert_close(value, eager["networks"][name][key], rtol=1e-2, atol=1e-3)


@gpu
@pytest.mark.parametrize(("first", "then"), [((), ("--eager",)), (("--eager",), ()), ((), ())])
def test_resume_across_graph_and_eager(tmp_path, first, then):
    whole = gpu_losses(tmp_path, "whole", *first)
    gpu_losses(tmp_path, "parts", *first, updates=7)
    parts = gpu_losses(tmp_path, "parts", "--resume", *then)
    torch.testing.assert_close(parts["losses"]["values"], whole["losses"]["values"], rtol=1e-2, atol=1e-2)
    if first == then == ():
        assert_same(parts["losses"], whole["losses"])


@gpu
def test_random_numbers_differ_from_replay_to_replay_and_warm_up_takes_none():
    device = torch.device("cuda")

    def draw(x):
        return {"z": torch.randn(4, device=device)}

    state = ([], [], [])
    torch.cuda.manual_seed(0)
    step = acceleration.accelerate(draw, device, "fp32", lambda: state)
    ours = [step(torch.zeros(1, device=device))["z"].clone() for _ in range(3)]
    torch.cuda.manual_seed(0)
    theirs = [torch.randn(4, device=device) for _ in range(3)]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.equal(ours[0], ours[1])


@gpu
def test_an_update_that_cannot_be_captured_runs_eager_and_says_so(capsys):
    device = torch.device("cuda")
    total = torch.zeros((), device=device)

    def update(x):
        torch.randn(3, device=device)  # random numbers go on working after the failure
        total.add_(float(x.sum()))  # waits for the GPU: not possible in a graph
        return {"total": total}

    step = acceleration.accelerate(update, device, "fp32", lambda: ([], [], [total]))
    for _ in range(3):
        step(torch.ones(2, device=device))
    assert total.item() == 6
    assert capsys.readouterr().err.count("no CUDA graph, updates run eager") == 1

"""The CPU forms of the layers against the library's own."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common import layers

KINDS = [(layers.Conv2d, nn.Conv2d, (3, 5, 4, 2, 1)), (layers.ConvTranspose2d, nn.ConvTranspose2d, (3, 5, 4, 2, 1))]
FUNCTIONS = [(layers.conv, F.conv2d, (5, 3, 4, 4)), (layers.conv_transpose, F.conv_transpose2d, (3, 5, 4, 4))]


@pytest.fixture
def always(monkeypatch):
    """The CPU forms in every precision, so that they can be compared exactly."""
    monkeypatch.setattr(layers, "_fast", lambda x, switch: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.get_default_dtype())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "plain", "args"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [2, 4, 6])
def test_equals_the_plain_layer_both_ways(always, monkeypatch, dtype, kind, plain, args, bias, size):
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: dtype)
    ours, theirs = kind(*args, bias=bias).to(dtype), plain(*args, bias=bias).to(dtype)
    ours.to(memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))  # and back
    x = torch.randn(4, 3, size, size + 2, dtype=dtype, requires_grad=True)
    results = []
    for layer in (ours, theirs):
        y = layer(x)
        weights = torch.arange(y.numel(), dtype=dtype).view_as(y).sin()
        results.append((y, *torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()])))
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, **tolerance)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize(("ours", "theirs", "shape"), FUNCTIONS, ids=["conv", "conv_transpose"])
def test_second_derivatives(ours, theirs, shape):
    """For gradient penalties."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x, weight, bias), theirs(x, weight, bias, 2, 1))
    assert torch.autograd.gradcheck(ours, (x, weight, bias))
    assert torch.autograd.gradgradcheck(lambda x, w: ours(x, w, bias).tanh(), (x, weight))


def test_gather_and_scatter_are_adjoint():
    image, windows = torch.randn(2, 6, 4, 3).double(), torch.randn(2, 3, 2, 4, 4, 3).double()
    left, right = (layers.gather(image) * windows).sum(), (image * layers.scatter(windows)).sum()
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize(("kind", "plain", "args"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_used_in_bf16_on_a_cpu_and_close_to_fp32(monkeypatch, kind, plain, args):
    used = []
    monkeypatch.setattr(layers, "_fast", lambda *args, original=layers._fast: used.append(original(*args)) or used[-1])
    layer = kind(*args).to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 8, 8).to(memory_format=torch.channels_last)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        layer.eval()
        layer(x)
    assert used[:2] == [False, True]
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("channels", "size", "product"), [(16, 8, False), (16, 4, True), (3, 8, True)])
def test_large_maps_are_left_to_the_library(monkeypatch, channels, size, product):
    used = []
    for name in ("conv", "conv_transpose"):
        function = getattr(layers, name)
        monkeypatch.setattr(layers, name, lambda *args, f=function, name=name: used.append(name) or f(*args))
    image, smaller = torch.randn(2, channels, 2 * size, 2 * size), torch.randn(2, 5, size, size)
    for layer, x in ((layers.Conv2d(channels, 5, 4, 2, 1), image),
                     (layers.ConvTranspose2d(5, channels, 4, 2, 1), smaller)):
        expected = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer(x).float(), expected, rtol=0.05, atol=0.05)
    assert used == (["conv", "conv_transpose"] if product else [])


@pytest.mark.parametrize(("ours", "theirs", "shape"), FUNCTIONS, ids=["conv", "conv_transpose"])
def test_the_weight_is_a_view_in_channels_last_memory(monkeypatch, ours, theirs, shape):
    """A copy of the weight at every call would cost as much as the product."""
    weight = torch.randn(shape).to(memory_format=torch.channels_last)
    matrix = weight.permute(0, 2, 3, 1).reshape(shape[0], -1)
    assert matrix.data_ptr() == weight.data_ptr()


@pytest.mark.parametrize("bias", [True, False])
def test_a_kernel_as_large_as_the_map(always, bias):
    """The last layer of discriminators, with its second derivatives."""
    ours, theirs = layers.Conv2d(3, 5, 2, bias=bias).double(), nn.Conv2d(3, 5, 2, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.autograd.gradgradcheck(lambda x, w: layers.conv_whole(x, w).tanh(), (x, ours.weight))


def test_other_kernels_run_as_ever():
    with torch.autocast("cpu", torch.bfloat16):
        assert layers.Conv2d(3, 4, 3, padding=1)(torch.randn(2, 3, 7, 7)).shape == (2, 4, 7, 7)
        assert layers.Conv2d(3, 4, 4, 2, 1)(torch.randn(2, 3, 7, 7)).shape == (2, 4, 3, 3)
        assert layers.ConvTranspose2d(3, 4, 4, 2, 1, output_padding=1)(torch.randn(2, 3, 4, 4)).shape == (2, 4, 9, 9)


def test_gradients_of_the_input_alone_cost_no_weight_gradient():
    """G's update goes through D: it must not pay for D's weight gradients."""
    from torch.profiler import ProfilerActivity, profile

    layer = layers.Conv2d(3, 5, 4, 2, 1).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    counts = []
    for inputs in ([x], [x, layer.weight]):
        with torch.autocast("cpu", torch.bfloat16):
            loss = layer(x).float().sum()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            torch.autograd.grad(loss, inputs)
        counts.append(sum(event.count for event in profiler.key_averages() if event.key == "aten::mm"))
    assert counts == [1, 2]

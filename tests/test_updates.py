import copy

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from common.blocks import Down, Up
from common.updates import bce, descend, distorted, evaluating, moving_average, noise_like


def test_bce_is_the_papers_log_likelihood():
    logits = torch.randn(50, 1, dtype=torch.float64)
    D = 1 / (1 + torch.exp(-logits))
    assert bce(logits, 1) == pytest.approx((-torch.log(D)).mean().item(), abs=1e-6)
    assert bce(logits, 0) == pytest.approx((-torch.log(1 - D)).mean().item(), abs=1e-6)
    smooth = -(0.9 * torch.log(D) + 0.1 * torch.log(1 - D)).mean()
    assert bce(logits, 0.9) == pytest.approx(smooth.item(), abs=1e-6)
    assert bce(torch.tensor([200.0, -200.0]), 1) == 100  # no overflow where D is 0 or 1
    assert bce(torch.zeros(3, dtype=torch.bfloat16), 1).dtype == torch.float32


def test_noise_is_standard_normal():
    z = noise_like(torch.empty(2000, 1, 32, 32), 100)
    assert z.shape == (2000, 100) and z.dtype == torch.float32
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01 and z.min() < -3


def test_descend_takes_each_loss_down_its_own_parameters_alone():
    a, b = nn.Linear(2, 1), nn.Linear(1, 1)
    sgd = torch.optim.SGD(a.parameters(), lr=0.1)
    x = torch.randn(5, 2)
    loss = b(a(x)).pow(2).mean()
    expected = [p - 0.1 * g for p, g in zip(a.parameters(), torch.autograd.grad(loss, a.parameters()), strict=True)]
    before = copy.deepcopy(b.state_dict())
    descend((sgd, b(a(x)).pow(2).mean()))
    for p, e in zip(a.parameters(), expected, strict=True):
        torch.testing.assert_close(p, e)
    assert all(p.grad is None for p in b.parameters())
    assert all(torch.equal(b.state_dict()[k], v) for k, v in before.items())


def test_descend_differentiates_all_losses_of_a_shared_graph_before_any_step():
    encoder, decoder, x = nn.Linear(3, 2).double(), nn.Linear(2, 3).double(), torch.randn(4, 3, dtype=torch.float64)
    nets = encoder, decoder
    expected = []
    for net, sign in zip(nets, (1, -1), strict=True):
        loss = sign * (decoder(encoder(x)) - x).pow(2).mean()
        expected.append([p - 0.5 * g for p, g in zip(net.parameters(), torch.autograd.grad(loss, net.parameters()),
                                                      strict=True)])
    first, second = (torch.optim.SGD(net.parameters(), lr=0.5) for net in nets)
    loss = (decoder(encoder(x)) - x).pow(2).mean()
    descend((first, loss), (second, -loss))
    for net, values in zip(nets, expected, strict=True):
        for p, value in zip(net.parameters(), values, strict=True):
            torch.testing.assert_close(p, value)


def test_descend_leaves_a_parameter_alone_that_the_loss_does_not_depend_on():
    net, unused = nn.Linear(2, 1), nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([*net.parameters(), unused])
    descend((adam, net(torch.ones(1, 2)).sum()))
    assert torch.equal(unused, torch.ones(3))


def test_after_a_step_autocast_uses_the_new_weights():
    D, x = nn.Linear(4, 1), torch.ones(2, 4)
    sgd = torch.optim.SGD(D.parameters(), lr=2.0)
    with torch.autocast("cpu", torch.bfloat16):
        before = D(x)
        descend((sgd, D(x).float().mean()))
        inside = D(x)
    torch.testing.assert_close(inside.float(), D(x), rtol=0.02, atol=0.02)
    assert (inside - before).abs().min() > 1


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_have_the_strides_of_their_parameters(fused):
    """The fused Adam goes through parameter and gradient in memory order, without looking at strides."""
    conv = nn.Conv2d(3, 8, 4).to(memory_format=torch.channels_last)
    plain = copy.deepcopy(conv).to(memory_format=torch.contiguous_format)
    target = torch.randn(8, 3, 4, 4)  # contiguous: the gradient comes out in other strides than the weight's
    adam, reference = torch.optim.Adam(conv.parameters(), fused=fused), torch.optim.Adam(plain.parameters())
    for _ in range(3):
        descend((adam, (conv.weight * target).sum() + conv.bias.sum()))
        loss = (plain.weight * target).sum() + plain.bias.sum()
        reference.zero_grad()
        loss.backward()
        reference.step()
    assert conv.weight.grad.stride() == conv.weight.stride()
    torch.testing.assert_close(conv.weight, plain.weight)


def test_the_fused_step_of_channels_last_weights_copies_nothing_and_equals_the_plain_one():
    results = []
    for fused in (True, False):
        torch.manual_seed(0)
        conv = nn.Conv2d(6, 8, 4, 2, 1).to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(conv.parameters(), lr=0.01, fused=fused)
        for _ in range(3):
            with profile(activities=[ProfilerActivity.CPU]) as found:
                descend((adam, conv(torch.randn(4, 6, 8, 8)).square().mean()))
        results.append(conv.weight.detach().clone())
        inside = [e for e in found.events() if e.cpu_parent and e.cpu_parent.name == "aten::_fused_adam_"]
        assert bool(inside) == fused and not any("contiguous" in e.name for e in inside)
        for tensor in (conv.weight.grad, adam.state[conv.weight]["exp_avg"], adam.state[conv.weight]["exp_avg_sq"]):
            assert (tensor.shape, tensor.stride()) == (conv.weight.shape, conv.weight.stride())
    torch.testing.assert_close(*results)


def test_g_update_through_d_leaves_d_and_its_gradients_alone():
    G, D = Up(8, widths=(16, 8, 8, 8)), Down(widths=(8, 8, 8, 16))
    adam_g = torch.optim.Adam(G.parameters())
    before = {name: value.clone() for name, value in D.named_parameters()}
    descend((adam_g, bce(D(G(torch.randn(4, 8))), 1)))
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in D.named_parameters())


def test_moving_average():
    network, average = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    network(torch.randn(10, 3))
    network.weight.data.fill_(3.0)
    expected = 0.75 * average.weight + 0.25 * network.weight
    variance = 0.75 * average.running_var + 0.25 * network.running_var
    moving_average(average, network, torch.tensor(0.75))
    torch.testing.assert_close(average.weight, expected)
    torch.testing.assert_close(average.running_var, variance)
    assert average.num_batches_tracked == 1
    moving_average(average, network, 0)
    assert all(torch.equal(a, b) for a, b in
               zip(average.state_dict().values(), network.state_dict().values(), strict=True))


def test_evaluating_restores_every_modules_mode():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    net[0].eval()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(KeyError), torch.autocast("cpu", torch.bfloat16), evaluating(net):
        assert not net.training and not torch.is_grad_enabled()
        assert nn.Linear(2, 2)(net(torch.randn(4, 2))).dtype == torch.float32
        raise KeyError
    assert net.training and not net[0].training and net[1].training
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())


def test_distorted():
    """At strengths of 0 nothing changes; a shift alone moves the centre of a dot by as much at most, a turn alone turns
    it about the middle; every image in its own way."""
    x = torch.zeros(200, 1, 32, 32)
    x[:, :, 14:18, 22:26] = 1  # centre (0, 8) from the middle
    none = {"turn": 0, "scale": 0, "shear": 0, "shift": 0}
    torch.testing.assert_close(distorted(x, **none), x, rtol=0, atol=1e-5)

    def centres(images):
        axis = torch.arange(32) - 15.5
        weights = images.sum(1) / images.sum((1, 2, 3)).view(-1, 1, 1)
        return torch.stack([(weights.sum(2) * axis).sum(1), (weights.sum(1) * axis).sum(1)], 1)  # down, right

    moved = centres(distorted(x, **none | {"shift": 3})) - torch.tensor([0, 8])
    assert moved.abs().max() <= 3.01 and moved.abs().max() > 2.5 and moved[:, 0].unique().numel() > 150
    turned = centres(distorted(x, **none | {"turn": 20}))
    torch.testing.assert_close(turned.norm(dim=1), torch.full((200,), 8.0), rtol=0.02, atol=0)
    angles = torch.atan2(turned[:, 0], turned[:, 1]).rad2deg()
    assert angles.min() < -15 and angles.max() > 15 and angles.abs().max() <= 20.1
    scaled = centres(distorted(x, **none | {"scale": 0.2})).norm(dim=1) / 8
    assert 0.8 < scaled.min() < 0.87 and 1.15 < scaled.max() < 1.23
    stretched = centres(distorted(x, **none | {"stretch": 0.2}))[:, 1] / 8
    assert 0.8 < stretched.min() < 0.87 and 1.15 < stretched.max() < 1.23
    low = torch.zeros(200, 1, 32, 32)
    low[:, :, 22:26, 22:26] = 1  # centre (8, 8): width and height each in their own way
    down, right = centres(distorted(low, **none | {"stretch": 0.2})).T
    assert torch.corrcoef(torch.stack([down, right]))[0, 1].abs() < 0.25
    assert distorted(x).min() >= 0 and distorted(x).max() <= 1.001
    torch.manual_seed(0)
    strengths = {"turn": 5, "scale": 0.05, "shear": 0.05, "shift": 1}
    by_numbers = distorted(x, **strengths)
    torch.manual_seed(0)
    torch.testing.assert_close(distorted(x, **{k: torch.tensor(float(v)) for k, v in strengths.items()}), by_numbers)

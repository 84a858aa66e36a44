import math

import pytest
import torch
from torch import nn

from common.blocks import MLP, AtLeastFloat32, DenseDown, DenseUp, Down, ShallowDown, ShallowUp, Up, initialize

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
KINDS = (*CONVOLUTIONS, nn.BatchNorm2d, nn.LeakyReLU, nn.ReLU, nn.Flatten, nn.Sigmoid)


def plain_down():
    """The seed's discriminator, written out, up to the logits."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),
        nn.Conv2d(256, 512, 4, 2, 1, bias=False), nn.BatchNorm2d(512), nn.LeakyReLU(0.2),
        nn.Conv2d(512, 1, 2, 1, 0), nn.Flatten())


def plain_up():
    """The seed's generator, written out; takes z as (N, 100, 1, 1)."""
    return nn.Sequential(
        nn.ConvTranspose2d(100, 512, 4, 2, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU(),
        nn.ConvTranspose2d(512, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False), nn.Sigmoid())


def plain_shallow_down():
    """Two convolutions, one fully connected layer, BatchNorm of its code."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Flatten(), nn.Linear(4096, 16, bias=False), nn.BatchNorm1d(16, affine=False))


def plain_shallow_up():
    return nn.Sequential(
        nn.Linear(16, 4096, bias=False), nn.BatchNorm1d(4096), nn.ReLU(), nn.Unflatten(1, (64, 8, 8)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid())


PAIRS = {"down": (Down, plain_down, (3, 1, 32, 32)), "up": (Up, plain_up, (3, 100, 1, 1)),
         "shallow down": (ShallowDown, plain_shallow_down, (3, 1, 32, 32)),
         "shallow up": (ShallowUp, plain_shallow_up, (3, 16))}


@pytest.fixture(params=PAIRS)
def pair(request):
    """A stack with random BatchNorm statistics and scales, its plain twin, and an input of both."""
    make, make_plain, shape = PAIRS[request.param]
    torch.manual_seed(0)
    net, plain = make(), make_plain()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                value.uniform_(0.5, 1.5)
    return net, plain, torch.rand(shape)


def describe(layer):
    kind = next((kind for kind in KINDS if isinstance(layer, kind)), type(layer))
    return f"{kind.__name__}({layer.extra_repr()})".replace(", inplace=True", "").replace("inplace=True", "")


def test_layers_are_the_seeds(pair):
    net, plain, _ = pair
    ours = [describe(layer) for layer in net if not isinstance(layer, AtLeastFloat32)]
    assert ours == [describe(layer) for layer in plain]


@pytest.mark.parametrize("training", [False, True])
def test_equals_the_plain_stack(pair, training):
    """The same keys both ways, and the same outputs, statistics and gradients."""
    net, plain, x = pair
    plain.load_state_dict(net.state_dict())
    copy = type(net)()
    copy.load_state_dict(plain.state_dict())
    results = []
    for network in (net, plain, copy):
        y = network.train(training)(x).flatten(1)
        gradients = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), network.parameters())
        results.append((y.detach(), gradients, dict(network.state_dict())))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[2], results[0], rtol=1e-4, atol=1e-5)


def conv_shapes(net, x):
    shapes = []
    for layer in net.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
    return shapes, tuple(net(x).shape)


@pytest.mark.parametrize("net, shape, stages, out", [
    (Down, (2, 1, 32, 32), [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2), (1, 1, 1)], (2, 1)),
    (Up, (2, 100), [(512, 2, 2), (256, 4, 4), (128, 8, 8), (64, 16, 16), (1, 32, 32)], (2, 1, 32, 32)),
    (lambda: Down(image_size=64), (2, 1, 64, 64),
     [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (1024, 2, 2), (1, 1, 1)], (2, 1)),
    (lambda: Up(image_size=64), (2, 100),
     [(1024, 2, 2), (512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (1, 64, 64)], (2, 1, 64, 64)),
    (lambda: Down(channels=3, widths=(4, 8, 16, 32)), (2, 3, 32, 32),
     [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2), (1, 1, 1)], (2, 1)),
    (lambda: Up(channels=3, widths=(32, 16, 8, 4)), (2, 100),
     [(32, 2, 2), (16, 4, 4), (8, 8, 8), (4, 16, 16), (3, 32, 32)], (2, 3, 32, 32)),
    (lambda: Down(out=7, widths=(4, 8, 16, 32)), (2, 1, 32, 32),
     [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2), (7, 1, 1)], (2, 7)),
    (lambda: Up(latent_dim=2, widths=(32, 16, 8, 4)), (2, 2),
     [(32, 2, 2), (16, 4, 4), (8, 8, 8), (4, 16, 16), (1, 32, 32)], (2, 1, 32, 32)),
])
def test_shapes(net, shape, stages, out):
    assert conv_shapes(net(), torch.rand(shape)) == (stages, out)


KERNELS = 16 * (64 + 64 * 128 + 128 * 256 + 256 * 512)  # the four 4 x 4 convolutions between 1 and 512 channels
COUNTS = [
    (Down, KERNELS + 2 * (128 + 256 + 512) + (512 * 4 + 1)),
    (lambda: Down(norm="none"), KERNELS + (64 + 128 + 256 + 512) + (512 * 4 + 1)),
    (lambda: Down(channels=3, out=10), KERNELS + 16 * 2 * 64 + 2 * (128 + 256 + 512) + 10 * (512 * 4 + 1)),
    (lambda: Down(image_size=64), KERNELS + 16 * 512 * 1024 + 2 * (128 + 256 + 512 + 1024) + (1024 * 4 + 1)),
    (Up, KERNELS + 16 * 100 * 512 + 2 * (512 + 256 + 128 + 64)),
    (lambda: Up(norm="none"), KERNELS + 16 * 100 * 512 + (512 + 256 + 128 + 64 + 1)),
    (lambda: Up(latent_dim=10, channels=3), KERNELS + 16 * (10 * 512 + 2 * 64) + 2 * (512 + 256 + 128 + 64)),
    (lambda: Up(image_size=64), KERNELS + 16 * (512 * 1024 + 100 * 1024) + 2 * (1024 + 512 + 256 + 128 + 64)),
]


def test_default_counts_in_figures():
    assert [COUNTS[0][1], COUNTS[4][1]] == [2_757_377, 3_574_656]


@pytest.mark.parametrize("net, count", COUNTS)
def test_parameter_count(net, count):
    assert sum(p.numel() for p in net().parameters()) == count


@pytest.mark.parametrize("make", [Down, Up])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_norm_decides_on_biases(make, norm):
    *stages, last = [layer for layer in make(norm=norm).modules() if isinstance(layer, CONVOLUTIONS)]
    assert all((layer.bias is not None) == (norm == "none") for layer in stages)
    assert (last.bias is not None) == (make is Down or norm == "none")
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in make(norm=norm)) == (norm == "batch")


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("make, shape", [(Down, (4, 1, 32, 32)), (Up, (4, 100))])
def test_every_parameter_has_a_gradient(make, shape, norm):
    torch.manual_seed(0)
    net = make(norm=norm)
    y = net(torch.randn(shape))
    (y * torch.randn_like(y)).sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0, name


@pytest.mark.parametrize("net, shape", [(Up, (4, 100)), (lambda: Down(out=5, activation=nn.Sigmoid()), (4, 1, 32, 32))])
def test_sigmoid_outputs(net, shape):
    torch.manual_seed(0)
    y = net()(100 * torch.randn(shape))
    assert y.min() >= 0 and y.max() <= 1 and y.std() > 0


def test_outputs_without_last_activation():
    torch.manual_seed(0)
    assert Down(out=50)(torch.randn(4, 1, 32, 32)).min() < 0
    logits, images = Up(activation=nn.Identity()), Up()
    images.load_state_dict(logits.state_dict())
    z = torch.randn(4, 100)
    torch.testing.assert_close(images(z), 1 / (1 + torch.exp(-logits(z))))


@pytest.mark.parametrize("net, shape", [
    (Down, (4, 1, 32, 32)), (lambda: Down(activation=nn.Sigmoid()), (4, 1, 32, 32)), (Up, (4, 100)),
    (lambda: Up(activation=nn.Identity()), (4, 100))])
def test_float32_out_of_bf16(net, shape):
    torch.manual_seed(0)
    net, x = net(), torch.randn(shape)
    with torch.no_grad():
        full = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert net[0](x.view(*shape, *[1] * (4 - len(shape)))).dtype == torch.bfloat16  # autocast is really on
            y = net(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, full, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("wrong", [
    {"widths": (64, 128, 256)}, {"widths": (4, 8, 16, 32, 64)}, {"widths": (64, 128, 256, 512), "image_size": 64},
    {"image_size": 48}, {"image_size": 33}, {"norm": "layer"}, {"norm": None}, {"norm": ""}])
@pytest.mark.parametrize("make", [Down, Up])
def test_refuses(make, wrong):
    with pytest.raises(ValueError, match="norm|widths"):
        make(**wrong)


@pytest.mark.parametrize("init", ["", "xavier", None])
def test_refuses_init(init):
    with pytest.raises(ValueError, match="init"):
        initialize(Down(widths=(4, 8, 16, 32)), init)


@pytest.mark.parametrize("make", [Down, Up])
@pytest.mark.parametrize("init", ["dcgan", "pytorch"])
def test_init_statistics(make, init):
    """Mean and standard deviation within 5 standard errors."""
    torch.manual_seed(0)
    net = make()
    for p in net.parameters():
        p.data.fill_(9)
    assert initialize(net, init) is net
    for layer in net.modules():
        if isinstance(layer, CONVOLUTIONS):
            w, bound = layer.weight, 1 / math.sqrt(layer.weight[0].numel())  # of U(-bound, bound), torch's default
            std = 0.02 if init == "dcgan" else bound / math.sqrt(3)
            assert abs(w.mean()) < 5 * std / math.sqrt(w.numel())
            assert abs(w.std() / std - 1) < 5 / math.sqrt(2 * w.numel())
            assert init == "dcgan" or w.abs().max() <= bound
            if layer.bias is not None:
                assert not layer.bias.any() if init == "dcgan" else 0 < layer.bias.abs().max() <= bound
        elif isinstance(layer, nn.BatchNorm2d):
            if init == "dcgan":
                n = layer.weight.numel()
                assert abs(layer.weight.mean() - 1) < 5 * 0.02 / math.sqrt(n)
                assert abs(layer.weight.std() / 0.02 - 1) < 5 / math.sqrt(2 * n)
            else:
                assert (layer.weight == 1).all()
            assert not layer.bias.any()


@pytest.mark.parametrize("layer", [nn.Conv2d(64, 96, 4, 2, 1), nn.ConvTranspose2d(64, 96, 4, 2, 1),
                                   nn.ConvTranspose2d(64, 96, 3, 1), nn.Linear(1024, 96)])
def test_he_init_keeps_the_variance(layer):
    """Behind ReLU, away from the borders: 1502.01852, equation 10."""
    torch.manual_seed(0)
    initialize(layer, "he")
    shape = (1024,) if isinstance(layer, nn.Linear) else (64, 16, 16)
    with torch.no_grad():
        y = layer(torch.randn(64, *shape).relu())
    y = y if y.dim() == 2 else y[..., 2:-2, 2:-2]
    assert y.square().mean().item() == pytest.approx(1, abs=0.1) and not layer.bias.any()


def test_without_batchnorm_the_default_init_hides_z_and_he_does_not():
    torch.manual_seed(0)
    z, spread = torch.randn(64, 100), {}
    for init in ("pytorch", "dcgan", "he"):
        with torch.no_grad():
            spread[init] = initialize(Up(norm="none", activation=nn.Identity()), init)(z).std(0).mean().item()
    assert max(spread["pytorch"], spread["dcgan"]) < 0.01 and 0.1 < spread["he"] < 1


def test_dcgan_init_takes_for_normalisation_what_scales_and_shifts():
    """Layers with another weight, or with none, stay as they were."""
    torch.manual_seed(0)
    others = nn.Sequential(nn.PReLU(3), nn.Embedding(4, 3), nn.BatchNorm1d(3, affine=False), nn.Conv1d(3, 3, 1))
    before = [p.clone() for p in others.parameters()]
    initialize(others, "dcgan")
    assert all(torch.equal(p, q) for p, q in zip(others.parameters(), before, strict=True))
    for layer in (nn.BatchNorm1d(500), nn.BatchNorm2d(500), nn.GroupNorm(5, 500)):
        initialize(layer, "dcgan")
        assert 0.01 < layer.weight.std() < 0.03 and layer.weight.mean().item() == pytest.approx(1, abs=0.01)
        assert not layer.bias.any()


def test_dcgan_init_of_linear_layers():
    torch.manual_seed(0)
    layer = initialize(nn.Linear(300, 300), "dcgan")
    assert abs(layer.weight.std() / 0.02 - 1) < 5 / math.sqrt(2 * 300 * 300) and not layer.bias.any()


def test_mlp():
    net = MLP(6, 5, 4, 3)
    weights = [layer for layer in net if isinstance(layer, nn.Linear)]
    x = torch.randn(7, 6)
    h = x
    for i, layer in enumerate(weights):
        h = (h if i == 0 else h.clamp(min=0)) @ layer.weight.T + layer.bias
    torch.testing.assert_close(net(x), h)  # ReLU between, none at the end
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).dtype == torch.float32
    single = MLP(6, 2, activation=nn.Sigmoid())
    torch.testing.assert_close(single(x), torch.sigmoid(x @ single[0].weight.T + single[0].bias))


def test_dense_between_vectors_and_images():
    G, D = DenseUp(5, (7, 6), (3, 8, 8)), DenseDown((3, 8, 8), (6,), 2)
    images = G(torch.randn(4, 5))
    assert images.shape == (4, 3, 8, 8) and images.min() > 0 and images.max() < 1 and D(images).shape == (4, 2)
    shapes = [[tuple(p.shape) for p in net.parameters() if p.dim() == 2] for net in (G, D)]
    assert shapes == [[(7, 5), (6, 7), (192, 6)], [(6, 192), (2, 6)]]


@pytest.mark.parametrize("make", [
    lambda p: Down(widths=(4, 8, 16, 32), dropout=p), lambda p: DenseDown((1, 32, 32), (400, 300), 1, dropout=p)])
def test_dropout_leaves_out_a_share_of_each_hidden_layer_in_training_alone(make):
    net = make(0.25)
    torch.manual_seed(0)
    shares = []
    for layer in net:
        if isinstance(layer, nn.Dropout):
            layer.register_forward_hook(lambda _, x, y: shares.append((y[x[0] != 0] == 0).float().mean().item()))
    net(torch.rand(32, 1, 32, 32))
    hidden = sum(isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in net) - 1
    assert len(shares) == hidden and shares == pytest.approx([0.25] * hidden, abs=0.03)
    without = make(0.0)
    without.load_state_dict(dict(zip(without.state_dict(), net.state_dict().values(), strict=True)))
    x = torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(net.eval()(x), without.eval()(x))

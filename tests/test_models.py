"""Every folder's model.py, found by the file: a copied folder is tested at once."""

import ast
import inspect

import pytest
import torch
from conftest import MODEL_FOLDERS, folder_name, load_model
from torch import nn

from misc.generate import takes_labels

ALLOWED = {"torch", "copy", "math", "common"}


def build(model, seed=0, **fields):
    torch.manual_seed(seed)
    return model.build(**fields)


def fields_of(model):
    return {name: p.default for name, p in inspect.signature(model.build).parameters.items()}


@pytest.fixture(scope="module", params=MODEL_FOLDERS, ids=folder_name)
def model(request):
    return load_model(request.param)


@pytest.fixture(scope="module")
def nets(model):
    return build(model)


@pytest.fixture
def sample(model):
    """Its `sample`, asked for class 0, 1, 2, ... where it must be given labels."""
    if not hasattr(model, "sample"):
        pytest.skip("this model does not generate")
    conditional = takes_labels(model)

    def draw(nets, n, **given):
        return model.sample(nets, n, **({"labels": torch.arange(n) % 10} if conditional else {}) | given)

    return draw


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("folder", MODEL_FOLDERS, ids=folder_name)
def test_imports(folder):
    imported = set()
    for node in ast.walk(ast.parse((folder / "model.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    assert {name.split(".")[0] for name in imported} <= ALLOWED


def test_fields_are_plain(model):
    """The checkpoint keeps them, and no argument but the fields is needed."""
    for name, default in fields_of(model).items():
        assert type(default) in (int, float, str, bool), name


def test_networks(nets):
    assert isinstance(nets, dict) and nets
    for name, net in nets.items():
        assert isinstance(name, str) and isinstance(net, nn.Module)
        assert any(True for _ in net.parameters()), name
        assert {p.dtype for p in net.parameters()} == {torch.float32}, name
        assert all(p.device.type == "cpu" and p.isfinite().all() for p in net.parameters()), name


def states(nets):
    return {f"{name}.{key}": value.clone() for name, net in nets.items() for key, value in net.state_dict().items()}


def assert_same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_weights_come_from_the_seed(model, nets):
    assert_same(states(build(model)), states(nets))
    other = states(build(model, seed=1))
    assert any(not torch.equal(other[key], value) for key, value in states(nets).items())


@pytest.mark.parametrize("n", [1, 5])
def test_sample(sample, nets, n):
    images = sample(nets, n)
    assert images.dtype == torch.float32 and images.shape[0] == n and images.shape[1] in (1, 3)
    assert images.shape[2:] == (32, 32)
    assert not images.requires_grad and images.isfinite().all() and images.min() >= 0 and images.max() <= 1


def test_sample_in_colour_and_at_64(model, sample):
    if not {"channels", "image_size"} <= set(fields_of(model)):
        pytest.skip("this model's images have one form")
    assert sample(build(model, channels=3, image_size=64), 2).shape == (2, 3, 64, 64)


def test_sample_is_drawn_from_the_generator(sample, nets):
    before = torch.get_rng_state()
    images = sample(nets, 4, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(sample(nets, 4, generator=seeded()), images)
    assert not torch.equal(sample(nets, 4, generator=seeded(1)), images)
    assert not torch.equal(images[0], images[1])


def test_sample_is_drawn_from_the_global_state_else(sample, nets):
    torch.manual_seed(5)
    images = sample(nets, 4)
    assert not torch.equal(sample(nets, 4), images)
    torch.manual_seed(5)
    assert torch.equal(sample(nets, 4), images)


def latents(model, seed):
    if "latent_dim" not in fields_of(model):
        pytest.skip("build has no field latent_dim")
    return torch.randn(4, fields_of(model)["latent_dim"], generator=seeded(seed))


def test_sample_of_given_z(model, sample, nets):
    z = latents(model, 0)
    before = z.clone(), torch.get_rng_state()
    images = sample(nets, 4, z=z, generator=seeded())
    assert torch.equal(z, before[0]) and torch.equal(torch.get_rng_state(), before[1])
    assert torch.equal(sample(nets, 4, z=z, generator=seeded()), images)
    assert not torch.equal(sample(nets, 4, z=latents(model, 1), generator=seeded()), images)


def test_labels_are_followed_or_refused(model, sample, nets):
    def draw(label):
        return sample(nets, 4, labels=torch.full((4,), label), generator=seeded())

    if takes_labels(model) or "codes" in fields_of(model):  # of a model that finds categories of its own
        assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(7))
    else:
        with pytest.raises(ValueError, match="label"):
            draw(3)


def test_sample_changes_nothing(model, sample):
    nets = build(model)
    modules = [module for net in nets.values() for module in net.modules()]
    for i, module in enumerate(modules):
        module.training = i % 3 > 0
    before, modes = states(nets), [module.training for module in modules]
    trainable = [p.requires_grad for module in modules for p in module.parameters()]
    sample(nets, 4)
    assert [module.training for module in modules] == modes
    assert_same(states(nets), before)
    assert [p.requires_grad for module in modules for p in module.parameters()] == trainable
    assert all(p.grad is None for net in nets.values() for p in net.parameters())


def test_sample_does_not_depend_on_the_mode(sample, nets):
    images = []
    for training in (True, False):
        for net in nets.values():
            net.train(training)
        images.append(sample(nets, 4, generator=seeded()))
    assert torch.equal(*images)


def test_sample_under_autocast_is_float32(sample, nets):
    with torch.autocast("cpu", torch.bfloat16):
        assert sample(nets, 2).dtype == torch.float32


@pytest.fixture
def translate(model, nets, monkeypatch):
    """Its `translate`, of images and a direction that its networks go, drawn by a generator where it takes one."""
    if not hasattr(model, "translate"):
        pytest.skip("this model does not translate")
    monkeypatch.setattr(model, "FIT", 5, raising=False)  # of a CoGAN: steps in which it looks for z
    drawn = "generator" in inspect.signature(model.translate).parameters

    def translate(nets, x, direction):
        return model.translate(nets, x, direction, **({"generator": seeded()} if drawn else {}))

    return translate


def directions(model):
    return (fields_of(model)["direction"],) if "direction" in fields_of(model) else ("ab", "ba")


def test_translate(model, translate, nets):
    for direction in directions(model):
        x = torch.rand(5, 1, 32, 32, generator=seeded())
        images = translate(nets, x, direction)
        assert images.dtype == torch.float32 and images.shape == x.shape and not images.requires_grad
        assert images.min() >= 0 and images.max() <= 1 and not torch.equal(images[0], images[1])
        assert torch.equal(translate(nets, x, direction), images)
        if "generator" not in inspect.signature(model.translate).parameters:
            torch.testing.assert_close(translate(nets, x[:2], direction)[0], images[0])  # whatever the others are


def test_translate_changes_nothing(model, translate):
    nets = build(model)
    modules = [module for net in nets.values() for module in net.modules()]
    for i, module in enumerate(modules):
        module.training = i % 3 > 0
    before, modes, random = states(nets), [module.training for module in modules], torch.get_rng_state()
    for direction in directions(model):
        translate(nets, torch.rand(2, 1, 32, 32, generator=seeded()), direction)
    assert [module.training for module in modules] == modes and torch.equal(torch.get_rng_state(), random)
    assert_same(states(nets), before)
    assert all(p.grad is None for net in nets.values() for p in net.parameters())


def test_translate_of_colours_and_at_64(model, translate):
    nets = build(model, channels_b=3, image_size=64)
    for direction in directions(model):
        channels = (1, 3) if direction == "ab" else (3, 1)
        assert translate(nets, torch.rand(2, channels[0], 64, 64), direction).shape == (2, channels[1], 64, 64)


def test_reconstruct(model):
    """Float32 images in [0, 1], each whatever the others are; nothing changes."""
    if not hasattr(model, "reconstruct"):
        pytest.skip("this model brings no images back")
    nets, x = build(model), torch.rand(5, 1, 32, 32, generator=seeded())
    before, random = states(nets), torch.get_rng_state()
    images = model.reconstruct(nets, x)
    assert images.dtype == torch.float32 and images.shape == x.shape and not images.requires_grad
    assert images.min() >= 0 and images.max() <= 1 and not torch.equal(images[0], images[1])
    torch.testing.assert_close(model.reconstruct(nets, x[:2])[0], images[0])
    assert torch.equal(torch.get_rng_state(), random)
    assert_same(states(nets), before)

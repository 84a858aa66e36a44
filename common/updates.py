"""The words that a train.py's updates are written in: losses, noise, descent, moving averages."""

import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from common import distribution
from common.blocks import at_least_float32


def bce(logits, target):
    """Binary cross-entropy of logits (any shape) against one target in [0, 1], averaged, in float32 at least.

    With target 1 this is -log D, with target 0 it is -log(1 - D), where D = sigmoid(logits)
    (Goodfellow et al. 2014, equation 1, as losses to descend)."""
    logits = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def noise_like(x, dim):
    """z ~ N(0, I), float32 (N, dim): one latent vector for each of the N images of x, on x's device."""
    return torch.randn(len(x), dim, device=x.device)


def descend(*pairs):
    """One step of each (optimizer, loss) pair, down the loss's gradient in that optimizer's parameters alone.

    All gradients are taken before any step, so losses may share a graph; no other parameter receives a gradient, so
    nothing needs freezing or zeroing. With several ranks the gradients are averaged over them first.
    A parameter that its loss does not depend on is left as it is."""
    device = pairs[0][1].device.type
    with torch.autocast(device, enabled=False):
        gradients = []
        for i, (optimizer, loss) in enumerate(pairs):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            found = torch.autograd.grad(loss, parameters, retain_graph=i + 1 < len(pairs), allow_unused=True)
            gradients.append([(p, g) for p, g in zip(parameters, found, strict=True) if g is not None])
        for (optimizer, _), found in zip(pairs, gradients, strict=True):
            distribution.average_([g for _, g in found])
            optimizer.zero_grad(set_to_none=True)
            for p, g in found:
                # the fused optimizers read p and its gradient in memory order: strides must agree
                p.grad = g if g.stride() == p.stride() else torch.empty_like(p).copy_(g)
            with _seen_in_memory_order(optimizer):
                optimizer.step()
    torch.clear_autocast_cache()  # it holds bf16 copies of the weights as they were before the step


@contextmanager
def _seen_in_memory_order(optimizer):
    """Inside the block, channels_last tensors of a fused optimizer have their memory's shape, (N, H, W, C). Of others
    its kernel for CPUs makes a copy that it does not use, which takes longer than the step itself."""
    def turn(order):
        for p in parameters:
            for tensor in (p, p.grad, *optimizer.state[p].values()):
                if tensor.dim() == 4:
                    tensor.data = tensor.data.permute(order)

    parameters = [p for group in optimizer.param_groups for p in group["params"] if group.get("fused")
                  and p.dim() == 4 and p.grad is not None and p.device.type == "cpu" and not p.is_contiguous()]
    turn((0, 2, 3, 1))
    try:
        yield
    finally:
        turn((0, 3, 1, 2))


@torch.no_grad()
def moving_average(average, network, decay):
    """average <- decay * average + (1 - decay) * network, for parameters and BatchNorm statistics alike.

    Args:
        decay: number or 0-d tensor in [0, 1); 0 copies."""
    weight = 1 - decay
    for a, b in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if a.is_floating_point():
            a.lerp_(b, weight)
        else:  # BatchNorm's counter of batches
            a.copy_(b)


def distorted(x, turn=10, scale=0.1, shear=0.1, shift=2, stretch=0):
    """Each image (N, C, H, W) turned by up to `turn` degrees, scaled and sheared by up to these shares, moved by up to
    `shift` pixels, and before all that stretched by up to `stretch` in width and in height (numbers or 0-d tensors), at
    random, to be seen anew every time. What comes in at the border is 0."""
    angle, log_scale, slope, right, down, wide, high = torch.rand(7, len(x), device=x.device) * 2 - 1
    angle, slope = angle * (turn * math.pi / 180), slope * shear
    right, down = right * (2 * shift / x.shape[-1]), down * (2 * shift / x.shape[-2])
    cos, sin, scale = angle.cos(), angle.sin(), (log_scale * scale).exp()
    theta = torch.stack([scale * cos, scale * (slope * cos - sin), right,
                         scale * sin, scale * (slope * sin + cos), down], 1).view(-1, 2, 3)
    theta = theta * (torch.stack([wide, high], 1) * stretch).exp()[:, :, None]
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)


@contextmanager
def evaluating(*networks):
    """Inside the block: eval mode, float32, no gradients. After it the networks are in the modes they were in."""
    modes = {module: module.training for network in networks for module in network.modules()}
    device = next(networks[0].parameters()).device.type
    try:
        for network in networks:
            network.eval()
        with torch.no_grad(), torch.autocast(device, enabled=False):
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def sample_from(G, n, labels=None, z=None, generator=None):
    """n images of a GAN's generator G, float32 (n, C, H, W) in [0, 1], in eval mode.

    Args:
        labels: must be None: G is not conditional. Raises ValueError otherwise.
        z: latent vectors (n, G.latent_dim); drawn from N(0, I) with `generator` where None."""
    if labels is not None:
        raise ValueError("a GAN without labels cannot sample by label")
    if z is None:
        z = torch.randn(n, G.latent_dim, generator=generator, device=generator.device if generator else None)
    with evaluating(G):
        return G(z.to(next(G.parameters()).device))

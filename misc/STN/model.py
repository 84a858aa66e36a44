"""A small convolutional classifier with a spatial transformer before it (arXiv 1506.02025), and the distortions that it
is to undo. A map of the plane is written as a grid: for each pixel of the result the point of the image that it shows,
(N, S, S, 2) as (x, y), the image being [-1, 1] x [-1, 1]."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common.blocks import at_least_float32

CONTROL = 4  # a thin plate is held by 4 x 4 points


def build(transformer="affine", distortion="R", channels=1, image_size=32, classes=10, width=0):
    """net: distorted images (N, channels, S, S) in [0, 1] -> logits (N, classes), S = canvas(distortion, image_size).

    transformer: "affine", "thin-plate", or "none". width: channels of both convolutions; 0: 32, without a transformer
    36, of RTS 37, so that there are as many weights."""
    if transformer not in PARAMETERS or distortion not in DISTORTIONS:
        raise ValueError(f"transformer must be one of {', '.join(PARAMETERS)}, distortion of {', '.join(DISTORTIONS)}")
    width = width or (32 if transformer != "none" else 37 if distortion == "RTS" else 36)
    return {"net": STN(transformer, channels, canvas(distortion, image_size), classes, width)}


class STN(nn.Module):
    """Images (N, channels, size, size) -> logits (N, classes), float32, by a CNN that sees them transformed."""

    def __init__(self, transformer, channels, size, classes, width):
        super().__init__()
        self.locate = None if transformer == "none" else Localisation(channels, size, PARAMETERS[transformer])
        self.grid = affine if transformer == "affine" else thin_plate
        after = ((size - 8) // 2 - 6) // 2
        self.classify = nn.Sequential(
            nn.Conv2d(channels, width, 9), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 7), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(width * after**2, classes))

    def theta(self, x):
        """The parameters of the transformation of each image, float32: 0 is the identity."""
        return at_least_float32(self.locate(x))

    def transform(self, x):
        """Images as the classifier sees them."""
        return x if self.locate is None else resample(x, self.grid(self.theta(x), x.shape[-1]))

    def forward(self, x):
        return at_least_float32(self.classify(self.transform(x)))


class Localisation(nn.Sequential):
    """Images -> parameters (N, n): two 5 x 5 convolutions of the image at half its size. Its last layer starts at 0, so
    that the transformation starts as the identity (section 4)."""

    def __init__(self, channels, size, n):
        after = (size // 2 - 4) // 2 - 4
        super().__init__(
            nn.AvgPool2d(2), nn.Conv2d(channels, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(20, 20, 5), nn.ReLU(),
            nn.Flatten(), nn.Linear(20 * after**2, 20), nn.ReLU(), nn.Linear(20, n))
        nn.init.zeros_(self[-1].weight)
        nn.init.zeros_(self[-1].bias)


# ---- maps of the plane


def points(size, device=None):
    """The centres of size x size pixels, (size, size, 2)."""
    centres = (torch.arange(size, device=device) * 2 + 1) / size - 1
    return torch.stack(torch.meshgrid(centres, centres, indexing="xy"), 2)


def affine(theta, size):
    """The grid of A (x, y, 1) (equation 1), A = (1 0 0; 0 1 0) + theta, theta (N, 6) row by row."""
    A = theta.view(-1, 2, 3) + torch.eye(2, 3, device=theta.device)
    return (points(size, theta.device).view(-1, 2) @ A[:, :, :2].mT + A[:, None, :, 2]).view(-1, size, size, 2)


def projective(corners, size):
    """The grid that takes the corners (-1, -1), (1, -1), (1, 1), (-1, 1) to `corners` (N, 4, 2) and lines to lines
    (Heckbert 1989, "Fundamentals of texture mapping and image warping", section 2.2.3)."""
    a, b, c, d = corners.unbind(1)
    (bx, by), (dx, dy), (sx, sy) = (v.unbind(1) for v in (b - c, d - c, a - b + c - d))
    g, h = ((p / (bx * dy - dx * by))[:, None] for p in (sx * dy - dx * sy, bx * sy - sx * by))
    u, v = (points(size, corners.device).view(1, -1, 2) / 2 + 0.5).unbind(2)  # in [0, 1]
    numerator = (((b - a + g * b)[:, None] * u[..., None]) + ((d - a + h * d)[:, None] * v[..., None]) + a[:, None])
    return (numerator / (g * u + h * v + 1)[..., None]).view(-1, size, size, 2)


def thin_plate(moves, size):
    """The grid that takes 4 x 4 points, spread evenly over [-1, 1] x [-1, 1], to places moved by `moves` (N, 32), with
    the least bending in between (Bookstein 1989, "Principal warps"): p + sum_j w_j U(|p - c_j|) + an affine map,
    U(r) = r^2 log r^2. As it is linear in the moves, it is one matrix product."""
    device = moves.device
    line = torch.linspace(-1, 1, CONTROL, device=device)
    held = torch.stack(torch.meshgrid(line, line, indexing="xy"), 2).view(-1, 2)
    conditions = torch.cat([_basis(held, held), F.pad(_ones(held).mT, (0, 3))])
    to_moves = torch.linalg.inv_ex(conditions)[0][:, :len(held)]  # inv would look at the result: no CUDA graph
    base = points(size, device).view(-1, 2)
    grid = base + _basis(base, held) @ to_moves @ moves.view(-1, len(held), 2)
    return grid.view(-1, size, size, 2)


def _ones(p):
    return torch.cat([torch.ones_like(p[:, :1]), p], 1)


def _basis(p, held):
    """U(|p - c_j|) for each c_j, then 1, x, y: (P, len(held) + 3)."""
    square = (p[:, None] - held).square().sum(2)
    return torch.cat([torch.xlogy(square, square), _ones(p)], 1)


def resample(x, grid):
    """Images (N, C, H, W) at the points of a grid, bilinear (equation 5), float32; what lies outside is 0, as is the
    background: another value there would be a frame that teaches the transformer to keep away from it."""
    return F.grid_sample(at_least_float32(x), grid, align_corners=False)


# ---- the distortions (appendix A.4): each map goes from the result to the image


def canvas(distortion, image_size):
    """The side of a distorted image: RTS has room to move."""
    return image_size + 10 if distortion == "RTS" else image_size


def distorted(x, distortion, generator=None):
    """Images (N, C, S, S) in [0, 1] -> (distorted, (N, C, canvas, canvas); the angles in radians by which they were
    turned, (N,)), at random:

        R    turned by up to 90 degrees to either side
        RTS  turned by up to 45 degrees, scaled by 0.7 to 1.2, put anywhere on a canvas 10 pixels larger
        P    scaled by 0.75 to 1, its corners moved by N(0, 5) pixels each
        E    bent as a thin plate, 4 x 4 points moved by N(0, 1.5) pixels each

    As in the paper, where images have 28 pixels; pixels grow with the image."""
    return DISTORTIONS[distortion](x, generator)


def _uniform(x, low, high, generator):
    return low + (high - low) * torch.rand(len(x), generator=generator, device=x.device)


def _normal(x, n, pixels, generator):
    return torch.randn(len(x), n, generator=generator, device=x.device) * (2 * pixels / 28)


def turned(x, angle, scale, right, down, size):
    """Turned by angles to the left, scaled, and moved, in halves of the canvas's side, on a canvas of size."""
    ratio = size / x.shape[-1]
    cos, sin = angle.cos() * ratio / scale, angle.sin() * ratio / scale
    A = torch.stack([cos, -sin, -(cos * right - sin * down), sin, cos, -(sin * right + cos * down)], 1)
    return resample(x, affine(A - torch.eye(2, 3, device=x.device).flatten(), size))


def _r(x, generator):
    angle = _uniform(x, -math.pi / 2, math.pi / 2, generator)
    still = torch.zeros_like(angle)
    return turned(x, angle, still + 1, still, still, x.shape[-1]), angle


def _rts(x, generator):
    size = canvas("RTS", x.shape[-1])
    angle, scale = _uniform(x, -math.pi / 4, math.pi / 4, generator), _uniform(x, 0.7, 1.2, generator)
    room = (size - x.shape[-1] * 28 / 32) / size  # the digits' own canvas has 28 of 32 pixels
    right, down = (_uniform(x, -room, room, generator) for _ in range(2))
    return turned(x, angle, scale, right, down, size), angle


def _p(x, generator):
    scale = _uniform(x, 0.75, 1, generator)[:, None, None]
    square = torch.tensor([[-1.0, -1.0], [1, -1], [1, 1], [-1, 1]], device=x.device)
    corners = square / scale + _normal(x, 8, 5, generator).view(-1, 4, 2)
    return resample(x, projective(corners, x.shape[-1])), x.new_zeros(len(x))


def _e(x, generator):
    moves = _normal(x, 2 * CONTROL**2, 1.5, generator)
    return resample(x, thin_plate(moves, x.shape[-1])), x.new_zeros(len(x))


DISTORTIONS = {"R": _r, "RTS": _rts, "P": _p, "E": _e}
PARAMETERS = {"none": 0, "affine": 6, "thin-plate": 2 * CONTROL**2}

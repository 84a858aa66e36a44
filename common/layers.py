"""Convolutions in the form that a CPU runs fastest, for the 4 x 4, stride 2 stages of all models here.

What they equal: `nn.Conv2d` and `nn.ConvTranspose2d`, of which they are subclasses with the same state dict, up to
rounding, in value and in first and second derivatives. When another form is used: on a CPU in bf16 autocast, where the
smaller map is below 8 x 8 or the larger has few channels, and for kernels that cover the whole map. Everywhere else
(large maps, fp32, float64, a GPU) the library's own runs, which is faster there.
SWITCHES turns each optimisation off, to measure it (misc/benchmark.py does).

Why: on small maps a bf16 matrix product on a processor with AMX or AVX-512 BF16 runs at several times the rate of the
library's bf16 convolution (weight gradient of 256 x 4 x 4 -> 512 x 2 x 2, batch 128, AMX: 1.5 ms against 31). So a
convolution is written as two pieces, each of which is the other's adjoint, so that autograd finds derivatives of any
order by itself:

    gather   image (N, 2h, 2w, C) -> its padded 4 x 4 windows at stride 2, (N, h, w, 4, 4, C)      ("im2col")
    scatter  such windows -> the image in which overlapping windows are summed                     ("col2im")

    convolution             y = gather(x) W      with W the weight as a (16 C, O) matrix
    transposed convolution  y = scatter(x W)     with W the weight as a (C, 16 O) matrix

In channels_last memory an activation seen as (N H W, C) and a weight seen as such a matrix are views, not copies."""

import torch
import torch.nn.functional as F
from torch import nn

SWITCHES = {"matmul_conv": True, "channels_last": True, "fused_step": True}


def gather(image):
    """(N, 2h, 2w, C) -> (N, h, w, 4, 4, C): windows of the image padded by one pixel, from rows 2y - 1 to 2y + 2."""
    n, height, width, channels = image.shape
    padded = F.pad(image, (0, 0, 1, 1, 1, 1))
    by_n, by_row, by_column, by_channel = padded.stride()
    return padded.as_strided((n, height // 2, width // 2, 4, 4, channels),
                             (by_n, 2 * by_row, 2 * by_column, by_row, by_column, by_channel)).contiguous()


def scatter(windows):
    """(N, h, w, 4, 4, C) -> (N, 2h, 2w, C), the adjoint of `gather`: each window added where it was taken from, first
    along the rows, then along the columns."""
    n, h, w, _, _, channels = windows.shape
    rows = windows.new_empty(n, h, 2, w, 4 * channels)
    _overlap(windows.reshape(n, h, w, 4, 4 * channels).unbind(3), rows.unbind(2), 1)
    image = windows.new_empty(n, h, 2, w, 2, channels)
    _overlap(rows.view(n, h, 2, w, 4, channels).unbind(4), image.unbind(4), 3)
    return image.view(n, 2 * h, 2 * w, channels)


def _overlap(window, pixels, dim):
    """Adds windows of 4 pixels at stride 2: pixel 2y is the second of window y and the fourth of window y - 1,
    pixel 2y + 1 the third of window y and the first of window y + 1."""
    (first, second, third, fourth), (even, odd) = window, pixels
    last = even.shape[dim] - 1
    even.select(dim, 0).copy_(second.select(dim, 0))
    torch.add(second.narrow(dim, 1, last), fourth.narrow(dim, 0, last), out=even.narrow(dim, 1, last))
    odd.select(dim, last).copy_(third.select(dim, last))
    torch.add(third.narrow(dim, 0, last), first.narrow(dim, 1, last), out=odd.narrow(dim, 0, last))


class Windows(torch.autograd.Function):
    """`gather`, or `scatter` where `back`; the derivative of each is the other."""

    @staticmethod
    def forward(ctx, x, back):
        ctx.back = back
        return scatter(x) if back else gather(x)

    @staticmethod
    def backward(ctx, gradient):
        return Windows.apply(gradient, not ctx.back), None


def conv(x, weight, bias=None):
    """`F.conv2d(x, weight, bias, stride=2, padding=1)` for a weight (O, C, 4, 4) and x (N, C, 2h, 2w)."""
    out, channels = weight.shape[:2]
    windows = Windows.apply(x.permute(0, 2, 3, 1), False)
    n, h, w = windows.shape[:3]
    rows = F.linear(windows.view(-1, 16 * channels), weight.permute(0, 2, 3, 1).reshape(out, -1), bias)
    return rows.view(n, h, w, out).permute(0, 3, 1, 2)


def conv_transpose(x, weight, bias=None):
    """`F.conv_transpose2d(x, weight, bias, stride=2, padding=1)` for a weight (C, O, 4, 4) and x (N, C, h, w)."""
    n, channels, h, w = x.shape
    out = weight.shape[1]
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels) @ weight.permute(0, 2, 3, 1).reshape(channels, -1)
    y = Windows.apply(rows.view(n, h, w, 4, 4, out), True).permute(0, 3, 1, 2)
    return y if bias is None else y + bias.view(-1, 1, 1)


def conv_whole(x, weight, bias=None):
    """`F.conv2d(x, weight, bias)` for a kernel as large as the map: one product of all its pixels."""
    return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight.permute(0, 2, 3, 1).flatten(1), bias)[:, :, None, None]


def _fast(x, switch):
    """Whether layers may take their CPU form."""
    return SWITCHES[switch] and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def _is_stage(layer):
    """Whether a convolution or transposed convolution is 4 x 4 with stride 2 and padding 1, and nothing else."""
    return ((layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
            == ((4, 4), (2, 2), (1, 1), (1, 1), 1, "zeros") and not any(layer.output_padding))


def _product_wins(channels, size):
    """Whether matrix products are faster than the library's kernels, from the channels of the larger map and the size
    of the smaller (measured at batches of 128, with AMX and with AVX-512 BF16 alone)."""
    return channels < 16 or size < 8


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`; as a matrix product on a CPU in bf16, on small maps."""

    def forward(self, x):
        if _fast(x, "matmul_conv"):
            height, width = x.shape[2:]
            even = height % 2 == 0 and width % 2 == 0
            if _is_stage(self) and even and _product_wins(self.in_channels, width // 2):
                return conv(x.to(torch.get_autocast_dtype("cpu")), self.weight, self.bias)
            if (self.kernel_size, self.padding, self.groups) == ((height, width), (0, 0), 1):
                return conv_whole(x, self.weight, self.bias)
        return super().forward(x)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d`; as a matrix product on a CPU in bf16, on small maps."""

    def forward(self, x, output_size=None):
        fast = _fast(x, "matmul_conv") and _is_stage(self) and output_size is None
        if fast and _product_wins(self.out_channels, x.shape[3]):
            return conv_transpose(x.to(torch.get_autocast_dtype("cpu")), self.weight, self.bias)
        return super().forward(x, output_size)

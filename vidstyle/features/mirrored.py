"""Convolutions that see their input mirrored beyond its border, instead of zeros."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEAST = 4  # pixels a side: from there on its second comes before its last but one


class Mirrored(nn.Module):
    """A 3×3 convolution whose padding is its input mirrored.

    In the format that it multiplies in: torch's `padding_mode` pads before autocast. And in
    channels_last: torch's `reflection_pad2d` leaves that on a GPU, and adds up its gradient value
    by value there; on a CPU it takes two to four times as long ("Beside a GPU" in
    tests/bench/results/README.md).
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.padding == (1, 1)
        self.conv, self.more = conv, 0
        conv.padding = (0, 0)

    def widen(self, more: int) -> None:
        """Reads so many more channels: one of ones, to which the bias goes as a weight, and zeros.

        For a GPU, which has kernels for eight channels and not for three, and adds a bias in a pass
        of its own.
        """
        conv, self.more = self.conv, more
        own = conv.in_channels
        weight = conv.weight.new_zeros(conv.out_channels, own + more, 3, 3)
        weight[:, :own] = conv.weight.detach()
        if conv.bias is not None:
            weight[:, own, 1, 1] = conv.bias.detach()
        conv.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
        conv.in_channels, conv.bias = own + more, None

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(_Border.apply(x, multiplied_in(x), self.more)))


def multiplied_in(x: Tensor) -> torch.dtype:
    """The format that a convolution of `x` works in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _Border(torch.autograd.Function):
    """(B, C, H, W) → (B, C + more, H + 2, W + 2) in `dtype`; H and W are at least 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, more: int) -> Tensor:
        b, c, h, w = x.shape
        ctx.channels, ctx.dtype = c, x.dtype
        wider = torch.empty(
            (b, c + more, h + 2, w + 2),
            dtype=dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        if more:
            wider[:, c] = 1
            wider[:, c + 1 :] = 0
        own = wider[:, :c]
        own[..., 1:-1, 1:-1] = x
        for beyond, mirrored in _ends(w):
            own[..., 1:-1, beyond] = x[..., mirrored]
        for beyond, mirrored in _ends(h):
            own[..., beyond, :] = own[..., 1:-1, :][..., mirrored, :]
        return wider

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient[:, : ctx.channels]
        inner = gradient[..., 1:-1, 1:-1]
        h, w = inner.shape[2:]
        own = torch.empty_like(inner, dtype=ctx.dtype, memory_format=torch.channels_last)
        own.copy_(inner)
        rows, columns = _ends(h), _ends(w)
        for beyond, mirrored in rows:
            own[..., mirrored, :].add_(gradient[..., beyond, 1:-1])
        for beyond, mirrored in columns:
            own[..., mirrored].add_(gradient[..., 1:-1, beyond])
        for (row, y), (column, x) in product(rows, columns):
            own[..., y, x].add_(gradient[..., row, column])
        return own, None, None


def _ends(size: int) -> list[tuple[slice, slice]]:
    """What lies beyond a side's two ends, and what mirrors there: at once where that can be.

    A GPU counts the number of operations.
    """
    if size < LEAST:
        return [(slice(0, 1), slice(1, 2)), (slice(size + 1, None), slice(size - 2, size - 1))]
    return [(slice(0, None, size + 1), slice(1, size - 1, size - 3))]

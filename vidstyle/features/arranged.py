"""A mirrored network arranged for a GPU, where every pass over a map costs as much as a product.

The same function of the picture but for rounding. What it saves is in "Beside a GPU" in
tests/bench/results/README.md.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vidstyle.features.mirrored import Mirrored, multiplied_in
from vidstyle.features.taps import TapNet

ALIGNED = 8  # channels: with three, a GPU's kernels for the way back are slow (pytorch #54404)


def arranged(net: TapNet) -> TapNet:
    """`net`, changed: for frozen weights, and a gradient that goes to the picture only."""
    first = next(part for part in net.modules() if isinstance(part, Mirrored))
    first.widen(-first.conv.in_channels % ALIGNED)
    for name, step in net.steps.items():
        match list(step.children()):
            case [reduce, Mirrored() as narrow, nn.Conv2d() as expand, nn.ReLU() as relu]:
                _pass_on_bias(narrow.conv, expand)
                rectified = Rectified(expand, relu)
                net.steps[name] = nn.Sequential(reduce, narrow, rectified)
    return net


def _pass_on_bias(narrow: nn.Conv2d, expand: nn.Conv2d) -> None:
    """To the layer behind, as nothing but a product is between: a GPU adds each in its own pass."""
    assert narrow.bias is not None and expand.bias is not None
    with torch.no_grad():
        expand.bias += expand.weight.flatten(1) @ narrow.bias
    narrow.bias = None


class Rectified(nn.Sequential):
    """A 1×1 convolution and its ReLU in one pass: as a product that adds and rectifies.

    Of the ReLU, which is not called, the map is counted in `strips`.
    """

    def forward(self, x: Tensor) -> Tensor:
        conv = cast(nn.Conv2d, self[0])
        weight, bias = conv.weight.flatten(1), cast(Tensor, conv.bias)
        dtype = multiplied_in(x)
        parts = (part.to(dtype) for part in (x, weight, bias))
        return cast(Tensor, _RectifiedProduct.apply(*parts))


class _RectifiedProduct(torch.autograd.Function):
    """(B, I, H, W), (O, I), (O) → (B, O, H, W), all of one format and channels_last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = x.permute(0, 2, 3, 1)  # a view of pixels and their channels
        made = torch._addmm_activation(bias, flat.flatten(0, 2), weight.t())
        ctx.save_for_backward(weight, made)
        return made.view(*flat.shape[:3], -1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight, made = ctx.saved_tensors
        flat = gradient.permute(0, 2, 3, 1)
        pulled = torch.ops.aten.threshold_backward(flat.flatten(0, 2), made, 0)
        return (pulled @ weight).view(*flat.shape[:3], -1).permute(0, 3, 1, 2), None, None

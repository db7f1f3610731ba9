"""Average pooling by two with a quicker way back."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AveragePool(nn.Module):
    """2×2 means of (B, C, H, W), an odd last row or column left out: `nn.AvgPool2d(2)`.

    Whose way back goes over its map three times: on a CPU a twentieth of a step in bfloat16 ("Time
    of a step" in tests/bench/results/README.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, _Pooled.apply(x))


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.odd = [side % 2 for side in x.shape[2:]]
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        down, across = ctx.odd
        # Of operations that have a way back themselves: distillation goes through gradients.
        whole = F.interpolate(gradients[0] / 4, scale_factor=2.0, mode="nearest")
        return F.pad(whole, (0, across, 0, down)) if down or across else whole

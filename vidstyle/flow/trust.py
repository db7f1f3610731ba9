"""Where a flow field can be trusted (Ruder, Dosovitskiy, Brox 2016, section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.flow.warp import STILL, warp
from vidstyle.images import blur

# Negative before the blur, so that an occlusion bleeds outwards over its soft edge.
OCCLUDED, UNSURE, TRUSTED = -1.0, 0.0, 1.0
BLUR_SIGMA = 0.8  # pixels


def trust_mask(flow: Tensor, opposite: Tensor) -> Tensor:
    """c, (B, 1, H, W) in [0, 1]: 1 where `flow` leads to the same surface point, 0 where not.

    `flow` (B, 2, H, W) leads from this frame to the other, `opposite` back, both in pixels.
    """
    mask = torch.full_like(flow[:, :1], TRUSTED)
    mask[_motion_boundary(flow)] = UNSURE
    mask[_disoccluded(flow, opposite)] = OCCLUDED
    mask[_outside(flow)] = UNSURE
    return blur(mask, BLUR_SIGMA).clamp(0, 1)


def retraced(flow: Tensor, opposite: Tensor) -> Tensor:
    """−w̃(p + w): `flow` corrected by its whole round trip's error, w − (w + w̃).

    As near to the true motion as w itself; but what is carried along it lies where the opposite
    field, from frame t−1 to t, along which warp error is defined, will look for it.
    """
    return -warp(opposite, flow)


def _outside(flow: Tensor) -> Tensor:
    _, _, height, width = flow.shape
    x = torch.arange(width, device=flow.device).view(1, 1, 1, -1) + flow[:, :1]
    y = torch.arange(height, device=flow.device).view(1, 1, -1, 1) + flow[:, 1:]
    # A still frame's flow is not quite 0: its border is not outside.
    edge = STILL
    return (x < -edge) | (x > width - 1 + edge) | (y < -edge) | (y > height - 1 + edge)


def _squared(field: Tensor) -> Tensor:
    return field.square().sum(1, keepdim=True)


def _disoccluded(flow: Tensor, opposite: Tensor) -> Tensor:
    """|w + w̃|² ≥ 0.01 (|w|² + |w̃|²) + 0.5 (eq. 5), w̃ the opposite flow where w points."""
    back = warp(opposite, flow)
    return _squared(flow + back) >= 0.01 * (_squared(flow) + _squared(back)) + 0.5


def _motion_boundary(flow: Tensor) -> Tensor:
    """|∇u|² + |∇v|² > 0.01 |w|² + 0.002 (eq. 6)."""
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return _squared(dx) + _squared(dy) > 0.01 * _squared(flow) + 0.002

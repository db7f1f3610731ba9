"""Backward warping along optical flow."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.images import filtered

STILL = 0.1  # pixels: less motion than this is noise, and resampling by it only blurs

POLE: Final = math.sqrt(3) - 2  # of the filter that makes a picture a spline's coefficients
REACH: Final = 12  # pixels: |POLE| ** 12 is float32's own error
_DECAY: Final = POLE ** np.abs(np.arange(-REACH, REACH + 1))
TO_SPLINE: Final = tuple(_DECAY / _DECAY.sum())
EDGE: Final = 2  # coefficients beyond the picture's border that a place near it reads


def still_to_zero(flow: Tensor) -> Tensor:
    """Flow shorter than `STILL` pixels set to exactly 0, so that still pixels are copied."""
    return flow * (flow.square().sum(1, keepdim=True) >= STILL**2)


def is_still(flow: Tensor) -> Tensor:
    """(B, 1, H, W) bool: where (B, 2, H, W) is exactly 0."""
    x, y = flow.split(1, dim=1)
    return (x == 0) & (y == 0)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """image (B, C, H, W) read at p + flow(p), flow (B, 2, H, W) in pixels (x, y): bilinear.

    Outside the image its border repeats.
    """
    height, width = image.shape[2:]
    x, y = _places(flow)
    return _sampled(image, torch.stack([_unit(x, width), _unit(y, height)], dim=1))


def warp_sharp(image: Tensor, flow: Tensor) -> Tensor:
    """`warp_spline` of a picture in [0, 1], which its overshoot does not leave."""
    return warp_spline(image, flow).clamp(0, 1)


def warp_spline(image: Tensor, flow: Tensor) -> Tensor:
    """As `warp`, for what is carried on and on: by a cubic B-spline.

    Unser, Aldroubi, Eden 1991. Bilinear blurs more with every frame, torch's bicubic amplifies;
    this keeps 0.97 of a wave of four pixels at half-pixel steps, and copies what does not move.
    Chosen from the table "Steady or painted" in tests/bench/results/README.md.
    """
    height, width = image.shape[2:]
    mode = "reflect" if min(height, width) > EDGE else "replicate"
    coefficients = F.pad(filtered(image, TO_SPLINE, mirrored=True), (EDGE,) * 4, mode=mode)
    shares, places = _neighbours(flow)
    # The four of a pixel one below the other: to read once is quicker than to read four times.
    read = _sampled(coefficients, places.flatten(2, 4)).unflatten(2, (4, height))
    moved = read[:, :, 0] * shares[:, :, 0]
    for place in range(1, 4):
        moved.addcmul_(read[:, :, place], shares[:, :, place])
    return torch.where(is_still(flow), image, moved)


def _neighbours(flow: Tensor) -> tuple[Tensor, Tensor]:
    """The sixteen coefficients around each place as four places to read linearly.

    Their shares (B, 1, 4, H, W), and they, (B, 2, 2, 2, H, W): x and y, of the upper and the lower
    two of the left and the right one, from -1 to 1 over the coefficients with their EDGE. Sigg,
    Hadwiger 2005, "Fast third-order texture filtering".
    """
    sizes = flow.shape[:1:-1]
    inside = [place.clamp(0, size - 1) for place, size in zip(_places(flow), sizes, strict=True)]
    t = torch.stack(inside, dim=1)
    whole = t.floor()
    t -= whole
    square = t.square()
    cube = square * t
    second = (cube / 2).sub_(square).add_(2 / 3)
    left = (cube / 3).sub_(square, alpha=0.5).sub_(t, alpha=0.5).add_(5 / 6)  # with the first
    right = 1 - left
    first_two = second.div_(left).add_(whole)
    last_two = torch.add(whole, cube.div_(right), alpha=1 / 6)
    shares_x, shares_y = torch.stack([left, right], dim=2).unbind(1)
    shares = shares_y.unsqueeze(2) * shares_x.unsqueeze(1)
    both = torch.stack([first_two - 1, last_two + 1], dim=2).add_(EDGE)
    x, y = (_unit(both[:, axis], size + 2 * EDGE) for axis, size in enumerate(sizes))
    places = torch.stack(torch.broadcast_tensors(x.unsqueeze(1), y.unsqueeze(2)), dim=1)
    return shares.flatten(1, 2).unsqueeze(1), places


def _places(flow: Tensor) -> tuple[Tensor, Tensor]:
    """p + flow(p) in pixels, x and y, each (B, H, W)."""
    _, _, height, width = flow.shape
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, -1)
    return xs + flow[:, 0], ys + flow[:, 1]


def _unit(place: Tensor, size: int) -> Tensor:
    """Pixels → -1 and 1 at the centres of the outermost ones."""
    return place * (2 / max(size - 1, 1)) - 1


def _sampled(image: Tensor, places: Tensor) -> Tensor:
    """image (B, C, H, W) read linearly at places (B, 2, h, w): x and y from -1 to 1."""
    # Side by side in memory: to weave x and y costs more than to read by them.
    grid = places.permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, "bilinear", padding_mode="border", align_corners=True)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow field for the same pictures at another size (h, w), vectors rescaled."""
    if tuple(flow.shape[2:]) == size:
        return flow
    height, width = size
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]], device=flow.device)
    resized = F.interpolate(flow, (height, width), mode="bilinear", antialias=True)
    return resized * scale.to(flow.dtype).view(1, 2, 1, 1)

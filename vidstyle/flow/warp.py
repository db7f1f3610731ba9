"""Backward warping along optical flow."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

STILL = 0.1  # pixels: less motion than this is noise, and resampling by it only blurs

POLE: Final = math.sqrt(3) - 2  # of the filter that makes a picture a spline's coefficients
REACH: Final = 12  # pixels: |POLE| ** 12 is float32's own error
EDGE: Final = 2  # coefficients beyond the picture's border that a place near it reads


def still_to_zero(flow: Tensor) -> Tensor:
    """Flow shorter than `STILL` pixels set to exactly 0, so that still pixels are copied."""
    return flow * (flow.square().sum(1, keepdim=True) >= STILL**2)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """image (B, C, H, W) read at p + flow(p), flow (B, 2, H, W) in pixels (x, y): bilinear.

    Outside the image its border repeats.
    """
    return _read(image, *_places(flow))


def warp_sharp(image: Tensor, flow: Tensor) -> Tensor:
    """As `warp`, for a picture in [0, 1] that is carried on and on: by a cubic B-spline.

    Unser, Aldroubi, Eden 1991. Bilinear blurs more with every frame, torch's bicubic amplifies;
    this keeps 0.97 of a wave of four pixels at half-pixel steps, and copies what does not move.
    Chosen from the table "Steady or painted" in tests/bench/results/README.md.
    """
    height, width = image.shape[2:]
    coefficients = F.pad(_spline_coefficients(image), (EDGE,) * 4, mode="reflect")
    x, y = _places(flow)
    columns, rows = _neighbours(x.clamp(0, width - 1)), _neighbours(y.clamp(0, height - 1))
    moved = sum(
        (share * other).unsqueeze(1) * _read(coefficients, column + EDGE, row + EDGE)
        for share, column in columns
        for other, row in rows
    )
    still = (flow == 0).all(1, keepdim=True)
    return torch.where(still, image, moved).clamp(0, 1)


def _spline_coefficients(image: Tensor) -> Tensor:
    """What a cubic B-spline needs for going through the samples, borders mirrored."""
    for axis in (3, 2):
        reach = min(REACH, image.shape[axis] - 1)
        away = torch.arange(-reach, reach + 1, device=image.device).abs()
        kernel = torch.tensor(POLE, device=image.device) ** away
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        edges = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
        # A whole one's sum is (1 + POLE) / (1 - POLE); of a cut one the picture's mean is kept.
        kernel = (kernel / kernel.sum()).to(image).view(shape).expand(image.shape[1], 1, -1, -1)
        image = F.conv2d(F.pad(image, edges, mode="reflect"), kernel, groups=image.shape[1])
    return image


def _neighbours(place: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The four coefficients around each place as two places to read linearly, and their shares.

    Sigg, Hadwiger 2005, "Fast third-order texture filtering".
    """
    whole = place.floor()
    t = place - whole
    first, second, fourth = (1 - t) ** 3 / 6, 2 / 3 - t**2 + t**3 / 2, t**3 / 6
    left, right = first + second, 1 - first - second
    return [(left, whole - 1 + second / left), (right, whole + 1 + fourth / right)]


def _places(flow: Tensor) -> tuple[Tensor, Tensor]:
    """p + flow(p) in pixels, x and y, each (B, H, W)."""
    _, _, height, width = flow.shape
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, -1)
    return xs + flow[:, 0], ys + flow[:, 1]


def _read(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = image.shape[2:]
    # align_corners=True: -1 and 1 are the centres of the outermost pixels. Side by side in memory:
    # to weave x and y costs more than to read by them.
    grid = torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], dim=1)
    places = grid.permute(0, 2, 3, 1)
    return F.grid_sample(image, places, "bilinear", padding_mode="border", align_corners=True)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow field for the same pictures at another size (h, w), vectors rescaled."""
    if tuple(flow.shape[2:]) == size:
        return flow
    height, width = size
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]], device=flow.device)
    resized = F.interpolate(flow, (height, width), mode="bilinear", antialias=True)
    return resized * scale.to(flow.dtype).view(1, 2, 1, 1)

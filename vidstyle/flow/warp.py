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
    coefficients = F.pad(_spline_coefficients(image), (EDGE,) * 4, mode=mode)
    x, y = _places(flow)
    shares_x, columns = _neighbours(x.clamp(0, width - 1), width)
    shares_y, rows = _neighbours(y.clamp(0, height - 1), height)
    # The four of a pixel one below the other: to read once is quicker than to read four times.
    four = torch.broadcast_tensors(columns.unsqueeze(1), rows.unsqueeze(2))
    read = _sampled(coefficients, torch.stack(four, dim=1).flatten(2, 4)).unflatten(2, (4, height))
    shares = (shares_x.unsqueeze(1) * shares_y.unsqueeze(2)).flatten(1, 2).unsqueeze(1)
    moved = read[:, :, 0] * shares[:, :, 0]
    for place in range(1, 4):
        moved.addcmul_(read[:, :, place], shares[:, :, place])
    still = (flow == 0).all(1, keepdim=True)
    return torch.where(still, image, moved)


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


def _neighbours(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The four coefficients around each place as two places to read linearly.

    (B, H, W) in pixels of `size` → their shares and they, (B, 2, H, W), the latter from -1 to 1
    over the coefficients with their EDGE. Sigg, Hadwiger 2005, "Fast third-order texture
    filtering".
    """
    whole = place.floor()
    t = place - whole
    first, second, fourth = (1 - t) ** 3 / 6, 2 / 3 - t**2 + t**3 / 2, t**3 / 6
    left, right = first + second, 1 - first - second
    both = torch.stack([whole - 1 + second / left, whole + 1 + fourth / right], dim=1)
    return torch.stack([left, right], dim=1), _unit(both + EDGE, size + 2 * EDGE)


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

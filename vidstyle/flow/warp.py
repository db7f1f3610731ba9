"""Backward warping along optical flow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STILL = 0.1  # pixels: less motion than this is noise, and resampling by it only blurs

SHARPNESS = 0.75  # of the bicubic; 2/3 would be Catmull-Rom's at half-pixel shifts


def still_to_zero(flow: Tensor) -> Tensor:
    """Flow shorter than `STILL` pixels set to exactly 0, so that still pixels are copied."""
    return flow * (flow.square().sum(1, keepdim=True) >= STILL**2)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """image (B, C, H, W) read at p + flow(p), flow (B, 2, H, W) in pixels (x, y): bilinear.

    Outside the image its border repeats.
    """
    return _sample(image, _grid(flow), "bilinear")


def warp_sharp(image: Tensor, flow: Tensor) -> Tensor:
    """As `warp`, for a picture in [0, 1] that is carried on and on.

    Bilinear blurs a little more with every frame, torch's bicubic (a = -0.75) amplifies; this
    mixture keeps the finest texture about as it is.
    """
    grid = _grid(flow)
    mixed = torch.lerp(_sample(image, grid, "bilinear"), _sample(image, grid, "bicubic"), SHARPNESS)
    return mixed.clamp(0, 1)


def _grid(flow: Tensor) -> Tensor:
    _, _, height, width = flow.shape
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, -1)
    # align_corners=True: -1 and 1 are the centres of the outermost pixels.
    x = (xs + flow[:, 0]) * (2 / max(width - 1, 1)) - 1
    y = (ys + flow[:, 1]) * (2 / max(height - 1, 1)) - 1
    return torch.stack([x, y], dim=-1)


def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow field for the same pictures at another size (h, w), vectors rescaled."""
    if tuple(flow.shape[2:]) == size:
        return flow
    height, width = size
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]], device=flow.device)
    resized = F.interpolate(flow, (height, width), mode="bilinear", antialias=True)
    return resized * scale.to(flow.dtype).view(1, 2, 1, 1)

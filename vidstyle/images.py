"""Pictures between numpy (H, W, 3) and torch (1, 3, H, W), and between sizes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 8  # pixels a side: two poolings must leave something


def to_tensor(image: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """(H, W, C) float → (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None]


def to_array(image: Tensor) -> np.ndarray:
    """(1, C, H, W) → (H, W, C)."""
    return np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy())


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) in [0, 1] to (h, w), bicubic, antialiased."""
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """(H, W) times a factor, in whole pixels, never below SMALLEST."""
    return max(round(size[0] * factor), SMALLEST), max(round(size[1] * factor), SMALLEST)


def fit_side(image: Tensor, side: int) -> Tensor:
    """To a long side of `side` pixels; smaller pictures are left as they are."""
    height, width = image.shape[2:]
    return resize(image, scaled((height, width), min(side / max(height, width), 1.0)))

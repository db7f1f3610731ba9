"""Sizes and orientation: how large a frame becomes, and which way is up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


def scaled_size(width: int, height: int, size: int | None) -> tuple[int, int]:
    """(width, height) with a long side of at most `size`: even sides, at least 2, never larger.

    A picture that need not shrink keeps its exact sides, odd ones included.
    """
    longest = max(width, height)
    if size is None or size >= longest:
        return width, height
    # The long side rounds down, so that the result never exceeds what was asked for.
    long_side = size // 2 * 2
    short_side = max(2, 2 * round(min(width, height) * long_side / longest / 2))
    return (long_side, short_side) if width >= height else (short_side, long_side)


def reduced_size(shape: Sequence[int], long_side: int) -> tuple[int, int]:
    """(H, W, …) → (width, height) of so long a side at most, for a look: odd ones are as good."""
    height, width = shape[:2]
    factor = min(1.0, long_side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) float32 in [0, 1] to (width, height), antialiased (Lanczos), in float."""
    height, width, channels = pixels.shape
    if size == (width, height):
        return np.ascontiguousarray(pixels, np.float32)
    planes = [
        Image.fromarray(pixels[..., index]).resize(size, Image.Resampling.LANCZOS)
        for index in range(channels)
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0, 1)


@dataclass(frozen=True)
class Orientation:
    """Turn the coded picture counter-clockwise by `rotation_degrees`, then mirror it: upright."""

    rotation_degrees: int = 0
    mirrored: bool = False

    @classmethod
    def of_display_matrix(cls, matrix: Sequence[int]) -> Orientation:
        """From FFmpeg's 3×3 display matrix; a skewed angle goes to the nearest quarter turn."""
        a, b, _, c, d = matrix[:5]
        mirrored = a * d - b * c < 0
        # Undo the mirror (it negates x, the first column) so that a rotation is left.
        angle = math.degrees(math.atan2(-b, -a if mirrored else a))
        return cls(round(angle / 90) * 90 % 360, mirrored)

    @property
    def swaps_sides(self) -> bool:
        return self.rotation_degrees % 180 == 90

    def upright(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) as coded → upright; (W, H, C) after a quarter turn. A view."""
        turned = np.rot90(image, self.rotation_degrees // 90)
        return turned[:, ::-1] if self.mirrored else turned

    def coded(self, image: np.ndarray) -> np.ndarray:
        """The inverse of `upright`. A view."""
        straight = image[:, ::-1] if self.mirrored else image
        return np.rot90(straight, -self.rotation_degrees // 90)

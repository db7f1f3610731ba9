"""Frames that repeat the one before: doubled by a change of frame rate, or held."""

from __future__ import annotations

import numpy as np

from vidstyle.images import blur, to_tensor

SAME = 1 / 16  # at most, of the usual change between frames: a slow shot's are no repeats
MOST = 1.5 / 255  # at most, however much that was: a flash may have been the last
LEFT = 12 / 255  # at most, of what a codec leaves of a repeat: else something small has moved
GRAIN = 1.5  # pixels over which a difference is averaged, so that grain is none
EVERY = 4  # rows and columns, of which one is looked at for the change


def change(earlier: np.ndarray, later: np.ndarray) -> float:
    """Mean absolute difference of two pictures (H, W, 3) in [0, 1]."""
    return float(np.abs(later[::EVERY, ::EVERY] - earlier[::EVERY, ::EVERY]).mean())


def repeats(earlier: np.ndarray, later: np.ndarray, usual: float) -> bool:
    """Whether `later` shows nothing new; `usual` is the `change` between frames that last did."""
    if change(earlier, later) > min(SAME * usual, MOST):
        return False
    if usual == 0:
        return np.array_equal(earlier, later)
    return float(blur(to_tensor(later - earlier), GRAIN).abs().max()) <= LEFT

"""Smooth random fields and small array helpers shared by the clip and the painting."""

from collections.abc import Sequence

import cv2
import numpy as np

Array = np.ndarray
Stops = Sequence[tuple[float, tuple[int, int, int]]]


def fbm(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: tuple[float, float],
    octaves: int = 5,
    gain: float = 0.5,
) -> Array:
    """Smooth noise of several octaves, (h, w) float32 with mean 0 and deviation 1.

    `cells` is how many random knots (down, across) the coarsest octave has; each octave
    doubles them and multiplies the amplitude by `gain`.
    """
    h, w = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        knots = [max(2, round(c * 2**octave)) + 3 for c in cells]
        grid = rng.standard_normal(knots).astype(np.float32)
        total += gain**octave * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / total.std()


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, a cubic ease between; `low` may exceed `high`."""
    u = np.clip((x - low) / (high - low), 0.0, 1.0)
    return (u * u * (3 - 2 * u)).astype(np.float32)


def ramp(x: Array, stops: Stops) -> Array:
    """Colours along `x`: (…) → (…, 3) float32 in [0, 1] from (position, 8-bit RGB) stops."""
    at = [position for position, _ in stops]
    channels = [np.interp(x, at, [rgb[c] / 255 for _, rgb in stops]) for c in range(3)]
    return np.stack(channels, -1).astype(np.float32)


def mix(a: Array, b: Array, weight: Array | float) -> Array:
    """`a` where weight is 0, `b` where it is 1; a (…) weight spreads over (…, 3) colours."""
    w = np.asarray(weight, np.float32)
    if w.ndim and w.ndim < np.ndim(a):
        w = w[..., None]
    return (a + (b - a) * w).astype(np.float32)


def rgb(r: int, g: int, b: int) -> Array:
    """One 8-bit colour as (3,) float32 in [0, 1]."""
    return np.array([r, g, b], np.float32) / 255

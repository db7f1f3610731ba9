"""What every flow estimator is, and one that remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

# (H, W, 3) float32 RGB in [0, 1], twice → (H, W, 2) float32: where the first picture's pixels
# lie in the second, as an offset in pixels (x, y).
FlowEstimator = Callable[[np.ndarray, np.ndarray], np.ndarray]


def remember(flow: FlowEstimator) -> FlowEstimator:
    """The same estimator, answering again from memory for its last two pairs of pictures.

    Measuring asks for a pair's flow in both directions, once for each of its figures.
    """
    known: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque(maxlen=2)

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        for a, b, field in known:
            if a is first and b is second:
                return field
        known.append((first, second, flow(first, second)))
        return known[-1][2]

    return estimate

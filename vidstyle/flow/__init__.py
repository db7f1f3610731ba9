"""Optical flow: a registry of name → estimator, and what is done with the fields."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from vidstyle.errors import SettingsError
from vidstyle.opencv import opencv

__all__ = ["FLOWS", "FlowEstimator", "load_flow", "remember"]

# (H, W, 3) float32 RGB in [0, 1], twice → (H, W, 2) float32: where the first picture's pixels
# lie in the second, as an offset in pixels (x, y).
FlowEstimator = Callable[[np.ndarray, np.ndarray], np.ndarray]

SMALLEST = 16  # pixels: DIS's patches need as much


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float RGB → (H, W) uint8, which is what OpenCV's flows take."""
    cv2 = opencv()
    return np.asarray(np.rint(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 255).clip(0, 255), np.uint8)


def _dis() -> FlowEstimator:
    """Dense Inverse Search (Kroeger, Timofte, Dai, Van Gool 2016), preset MEDIUM."""
    cv2 = opencv()
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        height, width = first.shape[:2]
        # DIS refuses tiny pictures: repeat the border until its coarsest patch fits.
        edges = (0, max(0, SMALLEST - height), 0, max(0, SMALLEST - width))
        a, b = (cv2.copyMakeBorder(grey(x), *edges, cv2.BORDER_REPLICATE) for x in (first, second))
        return np.asarray(estimator.calc(a, b, None)[:height, :width])

    return estimate


def _farneback() -> FlowEstimator:
    """Farnebäck 2003: another method than the rendering's, to judge by."""
    cv2 = opencv()

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(
            cv2.calcOpticalFlowFarneback(grey(first), grey(second), None, 0.5, 5, 15, 5, 7, 1.5, 0)
        )

    return estimate


FLOWS: dict[str, Callable[[], FlowEstimator]] = {"dis": _dis, "farneback": _farneback}


def load_flow(name: str) -> FlowEstimator:
    if name not in FLOWS:
        raise SettingsError(f"--flow {name}: known are {', '.join(FLOWS)}, none")
    return FLOWS[name]()


def remember(flow: FlowEstimator) -> FlowEstimator:
    """The same estimator, answering again from memory for its last two pairs of pictures.

    Rendering asks for a pair's flow in both directions, then judging asks once more.
    """
    known: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque(maxlen=2)

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        for a, b, field in known:
            if a is first and b is second:
                return field
        known.append((first, second, flow(first, second)))
        return known[-1][2]

    return estimate

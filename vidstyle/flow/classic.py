"""OpenCV's flows: no weights, grey pictures of 8 bits, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from threading import local
from typing import Any

import numpy as np

from vidstyle.flow.estimator import FlowEstimator
from vidstyle.opencv import opencv

SMALLEST = 16  # pixels: DIS's patches need as much


def load_dis() -> FlowEstimator:
    """Dense Inverse Search (Kroeger, Timofte, Dai, Van Gool 2016), preset MEDIUM."""
    cv2 = opencv()
    return with_dis(lambda: cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM))


def with_dis(make: Callable[[], Any]) -> FlowEstimator:
    """As `load_dis`, by a `cv2.DISOpticalFlow` of your own, one for each thread."""
    cv2 = opencv()
    own = local()  # it works in buffers of its own

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        if not hasattr(own, "search"):
            own.search = make()
        height, width = first.shape[:2]
        # DIS refuses tiny pictures: repeat the border until its coarsest patch fits.
        edges = (0, max(0, SMALLEST - height), 0, max(0, SMALLEST - width))
        a, b = (cv2.copyMakeBorder(_grey(x), *edges, cv2.BORDER_REPLICATE) for x in (first, second))
        return np.asarray(own.search.calc(a, b, None)[:height, :width])

    return estimate


def load_farneback() -> FlowEstimator:
    """Farnebäck 2003: another method than the rendering's, to judge by."""
    cv2 = opencv()

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        a, b = _grey(first), _grey(second)
        return np.asarray(cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 5, 15, 5, 7, 1.5, 0))

    return estimate


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) float RGB → (H, W) uint8, which is what OpenCV's flows take."""
    cv2 = opencv()
    return np.asarray(np.rint(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 255).clip(0, 255), np.uint8)

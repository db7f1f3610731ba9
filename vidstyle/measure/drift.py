"""Drift: what slowly becomes darker or changes colour where nothing moves."""

from __future__ import annotations

import numpy as np

from vidstyle.flow import FlowEstimator
from vidstyle.flow.warp import STILL
from vidstyle.measure.measurement import Figures, Series

LEVELS = 255
UNCHANGED = 4 / LEVELS  # of a still source's noise, each channel
LEAST_STILL = 0.05  # of the picture: a mean over fewer pixels is noise
LUMA = np.array([0.2126, 0.7152, 0.0722])  # BT.709


class Drift:
    """The result's mean change since its shot's first frame, on pixels that do not move.

    A pixel does not move where the flow from the shot's first frame is shorter than `STILL` pixels
    and the source differs from that frame by at most `UNCHANGED` in every channel. What the
    source itself changes there is subtracted. In 8-bit levels:

    - luminance: the signed change of BT.709 luma; below 0 is darker.
    - colour: what is left of the change of RGB without luma's, root mean square of the three.

    `series` has both for every frame, `None` at a shot's first and where fewer than `LEAST_STILL`
    of the pixels are still.
    """

    def __init__(self, flow: FlowEstimator) -> None:
        self.flow = flow
        self.first: tuple[np.ndarray, np.ndarray] | None = None
        self.series: list[tuple[float, float] | None] = []
        self.ages: list[int] = []  # frames since the shot's first

    def add(self, source: np.ndarray, result: np.ndarray, new_shot: bool = False) -> None:
        if self.first is None or new_shot:
            self.first = (source, result)
            self.ages.append(0)
            self.series.append(None)
            return
        self.ages.append(self.ages[-1] + 1)
        self.series.append(self._since(*self.first, source, result))

    def skip(self, new_shot: bool = False) -> None:
        """A frame that is not compared."""
        self.first = None if new_shot else self.first
        self.ages.append(0 if self.first is None else self.ages[-1] + 1)
        self.series.append(None)

    def _since(
        self, plain: np.ndarray, painted: np.ndarray, source: np.ndarray, result: np.ndarray
    ) -> tuple[float, float] | None:
        still = np.linalg.norm(self.flow(plain, source), axis=2) < STILL
        still &= np.abs(source - plain).max(axis=2) <= UNCHANGED
        if still.mean() < LEAST_STILL:
            return None
        change = (result - painted)[still] - (source - plain)[still]
        mean = change.mean(axis=0, dtype=np.float64) * LEVELS
        luminance = float(LUMA @ mean)
        return luminance, float(np.sqrt(np.square(mean - luminance).mean()))

    def figures(self) -> Figures:
        """Means over the frames, and the steady change a frame that fits them best."""
        known = [(age, *pair) for age, pair in zip(self.ages, self.series, strict=True) if pair]
        if not known:
            return {}
        ages, luminance, colour = np.array(known).T
        return {
            "luminance_drift": float(luminance.mean()),
            "luminance_drift_per_frame": float(ages @ luminance / (ages @ ages)),
            "colour_drift": float(colour.mean()),
        }

    def by_frame(self) -> Series:
        return {
            "luminance_drift_series": [pair and pair[0] for pair in self.series],
            "colour_drift_series": [pair and pair[1] for pair in self.series],
        }

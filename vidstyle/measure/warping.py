"""Warp error: what changes along the source's motion, between neighbours and far apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vidstyle.flow import FlowEstimator
from vidstyle.flow.motion import Correspondence
from vidstyle.flow.trust import trust_mask
from vidstyle.flow.warp import warp
from vidstyle.images import to_tensor

SOURCE_FLOOR = 3e-5  # a still source's own warp error would make any ratio infinite

Pair = tuple[np.ndarray, np.ndarray]
# An earlier picture and a later one, (H, W, 3) float32 RGB in [0, 1] → how the earlier one's pixels
# correspond to the later one's.
Follow = Callable[[np.ndarray, np.ndarray], Correspondence]


class PairError(NamedTuple):
    """Warp errors of two frames; `change` is where the result's lies.

    `change` is (H, W) float32: m·(warp(O_t) − O_s)², the mean over RGB.
    """

    source: float
    result: float
    change: np.ndarray


def along(flow: FlowEstimator) -> Follow:
    """By an estimator's flows both ways."""

    def follow(earlier: np.ndarray, later: np.ndarray) -> Correspondence:
        forth, back = to_tensor(flow(earlier, later)), to_tensor(flow(later, earlier))
        return Correspondence(forth, trust_mask(forth, back))

    return follow


def pair_error(
    follow: Follow, source: Pair, result: Pair, least_trust: float = 0.0
) -> PairError | None:
    """Σ m·(warp(O_t) − O_s)² / (3 Σ m) of the source's and the result's (O_s, O_t) (Lai 2018).

    Flow and mask m come from the source's pair; bilinear. `None` where no more than `least_trust`
    of the picture is trusted.
    """
    forth, mask = follow(*source)
    if float(mask.mean()) <= least_trust:
        return None
    changes = []
    for pair in (source, result):
        earlier, later = (to_tensor(picture, forth.device) for picture in pair)
        difference = warp(later, forth) - earlier
        changes.append(mask * difference.square().mean(1, keepdim=True))
    plain, made = (float(change.sum() / mask.sum()) for change in changes)
    return PairError(plain, made, changes[1][0, 0].cpu().numpy())


class WarpError:
    """Means of the source's and the result's warp error over the pairs within a clip's shots.

    Every frame is compared with the one `distance` before it, or with its shot's first where
    `distance` is `None`, along the direct flow between the two. Holds no more than those frames;
    `series` has two numbers a frame, source's and result's.
    """

    def __init__(self, follow: Follow, distance: int | None = 1, least_trust: float = 0.0) -> None:
        self.follow, self.distance, self.least_trust = follow, distance, least_trust
        self.before: deque[Pair] = deque(maxlen=distance)
        self.series: list[tuple[float, float] | None] = []

    def add(
        self, source: np.ndarray, result: np.ndarray, new_shot: bool = False
    ) -> PairError | None:
        """The next frame; with `new_shot` it is not compared with those before."""
        if new_shot:
            self.before.clear()
        error = self._compare(source, result) if self._has_partner() else None
        self.series.append(error and error[:2])
        if self.distance is not None or not self.before:
            self.before.append((source, result))
        return error

    def skip(self, new_shot: bool = False) -> None:
        """A frame that is not compared; nor are, with those before it, those behind.

        With the shot's first frame they are, or with the first of it that was not skipped.
        """
        if new_shot or self.distance is not None:
            self.before.clear()
        self.series.append(None)

    def _has_partner(self) -> bool:
        return len(self.before) == (self.distance or 1)

    def _compare(self, source: np.ndarray, result: np.ndarray) -> PairError | None:
        earlier, painted = self.before[0]
        return pair_error(self.follow, (earlier, source), (painted, result), self.least_trust)

    @property
    def pairs(self) -> int:
        return sum(pair is not None for pair in self.series)

    @property
    def source(self) -> float:
        return self._mean(0)

    @property
    def result(self) -> float:
        return self._mean(1)

    def _mean(self, which: int) -> float:
        return float(np.mean([pair[which] for pair in self.series if pair] or [0.0]))

    @property
    def ratio(self) -> float:
        """The result's over the source's, the divisor at least SOURCE_FLOOR."""
        return self.result / max(self.source, SOURCE_FLOOR)

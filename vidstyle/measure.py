"""How steady and how painted a result is: the figures of reports and of the closing line.

Every figure has one definition, here; pictures are (H, W, 3) float32 RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vidstyle.features import TapNet
from vidstyle.flow import FlowEstimator
from vidstyle.flow.trust import trust_mask
from vidstyle.flow.warp import warp
from vidstyle.images import to_side, to_tensor
from vidstyle.losses import content_loss, gram_loss, gram_matrix

JUDGE_SIDE = 384  # pixels: the long side at which picture and painting are compared
NATIVE_SIDE = 1024  # pixels, at most, of the judge at the result's own size
SOURCE_FLOOR = 3e-5  # a still source's own warp error would make any ratio infinite


def warp_error(
    flow: FlowEstimator,
    source: tuple[np.ndarray, np.ndarray],
    *pairs: tuple[np.ndarray, np.ndarray],
) -> list[float]:
    """Σ m·(warp(O_t) − O_{t−1})² / (3 Σ m) of each (O_{t−1}, O_t) in `pairs` (Lai et al. 2018).

    Flow and mask m come from the source's frames t−1 and t; bilinear. NaN where nothing is trusted.
    """
    before, after = source
    forth, back = to_tensor(flow(before, after)), to_tensor(flow(after, before))
    mask = trust_mask(forth, back)
    weight = 3 * mask.sum()
    errors = []
    for first, second in pairs:
        difference = warp(to_tensor(second), forth) - to_tensor(first)
        errors.append(float((mask * difference.square()).sum() / weight))
    return errors


class WarpError:
    """Means of the source's and the result's warp error over the pairs within a clip's shots."""

    def __init__(self, flow: FlowEstimator) -> None:
        self.flow = flow
        self.last: tuple[np.ndarray, np.ndarray] | None = None
        self.pairs = 0
        self.sums = np.zeros(2)  # source's, result's

    def add(self, source: np.ndarray, result: np.ndarray, new_shot: bool = False) -> None:
        """The next frame; with `new_shot` it is not compared with the one before."""
        if self.last is not None and not new_shot:
            before, painted = self.last
            pair = (before, source)
            errors = np.array(warp_error(self.flow, pair, pair, (painted, result)))
            if np.isfinite(errors).all():
                self.pairs += 1
                self.sums += errors
        self.last = (source, result)

    @property
    def source(self) -> float:
        return float(self.sums[0]) / max(self.pairs, 1)

    @property
    def result(self) -> float:
        return float(self.sums[1]) / max(self.pairs, 1)

    @property
    def ratio(self) -> float:
        """The result's over the source's, the divisor at least SOURCE_FLOOR."""
        return self.result / max(self.source, SOURCE_FLOOR)


def native_side(image: np.ndarray) -> int:
    """The long side for a second judge, at the result's own size: it sees a blur enlarged."""
    return min(max(image.shape[:2]), NATIVE_SIDE)


class StyleJudge:
    """Style and content distance under one network (VGG-19 where it is at hand, else `lite`).

    Pictures and paintings are scaled to a long side of `side` pixels, up or down.
    """

    def __init__(
        self, net: TapNet, paintings: Sequence[np.ndarray], side: int = JUDGE_SIDE
    ) -> None:
        self.net, self.side = net, side
        each = [self._grams(painting) for painting in paintings]
        self.target = {tap: torch.stack([g[tap] for g in each]).mean(0) for tap in net.style_taps}

    @torch.no_grad()
    def _features(self, image: np.ndarray) -> dict[str, torch.Tensor]:
        taps = {*self.net.style_taps, self.net.content_tap}
        return self.net(to_side(to_tensor(image), self.side, self.net.least_side), taps)

    def _grams(self, image: np.ndarray) -> dict[str, torch.Tensor]:
        features = self._features(image)
        return {tap: gram_matrix(features[tap]) for tap in self.net.style_taps}

    def style_distance(self, image: np.ndarray) -> float:
        """Σ over taps of ‖G(x) − G(s)‖²_F / ‖G(s)‖²_F, both at the judge's long side."""
        grams = self._grams(image)
        return float(sum(gram_loss(grams[tap], self.target[tap]) for tap in grams))

    def content_distance(self, image: np.ndarray, source: np.ndarray) -> float:
        """‖F(x) − F(c)‖² / ‖F(c)‖² at the content tap."""
        tap = self.net.content_tap
        return float(content_loss(self._features(image)[tap], self._features(source)[tap]))

"""How painted a result is, and how much of its source is left: a network's judgement."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from vidstyle.features import TapNet
from vidstyle.images import to_side, to_tensor
from vidstyle.losses import content_loss, gram_loss, gram_matrix, mean_grams

JUDGE_SIDE = 384  # pixels: the long side at which picture and painting are compared
NATIVE_SIDE = 1024  # pixels, at most, of the judge at the result's own size


def native_side(image: np.ndarray) -> int:
    """The long side for a second judge, at the result's own size: it sees a blur enlarged."""
    return min(max(image.shape[:2]), NATIVE_SIDE)


class StyleJudge:
    """Style and content distance under one network (VGG-19 where it is at hand, else `lite`).

    Pictures and paintings are scaled to a long side of `side` pixels, up or down. Without
    paintings there is a content distance only.
    """

    def __init__(
        self, net: TapNet, paintings: Sequence[np.ndarray], side: int = JUDGE_SIDE
    ) -> None:
        self.net, self.side = net, side
        self.seen: deque[tuple[np.ndarray, dict[str, torch.Tensor]]] = deque(maxlen=2)
        each = [self._grams(painting) for painting in paintings]
        self.target = mean_grams(each) if each else {}

    @torch.no_grad()
    def _features(self, image: np.ndarray) -> dict[str, torch.Tensor]:
        """Remembered for the last two pictures: a result and its source are asked for twice."""
        for known, features in self.seen:
            if known is image:
                return features
        taps = {*self.net.style_taps, self.net.content_tap}
        fitted = to_side(to_tensor(image), self.side, self.net.least_side)
        self.seen.append((image, self.net(fitted, taps)))
        return self.seen[-1][1]

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

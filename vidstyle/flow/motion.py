"""The motion between neighbouring frames, both ways, found once for all passes."""

from __future__ import annotations

from threading import Lock
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vidstyle.flow.alike import find_alike
from vidstyle.flow.estimator import FlowEstimator
from vidstyle.flow.still import unmoved
from vidstyle.flow.trust import retraced, trust_mask
from vidstyle.flow.warp import still_to_zero
from vidstyle.images import to_tensor

ROOM: Final = 384_000_000  # bytes: 270 pairs of 320x180, 17 of 1280x720; a block has 60 frames
LEAST: Final = 5  # pairs: those that are found ahead, and the one at hand


class Correspondence(NamedTuple):
    """A frame against its neighbour: `flow` (1, 2, H, W) leads there, `trust` (1, 1, H, W)."""

    flow: Tensor
    trust: Tensor


class Links(NamedTuple):
    """Two neighbours, each against the other.

    `alike`, of `find_alike`: where the later one looks like the earlier, if no flow tells.
    """

    to_earlier: Correspondence
    to_later: Correspondence
    alike: Tensor


class Motion:
    """How a frame and the next correspond; flows are exactly 0 where neither moves (`unmoved`).

    Carrying follows the flow from the earlier frame to the later both ways, as judges do.

    Asked ahead of time by another thread, the first pass's answers are there when they are needed.
    A pass that comes back over a shot meets the same pairs, the latest first: as many as fit into
    `room` bytes are remembered, `LEAST` always, under what their pictures hold.
    """

    def __init__(self, estimate: FlowEstimator, device: torch.device, room: int) -> None:
        self.estimate, self.device, self.room = estimate, device, room
        self._known: dict[tuple[int, int], Links] = {}
        self._one = Lock()  # OpenCV's estimators are no two threads' at once

    def between(self, earlier: np.ndarray, later: np.ndarray) -> Links:
        """Pictures are (H, W, 3) float32 RGB in [0, 1]."""
        pair = hash(earlier.tobytes()), hash(later.tobytes())
        if links := self._known.get(pair):
            return links
        with self._one:
            # Another thread may have been at this very pair.
            links = self._known.get(pair) or self._found(earlier, later)
            self._remember(pair, links)
            return links

    def _remember(self, pair: tuple[int, int], links: Links) -> None:
        self._known[pair] = links
        size = sum(part.nbytes for part in (*links.to_earlier, *links.to_later, links.alike))
        while len(self._known) > max(LEAST, self.room // size):
            del self._known[next(iter(self._known))]

    @torch.no_grad()
    def _found(self, earlier: np.ndarray, later: np.ndarray) -> Links:
        back = to_tensor(self.estimate(later, earlier), self.device)
        forth = to_tensor(self.estimate(earlier, later), self.device)
        pictures = to_tensor(later, self.device), to_tensor(earlier, self.device)
        moves = ~unmoved(back, *pictures)
        back, forth = back * moves, forth * moves
        to_earlier = Correspondence(still_to_zero(retraced(back, forth)), trust_mask(back, forth))
        to_later = Correspondence(still_to_zero(forth), trust_mask(forth, back))
        return Links(to_earlier, to_later, find_alike(*pictures, 1 - to_earlier.trust))

"""The motion between neighbouring frames, both ways, found once for all passes."""

from __future__ import annotations

from threading import Lock
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vidstyle.flow.estimator import FlowEstimator
from vidstyle.flow.still import unmoved
from vidstyle.images import to_tensor

ROOM: Final = 256_000_000  # bytes 270 pairs of 320x180, 17 of 1280x720; a block has 60 frames
LEAST: Final = 5  # pairs: those that are found ahead, and the one at hand


class Fields(NamedTuple):
    """Flow from a frame to its neighbour and back, each (1, 2, H, W) in pixels (x, y)."""

    to_earlier: Tensor
    to_later: Tensor


class Motion:
    """Flow between a frame and the next, exactly 0 in both where neither moves (`unmoved`).

    Asked ahead of time by another thread, the first pass's answers are there when they are needed.
    A pass that comes back over a shot meets the same pairs, the latest first: as many as fit into
    `room` bytes are remembered, `LEAST` always, under what their pictures hold.
    """

    def __init__(self, estimate: FlowEstimator, device: torch.device, room: int) -> None:
        self.estimate, self.device, self.room = estimate, device, room
        self._known: dict[tuple[int, int], Fields] = {}
        self._one = Lock()  # OpenCV's estimators are no two threads' at once

    def between(self, earlier: np.ndarray, later: np.ndarray) -> Fields:
        """Pictures are (H, W, 3) float32 RGB in [0, 1]."""
        pair = hash(earlier.tobytes()), hash(later.tobytes())
        if fields := self._known.get(pair):
            return fields
        with self._one:
            # Another thread may have been at this very pair.
            fields = self._known.get(pair) or self._estimated(earlier, later)
            self._remember(pair, fields)
            return fields

    def _remember(self, pair: tuple[int, int], fields: Fields) -> None:
        self._known[pair] = fields
        size = sum(field.nbytes for field in fields)
        while len(self._known) > max(LEAST, self.room // size):
            del self._known[next(iter(self._known))]

    def _estimated(self, earlier: np.ndarray, later: np.ndarray) -> Fields:
        back = to_tensor(self.estimate(later, earlier), self.device)
        forth = to_tensor(self.estimate(earlier, later), self.device)
        pictures = to_tensor(later, self.device), to_tensor(earlier, self.device)
        moves = ~unmoved(back, *pictures)
        return Fields(back * moves, forth * moves)

"""The motion between neighbouring frames, both ways, found once for all passes."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from typing import Final, NamedTuple
from weakref import ref
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from vidstyle.flow.alike import find_alike
from vidstyle.flow.estimator import FlowEstimator
from vidstyle.flow.still import motion_share
from vidstyle.flow.trust import retraced, trust_mask
from vidstyle.flow.warp import still_to_zero
from vidstyle.images import to_tensor

# Bytes on a CPU: 400 pairs of 320x180, 100 of 640x360. A block has 60 frames, and is judged when
# the next one's are found.
ROOM: Final = 576_000_000
SHARE: Final = 8  # of a card's memory, one part in so many
WAITING: Final = 5  # pairs: those that are asked for ahead, and at hand
JUDGED: Final = 4  # more, where results come at once, and so do their judges
PIXEL_BYTES: Final = 24  # of a pair: flow and trust both ways
# A pair of 1280x720 takes a core 0.14 s: "Beside a GPU" in tests/bench/results/README.md.
PAIR_CORES: Final = 2  # of a machine with a GPU, to a pair that is looked for
MOST_THREADS: Final = 8

NAMES: Final = 256  # of arrays, most of which are gone, and of repeats

Name = tuple[int, ...]
Pair = tuple[Name, Name]


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

    def tensors(self) -> list[Tensor]:
        return [*self.to_earlier, *self.to_later, self.alike]


class Motion:
    """How a frame and the next correspond; flows are exactly 0 where neither moves.

    Carrying follows the flow from the earlier frame to the later both ways, as judges do.

    Asked ahead of time by other threads, answers are there when the first pass needs them. A pass
    that comes back over a shot meets the same pairs, the latest first, and so does who judges the
    result: as many as fit into `room` bytes are remembered, under what their pictures hold, and
    those always that wait to be used, or that `threads` are at. Without room there is one pass.
    """

    def __init__(self, estimate: FlowEstimator, device: torch.device, room: int) -> None:
        self.estimate, self.device, self.room, self.threads = estimate, device, room, 1
        self._waiting = WAITING if room else WAITING + JUDGED
        self._known: dict[Pair, Future[Links]] = {}
        self._names: dict[int, tuple[ref[np.ndarray], Name]] = {}
        self._repeated: dict[Name, Name] = {}
        self._one = Lock()

    def between(self, earlier: np.ndarray, later: np.ndarray) -> Links:
        """Pictures are (H, W, 3) float32 RGB in [0, 1]; what another thread is at is waited for.

        They may not be changed afterwards.
        """
        pair, mine = (self._name(earlier), self._name(later)), Future[Links]()
        with self._one:
            found = self._known.setdefault(pair, mine)
        if found is mine:
            try:
                mine.set_result(self._finished(self._found(earlier, later)))
            except BaseException as error:
                mine.set_exception(error)
            with self._one:
                self._forget(mine)
        return self._taken(found.result())

    def _finished(self, links: Links) -> Links:
        """Before another thread has it, which may work in another stream of the device."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return links

    def _taken(self, links: Links) -> Links:
        """Their memory is not given away before this stream has done what it begins with them."""
        if self.device.type == "cuda":
            here = torch.cuda.current_stream(self.device)
            for part in links.tensors():
                part.record_stream(here)
        return links

    def _forget(self, latest: Future[Links]) -> None:
        """What there is no room for; and a failure, which who asks again may be spared."""
        if latest.exception():
            self._known = {pair: one for pair, one in self._known.items() if one is not latest}
            return
        links = latest.result()
        size = sum(part.nbytes for part in links.tensors())
        while len(self._known) > max(self._waiting + self.threads, self.room // size):
            del self._known[next(iter(self._known))]

    def use_threads(self, height: int, width: int) -> int:
        """How many may ask ahead, for pictures of that size.

        One on a CPU, which has no cores to spare, and whose optimiser has no need of more.
        """
        if self.device.type == "cuda":
            fitting = room_on(self.device) // (height * width * PIXEL_BYTES) - self._waiting
            cores = torch.get_num_threads() // PAIR_CORES
            self.threads = max(1, min(MOST_THREADS, cores, fitting))
        return self.threads

    def repeat(self, earlier: np.ndarray, later: np.ndarray) -> None:
        """The later picture is to be judged as the earlier one, which it repeats."""
        if len(self._repeated) >= NAMES:
            del self._repeated[next(iter(self._repeated))]
        self._repeated[self._name(later)] = self._name(earlier)

    def judged_by(self, earlier: np.ndarray, later: np.ndarray) -> Correspondence:
        """`to_later` of `between` alone; where it is forgotten, or was never asked for, found anew.

        And not remembered: nobody will ask for it again. A picture that repeats one rests on it,
        and moves on as that one does, where this is remembered.
        """
        pair = self._name(earlier), self._name(later)
        first, second = (self._repeated.get(name, name) for name in pair)
        known = self._known.get(pair) or self._known.get((first, second))
        if known is not None:
            return self._taken(known.result()).to_later
        if first == second:
            flow = torch.zeros(1, 2, *earlier.shape[:2], device=self.device)
            return Correspondence(flow, torch.ones_like(flow[:, :1]))
        return self._both_ways(earlier, later, *self._tensors(earlier, later))[1]

    def _name(self, image: np.ndarray) -> Name:
        """Of a picture's bytes, found once for each array while it lives.

        By a checksum: other threads run meanwhile, which `hash` would not let them.
        """
        seen, name = self._names.get(id(image), (None, None))
        if seen is None or name is None or seen() is not image:
            name = (*image.shape, crc32(np.ascontiguousarray(image).data))
            if len(self._names) >= NAMES:
                self._names = {}
            self._names[id(image)] = ref(image), name
        return name

    def _found(self, earlier: np.ndarray, later: np.ndarray) -> Links:
        before, after = self._tensors(earlier, later)
        to_earlier, to_later = self._both_ways(earlier, later, before, after)
        return Links(to_earlier, to_later, find_alike(after, before, 1 - to_earlier.trust))

    def _tensors(self, *pictures: np.ndarray) -> list[Tensor]:
        return [to_tensor(picture, self.device) for picture in pictures]

    @torch.no_grad()
    def _both_ways(
        self, earlier: np.ndarray, later: np.ndarray, before: Tensor, after: Tensor
    ) -> tuple[Correspondence, Correspondence]:
        forth, back = self._tensors(self.estimate(earlier, later), self.estimate(later, earlier))
        share = motion_share(back, after, before)
        back, forth = back * share, forth * share
        to_earlier = Correspondence(still_to_zero(retraced(back, forth)), trust_mask(back, forth))
        return to_earlier, Correspondence(still_to_zero(forth), trust_mask(forth, back))


def room_on(device: torch.device) -> int:
    """Bytes that may be remembered there."""
    if device.type == "cpu":
        return ROOM
    return torch.cuda.get_device_properties(device).total_memory // SHARE

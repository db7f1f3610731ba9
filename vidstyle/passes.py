"""Several passes over a shot, back and forth (Ruder, Dosovitskiy, Brox 2016, section 4.3).

The first goes forward as ever. Each later one runs against the one before it, starts every frame
between its own result and the neighbour's carried one, and holds it to that: what comes into view
has then been painted already by the frames after it. They go over a block of frames at a time, so
that neither memory nor the wait for the first result grows with the shot.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol, Self

import numpy as np

from vidstyle.disk import disk_errors
from vidstyle.frame import Frame
from vidstyle.images import from_levels, to_levels
from vidstyle.pipeline import ahead, behind
from vidstyle.settings import AHEAD, BLOCK

OnFrame = Callable[[int, int], None]

_ELSEWHERE: Final = "--work-dir, or with -o where --no-resume is given"


class Refiner(Protocol):
    """A `FrameStyler` that can go over its own results."""

    def start_shot(self) -> None: ...

    def next_frame(self, image: np.ndarray) -> np.ndarray: ...

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
        """The frame that the next one to refine follows or precedes, and what is made of it."""
        ...

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """`earlier` is what has been made of `image` so far."""
        ...


class Spool:
    """A shot's last `capacity` frames and their latest results, in a file that no crash leaves.

    Both are (H, W, 3) float32 in [0, 1], kept in 16 bits. A thread writes them: what is read must
    be `settled`. A failure of the disk is an `EncodeError`.
    """

    def __init__(self, folder: Path, capacity: int) -> None:
        self.frames, self._capacity = 0, capacity
        self._folder, self._shape = folder, (0, 0, 0)
        self._thread, self._one = behind(self._write), Lock()
        with disk_errors(folder, _ELSEWHERE):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed on exit)

    def __enter__(self) -> Self:
        self._later = self._thread.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            self._thread.__exit__(*raised)
        finally:
            with suppress(OSError):  # the disk is full: what it still wanted to write is of no use
                self._file.close()

    def settled(self) -> None:
        """Waits until all is written that was given."""
        self._later.wait()

    def add(self, image: np.ndarray) -> None:
        """The next frame, which has no result yet."""
        self._shape = image.shape
        self.frames += 1
        self._later(self.frames - 1, 0, image)

    def replace(self, index: int, result: np.ndarray) -> None:
        self._later(index, 1, result)

    def source(self, index: int) -> np.ndarray:
        return self._read(index, 0)

    def result(self, index: int) -> np.ndarray:
        return self._read(index, 1)

    @property
    def _bytes(self) -> int:
        return 2 * int(np.prod(self._shape))

    def _seek(self, index: int, half: int) -> None:
        self._file.seek((2 * (index % self._capacity) + half) * self._bytes)

    def _write(self, index: int, half: int, image: np.ndarray) -> None:
        levels = to_levels(image)
        with disk_errors(self._folder, _ELSEWHERE), self._one:
            self._seek(index, half)
            self._file.write(np.ascontiguousarray(levels).data)
            self._file.flush()

    def _read(self, index: int, half: int) -> np.ndarray:
        with disk_errors(self._folder, _ELSEWHERE), self._one:
            self._seek(index, half)
            levels = np.frombuffer(self._file.read(self._bytes), np.uint16)
        return from_levels(levels.reshape(self._shape))


def stylize_in_passes(
    frames: Iterable[tuple[int, Frame]],
    styler: Refiner,
    passes: int,
    loop: bool,
    folder: Path,
    on_frame: OnFrame = lambda shot, index: None,
) -> Iterator[np.ndarray]:
    """(shot, frame) → the stylised pictures in the same order, (H, W, 3) float32 in [0, 1].

    Frames are `as_on_disk`, since later passes see them so. They wait in `folder`, a block at most;
    with `loop` all of a shot, since in a clip of one shot its first frame is then held to its last
    one too. `on_frame` is told a shot and a frame's index once for every pass.
    """
    # One before a block is looked at too, and is where a new frame goes before one is given.
    capacity = sys.maxsize if loop else AHEAD + BLOCK + 1
    shots = groupby(frames, key=itemgetter(0))
    following = next(shots, None)
    while following is not None:
        shot, group = following
        with Spool(folder, capacity) as spool:
            refining = _Refining(spool, styler, passes, partial(on_frame, shot))
            styler.start_shot()
            for _, frame in group:
                refining.add(frame)
                yield from refining.give(1)
                if not loop and refining.waiting == BLOCK + AHEAD:
                    yield from refining.block(BLOCK)
            following = next(shots, None)
            circular = loop and shot == 0 and following is None
            yield from refining.block(refining.waiting, circular)
            yield from refining.give(spool.frames)


class _Refining:
    """One shot: the first pass frame by frame, the others by blocks.

    A block's results become final all at once, but are given one by one while the next is worked
    on: whoever takes them would be waited for otherwise. For each frame that is added one is given,
    so that no new one takes its place in the spool.
    """

    def __init__(
        self, spool: Spool, styler: Refiner, passes: int, on_frame: Callable[[int], None]
    ) -> None:
        self.spool, self.styler, self.passes, self.on_frame = spool, styler, passes, on_frame
        self.final = 0  # frames whose results are
        self.given = 0
        self.first_index = 0
        self._latest = np.empty(0), np.empty(0)  # source and result that were joined last
        self._mixed = np.empty(0)  # and what became of them

    @property
    def waiting(self) -> int:
        return self.spool.frames - self.final

    def add(self, frame: Frame) -> None:
        if not self.spool.frames:
            self.first_index = frame.index
        self.spool.add(frame.image)
        self.spool.replace(self.spool.frames - 1, self.styler.next_frame(frame.image))
        self.on_frame(frame.index)

    def give(self, most: int) -> Iterator[np.ndarray]:
        """Final results that have not been given."""
        for _ in range(min(most, self.final - self.given)):
            self.given += 1
            yield self.spool.result(self.given - 1)

    def block(self, size: int, circular: bool = False) -> Iterator[np.ndarray]:
        """Makes the next `size` results final; a shot's last block gives those before it meanwhile.

        What waits beyond is refined too, and again with its own.
        """
        places = range(self.final, self.spool.frames)
        for number in range(2, self.passes + 1):
            for place in self._again(places, number % 2 == 0, circular):
                if place < self.final + size:
                    self.on_frame(self.first_index + place)
                yield from self.give(1)
        self.spool.settled()
        self.final += size

    def _again(self, places: range, backwards: bool, circular: bool) -> Iterator[int]:
        """One more pass over `places`; gives each when it is done."""
        order = places[::-1] if backwards else places
        neighbour = self._neighbour(order, backwards, circular)
        spool = self.spool
        spool.settled()
        self.styler.start_pass(spool.source(neighbour), spool.result(neighbour), backwards)
        with ahead(((spool.source(place), spool.result(place)) for place in order), 1) as pictures:
            for place, (source, result) in zip(order, pictures, strict=True):
                if place != neighbour or circular:
                    refined = self.styler.refine(source, result)
                    if backwards and self.final and place < self.final + AHEAD:
                        refined = self._joined(place, source, result, refined)
                    spool.replace(place, refined)
                yield place

    def _joined(
        self, place: int, source: np.ndarray, earlier: np.ndarray, refined: np.ndarray
    ) -> np.ndarray:
        """What the block before has made of its frames ahead turns into this one's, bit by bit.

        A pass that comes from behind ends with the block's first frame, and knows nothing of the
        one before that, which is given: there would be a leap. What a frame repeats stays equal.
        """
        same = [np.array_equal(*pair) for pair in zip((source, refined), self._latest, strict=True)]
        if not all(same):
            share = np.float32((place - self.final) / AHEAD)
            self._latest, self._mixed = (source, refined), earlier + share * (refined - earlier)
        return self._mixed

    def _neighbour(self, order: range, backwards: bool, circular: bool) -> int:
        """What a pass begins with: in a circle its end, else what it leaves as it is."""
        if circular:
            return order[-1]
        return order[0] if backwards else max(0, order[0] - 1)

"""Several passes over a shot, back and forth (Ruder, Dosovitskiy, Brox 2016, section 4.3).

The first goes forward as ever. Each later one runs against the one before it, starts every frame
between its own result and the neighbour's carried one, and holds it to that: what comes into view
has then been painted already by the frames after it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from vidstyle.disk import disk_errors
from vidstyle.frame import Frame
from vidstyle.images import from_levels, to_levels

OnFrame = Callable[[int, int], None]


class Refiner(Protocol):
    """A `FrameStyler` that can go over its own results."""

    def start_shot(self) -> None: ...

    def start_from(self, image: np.ndarray, result: np.ndarray) -> None:
        """The frame that the next one follows, and what has been made of it."""
        ...

    def next_frame(self, image: np.ndarray, earlier: np.ndarray | None = None) -> np.ndarray:
        """`earlier` is the frame's result in the pass before."""
        ...


class Spool:
    """A shot's frames and their latest results in 16 bits, in a file that no crash leaves behind.

    Both are (H, W, 3) float32 in [0, 1]. A failure of the disk is an `EncodeError`.
    """

    def __init__(self, folder: Path) -> None:
        self.frames = 0
        self._folder, self._shape = folder, (0, 0, 0)
        with disk_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed on exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, image: np.ndarray, result: np.ndarray) -> None:
        self._shape = image.shape
        self.frames += 1
        self._write(2 * self.frames - 2, image)
        self.replace(self.frames - 1, result)

    def replace(self, index: int, result: np.ndarray) -> None:
        self._write(2 * index + 1, result)

    def source(self, index: int) -> np.ndarray:
        return self._read(2 * index)

    def result(self, index: int) -> np.ndarray:
        return self._read(2 * index + 1)

    @property
    def _bytes(self) -> int:
        return 2 * int(np.prod(self._shape))

    def _write(self, slot: int, image: np.ndarray) -> None:
        with disk_errors(self._folder):
            self._file.seek(slot * self._bytes)
            self._file.write(to_levels(image).tobytes())
            self._file.flush()

    def _read(self, slot: int) -> np.ndarray:
        with disk_errors(self._folder):
            self._file.seek(slot * self._bytes)
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

    Holds no shot: frames wait in `folder`. With `loop` a clip of one shot meets its own end:
    its first frame is held to its last one too. `on_frame` is told a shot and a frame's index
    whenever one is done in any pass.
    """
    shots = groupby(frames, key=itemgetter(0))
    following = next(shots, None)
    while following is not None:
        shot, group = following
        with Spool(folder) as spool:
            styler.start_shot()
            indices = []
            for _, frame in group:
                spool.add(frame.image, styler.next_frame(frame.image))
                indices.append(frame.index)
                on_frame(shot, frame.index)
            following = next(shots, None)
            circular = loop and shot == 0 and following is None
            for number in range(2, passes + 1):
                for place in _again(spool, styler, number % 2 == 0, circular):
                    on_frame(shot, indices[place])
            for place in range(spool.frames):
                yield spool.result(place)


def _again(spool: Spool, styler: Refiner, backwards: bool, circular: bool) -> Iterator[int]:
    """One more pass; gives the place of each frame when it is done."""
    places = list(range(spool.frames))
    if backwards:
        places.reverse()
    # In a circle the first follows the last; else it stays as the pass before has left it.
    neighbour = places[-1] if circular else places[0]
    styler.start_shot()
    styler.start_from(spool.source(neighbour), spool.result(neighbour))
    for place in places:
        if place != neighbour or circular:
            spool.replace(place, styler.next_frame(spool.source(place), spool.result(place)))
        yield place

"""Where one shot ends and the next begins, found while the frames go by."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from vidstyle.errors import VidstyleError
from vidstyle.frame import Frame, Shot
from vidstyle.opencv import missing_library, opencv
from vidstyle.video.geometry import reduced_size
from vidstyle.video.reader import ClipReader

LOOK_AHEAD: Final = 2  # frames either side that a change is compared with
_LONG_SIDE: Final = 320  # pixels the detector sees; more finds no more cuts
# Times its neighbours' average that a change must reach. PySceneDetect's 3 misses every third cut
# between short, moving shots; the checks below keep 2 from seeing cuts where there are none.
_RATIO: Final = 2.0
_LEAST_CHANGE: Final = 15.0  # of hue, saturation and value, in 8-bit levels on average
_SEEN: Final = 6.0  # levels on average: in a fade's last steps the hue leaps, unseen
_BACK: Final = 0.5  # of a flash's own change: below it the picture is back to what it was
# Correlation of two blurred pictures, one shifted for the best fit. Of 1056 pairs of unrelated
# photographs 1 in 100 reaches 0.75; a camera's jolt or a changing light stays above 0.9.
_ALIKE: Final = 0.85
_ALIKE_SIDE: Final = 40  # pixels they are compared at
_ALIKE_SHIFT: Final = 0.2  # of a side, each way
_STILL: Final = 8.0  # levels; what changes less takes no part: a split screen's resting half


def split_shots(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame]]:
    """Each frame with the number of its shot, from 0. Holds `LOOK_AHEAD` + 1 frames.

    Raises `VidstyleError` where OpenCV cannot be loaded.
    """
    detector = ShotDetector()
    waiting: deque[Frame] = deque()
    shot = -1
    for frame in frames:
        waiting.append(frame)
        for begins in detector.feed(frame.image):
            shot += begins
            yield shot, waiting.popleft()
    for begins in detector.finish():
        shot += begins
        yield shot, waiting.popleft()


def list_shots(reader: ClipReader) -> list[Shot]:
    """All shots of what `reader` reads, which is used up."""
    shots: list[Shot] = []
    for number, frame in split_shots(reader):
        end = frame.index + 1
        if number == len(shots):
            shots.append(Shot(number, frame.index, end, frame.pts, frame.crc))
        shots[-1] = replace(shots[-1], end=end)
    if reader.corrupt_packets or reader.damaged_frames:
        # What a decoder makes of damage depends on what it has seen before.
        return [replace(shot, pts=None) for shot in shots]
    return shots


class ShotDetector:
    """Fed pictures in order, answers for each, `LOOK_AHEAD` later, whether a shot begins there.

    PySceneDetect's AdaptiveDetector: a change must stand out against its neighbours, so camera
    motion, fades and dissolves are no cuts. Three things are added. The clip is mirrored at both
    ends, so that the first and last frames have neighbours to be compared with. Where the picture
    is back within two frames it was a flash. And where both pictures show the same forms, shifted
    or lit differently, it was a jolt or a lamp: the flow still tells what went where.
    """

    def __init__(self) -> None:
        self._cv2 = opencv()
        self._detector, self._timecode = _adaptive_detector()
        self._recent: deque[np.ndarray] = deque(maxlen=LOOK_AHEAD + 2)
        self._fed = 0
        self._processed = 0
        self._cuts: set[int] = set()
        self._back_at = 0  # where the last flash ended

    def feed(self, image: np.ndarray) -> list[bool]:
        """(H, W, 3) in [0, 1] → the answers that have become known, in frame order."""
        self._recent.append(self._small(image))
        self._fed += 1
        if self._fed <= LOOK_AHEAD:
            return []
        if self._fed > LOOK_AHEAD + 1:
            self._process(self._recent[-1])
            return [self._begins(self._fed - 1 - LOOK_AHEAD)]
        start = list(self._recent)
        for picture in [*start[:0:-1], *start]:
            self._process(picture)
        return [True]

    def finish(self) -> list[bool]:
        """The answers still owed, for the last `LOOK_AHEAD` pictures."""
        if self._fed <= LOOK_AHEAD:
            return [index == 0 for index in range(self._fed)]
        answers = []
        mirrored = list(self._recent)[-2 : -2 - LOOK_AHEAD : -1]
        for index, picture in enumerate(mirrored, self._fed - LOOK_AHEAD):
            self._recent.append(picture)
            self._process(picture)
            answers.append(self._begins(index))
        return answers

    def _small(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) RGB float → (h, w, 3) BGR uint8, as PySceneDetect wants it."""
        size = reduced_size(image.shape, _LONG_SIDE)
        small = self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)
        return np.rint(np.clip(small[..., ::-1], 0, 1) * 255).astype(np.uint8)

    def _process(self, picture: np.ndarray) -> None:
        # Only the order of frames matters here, so any rate will do.
        moment = self._timecode(self._processed, 25.0)
        self._processed += 1
        for cut in self._detector.process_frame(moment, picture):
            self._cuts.add(cut.frame_num - LOOK_AHEAD)  # the mirrored frames came first

    def _begins(self, index: int) -> bool:
        """Whether `index` begins a shot; `_recent` runs from the frame before it."""
        if index not in self._cuts:
            return False
        self._cuts.discard(index)
        if index <= self._back_at:
            return False
        before, change, *after = self._recent
        if _difference(before, change) < _SEEN or self._alike(before, change):
            return False
        for back, picture in enumerate(after, index + 1):
            if _difference(before, picture) < _BACK * _difference(before, change):
                self._back_at = back
                return False
        return True

    def _alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether the parts that changed show the same forms."""
        pair = np.stack([self._blurred(one), self._blurred(other)])
        moved = np.abs(pair[1] - pair[0]) > _STILL
        if not moved.any():
            return True
        rows, columns = _span(moved.any(axis=1)), _span(moved.any(axis=0))
        pair = pair[:, rows, columns]
        if pair.std(axis=(1, 2)).min() < 1:
            return False  # a blank picture has no forms
        down, across = (int(side * _ALIKE_SHIFT) for side in pair.shape[1:])
        middle = pair[0, down : pair.shape[1] - down, across : pair.shape[2] - across]
        fit = self._cv2.matchTemplate(pair[1], middle, self._cv2.TM_CCOEFF_NORMED)
        return float(fit.max()) >= _ALIKE

    def _blurred(self, picture: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 → grey float32 with a long side of `_ALIKE_SIDE`."""
        height, width, _ = picture.shape
        factor = _ALIKE_SIDE / max(height, width)
        size = (max(8, round(width * factor)), max(8, round(height * factor)))
        grey = self._cv2.GaussianBlur(picture.mean(axis=-1, dtype=np.float32), (0, 0), 2)
        return self._cv2.resize(grey, size, interpolation=self._cv2.INTER_AREA)


def _span(flags: np.ndarray) -> slice:
    """From the first to the last that is set."""
    places = np.flatnonzero(flags)
    return slice(places[0], places[-1] + 1)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _adaptive_detector() -> tuple[Any, Any]:
    """The detector and its clock's class, imported late: they bring OpenCV with them."""
    try:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise VidstyleError(missing_library(error)) from error
    logging.getLogger("pyscenedetect").setLevel(logging.ERROR)
    detector = AdaptiveDetector(
        adaptive_threshold=_RATIO,
        min_scene_len=1,
        window_width=LOOK_AHEAD,
        min_content_val=_LEAST_CHANGE,
    )
    return detector, FrameTimecode

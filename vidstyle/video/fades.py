"""Fades from and to black taken off the pictures, to be laid over what is painted of them.

A style's statistics know no darkness: painted as it comes, a fade's black end would become a
picture of nothing, from which the strokes of the next frames grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

import numpy as np

from vidstyle.frame import Frame
from vidstyle.opencv import opencv
from vidstyle.video.geometry import reduced_size

BLACK: Final = 8 / 255  # a black picture's brightest pixel, at most: what codecs leave of one
FAINT: Final = 12 / 255  # the same of one whose forms are lost in rounding
LEAST_CHANGE: Final = 0.005  # of its light, that a picture of a fade gains or loses at least
PATIENCE: Final = 2  # pictures in a row that may change less: something else has moved
BACK: Final = 0.02  # of its light, that a picture may go the other way, or
ROUNDED: Final = 0.5 / 255  # so much
ENDS: Final = 0.1  # of its light: a fade that begins or ends so dark needs no black beside it
LIT: Final = 0.9  # of its light: what begins so light behind black is no fade
DARKEST: Final = 0.2  # of its light: what is darker shows another's picture, as levels are few
MOST: Final = 96  # pictures that may wait for the end of what may be a fade, and
ROOM: Final = 256_000_000  # bytes of them, as decoded
_LOOKED_AT: Final = 64  # pixels of the long side
_ALIKE: Final = 0.8  # correlation of neighbours in a fade
_FLAT: Final = 2 / 255  # deviation of a picture that has no forms to be correlated
_CONVERTED: Final = 4  # pictures that wait in R'G'B': of ordinary clips no more do

P = TypeVar("P")


class Fade(NamedTuple):
    """Picture `place` is picture `shown`, darkened to `factor` times its light."""

    place: int
    factor: float
    shown: int


class _Look(NamedTuple):
    """Of a picture: its place, mean light in [0, 1], whether it is black, and (h, w) of it."""

    place: int
    level: float
    black: bool
    small: np.ndarray

    @property
    def peak(self) -> float:
        """Of its brightest place."""
        return float(self.small.max())


class FadeDetector:
    """Fed pictures in order, answers for each, once that is known, how far it is faded.

    Pictures that lose light one after the other are a fade if black is its end, or nearly; those
    that gain light behind black, up to where they do no longer, are one as well. All others have
    all of their light, black ones none.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._fed = 0
        self._run: list[_Look] = []  # what is not answered for yet
        self._rises = True  # of the run; a clip may begin in a fade
        self._before: _Look | None = None  # the last one that is answered for
        self._full: _Look | None = None  # what that was faded from, until there is light again
        self._shown: int | None = None

    def feed(self, image: np.ndarray) -> list[Fade]:
        """(H, W, 3) in [0, 1] → the answers that have become known, in order."""
        look = self._look(image)
        known = [] if self._goes_on(look) else self._end(look)
        if self._run or self._begins(look):
            known += self._make_room()
            self._run.append(look)
            return known
        return known + self._answers([look], [self._left(look)])

    def finish(self) -> list[Fade]:
        """The answers still owed."""
        return self._end(None)

    def _look(self, image: np.ndarray) -> _Look:
        size = reduced_size(image.shape, _LOOKED_AT)
        cv2 = opencv()
        grey = cv2.transform(image, np.full((1, 3), 1 / 3))
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        self._fed += 1
        return _Look(self._fed - 1, float(small.mean()), bool(image.max() <= BLACK), small)

    def _dark(self, look: _Look) -> bool:
        """Black, or as dark as a fade's end that is not quite."""
        full = self._full
        return look.black or (full is not None and look.level <= ENDS * full.level)

    def _left(self, look: _Look) -> float:
        """Of the light of a picture that is in no run."""
        if look.black:
            return 0.0
        return _share(look, self._full) if self._full and self._dark(look) else 1.0

    def _begins(self, look: _Look) -> bool:
        """Whether it may be a fade's first picture."""
        before = self._before
        self._rises = before is None or (
            self._dark(before) and not look.black and (before.black or not self._dark(look))
        )
        if before is None or self._rises:
            return True
        return not self._dark(look) and self._changed(before, look) and _alike(before, look)

    def _goes_on(self, look: _Look) -> bool:
        run = self._run
        if not run:
            return False
        if run[-1].black and self._rises:
            return True  # a clip's black beginning
        if len(run) >= self._most and not run[0].black:
            return False
        if look.black or not _alike(run[-1], look):
            return False
        if self._is_back(run[-1], look):
            return False
        recent = run[-1 - PATIENCE :]
        return len(run) <= PATIENCE or any(self._changed(one, look) for one in recent)

    def _make_room(self) -> list[Fade]:
        """A long black beginning is answered for before what follows it is known."""
        if len(self._run) < self._most:
            return []
        return self._answers([self._run.pop(0)], [0.0])

    def _changed(self, one: _Look, other: _Look) -> bool:
        dark, light = (one, other) if self._rises else (other, one)
        return dark.level < (1 - LEAST_CHANGE) * light.level

    def _is_back(self, one: _Look, other: _Look) -> bool:
        dark, light = (other, one) if self._rises else (one, other)
        return dark.level < (1 - BACK) * light.level - ROUNDED

    def _end(self, following: _Look | None) -> list[Fade]:
        """Answers for the run, before `following`."""
        run, before = self._run, self._before
        if not run:
            return []
        self._run = []
        if self._rises:
            full = max(run, key=lambda look: look.level)
            most = ENDS if before is None else LIT
            fades = run[0].level <= most * full.level
        else:
            assert before is not None
            full = before
            ends_black = following is not None and following.black
            fades = ends_black or run[-1].level <= ENDS * full.level
        self._full = full if fades and not self._rises else None
        factors = [_share(look, full) if fades or look.black else 1.0 for look in run]
        return self._answers(run, factors)

    def _answers(self, looks: list[_Look], factors: list[float]) -> list[Fade]:
        """What is too dark shows what was shown last, or else what is shown next."""
        own = [n for n, factor in enumerate(factors) if factor >= DARKEST]
        fades = []
        for n, (look, factor) in enumerate(zip(looks, factors, strict=True)):
            if factor >= DARKEST or (not own and self._shown is None):
                self._shown = look.place
            elif self._rises and own and n < own[0]:
                self._shown = looks[own[0]].place
            assert self._shown is not None
            fades.append(Fade(look.place, factor, self._shown))
        self._before = looks[-1]
        return fades


def _share(look: _Look, full: _Look) -> float:
    """Of its light. Where a mask closes instead, the brightest place is as bright as before."""
    if full.black or look.black:
        return 0.0
    return min(1.0, max(look.level / full.level, look.peak / full.peak))


def _alike(one: _Look, other: _Look) -> bool:
    a, b = (look.small - look.level for look in (one, other))
    if min(one.peak, other.peak) <= FAINT or max(a.std(), b.std()) <= _FLAT:
        return True
    return float((a * b).sum()) >= _ALIKE * float(np.sqrt((a * a).sum() * (b * b).sum()))


def unfaded(
    pictures: Iterable[P], convert: Callable[[P, int], Frame], most: int = MOST
) -> Iterator[Frame]:
    """The pictures as frames, `convert(picture, its number)`, with fades from and to black in
    `Frame.fade` instead of in `Frame.image`. While a fade's end is awaited pictures wait as they
    are, `most` of them, and are converted again.
    """
    detector = FadeDetector(most)
    waiting: deque[tuple[P, Frame | None]] = deque()
    lit: tuple[int, np.ndarray] | None = None

    def answered(fades: list[Fade]) -> Iterator[Frame]:
        nonlocal lit
        factors = {fade.place: fade.factor for fade in fades}
        for fade in fades:
            picture, frame = waiting.popleft()
            frame = frame or convert(picture, fade.place)
            if lit is None or lit[0] != fade.shown:
                shown = frame
                if fade.shown != fade.place:
                    shown = convert(waiting[fade.shown - fade.place - 1][0], fade.shown)
                lit = fade.shown, _brightened(shown.image, factors[fade.shown])
            if fade.factor == 1:
                yield frame
            else:
                yield replace(frame, image=lit[1], fade=fade.factor, coded=None)

    for number, picture in enumerate(pictures):
        frame = convert(picture, number)
        waiting.append((picture, frame))
        yield from answered(detector.feed(frame.image))
        if len(waiting) > _CONVERTED:
            waiting[-1] = (picture, None)
    yield from answered(detector.finish())


def _brightened(image: np.ndarray, factor: float) -> np.ndarray:
    if factor in (0, 1):
        return image
    return np.minimum(image / np.float32(factor), np.float32(1))

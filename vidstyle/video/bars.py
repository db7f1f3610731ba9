"""Black bars around the picture (letterbox, pillarbox): found, cut off, and put back as they were.

They are no part of the picture, and nobody wants them painted; in a style's statistics they would
be a darkness that the rest has to make up for. A subtitle in them stays readable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

BLACK: Final = 12 / 255  # what codecs leave of a bar, at most
RINGING: Final = 0.02  # of its length may be more: the picture's own edges ring into it
LIT: Final = 0.8  # of the picture's edge is more, in one frame or another
SOFT: Final = 3  # pixels that an edge may take
LEAST: Final = 2  # pixels of a bar
SUBTITLED: Final = 0.25  # of the frames may have something in a bar
ENOUGH: Final = 16  # frames: no more need be looked at
FILLED: Final = 0.5  # of the bars is lit: they are none
MOST: Final = 0.4  # of a side: what is left of less is a picture in a dark room


class Window(NamedTuple):
    """The picture's rows `top` to `bottom` - 1 and columns `left` to `right` - 1."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.right - self.left, self.bottom - self.top

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) → what is in the window. A view."""
        return image[self.top : self.bottom, self.left : self.right]

    def put_back(self, image: np.ndarray, around: np.ndarray) -> np.ndarray:
        """What is in a window, in the midst of the (H, W, C) that it was cut from."""
        whole = around.copy()
        self.cut(whole)[:] = image
        return whole

    def is_filled(self, around: np.ndarray) -> bool:
        """Whether the picture that this was cut from had none of the bars."""
        lit = around.max(axis=2) > BLACK
        inside = self.cut(lit)
        return bool(lit.sum() - inside.sum() > FILLED * (lit.size - inside.size))

    def scaled(self, given: tuple[int, int], wanted: tuple[int, int]) -> Window:
        """Of a picture of (width, height): nothing of a bar is in it at the other size either."""
        across, down = (b / a for a, b in zip(given, wanted, strict=True))
        rows = math.ceil(self.top * down), math.floor(self.bottom * down)
        return Window(*rows, math.ceil(self.left * across), math.floor(self.right * across))

    def within(self, width: int, height: int) -> Window:
        """What of it a picture has whose last row or column was lost."""
        return self._replace(bottom=min(self.bottom, height), right=min(self.right, width))

    def words(self, width: int, height: int) -> str:
        bars = {
            "top": self.top,
            "bottom": height - self.bottom,
            "left": self.left,
            "right": width - self.right,
        }
        each = [f"{size} pixels at the {side}" for side, size in bars.items() if size]
        return f"black bars stay as they are ({', '.join(each)}); --paint-bars paints them"


def find_window(images: Iterable[np.ndarray]) -> Window | None:
    """Of some frames of a clip, (H, W, 3) in [0, 1]; none where there are no bars.

    Bars are two, on both sides of the picture, black in nearly all of the frames, and end at a
    straight edge behind which nearly all places are lit in one or another: a night's sky is none.
    """
    seen = _Seen()
    for image in images:
        seen.add(image)
        if seen.barless > SUBTITLED * ENOUGH:
            return None
    return seen.window() if seen.frames else None


class _Seen:
    """What frames have shown, of each row and column."""

    def __init__(self) -> None:
        self.frames, self.barless = 0, 0

    def add(self, image: np.ndarray) -> None:
        light = image.max(axis=2)
        lit = [(light > BLACK).mean(axis=axis) > RINGING for axis in (1, 0)]
        if not self.frames:
            self.light, self.lit = light, [np.zeros(len(part), int) for part in lit]
        self.light = np.maximum(self.light, light)
        self.lit = [count + part for count, part in zip(self.lit, lit, strict=True)]
        self.frames += 1
        self.barless += all(part[:LEAST].any() or part[-LEAST:].any() for part in lit)

    def window(self) -> Window | None:
        black = [count <= SUBTITLED * self.frames for count in self.lit]
        height, width = self.light.shape
        top, bottom = _bars(black[0], self.light)
        left, right = _bars(black[1], self.light[top : height - bottom].T)
        window = Window(top, height - bottom, left, width - right)
        return None if window == (0, height, 0, width) else window


def _bars(black: np.ndarray, rows: np.ndarray) -> tuple[int, int]:
    """How many of the first and last rows of (n, m) are bars."""
    first, last = _bar(black, rows), _bar(black[::-1], rows[::-1])
    return (first, last) if first and last else (0, 0)


def _bar(black: np.ndarray, rows: np.ndarray) -> int:
    end = int(np.argmin(black))  # the first that is not
    if black.all() or not LEAST <= end <= MOST * len(rows):
        return 0
    edge = rows[end : end + SOFT]
    if (edge > BLACK).mean(axis=1).max() < LIT:
        return 0
    light = edge.mean(axis=1)  # half of what is behind is no more the bar's
    return end + int(np.argmax(light >= light[-1] / 2))

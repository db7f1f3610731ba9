"""Black bars around the picture (letterbox, pillarbox): found, cut off, and put back.

They are no part of the picture, and nobody wants them painted; in a style's statistics they would
be a darkness that the rest has to make up for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from vidstyle.frame import Frame

BLACK: Final = 12 / 255  # what codecs leave of a bar, at most
RINGING: Final = 0.02  # of its length may be more: the picture's own edges ring into it
LIT: Final = 0.8  # of the picture's edge is more, in one frame or another
SOFT: Final = 3  # pixels that scaling leaves between the two
LEAST: Final = 2  # pixels of a bar
MOST: Final = 0.4  # of a side: what is left of less is a picture in a dark room


class Window(NamedTuple):
    """The picture's rows `top` to `bottom` - 1 and columns `left` to `right` - 1."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) → what is in the window. A view."""
        return image[self.top : self.bottom, self.left : self.right]

    def put_back(self, frame: Frame, height: int, width: int) -> Frame:
        """The frame of a window amid (height, width) of black."""
        image = np.zeros((height, width, 3), np.float32)
        self.cut(image)[:] = frame.image
        return replace(frame, image=image)

    def words(self, height: int, width: int) -> str:
        bars = {
            "top": self.top,
            "bottom": height - self.bottom,
            "left": self.left,
            "right": width - self.right,
        }
        each = [f"{size} pixels at the {side}" for side, size in bars.items() if size]
        return f"black bars stay black ({', '.join(each)}); --paint-bars paints them"


def find_window(images: Iterable[np.ndarray]) -> Window | None:
    """Of some frames of a clip, (H, W, 3) in [0, 1]; none where there are no bars.

    A bar is black in all of them, and ends at a straight edge behind which nearly all places are
    lit in one or another: a night's sky has none.
    """
    light: np.ndarray | None = None
    for image in images:
        brightest = image.max(axis=2)
        light = brightest if light is None else np.maximum(light, brightest)
        if not any(_black(rows) for rows in (light, light[::-1], light.T, light.T[::-1])):
            return None
    if light is None:
        return None
    height, width = light.shape
    top, bottom = _bar(light), height - _bar(light[::-1])
    columns = light[top:bottom].T
    left, right = _bar(columns), width - _bar(columns[::-1])
    window = Window(top, bottom, left, right)
    return None if window == (0, height, 0, width) else window


def _black(rows: np.ndarray) -> bool:
    """Whether the first of these rows may be a bar."""
    return bool(_lit(rows[:LEAST]).max() <= RINGING)


def _lit(rows: np.ndarray) -> np.ndarray:
    return np.asarray((rows > BLACK).mean(axis=1))


def _bar(rows: np.ndarray) -> int:
    """How many of the first rows of (n, m) are a bar."""
    lit = _lit(rows)
    bright = np.flatnonzero(lit > RINGING)
    black = int(bright[0]) if len(bright) else len(rows)
    if not LEAST <= black <= MOST * len(rows):
        return 0
    if lit[black : black + SOFT].max() < LIT:
        return 0
    light = rows[: black + SOFT].mean(axis=1)  # half of what is behind is no more the bar's
    return int(np.argmax(light >= light[-1] / 2))

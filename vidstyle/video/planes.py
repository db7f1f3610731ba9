"""Pixel formats, and a frame's planes as arrays of levels.

swscale only moves and resamples samples here, never through a matrix or a change of range: its own
matrix is off by -0.5 levels on average towards 16-bit RGB, by +0.5 in luma from it, and by -0.5 in
chroma towards full range (measured on smooth pictures).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import av
import numpy as np
from av.video.format import VideoFormatComponent
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidstyle.errors import SettingsError

# The default chroma scaling is biased by about a level; these flags are not.
_SHARP: Final = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_CHROMA: Final = {
    (1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410",
}  # fmt: skip
_HALF: Final = re.compile(r"(gbra?p|gray)f16le")
_GREY_ALPHA: Final = re.compile(r"ya(8|16le|16be)")
_WRITABLE: Final = re.compile(r"yuva?4(20|22|44)p(\d+le)?|gbra?p(f?\d+le)?|gray(\d+le)?")


@dataclass(frozen=True)
class PixelLayout:
    """What a pixel format's name says."""

    name: str

    @cached_property
    def format(self) -> av.VideoFormat:
        return av.VideoFormat(self.name, 64, 64)

    @cached_property
    def depth(self) -> int:
        """Bits of a sample; 32 is float, half precision as well."""
        if self.is_float:
            return 32
        return max((part.bits for part in self.format.components), default=8)

    @property
    def is_float(self) -> bool:
        """Which by convention is linear light with alpha multiplied in, as EXR's."""
        return bool(re.search(r"f(16|32)", self.name))

    @property
    def is_rgb(self) -> bool:
        return self.format.is_rgb or self.format.has_palette

    @property
    def has_alpha(self) -> bool:
        # A palette may hold transparent entries; nothing else says so.
        return self.format.has_palette or any(part.is_alpha for part in self.format.components)

    @property
    def is_grey(self) -> bool:
        return len(self.format.components) - self.has_alpha == 1 and not self.is_rgb

    @property
    def top(self) -> float:
        """The highest level."""
        return 1.0 if self.is_float else 2.0**self.depth - 1

    @property
    def unit(self) -> tuple[int, int]:
        """(width, height) in pixels that share one chroma sample."""
        if self.is_grey or self.is_rgb:
            return 1, 1
        chroma = self.format.components[1]
        return 64 // chroma.width, 64 // chroma.height

    @property
    def whole(self) -> bool:
        """Whether every plane has the picture's size."""
        return self.unit == (1, 1)

    @cached_property
    def planar(self) -> str:
        """The format that holds the same samples in a plane each: its own name, or its twin's."""
        if self.name.startswith("yuvj"):
            return self.name
        bits = f"f{self.depth}le" if self.is_float else f"{self.depth}le" if self.depth > 8 else ""
        alpha = "a" if self.has_alpha else ""
        if self.is_rgb:
            return f"gbr{alpha}p{bits}"
        if self.is_grey and not alpha:
            return f"gray{bits}"
        return f"yuv{alpha}{_CHROMA[self.unit]}p{bits}"

    @property
    def is_writable(self) -> bool:
        samples = {part.bits for part in self.format.components}
        grey_with_alpha = self.is_grey and self.has_alpha
        if self.name == "pal8":
            return True
        return (
            len(samples) == 1
            and samples.pop() >= 8
            and not grey_with_alpha
            and not self.name.startswith(("yuvj", "xyz"))
            and _WRITABLE.fullmatch(self.planar) is not None
        )


def writable_layout(name: str) -> PixelLayout:
    """Raises `SettingsError` where frames cannot be written in it."""
    layout = PixelLayout(name)
    try:
        writable = layout.is_writable
    except ValueError:
        writable = False  # no such format
    if not writable:
        raise SettingsError(
            f"--pix-fmt {name}: must be Y'CbCr, RGB or grey of 8 bits or more, such as yuv420p, "
            "yuv422p10le, yuva444p10le or gbrp"
        )
    return layout


def read_planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Of a planar frame: (h, w) levels each, in the order Y'CbCr, R'G'B' or grey, then alpha."""
    return [_rows(frame, part) for part in frame.format.components]


def _rows(frame: av.VideoFrame, part: VideoFormatComponent) -> np.ndarray:
    plane = frame.planes[part.plane]
    rows = np.frombuffer(memoryview(plane), _kind(frame.format.name, part.bits))
    return rows.reshape(plane.height, -1)[:, : plane.width]


def _kind(name: str, bits: int) -> type[np.generic]:
    if _HALF.fullmatch(name):
        return np.float16
    return np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.float32


def make_frame(planes: Sequence[np.ndarray], name: str) -> av.VideoFrame:
    """The inverse of `read_planes`; levels are already in the format's range."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, name)
    for target, levels in zip(read_planes(frame), planes, strict=True):
        target[:] = levels
    return frame


def resample(
    reformatter: VideoReformatter,
    frame: av.VideoFrame,
    layout: str,
    size: tuple[int, int] | None = None,
) -> av.VideoFrame:
    """New size, depth (levels are shifted) and arrangement of the samples."""
    # Both sides are declared alike, and limited wherever swscale lets us: it then moves levels by
    # bare shifts. Any one matrix on both sides means that none is applied.
    span = ColorRange.JPEG if frame.format.name.startswith("yuvj") else ColorRange.MPEG
    width, height = size or (frame.width, frame.height)
    return reformatter.reformat(
        frame,
        width,
        height,
        layout,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        interpolation=_SHARP,
        src_color_range=span,
        dst_color_range=span,
    )


def to_planar(reformatter: VideoReformatter, frame: av.VideoFrame) -> av.VideoFrame:
    """The same samples, a plane each."""
    planar = PixelLayout(frame.format.name).planar
    if _HALF.fullmatch(frame.format.name):  # swscale would clip light above 1, and lift black
        return make_frame(read_planes(frame), planar)
    if _GREY_ALPHA.fullmatch(frame.format.name):  # swscale would limit the range of grey
        return make_frame(_grey_and_alpha(frame), planar)
    return frame if frame.format.name == planar else resample(reformatter, frame, planar)


def _grey_and_alpha(frame: av.VideoFrame) -> list[np.ndarray]:
    """Y', no chroma, alpha."""
    kind = {"ya8": "u1", "ya16le": "<u2", "ya16be": ">u2"}[frame.format.name]
    rows = np.frombuffer(memoryview(frame.planes[0]), kind).reshape(frame.height, -1, 2)
    grey, alpha = np.moveaxis(rows[:, : frame.width], -1, 0)
    middle = np.full_like(grey, 2 ** (8 * grey.itemsize - 1))
    return [grey, middle, middle, alpha]

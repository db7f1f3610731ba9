"""The values that travel between stages."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Frame:
    """One picture of a clip, upright.

    `image` is (H, W, 3) float32 RGB in [0, 1], values as the source's transfer curve left them.
    `pts * time_base` is the presentation time in seconds on the source's clock. Where the source
    is transparent, `alpha` is (H, W, 1) float32 in [0, 1] and `image` lies over black. `coded` is
    the picture as decoded, neither turned nor scaled: a neutral result takes its exact samples.
    Shown is `fade` times `image`, where a fade from or to black was taken off (`video.fades`), in
    the midst of `around`, where black bars were cut off (`video.bars`).
    """

    image: np.ndarray
    index: int
    pts: int
    time_base: Fraction
    alpha: np.ndarray | None = None
    coded: av.VideoFrame | None = None
    fade: float = 1.0
    around: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.float32:
            raise ValueError(
                f"a frame is (H, W, 3) float32, not {self.image.shape} {self.image.dtype}"
            )

    @property
    def shown(self) -> np.ndarray:
        """`image` as dark as its fade has it."""
        return self.image if self.fade == 1 else self.image * np.float32(self.fade)

    @property
    def pts_seconds(self) -> float:
        return float(self.pts * self.time_base)

    @property
    def crc(self) -> int:
        """Of the image's bytes."""
        return crc32(self.image.data)

    @property
    def height(self) -> int:
        return self.image.shape[0]

    @property
    def width(self) -> int:
        return self.image.shape[1]


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `end` - 1 of those that are read of a clip, between two cuts.

    `pts` and `crc` are its first frame's: so it is known again by who has not read all before it.
    `pts` of `None` says that all must be read.
    """

    number: int
    first: int
    end: int
    pts: int | None
    crc: int

    @property
    def frames(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class ColourTags:
    """How a stream's Y'CbCr relates to R'G'B': FFmpeg's own integer codes (2 = unspecified)."""

    matrix: int
    primaries: int
    transfer: int
    full_range: bool


@dataclass(frozen=True)
class ClipInfo:
    """What the headers say of a clip's first video stream; `None` is what they do not say.

    `width`, `height` and `sample_aspect` (a pixel's width over its height) are of the frames as
    delivered: upright and scaled. For that the coded picture was turned by `rotation_degrees`
    (counter-clockwise, a multiple of 90), then `mirrored`; the writer restores both. `colour` is
    settled: what the headers leave open is filled in by convention. `frames` and `seconds` are of
    the whole clip. `first_pts` is its first frame's and `origin_pts` the moment its earliest
    stream begins, both in `time_base`. `bit_depth` 32 is float. `first_number` is that of an image
    sequence's first file; `None` is a clip. `chroma_place` is FFmpeg's name for where 4:2:0's and
    4:2:2's colour samples lie.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    frames: int | None
    seconds: float | None
    rotation_degrees: int
    colour: ColourTags
    codec: str
    pix_fmt: str
    bit_depth: int
    sound_streams: int
    sample_aspect: Fraction = Fraction(1)
    mirrored: bool = False
    first_pts: int = 0
    origin_pts: int = 0
    has_alpha: bool = False
    first_number: int | None = None
    chroma_place: str | None = None

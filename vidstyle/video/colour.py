"""Y'CbCr ↔ R'G'B', exactly, and the tags that say which of the many Y'CbCr it is.

swscale only resamples planes here (size, chroma siting, bit depth); the matrix is applied in
float32. Measured on smooth pictures, swscale's own matrix is off by -0.5 levels on average towards
16-bit RGB, +0.5 in luma from it, and -0.5 in chroma towards full range; this is below 0.05.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidstyle.errors import InputError, SettingsError
from vidstyle.frame import ColourTags

# FFmpeg's codes; the same numbers stand in files (ITU-T H.273).
RGB, BT709, UNSPECIFIED, BT470BG, SMPTE170M, BT2020 = 0, 1, 2, 5, 6, 9
PQ, HLG = 16, 18

# (Kr, Kb) by matrix code; Kg is the rest.
_LUMA: Final = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    SMPTE170M: (0.299, 0.114),
    7: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
# Primaries and transfer that belong to a matrix when the headers are silent.
_COMPANIONS: Final = {
    BT709: (1, 1),
    4: (4, 4),
    BT470BG: (5, 6),
    SMPTE170M: (6, 6),
    7: (7, 7),
    BT2020: (9, 14),
}
# The default chroma scaling is biased by about a level; these flags are not.
SHARP: Final = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_WRITABLE: Final = re.compile(
    r"yuv4(20|22|40|44)p(\d+le)?|nv12|nv16|p010le|gbrp(\d+le)?|rgb24|bgr24|bgr0|rgb0"
)


def settle_tags(tags: ColourTags, width: int, height: int) -> ColourTags:
    """Fill in what a Y'CbCr stream's headers leave open, as players do.

    Without a matrix: 709 from 1280×720 up, below it 601 (525 or 625 lines). Raises `InputError`
    on HDR and on matrices outside the table.
    """
    if tags.transfer in (PQ, HLG):
        name = "PQ" if tags.transfer == PQ else "HLG"
        raise InputError(f"HDR video ({name} transfer) is not supported; tone-map it to SDR first")
    matrix = tags.matrix
    if matrix in (RGB, UNSPECIFIED, 3):  # RGB on Y'CbCr planes and "reserved" are muxers' slips
        matrix = _conventional_matrix(width, height)
    if matrix not in _LUMA:
        raise InputError(f"colour matrix {matrix} is not supported; convert it to BT.709 first")
    primaries, transfer = _COMPANIONS[matrix]
    return ColourTags(
        matrix,
        primaries if tags.primaries in (0, UNSPECIFIED, 3) else tags.primaries,
        transfer if tags.transfer in (0, UNSPECIFIED, 3) else tags.transfer,
        tags.full_range,
    )


def _conventional_matrix(width: int, height: int) -> int:
    if width >= 1280 or height >= 720:
        return BT709
    return BT470BG if height in (576, 288) else SMPTE170M


def output_tags(tags: ColourTags) -> ColourTags:
    """The tags of the result: the source's where they are Y'CbCr, else BT.709."""
    return ColourTags(BT709, 1, 1, False) if tags.matrix == RGB else tags


def bit_depth(video_format: av.VideoFormat) -> int:
    return max((part.bits for part in video_format.components), default=8)


def has_alpha(video_format: av.VideoFormat) -> bool:
    # A palette may hold transparent entries; nothing else says so.
    return video_format.has_palette or any(part.is_alpha for part in video_format.components)


def is_rgb(video_format: av.VideoFormat) -> bool:
    return video_format.is_rgb or video_format.has_palette


def _matrix(matrix: int) -> np.ndarray:
    """(3, 3): R'G'B' in [0, 1] → Y' in [0, 1], Cb and Cr in [-0.5, 0.5]."""
    kr, kb = _LUMA[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    blue, red = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    return np.stack([luma, (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))])


def _levels(full_range: bool, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset, (3,) each: Y'CbCr as in `_matrix` → integer levels of `depth` bits."""
    step, top = 2.0 ** (depth - 8), 2.0**depth - 1
    if full_range:
        return np.array([top, top, top]), np.array([0, 128 * step, 128 * step])
    return np.array([219, 224, 224]) * step, np.array([16, 128, 128]) * step


class FrameToRgb:
    """A decoded frame → (H, W, 3) float32 R'G'B' in [0, 1], still as coded (not turned).

    Frames are scaled to `width`×`height`; swscale widens the bicubic kernel by the ratio, so
    shrinking does not alias, and stays sharper than its area average. Alpha is composited over
    black.
    """

    def __init__(self, tags: ColourTags, width: int, height: int) -> None:
        self._tags = tags
        self._size = (width, height)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        convert = self._from_rgb if is_rgb(frame.format) else self._from_yuv
        return np.ascontiguousarray(convert(frame), dtype=np.float32)

    def _planes(self, frame: av.VideoFrame, layout: str) -> np.ndarray:
        # Both sides are declared alike, and limited wherever swscale lets us: it then moves
        # levels by bare shifts and never rescales a range.
        span = ColorRange.JPEG if _known_full(frame.format) else ColorRange.MPEG
        return _resample(self._reformatter, frame, layout, span, *self._size).to_ndarray()

    def _from_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        depth, alpha = bit_depth(frame.format), has_alpha(frame.format)
        if depth <= 8:
            top, layout = 255.0, "rgba" if alpha else "rgb24"
        else:
            top, layout = 65536.0 - 2 ** (16 - depth), "gbrap16le" if alpha else "gbrp16le"
        return _over_black(self._planes(frame, layout) / np.float32(top))

    def _from_yuv(self, frame: av.VideoFrame) -> np.ndarray:
        alpha = has_alpha(frame.format)
        if len(frame.format.components) - alpha == 1:
            return self._from_grey(frame)
        planes = self._planes(frame, "yuva444p16le" if alpha else "yuv444p16le")
        affine, offset = self._affine(frame)
        picture = np.clip(planes[..., :3] @ affine + offset, 0, 1)
        if not alpha:
            return picture
        return picture * np.clip(planes[..., 3:] / np.float32(255 * self._fill(frame)), 0, 1)

    def _from_grey(self, frame: av.VideoFrame) -> np.ndarray:
        levels = self._planes(frame, "gray16le") / np.float32(self._fill(frame))
        gain, offset = _levels(self._tags.full_range, 8)
        grey = np.clip((levels - offset[0]) / gain[0], 0, 1)
        return np.repeat(grey[..., None], 3, axis=-1)

    def _fill(self, frame: av.VideoFrame) -> int:
        """What one 8-bit level becomes in 16 bits, for full-range luma, grey and alpha.

        Where swscale only copies planes it repeats the byte, elsewhere it shifts (measured).
        """
        whole = all(part.width == frame.width for part in frame.format.components)
        return 257 if whole and self._size == (frame.width, frame.height) else 256

    def _affine(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray]:
        """(3, 3) and (3,): 16-bit Y'CbCr levels → R'G'B', to be applied from the right."""
        depth = bit_depth(frame.format)
        gain, offset = _levels(self._tags.full_range, depth)
        shift = np.full(3, 2.0 ** (16 - depth))
        if _known_full(frame.format):
            shift[0] = self._fill(frame)
        to_rgb = np.linalg.inv(_matrix(self._tags.matrix))
        affine = (to_rgb / (gain * shift)).T.astype(np.float32)
        return affine, (-to_rgb @ (offset / gain)).astype(np.float32)


def _known_full(video_format: av.VideoFormat) -> bool:
    return video_format.name.startswith("yuvj")


def _resample(
    reformatter: VideoReformatter,
    frame: av.VideoFrame,
    layout: str,
    span: ColorRange,
    width: int | None = None,
    height: int | None = None,
) -> av.VideoFrame:
    """New size, depth and chroma layout; any one matrix on both sides means none is applied."""
    return reformatter.reformat(
        frame,
        width,
        height,
        layout,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        interpolation=SHARP,
        src_color_range=span,
        dst_color_range=span,
    )


def _over_black(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3 or 4) → (H, W, 3)."""
    return picture[..., :3] * picture[..., 3:] if picture.shape[-1] == 4 else picture


@dataclass(frozen=True)
class PixelLayout:
    """A pixel format the writer can fill; raises `SettingsError` for the others."""

    name: str

    def __post_init__(self) -> None:
        if not _WRITABLE.fullmatch(self.name):
            raise SettingsError(
                f"--pix-fmt {self.name}: must be Y'CbCr or RGB without alpha, such as yuv420p, "
                "yuv422p10le, yuv444p or gbrp"
            )

    @cached_property
    def format(self) -> av.VideoFormat:
        return av.VideoFormat(self.name, 64, 64)

    @property
    def depth(self) -> int:
        return bit_depth(self.format)

    @property
    def is_rgb(self) -> bool:
        return self.format.is_rgb

    @property
    def unit(self) -> tuple[int, int]:
        """(width, height) in pixels that share one chroma sample."""
        chroma = self.format.components[-1]
        return 64 // chroma.width, 64 // chroma.height

    @property
    def whole(self) -> str:
        """The layout of the same depth with full-size planes."""
        if self.is_rgb:
            return "gbrp" if self.depth == 8 else f"gbrp{self.depth}le"
        return "yuv444p" if self.depth == 8 else f"yuv444p{self.depth}le"


class RgbToFrame:
    """(H, W, 3) float32 R'G'B' in [0, 1] → a frame in `layout`, rounded once, luma exactly."""

    def __init__(self, tags: ColourTags, layout: PixelLayout) -> None:
        self._layout = layout
        self._reformatter = VideoReformatter()
        self._top = 2**layout.depth - 1
        if layout.is_rgb:
            affine, offset = np.eye(3) * self._top, np.zeros(3)
        else:
            gain, offset = _levels(tags.full_range, layout.depth)
            affine = _matrix(tags.matrix) * gain[:, None]
        self._affine = affine.T.astype(np.float32)
        self._offset = offset.astype(np.float32)

    def __call__(self, image: np.ndarray) -> av.VideoFrame:
        levels = np.rint(np.clip(image, 0, 1) @ self._affine + self._offset)
        whole = self._whole(np.clip(levels, 0, self._top))
        if self._layout.whole == self._layout.name:
            return whole
        return _resample(self._reformatter, whole, self._layout.name, ColorRange.MPEG)

    def _whole(self, levels: np.ndarray) -> av.VideoFrame:
        dtype = np.uint8 if self._layout.depth == 8 else np.uint16
        height, width, _ = levels.shape
        frame = av.VideoFrame(width, height, self._layout.whole)
        # gbrp keeps its planes in the order the name says.
        order = (1, 2, 0) if self._layout.is_rgb else (0, 1, 2)
        for plane, channel in zip(frame.planes, order, strict=True):
            rows = np.frombuffer(memoryview(plane), dtype).reshape(height, -1)
            rows[:, :width] = levels[..., channel]
        return frame

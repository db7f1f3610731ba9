"""Decoded frames → float R'G'B', and back, each rounded once."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vidstyle.frame import ColourTags
from vidstyle.opencv import opencv
from vidstyle.video.colour import from_srgb_curve, levels_of, matrix_of, to_srgb_curve
from vidstyle.video.geometry import Orientation, resized
from vidstyle.video.planes import PixelLayout, make_frame, read_planes, resample, to_planar
from vidstyle.video.siting import LEFT, Marker, is_halved

_DEEP = 16  # bits that samples are resampled at


class FrameToRgb:
    """A decoded frame → R'G'B' over black, (H, W, 3), and alpha, (H, W, 1) or None.

    Both float32 in [0, 1], still as coded (not turned). Frames are scaled to `width`×`height`;
    swscale widens the bicubic kernel by the ratio, so shrinking does not alias, and stays sharper
    than its area average. `place` is where colour samples lie in 4:2:0 and 4:2:2.
    """

    def __init__(self, tags: ColourTags, width: int, height: int, place: str = LEFT) -> None:
        self._tags = tags
        self._mark = Marker(place)
        self._size = (width, height)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray | None]:
        layout = PixelLayout(frame.format.name)
        if layout.name.startswith("xyz"):
            raise ValueError("XYZ samples are neither Y'CbCr nor R'G'B'")
        planar = to_planar(self._reformatter, frame)
        if layout.is_float:
            return self._from_light(planar)
        return self._from_levels(planar)

    def _from_light(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray | None]:
        light = np.stack(read_planes(frame), axis=-1)
        alpha = None
        if PixelLayout(frame.format.name).has_alpha:
            alpha = resized(np.clip(np.nan_to_num(light[..., -1:]), 0, 1), self._size)
            light = light[..., :-1]
        picture = resized(to_srgb_curve(light).astype(np.float32), self._size)
        return (picture.repeat(3, axis=-1) if picture.shape[-1] == 1 else picture), alpha

    def _from_levels(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray | None]:
        layout = PixelLayout(frame.format.name)
        affine, offset = self._affine(layout)
        # Scaled after alpha is applied, or hidden colours would bleed over the edges.
        size = (frame.width, frame.height) if layout.has_alpha else self._size
        planes = self._levels(frame, layout, size)
        picture = _transformed(opencv().merge(planes[: affine.shape[1]]), affine, offset)
        np.clip(picture, 0, 1, out=picture)
        if not layout.has_alpha:
            return picture, None
        alpha = np.clip(planes[-1][..., None] / np.float32(layout.top), 0, 1)
        return resized(picture * alpha, self._size), resized(alpha, self._size)

    def _levels(
        self, frame: av.VideoFrame, layout: PixelLayout, size: tuple[int, int]
    ) -> list[np.ndarray]:
        """(H, W) float32 a plane at (width, height), in the frame's own levels."""
        if layout.whole and (frame.width, frame.height) == size:
            return [plane.astype(np.float32) for plane in read_planes(frame)]
        if layout.is_rgb:
            # As Y'CbCr, or swscale would scale them through a matrix of its own.
            as_yuv = layout.planar.replace("gbr", "yuv").replace("p", "444p")
            frame = make_frame(read_planes(frame), as_yuv)
        elif is_halved(layout):
            frame = self._mark(frame)
        kind = "gray" if layout.is_grey else "yuva444p" if layout.has_alpha else "yuv444p"
        planes = read_planes(resample(self._reformatter, frame, f"{kind}16le", size))
        return [plane * np.float32(2.0 ** (layout.depth - _DEEP)) for plane in planes]

    def _affine(self, layout: PixelLayout) -> tuple[np.ndarray, np.ndarray]:
        """(3, colour planes) and (3,): levels → R'G'B'."""
        if layout.is_rgb:
            return np.eye(3) / layout.top, np.zeros(3)
        gain, offset = levels_of(self._tags, layout.depth)
        to_rgb = np.linalg.inv(matrix_of(self._tags))
        if layout.is_grey:
            to_rgb, gain, offset = to_rgb[:, :1], gain[:1], offset[:1]
        return to_rgb / gain, -to_rgb @ (offset / gain)


class RgbToFrame:
    """R'G'B' over black, with alpha or none, as `FrameToRgb` gives them → a frame in `layout`.

    With `dither` levels are rounded up or down by a fixed pattern, so that a ramp keeps its mean
    and shows no bands; else to the nearest. Colour samples lie at `place`.
    """

    def __init__(
        self,
        tags: ColourTags,
        layout: PixelLayout,
        dither: bool = False,
        place: str = LEFT,
    ) -> None:
        self._tags, self._layout, self._dither = tags, layout, dither
        self._mark = Marker(place)
        self._reformatter = VideoReformatter()
        self._planar = PixelLayout(layout.planar)

    def __call__(
        self,
        image: np.ndarray,
        alpha: np.ndarray | None = None,
        rest: list[np.ndarray] | None = None,
    ) -> av.VideoFrame:
        """`rest` is added, plane by plane, before rounding."""
        planes = self._levels(image, alpha)
        if rest is not None:
            planes = [levels + more for levels, more in zip(planes, rest, strict=True)]
        frame = make_frame([self._rounded(levels) for levels in planes], self._planar.name)
        if self._layout.name not in (self._planar.name, "pal8"):
            frame = resample(self._reformatter, frame, self._layout.name)
        # Some encoders write the frame's own tags.
        frame.colorspace, frame.color_range = self._tags.matrix, 2 if self._tags.full_range else 1
        frame.color_primaries, frame.color_trc = self._tags.primaries, self._tags.transfer
        return frame

    def rest(
        self,
        frame: av.VideoFrame,
        turn: Orientation,
        image: np.ndarray,
        alpha: np.ndarray | None,
    ) -> list[np.ndarray] | None:
        """What R'G'B' could not hold of a decoded frame: its samples less those of its `image`.

        The samples are turned as `image` is, and those beyond its size left out. None where they
        are of another kind (chroma, depth, colour model, alpha).
        """
        planar = to_planar(self._reformatter, frame)
        across, down = self._planar.unit
        if planar.format.name.replace("yuvj", "yuv") != self._planar.name:
            return None
        if turn.swaps_sides and across != down:
            return None
        samples = [turn.upright(plane[..., None])[..., 0] for plane in read_planes(planar)]
        return [
            theirs[: ours.shape[0], : ours.shape[1]] - ours
            for ours, theirs in zip(self._levels(image, alpha), samples, strict=True)
        ]

    def _levels(self, image: np.ndarray, alpha: np.ndarray | None) -> list[np.ndarray]:
        """(h, w) float32 a plane, not yet rounded."""
        image = np.clip(image, 0, 1)
        if not self._planar.has_alpha:
            return self._colours(image)
        cover = np.ones_like(image[..., :1]) if alpha is None else alpha
        if not self._planar.is_float:
            # Over black is multiplied by alpha; files hold the colour that was multiplied.
            image = np.clip(
                np.divide(image, cover, where=cover > 0, out=np.zeros_like(image)), 0, 1
            )
        return [*self._colours(image), cover[..., 0] * np.float32(self._planar.top)]

    def _colours(self, image: np.ndarray) -> list[np.ndarray]:
        layout = self._planar
        if layout.is_float:
            image = from_srgb_curve(image).astype(np.float32)
        if layout.is_rgb:
            return list(np.moveaxis(image * np.float32(layout.top), -1, 0))
        gain, offset = levels_of(self._tags, layout.depth)
        affine = matrix_of(self._tags) * gain[:, None]
        luma, *chroma = opencv().split(_transformed(image, affine, offset))
        if layout.is_grey:
            return [luma]
        return [luma, *(chroma if layout.whole else self._thinned(chroma))]

    def _thinned(self, chroma: list[np.ndarray]) -> list[np.ndarray]:
        """Full-size chroma levels → the layout's, fewer, one for each of its chroma samples."""
        scale = np.float32(2.0 ** (_DEEP - self._planar.depth))
        whole = [np.clip(np.rint(levels * scale), 0, 2**_DEEP - 1) for levels in chroma]
        frame = self._mark(make_frame([np.zeros_like(whole[0]), *whole], "yuv444p16le"))
        layout = f"{self._planar.name.replace('yuva', 'yuv').split('p')[0]}p16le"
        thin = read_planes(resample(self._reformatter, frame, layout))[1:]
        return [levels.astype(np.float32) / scale for levels in thin]

    def _rounded(self, levels: np.ndarray) -> np.ndarray:
        if self._planar.is_float:
            return levels
        if self._dither:
            height, width = levels.shape
            pattern = np.tile(_BAYER, (-(-height // 8), -(-width // 8)))[:height, :width]
            levels = np.floor(levels + pattern)
        return np.clip(np.rint(levels), 0, self._planar.top)


def _transformed(levels: np.ndarray, affine: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(H, W, N) float32 → (H, W, M), by `affine`, (M, N), and `offset`, (M,).

    OpenCV's, as numpy's product and sum over so few colours take ten times as long.
    """
    by = np.column_stack([affine, offset])
    return np.asarray(opencv().transform(np.ascontiguousarray(levels), by))


def _bayer(order: int) -> np.ndarray:
    """(2^order, 2^order) thresholds in (0, 1), each once, spread evenly (Bayer 1973)."""
    steps = np.zeros((1, 1))
    for _ in range(order):
        steps = np.block([[4 * steps, 4 * steps + 2], [4 * steps + 3, 4 * steps + 1]])
    return ((steps + 0.5) / steps.size).astype(np.float32)


_BAYER = _bayer(3)

"""Y'CbCr ↔ R'G'B', exactly, and the tags that say which of the many Y'CbCr it is.

The working curve is the source's own: pictures hold R'G'B' as their transfer curve left it. Linear
light (float formats, as EXR holds) is brought to the sRGB curve, and back where it is written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from vidstyle.errors import InputError
from vidstyle.frame import ColourTags

# FFmpeg's codes; the same numbers stand in files (ITU-T H.273).
RGB, BT709, UNSPECIFIED, BT470BG, SMPTE170M, BT2020 = 0, 1, 2, 5, 6, 9
SRGB = 13
# What pictures are looked at alike in, tagged so or not at all.
_LIKE_SRGB: Final = (1, 6, 14, 15)
# What says nothing, as primaries or transfer; as a matrix of Y'CbCr too.
_OPEN: Final = (0, UNSPECIFIED, 3)
_REFUSED_CURVES: Final = {
    8: ("linear light", "encode it with the sRGB or BT.709 curve first"),
    9: ("logarithmic transfer", "grade it to BT.709 first"),
    10: ("logarithmic transfer", "grade it to BT.709 first"),
    16: ("HDR video (PQ transfer)", "tone-map it to SDR first"),
    18: ("HDR video (HLG transfer)", "tone-map it to SDR first"),
}

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


def as_stated(tags: ColourTags, container: ColourTags) -> ColourTags:
    """What pictures leave open is what their container says."""
    return replace(
        tags,
        matrix=container.matrix if tags.matrix in _OPEN else tags.matrix,
        primaries=container.primaries if tags.primaries in _OPEN else tags.primaries,
        transfer=container.transfer if tags.transfer in _OPEN else tags.transfer,
    )


def settle_tags(tags: ColourTags, width: int, height: int) -> ColourTags:
    """Fill in what a Y'CbCr stream's headers leave open, as players do.

    Without a matrix: 709 from 1280×720 up, below it 601 (525 or 625 lines). Raises `InputError`
    on HDR, linear and logarithmic curves and on matrices outside the table.
    """
    _check_curve(tags.transfer)
    matrix = tags.matrix
    if matrix in _OPEN:  # RGB on Y'CbCr planes and "reserved" are muxers' slips
        matrix = _conventional_matrix(width, height)
    if matrix not in _LUMA:
        raise InputError(f"colour matrix {matrix} is not supported; convert it to BT.709 first")
    primaries, transfer = _COMPANIONS[matrix]
    return ColourTags(
        matrix,
        primaries if tags.primaries in _OPEN else tags.primaries,
        transfer if tags.transfer in _OPEN else tags.transfer,
        tags.full_range,
    )


def as_picture(tags: ColourTags) -> ColourTags:
    """What a still's headers leave open is sRGB, also of grey and of JPEG's Y'CbCr."""
    return replace(
        tags,
        primaries=1 if tags.primaries in _OPEN else tags.primaries,
        transfer=SRGB if tags.transfer in _OPEN else tags.transfer,
    )


def settle_rgb_tags(tags: ColourTags, linear: bool) -> ColourTags:
    """The same for R'G'B': sRGB if the headers say nothing, and where `linear` light is converted.

    Raises `InputError` on HDR, linear and logarithmic curves.
    """
    if not linear:
        _check_curve(tags.transfer)
    given = as_picture(tags)
    return replace(given, matrix=RGB, transfer=SRGB if linear else given.transfer, full_range=True)


def _check_curve(transfer: int) -> None:
    if transfer in _REFUSED_CURVES:
        name, remedy = _REFUSED_CURVES[transfer]
        raise InputError(f"{name} is not supported; {remedy}")


def _conventional_matrix(width: int, height: int) -> int:
    if width >= 1280 or height >= 720:
        return BT709
    return BT470BG if height in (576, 288) else SMPTE170M


def output_tags(tags: ColourTags, rgb: bool) -> ColourTags:
    """The tags of a result: the source's where both are Y'CbCr or both R'G'B'.

    Y'CbCr of R'G'B' is BT.709; of Y'CbCr, R'G'B' (which `rgb` asks for) is sRGB where players
    show video's curve as that.
    """
    if rgb:
        transfer = SRGB if tags.transfer in _LIKE_SRGB else tags.transfer
        return ColourTags(RGB, tags.primaries, transfer, full_range=True)
    return ColourTags(BT709, 1, 1, False) if tags.matrix == RGB else tags


def matrix_of(tags: ColourTags) -> np.ndarray:
    """(3, 3): R'G'B' in [0, 1] → Y' in [0, 1], Cb and Cr in [-0.5, 0.5]."""
    kr, kb = _LUMA[tags.matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    blue, red = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    return np.stack([luma, (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))])


def levels_of(tags: ColourTags, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset, (3,) each: Y'CbCr as in `matrix_of` → levels of `depth` bits."""
    step, top = 2.0 ** (depth - 8), 2.0**depth - 1
    if tags.full_range:
        return np.array([top, top, top]), np.array([0, 128 * step, 128 * step])
    return np.array([219, 224, 224]) * step, np.array([16, 128, 128]) * step


def to_srgb_curve(light: np.ndarray) -> np.ndarray:
    """Linear light → sRGB's curve (IEC 61966-2-1), clipped to [0, 1]; NaN is black."""
    light = np.clip(np.nan_to_num(light, posinf=1.0), 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def from_srgb_curve(value: np.ndarray) -> np.ndarray:
    """The inverse of `to_srgb_curve` on [0, 1]."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)

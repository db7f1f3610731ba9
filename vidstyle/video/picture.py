"""Still pictures: style paintings and photographs in, stylised stills out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from vidstyle.disk import check_regular
from vidstyle.errors import EncodeError, InputError, SettingsError
from vidstyle.video.geometry import resized, scaled_size
from vidstyle.video.target import PartialFile, check_target

Paths = Sequence[Path | str]

PAINTING_SIDE: Final = 2048  # pixels: finer brush work is below every frame's resolution
_SMALLEST: Final = 8  # pixels a side: below it there is no style to be seen
_WIDE_MODES: Final = ("I", "F")  # as are "I;16", "I;16B", …: more than 8 bits, one channel
_SAVED_AS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".webp": ("WEBP", {"quality": 95}),
}


def load_picture(path: Path, size: int | None = None) -> np.ndarray:
    """(H, W, 3) float32 sRGB in [0, 1], upright, with a long side of at most `size` pixels.

    Embedded colour profiles are converted, CMYK included; transparency lies over white, as paint
    on paper; of an animation the first frame is taken. Greys of 16 bits keep their depth, 16-bit
    colour comes in 8. Raises `InputError` where the file is not a picture of 8×8 pixels or more.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a picture in it")
    check_regular(path, "a picture")
    try:
        pixels = _decode(path)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: has too many pixels; scale it down first") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a picture; name a PNG, JPEG, TIFF or WebP") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; check its permissions") from error
    # Pillow's plugins raise what they like on a damaged file.
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({_one_line(error)}); try another copy") from error
    height, width, _ = pixels.shape
    if min(height, width) < _SMALLEST:
        raise InputError(f"{path}: {width}x{height} pixels; must be at least {_SMALLEST} a side")
    return resized(pixels, scaled_size(width, height, size))


def load_paintings(paths: Paths) -> list[np.ndarray]:
    """Each (H, W, 3) float32 RGB in [0, 1]. Raises `InputError` where one is no picture."""
    if isinstance(paths, (str, Path)):
        raise InputError(f"{paths}: give the paintings as a list, [{str(paths)!r}]")
    return [load_picture(Path(path), PAINTING_SIDE) for path in paths]


def save_picture(path: Path, image: np.ndarray, overwrite: bool = False, comment: str = "") -> None:
    """Write (H, W, 3) float R'G'B' in [0, 1] as the ending says: PNG, JPEG, TIFF or WebP, 8 bits.

    The file appears under its name only when complete; `comment`, in ASCII, is its description.
    Raises `OutputError` and `SettingsError` for the target (see `check_picture_output`),
    `EncodeError` if the disk fails.
    """
    path = Path(path)
    check_picture_output(path, overwrite)
    name, options = _SAVED_AS[path.suffix.lower()]
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if comment:
        exif = Image.Exif()  # which all four kinds of files have a place for
        exif[ExifTags.Base.ImageDescription] = comment
        options = {**options, "exif": exif}
    partial = PartialFile(path, overwrite)
    try:
        Image.fromarray(levels).save(partial.path, format=name, **options)
        partial.commit()
    except (OSError, ValueError) as error:
        raise EncodeError(f"{path}: could not be written ({_one_line(error)})") from error
    finally:
        partial.discard()


def check_picture_output(path: Path, overwrite: bool = False) -> None:
    """All that can be refused before there is a picture to save."""
    if path.suffix.lower() not in _SAVED_AS:
        raise SettingsError(f"{path}: its name must end in one of {', '.join(_SAVED_AS)}")
    check_target(path, overwrite)


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _decode(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large or slightly odd files: we say what matters
        with Image.open(path) as opened:
            opened.load()
            picture: Image.Image = ImageOps.exif_transpose(opened)
        return _wide_grey(picture) if _is_wide(picture.mode) else _eight_bit(picture)


def _is_wide(mode: str) -> bool:
    return mode in _WIDE_MODES or mode.startswith("I;")


def _wide_grey(picture: Image.Image) -> np.ndarray:
    """16-bit integers or floats, one channel; `convert("RGB")` would clip them at 255."""
    values = np.asarray(picture)
    # "I" is what 16-bit files become in places; floats are taken to be in [0, 1].
    top = 1.0 if picture.mode == "F" else 65535.0
    grey = np.clip(values.astype(np.float32) / np.float32(top), 0, 1)
    return np.repeat(grey[..., None], 3, axis=-1)


def _eight_bit(picture: Image.Image) -> np.ndarray:
    opaque, alpha = _apart(picture)
    rgb = np.asarray(_to_srgb(opaque), np.float32) / 255
    if alpha is None:
        return rgb
    cover = np.asarray(alpha, np.float32)[..., None] / 255
    return rgb * cover + (1 - cover)


def _apart(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour and alpha; a profile stays with the colour."""
    if picture.has_transparency_data:
        whole = picture.convert("RGBA")
        opaque, alpha = whole.convert("RGB"), whole.getchannel("A")
        opaque.info["icc_profile"] = picture.info.get("icc_profile")
        return opaque, alpha
    if picture.mode in ("P", "1"):
        return picture.convert("RGB"), None
    return picture, None


def _to_srgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        converted = None  # a profile for another kind of picture, or a broken one: as without
    return converted or picture.convert("RGB")

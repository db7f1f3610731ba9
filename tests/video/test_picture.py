from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tests.video.made_clips import gradient
from vidstyle.errors import EncodeError, InputError, OutputError, SettingsError
from vidstyle.video import load_picture, save_picture

RED = (200, 60, 40)


def assert_colour(path: Path, colour: tuple[float, ...], tolerance: float = 1.0) -> None:
    picture = load_picture(path)
    assert picture.dtype == np.float32
    assert picture.ndim == 3
    np.testing.assert_allclose(picture[4, 4] * 255, colour, atol=tolerance)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_plain_pictures(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    Image.new("RGB", (20, 10), RED).save(path)
    assert load_picture(path).shape == (10, 20, 3)
    assert_colour(path, RED, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = 255
    # How each orientation is stored, by EXIF's table.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(load_picture(path), upright / np.float32(255))


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bit_greys_are_scaled_not_clipped(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    assert cv2.imwrite(str(path), ramp)
    picture = load_picture(path)
    np.testing.assert_allclose(picture[..., 1], ramp / 65535, atol=1e-5)
    assert len(np.unique(picture)) > 4000
    assert len(np.unique(load_picture(path, 32))) > 500


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bit_colour(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    wide = np.full((16, 16, 3), RED[::-1], np.uint16) * 257
    assert cv2.imwrite(str(path), wide)
    assert_colour(path, RED)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (*RED, 51)).save(tmp_path / "a.png")
    assert_colour(tmp_path / "a.png", [0.2 * c + 0.8 * 255 for c in RED])
    Image.new("LA", (16, 16), (100, 0)).save(tmp_path / "b.png")
    assert_colour(tmp_path / "b.png", (255, 255, 255))
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, *RED])
    palette.save(tmp_path / "c.png", transparency=0)
    assert_colour(tmp_path / "c.png", RED)
    palette.save(tmp_path / "d.png", transparency=1)
    assert_colour(tmp_path / "d.png", (255, 255, 255))


def test_greys_palettes_and_bits(tmp_path: Path) -> None:
    Image.new("L", (16, 16), 100).save(tmp_path / "a.png")
    assert_colour(tmp_path / "a.png", (100, 100, 100))
    Image.new("1", (16, 16), 1).save(tmp_path / "b.png")
    assert_colour(tmp_path / "b.png", (255, 255, 255))


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    assert_colour(path, (255, 0, 0), 3)  # red, whichever way round the file stores it


def test_a_colour_profile_is_converted(tmp_path: Path) -> None:
    # A Lab picture in sRGB is known by the profile's own arithmetic: swap red and green by it.
    path = tmp_path / "a.png"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")
    assert swapped != srgb
    Image.new("RGB", (16, 16), RED).save(path, icc_profile=swapped)
    assert_colour(path, (RED[1], RED[0], RED[2]), 2)
    Image.new("RGB", (16, 16), RED).save(path, icc_profile=b"no profile at all")
    assert_colour(path, RED)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), (0, 0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert_colour(tmp_path / "a.gif", RED, 8)


def test_size_is_antialiased_and_never_enlarges(tmp_path: Path) -> None:
    checks = (np.indices((200, 400)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.png")
    small = load_picture(tmp_path / "a.png", 100)
    assert small.shape == (50, 100, 3)
    np.testing.assert_allclose(small[5:-5, 5:-5], 0.5, atol=0.02)
    assert load_picture(tmp_path / "a.png", 5000).shape == (200, 400, 3)


def test_what_is_not_a_picture_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray((gradient(200, 200) * 255).astype(np.uint8)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.jpg").write_text("not a picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    for name, rule in {
        "missing.png": "no such file",
        ".": "is a folder",
        "cut.jpg": "damaged",
        "empty.png": "not a picture",
        "notes.jpg": "not a picture",
        "dot.png": "1x1 pixels; must be at least 8",
    }.items():
        with pytest.raises(InputError, match=rule) as caught:
            load_picture(tmp_path / name)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="too many pixels"):
        load_picture(tmp_path / "large.png")


@pytest.mark.parametrize(
    ("ending", "tolerance"), [(".png", 0.51), (".tiff", 0.51), (".jpg", 4), (".webp", 8)]
)
def test_saved_pictures_come_back(tmp_path: Path, ending: str, tolerance: float) -> None:
    image = gradient(64, 48)
    path = tmp_path / f"a{ending}"
    save_picture(path, image, comment="from the pier")
    assert np.abs(load_picture(path) - image).max() * 255 < tolerance
    assert os.listdir(tmp_path) == [path.name]
    with Image.open(path) as opened:
        assert opened.getexif()[ExifTags.Base.ImageDescription] == "from the pier"
        assert (
            opened.format
            == {".png": "PNG", ".tiff": "TIFF", ".jpg": "JPEG", ".webp": "WEBP"}[ending]
        )


@pytest.mark.parametrize("ending", [".png", ".tiff", ".jpg", ".webp"])
def test_pictures_without_a_comment_hold_no_exif(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    save_picture(path, gradient(64, 48))
    with Image.open(path) as opened:
        assert "exif" not in opened.info


def test_saving_refuses_as_the_writer_does(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        save_picture(path, gradient())
    assert path.read_bytes() == b"precious"
    save_picture(path, gradient(), overwrite=True)
    assert load_picture(path).shape == (48, 64, 3)
    with pytest.raises(SettingsError, match=r"\.png, \.jpg"):
        save_picture(tmp_path / "a.xyz", gradient())
    with pytest.raises(OutputError, match="mkdir -p"):
        save_picture(tmp_path / "none" / "a.png", gradient())


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(EncodeError, match="No space left"):
        save_picture(tmp_path / "a.png", gradient())
    assert os.listdir(tmp_path) == []

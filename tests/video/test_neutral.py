"""A result that keeps the source keeps its samples, in every pixel format that files hold."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import TINY, Vidstyle
from tests.video.made_clips import real_clip
from vidstyle.frame import ColourTags
from vidstyle.settings import ClipSettings, OutputSettings
from vidstyle.video import ClipReader, ClipWriter
from vidstyle.video.convert import RgbToFrame
from vidstyle.video.planes import PixelLayout, make_frame, read_planes

SIZE = (64, 48)
QUICK = ("--steps", "1", *TINY, "--codec", "ffv1", "-y")


def noise(name: str, seed: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Planes that use every level, those beyond black and white as well."""
    rng, layout = np.random.default_rng(seed), PixelLayout(name)
    shapes = [plane.shape for plane in read_planes(av.VideoFrame(*size, layout.planar))]
    if layout.is_float:
        return [rng.uniform(0, 2, shape).astype(np.float32) for shape in shapes]
    return [rng.integers(0, int(layout.top) + 1, shape) for shape in shapes]


def write_planes(
    path: Path, name: str, tags: tuple[int, int, int, int], codec: str = "ffv1", count: int = 3
) -> None:
    layout = PixelLayout(name)
    with av.open(str(path), "w") as clip:
        video = clip.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = *SIZE, name
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        for index in range(count):
            frame = make_frame(noise(name, index), layout.planar)
            if layout.planar != name:
                frame = frame.reformat(format=name)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))


def planes(path: Path, count: int = 3, **options: str) -> list[list[np.ndarray]]:
    """The first frames' own samples."""
    with av.open(str(path), options=options) as clip:
        frames = list(islice(clip.decode(video=0), count))
    planar = PixelLayout(frames[0].format.name).planar
    return [
        [plane.copy() for plane in read_planes(frame.reformat(format=planar))] for frame in frames
    ]


def neutral(
    source: Path, target: Path, settings: OutputSettings | None = None, **part: object
) -> ClipWriter:
    """A render at strength 0, without its network."""
    with (
        ClipReader(source, ClipSettings(**part)) as reader,
        ClipWriter(target, reader.info, settings, kept=1.0) as writer,
    ):
        for frame in reader:
            writer.write(frame, frame)
    return writer


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (6, 6, 6, 2)])
@pytest.mark.parametrize(
    "name",
    [
        "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le",
        "yuv420p16le", "gray", "gray10le", "gray16le", "yuva420p", "yuva422p10le", "yuva444p16le",
    ],
)  # fmt: skip
def test_ycbcr_comes_back_to_the_bit(tmp_path: Path, name: str, tags: tuple) -> None:
    write_planes(tmp_path / "s.mkv", name, tags)
    asked = name if name.startswith("gray") else None  # else it gets room for a painting's colours
    neutral(tmp_path / "s.mkv", tmp_path / "a.mkv", OutputSettings(codec="ffv1", pix_fmt=asked))
    before, after = planes(tmp_path / "s.mkv"), planes(tmp_path / "a.mkv")
    assert len(after) == 3
    for one, other in zip(before, after, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with ClipReader(tmp_path / "s.mkv") as one, ClipReader(tmp_path / "a.mkv") as other:
        assert one.info.colour == other.info.colour
        assert one.info.pix_fmt == other.info.pix_fmt


@pytest.mark.parametrize("name", ["gbrp10le", "gbrp16le", "bgr0", "bgra", "gbrap12le"])
def test_rgb_comes_back_to_the_bit(tmp_path: Path, name: str) -> None:
    write_planes(tmp_path / "s.mkv", name, (0, 1, 13, 2))
    neutral(tmp_path / "s.mkv", tmp_path / "a.mkv", OutputSettings(codec="ffv1"))
    for one, other in zip(planes(tmp_path / "s.mkv"), planes(tmp_path / "a.mkv"), strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("ending", "codec", "name"),
    [
        ("png", "png", "rgb24"),
        ("png", "png", "rgba"),
        ("png", "png", "rgb48be"),
        ("png", "png", "gray"),
        ("tif", "tiff", "rgb48le"),
        ("tif", "tiff", "rgba64le"),
        ("exr", "exr", "gbrpf32le"),
        ("exr", "exr", "gbrapf32le"),
    ],
)
def test_image_sequences_come_back_to_the_bit(
    tmp_path: Path, ending: str, codec: str, name: str
) -> None:
    source, target = tmp_path / f"s.%04d.{ending}", tmp_path / f"a.%04d.{ending}"
    write_planes(source, name, (2, 2, 2, 2), codec)
    asked = name if name == "gray" else None
    neutral(source, target, OutputSettings(pix_fmt=asked), fps=Fraction(24))
    before, after = (planes(path, framerate="24") for path in (source, target))
    assert len(after) == 3
    for one, other in zip(before, after, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            # Floats are summed in float32.
            np.testing.assert_allclose(ours, theirs, atol=1e-6 if ending == "exr" else 0)


def test_h264_keeps_them_too(tmp_path: Path) -> None:
    for name, tags in (("yuv420p", (1, 1, 1, 1)), ("yuvj420p", (5, 1, 6, 2))):
        write_planes(tmp_path / "s.mp4", name, tags, "libx264")
        neutral(tmp_path / "s.mp4", tmp_path / "a.mp4", OutputSettings(crf=0, overwrite=True))
        for one, other in zip(planes(tmp_path / "s.mp4"), planes(tmp_path / "a.mp4"), strict=True):
            for ours, theirs in zip(one, other, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["cockatoo.mp4", "demo.mp4", "rotated_90.mov", "transparent.webm"])
def test_real_clips_come_back(tmp_path: Path, name: str) -> None:
    source, target = real_clip(name), tmp_path / "a.mkv"
    neutral(source, target, OutputSettings(codec="ffv1"), end=0.12)
    if name == "transparent.webm":
        return  # FFmpeg's own decoder drops its alpha
    turns = 3 if name == "rotated_90.mov" else 0  # mkv holds no rotation
    for one, other in zip(planes(source), planes(target), strict=True):
        one = [np.rot90(plane, turns) for plane in one]
        for ours, theirs in zip(one, other, strict=True):
            error = theirs.astype(float) - ours
            assert np.abs(error).max() <= 1
            assert abs(error.mean()) < 0.1


@pytest.mark.parametrize(
    ("name", "tags", "target", "codec"),
    [
        ("yuv422p", (6, 6, 6, 1), "a.mov", "dnxhd"),  # always read as BT.709
        ("yuv422p10le", (1, 1, 1, 2), "a.mov", "prores_ks"),  # never as full range
        ("gray", (1, 1, 1, 1), "a.%d.png", None),  # never as limited range
    ],
)
def test_samples_are_not_kept_where_they_mean_another_colour(
    tmp_path: Path, name: str, tags: tuple, target: str, codec: str | None
) -> None:
    source = tmp_path / "s.mkv"
    with av.open(str(source), "w") as clip:
        video = clip.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 256, 128, name
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        colour = np.linspace(0.2, 0.8, 256, dtype=np.float32)[None, :, None]
        image = (colour * np.float32([1, 0.7, 0.3])).repeat(128, 0)
        convert = RgbToFrame(ColourTags(*tags[:3], tags[3] == 2), PixelLayout(name))
        clip.mux([*video.encode(convert(image)), *video.encode(None)])
    asked = "gray" if name == "gray" else None
    neutral(source, tmp_path / target, OutputSettings(codec=codec, pix_fmt=asked))
    fps = Fraction(25) if "%" in target else None
    with ClipReader(source) as one, ClipReader(tmp_path / target, ClipSettings(fps=fps)) as other:
        (before, *_), (after, *_) = list(one), list(other)
    assert np.abs(before.image - after.image).mean() * 255 < 1


def test_strength_zero_is_neutral(tmp_path: Path, vidstyle: Vidstyle, painting: Path) -> None:
    write_planes(tmp_path / "s.mkv", "yuv420p", (1, 1, 1, 1))
    common = ("run", tmp_path / "s.mkv", "--style", painting, *QUICK)
    assert vidstyle(*common, "-o", "a.mkv", "--strength", 0).status == 0
    for one, other in zip(planes(tmp_path / "s.mkv"), planes(Path("a.mkv")), strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_strength_zero_keeps_levels_under_little_alpha(
    tmp_path: Path, vidstyle: Vidstyle, painting: Path
) -> None:
    source, target = tmp_path / "s.%04d.png", tmp_path / "a.%04d.png"
    write_planes(source, "rgba64be", (2, 2, 2, 2), "png")
    common = ("--style", painting, "--fps", 24, "--steps", "1", *TINY)
    assert vidstyle("run", source, *common, "-o", target, "--strength", 0).status == 0
    before, after = (planes(path, framerate="24") for path in (source, target))
    np.testing.assert_array_equal(np.array(before), np.array(after))


def test_strength_blends_linearly(tmp_path: Path, vidstyle: Vidstyle, painting: Path) -> None:
    write_planes(tmp_path / "s.mkv", "yuv444p", (1, 1, 1, 1), count=1)
    common = ("run", tmp_path / "s.mkv", "--style", painting, *QUICK)
    made = []
    for strength in (0, 0.25, 1):
        assert vidstyle(*common, "-o", "a.mkv", "--strength", strength).status == 0
        made.append(np.stack(planes(Path("a.mkv"))[0]).astype(float))
    source, quarter, painted = made
    assert np.abs(painted - source).mean() > 5
    np.testing.assert_allclose(quarter, source + 0.25 * (painted - source), atol=1)
    assert vidstyle(*common, "-o", "a.mkv", "--strength", 1.5).status == 2

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.made_clips import flat, gradient, info, make_clip
from vidstyle.errors import InputError, SettingsError
from vidstyle.frame import ColourTags, Frame
from vidstyle.settings import OutputSettings
from vidstyle.video import ClipReader, ClipWriter, probe
from vidstyle.video.colour import settle_tags
from vidstyle.video.convert import FrameToRgb, RgbToFrame
from vidstyle.video.planes import PixelLayout, make_frame, read_planes, writable_layout

BT709 = ColourTags(1, 1, 1, False)


def through(image: np.ndarray, tags: ColourTags, layout: str) -> np.ndarray:
    frame = RgbToFrame(tags, PixelLayout(layout))(image)
    return FrameToRgb(tags, image.shape[1], image.shape[0])(frame)[0]


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize(
    "layout", ["yuv420p", "nv12", "p010le", "yuv444p", "yuv422p10le", "yuv420p10le", "yuv444p12le"]
)
def test_a_round_trip_has_no_bias(layout: str, matrix: int, full_range: bool) -> None:
    tags = ColourTags(matrix, 1, 1, full_range)
    image = gradient(128, 64)
    error = (through(image, tags, layout) - image) * 255
    # Swscale's own matrix is off by half a level, FFmpeg's default chroma scaling by a whole one.
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.1
    # Luma off by half a level and blue by 1.86 times as much, twice filtered; and the last column
    # has no colour sample on its right.
    assert np.abs(error[:, :-1]).max() < 3
    assert np.abs(error[:, -1]).max() < 3.1


@pytest.mark.parametrize("layout", ["gbrp", "rgb24", "bgr0"])
def test_rgb_layouts_only_round(layout: str) -> None:
    image = gradient()
    tags = ColourTags(0, 1, 1, True)
    assert np.abs(through(image, tags, layout) - image).max() * 255 < 0.501


@pytest.mark.parametrize(
    ("matrix", "full_range", "levels"),
    [
        (1, False, (63, 102, 240)),  # BT.709: Y = 16 + 219 * 0.2126, Cr at its top
        (6, False, (81, 90, 240)),  # BT.601: the well-known 81, 90, 240
        (9, False, (74, 97, 240)),
        (6, True, (76, 85, 255)),
    ],
)
def test_red_has_the_levels_of_the_standard(matrix: int, full_range: bool, levels: tuple) -> None:
    tags = ColourTags(matrix, 1, 1, full_range)
    frame = RgbToFrame(tags, PixelLayout("yuv444p"))(flat((1, 0, 0)))
    assert tuple(frame.to_ndarray()[:, 10, 10]) == levels


@pytest.mark.parametrize("size", [(64, 48), (32, 24)])
@pytest.mark.parametrize("layout", ["yuvj420p", "yuvj444p", "gray"])
def test_full_range_white_and_black_stay(layout: str, size: tuple[int, int]) -> None:
    tags = ColourTags(6, 6, 6, True)
    for level in (0, 128, 255):
        frame = av.VideoFrame(64, 48, layout)
        for index, plane in enumerate(frame.planes):
            np.frombuffer(plane, np.uint8)[:] = 128 if index else level
        picture, _ = FrameToRgb(tags, *size)(frame)
        assert picture.shape == (size[1], size[0], 3)
        np.testing.assert_allclose(picture * 255, level, atol=0.1)


def test_alpha_lies_over_black() -> None:
    for size in ((64, 48), (32, 24)):
        frame = av.VideoFrame(64, 48, "yuva420p")
        for plane, level in zip(frame.planes, (235, 128, 128, 102), strict=True):
            np.frombuffer(plane, np.uint8)[:] = level
        picture, cover = FrameToRgb(BT709, *size)(frame)
        np.testing.assert_allclose(picture, 102 / 255, atol=0.003)
        assert cover is not None
        np.testing.assert_allclose(cover, 102 / 255, atol=1e-6)
    rgba = np.full((48, 64, 4), (200, 100, 50, 51), np.uint8)
    picture, _ = FrameToRgb(ColourTags(0, 1, 1, True), 64, 48)(
        av.VideoFrame.from_ndarray(rgba, "rgba")
    )
    np.testing.assert_allclose(picture[5, 5] * 255, (40, 20, 10), atol=0.01)


def test_ten_bits_are_not_cut_to_eight() -> None:
    ramp = np.linspace(0.2, 0.3, 64, dtype=np.float32)
    image = np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy()
    back = through(image, BT709, "yuv444p10le")
    assert len(np.unique(back[0, :, 1])) > 50  # eight bits have 26 levels there
    assert np.abs(back - image).max() * 1023 < 2.5


def test_shrinking_does_not_alias() -> None:
    checks = np.indices((256, 256)).sum(0)[..., None].repeat(3, 2) % 2
    frame = RgbToFrame(BT709, PixelLayout("yuv444p"))(checks.astype(np.float32))
    small = FrameToRgb(BT709, 100, 100)(frame)[0][8:-8, 8:-8]
    np.testing.assert_allclose(small, 0.5, atol=0.01)


@pytest.mark.parametrize(
    ("size", "given", "settled"),
    [
        ((640, 480), (2, 2, 2), (6, 6, 6)),
        ((720, 576), (2, 2, 2), (5, 5, 6)),
        ((1280, 544), (2, 2, 2), (1, 1, 1)),
        ((960, 720), (2, 2, 2), (1, 1, 1)),
        ((640, 480), (1, 2, 2), (1, 1, 1)),
        ((1920, 1080), (5, 2, 13), (5, 5, 13)),
        ((1920, 1080), (9, 9, 14), (9, 9, 14)),
    ],
)
def test_open_tags_follow_convention(size: tuple, given: tuple, settled: tuple) -> None:
    tags = settle_tags(ColourTags(*given, False), *size)
    assert (tags.matrix, tags.primaries, tags.transfer) == settled


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (8, "linear"), (9, "log")])
def test_hdr_is_refused(transfer: int, name: str) -> None:
    with pytest.raises(InputError, match=name):
        settle_tags(ColourTags(9, 9, transfer, False), 1920, 1080)


@pytest.mark.parametrize("name", ["nonsense", "yuvj420p", "monob", "rgb8", "ya8", "xyz12le"])
def test_layouts_that_cannot_be_filled_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"--pix-fmt {name}"):
        writable_layout(name)


@pytest.mark.parametrize(("place", "edge"), [(0, (31, 23.5)), (1, (31.5, 23.5)), (2, (31, 23))])
def test_colour_samples_lie_where_the_file_says(
    tmp_path: Path, place: int, edge: tuple[float, float]
) -> None:
    """x264's chromaloc: left, centre, top left. The edge in Cr is upright, that in Cb level."""
    path = tmp_path / "s.mp4"
    options = {"qp": "0", "x264-params": f"chromaloc={place}"}
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        blue, red = np.full((24, 32), 110, np.uint8), np.full((24, 32), 110, np.uint8)
        blue[12:], red[:, 16:] = 146, 146
        clip.mux(video.encode(make_frame([np.full((48, 64), 126, np.uint8), blue, red], "yuv420p")))
        clip.mux(video.encode(None))
    with ClipReader(path) as reader:
        (frame,) = reader
    place_name = ("left", "center", "topleft")[place]
    assert reader.info.chroma_place == place_name
    found = [_middle(frame.image[5, :, 0]), _middle(frame.image[:, 5, 2])]
    np.testing.assert_allclose(found, edge, atol=0.1)


def _middle(values: np.ndarray) -> float:
    """Where a row crosses the mean of its ends, in pixels."""
    half = (values[0] + values[-1]) / 2
    at = int(np.flatnonzero(values > half)[0])
    return float(at - 1 + (half - values[at - 1]) / (values[at] - values[at - 1]))


@pytest.mark.parametrize(
    ("codec", "layout", "name"),
    [
        ("libx264", "yuv420p", "a.mp4"),
        ("libx265", "yuv420p10le", "a.mp4"),
        ("libx265", "yuv422p10le", "a.mp4"),
        ("prores_ks", "yuv422p10le", "a.mov"),
        ("libvpx-vp9", "yuv420p", "a.webm"),
        ("libsvtav1", "yuv420p10le", "a.mp4"),
        ("ffv1", "yuv420p", "a.mkv"),
        ("mpeg1video", "yuv420p", "a.avi"),
    ],
)
def test_colour_edges_lie_where_the_luma_edges_do(
    tmp_path: Path, codec: str, layout: str, name: str
) -> None:
    """By samples as players take them: on the left, in MPEG-1 in the middle; and by our reader."""
    path, slope = tmp_path / name, np.clip((np.arange(128, dtype=np.float32) - 59.5) / 8, 0, 1)
    # Y', Cb and Cr all rise; over eight pixels, for a sample to be at any place of the slope.
    image = flat((0.4, 0.4, 0.4), 128, 96) + slope[:, None] * np.float32((0.35, 0.1, 0.2))
    settings = OutputSettings(codec=codec, pix_fmt=layout)
    given = info(width=128, height=96, pix_fmt=layout, colour=BT709)
    with ClipWriter(path, given, settings) as writer:
        writer.write(Frame(image, 0, 0, given.time_base))
    with av.open(str(path)) as clip:
        decoded = next(clip.decode(video=0))
        luma, _, red = read_planes(decoded)
    left = 0.5 if codec == "mpeg1video" else 0.0
    found = 2 * _middle(red[20].astype(float)) + left
    assert found == pytest.approx(_middle(luma[20].astype(float)), abs=0.1)
    with ClipReader(path) as reader:
        (frame,) = reader
    assert reader.info.chroma_place == ("center" if left else "left")
    assert _middle(frame.image[20, :, 0]) == pytest.approx(63.5, abs=0.15)


@pytest.mark.parametrize(
    ("name", "codec", "layout", "place"),
    [
        ("a.mov", "mjpeg", "yuvj420p", "center"),
        ("a.y4m", "rawvideo", "yuv420p", "center"),  # its header says 420jpeg
        ("a.nut", "rawvideo", "yuv420p", "left"),
        ("a.mkv", "mpeg2video", "yuv420p", "left"),
        ("a.mp4", "libx264", "yuvj420p", "left"),
        ("a.mkv", "ffv1", "yuv444p", None),
        ("a.mkv", "ffv1", "yuv411p", None),
    ],
)
def test_where_a_source_has_its_colour_samples(
    tmp_path: Path, name: str, codec: str, layout: str, place: str | None
) -> None:
    path = make_clip(tmp_path / name, 2, codec=codec, pix_fmt=layout)
    assert probe(path).chroma_place == place


@pytest.mark.parametrize("place", ["left", "center", "topleft"])
@pytest.mark.parametrize(("kept", "codec"), [(0.5, "libx264"), (1.0, "libx264"), (1.0, "libx265")])
def test_a_kept_share_has_its_colours_where_players_look(
    tmp_path: Path, place: str, kept: float, codec: str
) -> None:
    """What is all source has its own samples, and says where they lie; a blend has them left."""
    levels = np.full((24, 32), 110, np.uint8)
    levels[:, 16:] = 146
    planes = [np.full((48, 64), 126, np.uint8), levels, levels]
    with av.open(str(tmp_path / "s.mp4"), "w") as clip:
        options = {"qp": "0", "chroma_sample_location": place}
        video = clip.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        clip.mux([*video.encode(make_frame(planes, "yuv420p")), *video.encode(None)])
    settings = OutputSettings(codec=codec, crf=0)
    with (
        ClipReader(tmp_path / "s.mp4") as reader,
        ClipWriter(tmp_path / "a.mp4", reader.info, settings, kept=kept) as writer,
    ):
        for before in reader:
            writer.write(before, before)
    with ClipReader(tmp_path / "a.mp4") as reader:
        (after,) = reader
    assert reader.info.chroma_place == (place if kept == 1 else "left")
    edges = [_middle(frame.image[20, :, 0]) for frame in (before, after)]
    assert edges[1] == pytest.approx(edges[0], abs=0.1)

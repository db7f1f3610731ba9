"""Each way in through each way out, the result opened again and compared property by property."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from tests.video.made_clips import frames, gradient, info
from vidstyle.disk import sealed
from vidstyle.errors import EncodeError, InputError, OutputError, SettingsError
from vidstyle.frame import ColourTags, Frame
from vidstyle.settings import ClipSettings, OutputSettings
from vidstyle.video import ClipReader, ClipWriter, check_not_source, check_output, probe
from vidstyle.video.convert import RgbToFrame
from vidstyle.video.encoders import default_ending
from vidstyle.video.planes import PixelLayout
from vidstyle.video.target import PartialSequence, take_back

SIZE = (256, 128)  # DNxHR takes nothing smaller


class Source(NamedTuple):
    name: str
    codec: str
    pix_fmt: str
    tags: ColourTags
    rate: Fraction


SOURCES = [
    Source("a.mp4", "libx264", "yuv420p", ColourTags(1, 1, 1, False), Fraction(30000, 1001)),
    Source("a.mkv", "ffv1", "yuv420p10le", ColourTags(9, 9, 14, False), Fraction(24)),
    Source("b.mkv", "ffv1", "yuv422p", ColourTags(6, 6, 6, True), Fraction(25)),
    Source("a.mov", "prores_ks", "yuva444p10le", ColourTags(1, 1, 1, False), Fraction(25)),
    Source("c.mkv", "ffv1", "bgra", ColourTags(0, 1, 13, True), Fraction(50)),
    Source("a.avi", "mjpeg", "yuvj420p", ColourTags(5, 5, 6, True), Fraction(12)),
    Source("a.webm", "libvpx-vp9", "yuv444p", ColourTags(1, 1, 1, False), Fraction(25)),
    Source("a.ts", "libx265", "yuv422p10le", ColourTags(1, 1, 1, False), Fraction(25)),
]


class Result(NamedTuple):
    """What an 8-bit source becomes, and a deeper one; and whether alpha has room."""

    name: str
    encoder: str | None
    codec: str
    eight: str
    deep: str
    alpha: str | None = None
    tick: float = 0.0


RESULTS = [
    Result("o.mp4", None, "h264", "yuv420p", "yuv420p10le"),
    Result("o.mp4", "libx265", "hevc", "yuv420p", "yuv420p10le"),
    Result("o.mp4", "libsvtav1", "av1", "yuv420p", "yuv420p10le"),
    Result("o.webm", None, "vp9", "yuv420p", "yuv420p", "yuva420p", 0.001),
    Result("o.mov", "prores_ks", "prores", "yuv422p10le", "yuv422p10le", "yuva444p12le"),
    Result("o.mov", "dnxhd", "dnxhd", "yuv422p", "yuv422p10le"),
    Result("o.mkv", "ffv1", "ffv1", "", "", "", 0.001),
    Result("o.gif", None, "gif", "bgra", "bgra", "bgra", 0.02),
    Result("o.%04d.png", None, "png", "rgb24", "rgb48be", "rgba", 0.001),
    Result("o.%04d.tif", None, "tiff", "rgb24", "rgb48le", "rgba", 0.001),
    Result("o.%04d.exr", None, "exr", "gbrpf32le", "gbrpf32le", "gbrapf32le", 0.001),
]


def cover() -> np.ndarray:
    """(H, W, 1): opaque on the left, clear on the right."""
    return np.linspace(1, 0, SIZE[0], dtype=np.float32)[None, :, None].repeat(SIZE[1], 0)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {source.name: make(folder / source.name, source) for source in SOURCES}


def make(path: Path, source: Source, count: int = 3) -> Path:
    layout = PixelLayout(source.pix_fmt.replace("yuvj", "yuv"))
    convert = RgbToFrame(source.tags, layout)
    with av.open(str(path), "w") as clip:
        video = clip.add_stream(source.codec, rate=source.rate)
        video.width, video.height, video.pix_fmt = *SIZE, source.pix_fmt
        context, tags = video.codec_context, source.tags
        context.time_base, context.bit_rate = 1 / source.rate, 4_000_000
        context.colorspace, context.color_primaries = tags.matrix, tags.primaries
        context.color_trc, context.color_range = tags.transfer, 1 + tags.full_range
        for index in range(count):
            image, alpha = gradient(*SIZE, seed=index), cover() if layout.has_alpha else None
            frame = convert(image if alpha is None else image * alpha, alpha)
            frame.pts, frame.time_base = index, 1 / source.rate
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    return path


def through(source: Path, target: Path, encoder: str | None) -> tuple[list[Frame], ClipWriter]:
    settings = OutputSettings(codec=encoder)
    with (
        ClipReader(source) as reader,
        ClipWriter(target, reader.info, settings, ClipSettings()) as writer,
    ):
        frames = list(reader)
        for frame in frames:
            writer.write(frame)
    return frames, writer


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: f"{r.encoder or ''}{r.name}")
@pytest.mark.parametrize("source", SOURCES, ids=lambda s: f"{s.codec}-{s.pix_fmt}")
def test_every_way_through(
    sources: dict[str, Path], source: Source, result: Result, tmp_path: Path
) -> None:
    target = tmp_path / result.name
    before, writer = through(sources[source.name], target, result.encoder)
    with ClipReader(target, ClipSettings(fps=_rate(source, result))) as reader:
        after, info = list(reader), reader.info
    given = writer.info
    assert (info.codec, len(after)) == (result.codec, 3)
    assert (info.width, info.height, info.sample_aspect) == (*SIZE, 1)
    for one, other in zip(before, after, strict=True):
        shift = after[0].pts * after[0].time_base - before[0].pts * before[0].time_base
        drift = other.pts * other.time_base - one.pts * one.time_base - shift
        assert abs(drift) <= result.tick
    lost = given.has_alpha and not info.has_alpha
    assert any("transparency" in warning for warning in writer.warnings) == lost
    nameless = result.codec in ("gif", "tiff", "exr") and source.tags.primaries == 9
    assert any("colour primaries 9" in warning for warning in writer.warnings) == nameless
    _check_layout(source, result, info.pix_fmt, given.has_alpha)
    _check_tags(source, result, info.colour)
    _check_pictures(before, after, source, result)


def _rate(source: Source, result: Result) -> Fraction | None:
    return source.rate if "%" in result.name else None


def _check_layout(source: Source, result: Result, pix_fmt: str, alpha: bool) -> None:
    depth = PixelLayout(source.pix_fmt).depth
    if result.codec == "ffv1":
        same = source.pix_fmt.replace("yuvj", "yuv").replace("yuva444p10", "yuva444p12")
        assert pix_fmt == same
    elif alpha and result.alpha is not None:
        assert PixelLayout(pix_fmt).has_alpha
        assert pix_fmt == result.alpha or depth > 8
    else:
        expected = result.deep if depth > 8 else result.eight
        assert pix_fmt.replace("yuvj", "yuv").replace("12le", "10le") == expected


def _check_tags(source: Source, result: Result, colour: ColourTags) -> None:
    if result.codec in ("gif", "tiff", "exr"):
        assert colour == ColourTags(0, 1, 13, True)  # no place for tags: read as sRGB
        return
    given = source.tags
    expected = (given.primaries, given.transfer)
    if given.matrix == 0 and result.codec not in ("png", "ffv1"):
        expected = (1, 1)
        assert colour.matrix == 1
    elif result.codec == "png":
        expected = (given.primaries, 13)
        assert colour.matrix == 0
    elif result.codec == "dnxhd":
        assert colour.matrix == 1
    else:
        assert colour.matrix == given.matrix
    assert (colour.primaries, colour.transfer) == expected
    if colour.matrix != 0:
        known = result.codec not in ("prores", "dnxhd") and given.matrix != 0
        assert colour.full_range == (given.full_range and known)


def _check_pictures(before: list[Frame], after: list[Frame], source: Source, result: Result):
    part = slice(None)
    if PixelLayout(source.pix_fmt).has_alpha and result.codec == "gif":
        part = slice(0, 8)  # there a pixel is opaque or clear, nothing between
    for one, other in zip(before, after, strict=True):
        error = (other.image - one.image)[:, part] * 255
        lossy = result.codec in ("h264", "hevc", "av1", "vp9", "gif")
        assert abs(error.mean()) < (1.0 if lossy else 0.35)
        assert np.abs(error).mean() < (3 if lossy else 0.65)
        if one.alpha is not None and other.alpha is not None and result.codec != "gif":
            assert np.abs(one.alpha - other.alpha).max() < 0.02


@pytest.mark.parametrize(
    ("source", "name", "codec", "bits"),
    [
        ("yuv420p12le", "a.mov", "prores_ks", 10),
        ("yuv420p12le", "a.mp4", "libx264", 10),
        ("yuv420p10le", "a.webm", "libvpx-vp9", 8),
        ("yuv420p10le", "a.mov", "prores_ks", None),
        ("yuv420p12le", "a.mp4", "libx265", None),
        ("gbrpf32le", "a.mkv", "ffv1", None),
    ],
)
def test_fewer_bits_are_said(
    tmp_path: Path, source: str, name: str, codec: str, bits: int | None
) -> None:
    given = info(pix_fmt=source, bit_depth=PixelLayout(source).depth)
    with ClipWriter(tmp_path / name, given, OutputSettings(codec=codec)) as writer:
        writer.write(*frames([gradient()], [0], given.time_base))
    said = [warning.split(";")[0] for warning in writer.warnings if "a sample become" in warning]
    lost = f"{given.bit_depth} bits a sample become {bits}, dithered: {codec} takes no more"
    assert said == ([] if bits is None else [lost])


def test_levels_are_dithered_where_bits_are_lost(tmp_path: Path) -> None:
    """A ramp of one 8-bit level over 256 pixels: rounding makes two flat halves of it."""
    source = tmp_path / "s.mkv"
    ramp = np.linspace(400.0, 404.0, SIZE[0])[None, :].repeat(SIZE[1], 0)
    grey = np.full((SIZE[1], SIZE[0], 3), 0.5, np.float32)
    frame = RgbToFrame(SOURCES[1].tags, PixelLayout("yuv420p10le"))(grey)
    np.frombuffer(frame.planes[0], np.uint16).reshape(SIZE[1], -1)[:, : SIZE[0]] = np.rint(ramp)
    with av.open(str(source), "w") as clip:
        video = clip.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p10le"
        frame.pts = 0
        clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    settings = OutputSettings(codec="ffv1", pix_fmt="yuv420p")
    with ClipReader(source) as reader, ClipWriter(tmp_path / "a.mkv", reader.info, settings) as out:
        for picture in reader:
            out.write(picture)
    with av.open(str(tmp_path / "a.mkv")) as clip:
        luma = next(clip.decode(video=0)).to_ndarray()[: SIZE[1]].astype(float)
    smooth = luma.reshape(SIZE[1] // 8, 8, SIZE[0] // 8, 8).mean(axis=(1, 3))
    expected = (np.rint(ramp) / 4).reshape(SIZE[1] // 8, 8, SIZE[0] // 8, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(smooth, expected, atol=0.06)
    assert set(np.unique(luma)) == {100, 101}


def sequence(folder: Path, numbers: list[int], name: str = "shot.%04d.png") -> Path:
    from PIL import Image

    for number in numbers:
        grey = Image.new("RGB", (64, 48), (number % 200,) * 3)
        grey.save(folder / (name % number))
    return folder / name


def test_a_sequence_begins_at_any_number(tmp_path: Path) -> None:
    path = sequence(tmp_path, list(range(997, 1005)))
    sequence(tmp_path, [12], "shot.%d.png")  # not 0012: another sequence
    rate = Fraction(24000, 1001)
    with ClipReader(path, ClipSettings(fps=rate)) as reader:
        frames, info = list(reader), reader.info
    assert (info.frames, info.rate, info.first_number) == (8, rate, 997)
    assert info.seconds == pytest.approx(8 / rate)
    for index, frame in enumerate(frames):
        assert frame.pts * frame.time_base == index / rate
        assert frame.image[0, 0, 0] * 255 == pytest.approx((997 + index) % 200)


def test_parts_of_a_sequence_keep_their_numbers(tmp_path: Path) -> None:
    path, target = sequence(tmp_path, list(range(1001, 1009))), tmp_path / "o.%05d.png"
    part = ClipSettings(0.25, 0.75, fps=Fraction(8))
    (tmp_path / "shot.1004.png").write_bytes(b"broken")
    with ClipReader(path, part) as reader, ClipWriter(target, reader.info, None, part) as writer:
        for frame in reader:
            writer.write(frame)
    assert reader.corrupt_packets == 1
    names = ["o.01003.png", "o.01005.png", "o.01006.png"]
    assert sorted(entry.name for entry in tmp_path.glob("o.*")) == names
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("name", ["100% done", "50%d", "take 12:30"])
def test_a_sequence_lies_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    sequence(tmp_path / name, [3, 4])
    monkeypatch.chdir(tmp_path)
    _copy_sequence(Path(name, "shot.%04d.png"), Path(name, "o.%d.png"), OutputSettings())
    monkeypatch.chdir(tmp_path / name)
    _copy_sequence(Path("o.%d.png"), Path("a:b.%d.png"), OutputSettings())
    made = sorted(entry.name for entry in Path().glob("*.?.png"))
    assert made == ["a:b.3.png", "a:b.4.png", "o.3.png", "o.4.png"]


def test_a_sequence_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    path = sequence(tmp_path, [1, 2, 5, 6, 9])
    rules = {
        (path, Fraction(24)): r"4 of the numbers 1 to 9 missing \(3, 4, 7, 8\)",
        (tmp_path / "none.%04d.png", Fraction(24)): "no such files",
        (tmp_path / "away" / "a.%04d.png", Fraction(24)): "no such files",
        (tmp_path / "shot.0001.png", None): r"shot\.%04d\.png",
        (tmp_path / "shot.0001.png", Fraction(24)): "leave --fps out",
    }
    for (source, fps), rule in rules.items():
        with pytest.raises(InputError, match=rule):
            probe(source, ClipSettings(fps=fps))
    sequence(tmp_path, [3, 4, 7, 8])
    with pytest.raises(InputError, match="such as --fps 24"):
        probe(path)


def test_an_empty_picture_does_not_end_a_sequence(tmp_path: Path) -> None:
    """For FFmpeg it does, without a word."""
    path = sequence(tmp_path, [1, 2, 3, 4])
    (tmp_path / "shot.0003.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"shot\.0003\.png: is empty"):
        probe(path, ClipSettings(fps=Fraction(24)))


@pytest.mark.parametrize(("mode", "ending"), [("RGB", "jpg"), ("L", "png"), ("L", "tif")])
def test_pictures_of_a_sequence_are_srgb(tmp_path: Path, mode: str, ending: str) -> None:
    """Not of the primaries that old video of the same matrix has."""
    from PIL import Image

    for number in (1, 2):
        Image.new(mode, (64, 48), 90 if mode == "L" else (200, 90, 30)).save(
            tmp_path / f"s.{number}.{ending}"
        )
    colour = probe(tmp_path / f"s.%d.{ending}", ClipSettings(fps=Fraction(24))).colour
    assert colour.primaries == 1
    assert colour.transfer in (13, 4)  # TIFF's decoder says gamma 2.2


def test_a_sequence_is_not_overwritten_unasked(tmp_path: Path) -> None:
    source = sequence(tmp_path, [1, 2])
    target = sequence(tmp_path, [2, 3], "o.%04d.png")
    before = (tmp_path / "o.0002.png").read_bytes()
    with pytest.raises(OutputError, match=r"o\.0002\.png: exists"):
        _copy_sequence(source, target, OutputSettings())
    with pytest.raises(OutputError, match="the source itself"):
        check_not_source(source, [source])
    with pytest.raises(SettingsError, match=r"a\.%04d\.png"):
        _copy_sequence(source, tmp_path / "a.png", OutputSettings())
    with (
        pytest.raises(RuntimeError),
        ClipReader(source, ClipSettings(fps=Fraction(24))) as reader,
        ClipWriter(target, reader.info, OutputSettings(overwrite=True)) as writer,
    ):
        writer.write(next(iter(reader)))
        raise RuntimeError
    assert (tmp_path / "o.0002.png").read_bytes() == before
    _copy_sequence(source, target, OutputSettings(overwrite=True))
    assert (tmp_path / "o.0002.png").read_bytes() != before
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["o.0001.png", "o.0002.png", "o.0003.png", "shot.0001.png", "shot.0002.png"]


def test_a_sequence_stopped_while_it_gets_its_names_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, replace = sequence(tmp_path, [1, 2, 3]), os.replace

    def stopped(made: Path, final: Path) -> None:
        if final.name == "o.0003.png":
            raise KeyboardInterrupt
        replace(made, final)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        _copy_sequence(source, tmp_path / "o.%04d.png", OutputSettings())
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="is killed in a fork")
def test_a_sequence_killed_while_it_gets_its_names_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is another's, or was changed meanwhile, stays, and so does what a living run names."""
    target, replace = tmp_path / "o.%d.png", os.replace

    def killed(made: Path, final: Path) -> None:
        if final.name == "o.4.png":
            os._exit(0 if take_back(target) == [] else 1)
        replace(made, final)

    monkeypatch.setattr(os, "replace", killed)
    if (child := os.fork()) == 0:
        partial = PartialSequence(target, overwrite=False)
        for number in range(1, 6):
            (partial.hidden / f"o.{number}.png").write_text(f"made {number}")
        partial.commit()
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(file.name for file in tmp_path.glob("o.*")) == ["o.1.png", "o.2.png", "o.3.png"]
    (tmp_path / "o.2.png").write_text("retouched")
    (tmp_path / "o.5.png").write_text("another's")
    assert take_back(tmp_path / "o.%d.tif") == []
    (said,) = take_back(target)
    (hidden,) = tmp_path.glob(".o.partial-*")
    assert said.endswith(f"the 2 that had theirs are back in {hidden}")
    kept = {file.name: file.read_text() for file in tmp_path.glob("o.*")}
    assert kept == {"o.2.png": "retouched", "o.5.png": "another's"}
    made = {file.name: file.read_text() for file in hidden.glob("o.*")}
    assert made == {f"o.{number}.png": f"made {number}" for number in (1, 3, 4, 5)}
    assert take_back(target) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "another size", "folder", "no list"])
def test_a_damaged_note_of_names_stops_nothing(tmp_path: Path, damage: str) -> None:
    """Nobody can tell then whose the named files are: they stay, and that is said."""
    partial = PartialSequence(tmp_path / "o.%d.png", overwrite=False)
    note = partial.hidden / "names.json"
    whole = json.dumps(sealed({"target": "o.%d.png", "files": {"o.1.png": [4, 5]}}))
    damages = {"cut": whole[:-9], "empty": "", "another size": whole.replace("4", "0")}
    damages["no list"] = "3"
    if damage == "folder":
        note.mkdir()
    else:
        note.write_text(damages[damage])
    (tmp_path / "o.1.png").write_text("mine")
    (said,) = take_back(partial.target)
    assert said.startswith(f"{partial.hidden}: left as it is, and what has got its name of it (")
    assert (tmp_path / "o.1.png").read_text() == "mine"


@pytest.mark.parametrize("name", ["o.mkv", "o.%d.png"])
def test_what_a_kill_would_leave_is_told_before_it_is_there(tmp_path: Path, name: str) -> None:
    source, told = sequence(tmp_path, [1, 2, 3]), list[Path]()

    def note(hidden: Path) -> None:
        assert not list(tmp_path.glob(".o*"))
        told.append(hidden)

    with ClipReader(source, ClipSettings(fps=24)) as reader:
        writer = ClipWriter(tmp_path / name, reader.info, announce=note)
        assert told == [writer._partial.hidden]
        with suppress(EncodeError), writer:
            pass


def test_a_complete_sequence_is_not_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the last name."""
    partial = PartialSequence(tmp_path / "o.%d.png", overwrite=False)
    (partial.hidden / "o.1.png").touch()
    with monkeypatch.context() as killed:
        killed.setattr(partial, "discard", lambda: None)
        partial.commit()
    assert take_back(partial.target) == []
    assert [path.name for path in tmp_path.iterdir()] == ["o.1.png"]


def _copy_sequence(source: Path, target: Path, settings: OutputSettings) -> None:
    with (
        ClipReader(source, ClipSettings(fps=Fraction(24))) as reader,
        ClipWriter(target, reader.info, settings) as writer,
    ):
        for frame in reader:
            writer.write(frame)


@pytest.mark.parametrize(
    ("source", "codec", "chosen"),
    [
        ("yuvj422p", "ffv1", "yuv422p"),
        ("yuvj444p", "ffv1", "yuv444p"),
        ("yuv411p", "ffv1", "yuv422p"),
        ("yuv440p", "ffv1", "yuv444p"),
        ("rgb24", "ffv1", "bgr0"),
        ("gray", "ffv1", "yuv444p"),  # a painting of it has colours
        ("gray16be", "png", "rgb48be"),
        ("gbrpf32le", "ffv1", "gbrp16le"),  # float is not in version 3 of the format
        ("gbrapf16le", "ffv1", "gbrap16le"),
        ("gbrapf16le", "exr", "gbrapf32le"),
        ("yuv422p", "libx264", "yuv420p"),
        ("yuv422p10le", "prores_ks", "yuv422p10le"),
        ("yuv444p", "libx265", "yuv420p"),
    ],
)
def test_what_a_lossless_codec_can_keep_it_keeps(
    tmp_path: Path, source: str, codec: str, chosen: str
) -> None:
    layout = PixelLayout(source)
    given = info(pix_fmt=source, bit_depth=layout.depth, has_alpha=layout.has_alpha)
    name = {"exr": "a.%d.exr", "png": "a.%d.png", "prores_ks": "a.mov"}.get(codec, "a.mkv")
    plan = check_output(tmp_path / name, OutputSettings(codec=codec), given)
    assert plan.layout.name == chosen


def test_what_a_container_lists_but_does_not_take_is_refused_before_any_work(
    tmp_path: Path,
) -> None:
    for codec in ("libvpx-vp9", "libsvtav1"):
        with pytest.raises(SettingsError, match=r"a \.mov file cannot hold it"):
            check_output(tmp_path / "a.mov", OutputSettings(codec=codec), info())
        assert default_ending(tmp_path / "a.mov", codec) == ".mp4"


@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_transparency_that_only_matroska_holds_lies_over_black_elsewhere(
    sources: dict[str, Path], tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"a.{ending}"
    before, writer = through(sources["c.mkv"], target, "libvpx-vp9")
    assert any("transparency is lost" in warning for warning in writer.warnings)
    with ClipReader(target) as reader:
        after = list(reader)
    assert after[0].alpha is None
    assert abs((after[0].image - before[0].image).mean()) * 255 < 1
    settings = OutputSettings(codec="libvpx-vp9", pix_fmt="yuva420p")
    with pytest.raises(SettingsError, match="does not carry the transparency"):
        check_output(tmp_path / f"b.{ending}", settings, info())


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [
        ("a.mkv", "o.avi", "ffv1"),  # nothing in it says what the levels mean
        ("b.mkv", "o.avi", "ffv1"),
        ("a.mp4", "o.avi", "ffv1"),
        ("a.mp4", "o.webm", "libvpx"),  # VP8 is BT.601 by definition
    ],
)
def test_colours_stay_where_files_do_not_name_their_matrix(
    sources: dict[str, Path], tmp_path: Path, source: str, target: str, codec: str
) -> None:
    before, _ = through(sources[source], tmp_path / target, codec)
    with ClipReader(tmp_path / target) as reader:
        after = list(reader)
    for one, other in zip(before, after, strict=True):
        error = (other.image - one.image) * 255
        assert abs(error.mean(axis=(0, 1))).max() < 2  # VP8 is lossy
        assert np.abs(error).mean() < 3


def test_a_sequence_may_mix_kinds_of_pictures(tmp_path: Path) -> None:
    from PIL import Image

    ramp = Image.linear_gradient("L").resize((64, 48))
    kinds = ("RGB", "L", "P", "RGBA", "1", "LA", "RGB")
    for first in (1, 2):
        for number, kind in enumerate(kinds, 1):
            ramp.convert(kind).save(tmp_path / f"s{first}.{number}.png")
    (tmp_path / "s2.1.png").unlink()  # and it may begin with grey
    for first in (1, 2):
        path = tmp_path / f"s{first}.%d.png"
        _copy_sequence(path, tmp_path / f"o{first}.%d.png", OutputSettings())
        with ClipReader(tmp_path / f"o{first}.%d.png", ClipSettings(fps=Fraction(24))) as reader:
            after = list(reader)
        for kind, picture in zip(kinds[first - 1 :], after, strict=True):
            expected = np.asarray(ramp.convert(kind).convert("L"), np.float32)
            assert np.abs(picture.image[..., 1] * 255 - expected).max() < 1.1, (first, kind)


@pytest.mark.parametrize("name", ["ya8", "ya16be"])
def test_grey_with_alpha_keeps_its_levels(tmp_path: Path, name: str) -> None:
    top = 255 if name == "ya8" else 65535
    ramp = np.linspace(0, top, 63).astype("u1" if top == 255 else ">u2")
    with av.open(str(tmp_path / "s.%d.png"), "w", format="image2") as clip:
        video = clip.add_stream("png", rate=24)
        video.width, video.height, video.pix_fmt = 63, 48, name
        frame = av.VideoFrame(63, 48, name)
        rows = np.frombuffer(frame.planes[0], ramp.dtype).reshape(48, -1, 2)
        rows[:, :63, 0], rows[:, :63, 1] = ramp, top
        rows[:24, :63, 1] = 0
        clip.mux([*video.encode(frame), *video.encode(None)])
    with ClipReader(tmp_path / "s.%d.png", ClipSettings(fps=Fraction(24))) as reader:
        (picture,) = reader
    np.testing.assert_allclose(picture.image[40, :, 1] * top, ramp, atol=0.01)
    assert picture.alpha[:24].max() == picture.image[:24].max() == 0
    assert picture.alpha[24:].min() == 1


def test_grey_pictures_use_all_levels(tmp_path: Path) -> None:
    """TIFF does not say so; limited to 16-235 black and white would come out grey."""
    from PIL import Image

    ramp = np.linspace(0, 255, 64, dtype=np.uint8)[None, :].repeat(48, 0)
    Image.fromarray(ramp).save(tmp_path / "s.1.tif")
    part = ClipSettings(fps=Fraction(24))
    with ClipReader(tmp_path / "s.%d.tif", part) as reader:
        (picture,) = reader
        np.testing.assert_allclose(picture.image[0, :, 1] * 255, ramp[0], atol=1e-3)
        for ending in ("png", "tif"):
            target, grey = tmp_path / f"o.%d.{ending}", OutputSettings(pix_fmt="gray")
            with ClipWriter(target, reader.info, grey, part) as writer:
                writer.write(picture)
            np.testing.assert_array_equal(Image.open(tmp_path / f"o.1.{ending}"), ramp)


def test_grey_of_an_archive_uses_all_levels(tmp_path: Path) -> None:
    """FFV1's decoder says nothing of the range either, and FFmpeg fills it."""
    with av.open(str(tmp_path / "s.mkv"), "w") as clip:
        video = clip.add_stream("ffv1", rate=24)
        video.width, video.height, video.pix_fmt = 64, 48, "gray"
        ramp = np.linspace(0, 255, 64, dtype=np.uint8)[None, :].repeat(48, 0)
        clip.mux(video.encode(av.VideoFrame.from_ndarray(ramp, "gray")))
        clip.mux(video.encode(None))
    with ClipReader(tmp_path / "s.mkv") as reader:
        (picture,) = reader
    np.testing.assert_allclose(picture.image[0, :, 1] * 255, ramp[0], atol=1e-3)


def test_half_precision_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s.%d.exr"
    with av.open(str(path), "w", format="image2") as clip:
        video = clip.add_stream("exr", rate=24, options={"format": "half"})
        video.width, video.height, video.pix_fmt = 64, 48, "gbrapf32le"
        frame = av.VideoFrame(64, 48, "gbrapf32le")
        for plane, light in zip(frame.planes, (0.214041, 4.0, 0.0, 0.5), strict=True):
            np.frombuffer(plane, np.float32)[:] = light  # green, blue, red, alpha
        clip.mux([*video.encode(frame), *video.encode(None)])
    part = ClipSettings(fps=Fraction(24))
    with ClipReader(path, part) as reader:
        (picture,) = reader
        assert (reader.info.pix_fmt, reader.info.bit_depth) == ("gbrapf16le", 32)
        np.testing.assert_allclose(picture.image[10, 10], (0, 0.5, 1), atol=1e-3)
        np.testing.assert_allclose(picture.alpha[10, 10], 0.5, atol=1e-3)
        with ClipWriter(tmp_path / "o.%d.exr", reader.info, None, part, kept=1.0) as writer:
            writer.write(picture, picture)
    with av.open(str(tmp_path / "o.1.exr")) as clip:
        light = [np.frombuffer(plane, np.float32)[0] for plane in next(clip.decode()).planes]
    np.testing.assert_allclose(light, (0.214041, 4.0, 0.0, 0.5), rtol=1e-3)


def test_linear_light_is_worked_on_in_srgb(tmp_path: Path) -> None:
    path = tmp_path / "s.%04d.exr"
    with av.open(str(path), "w", format="image2", container_options={"frame_pts": "1"}) as clip:
        video = clip.add_stream("exr", rate=24)
        video.width, video.height, video.pix_fmt = 64, 48, "gbrpf32le"
        frame = av.VideoFrame(64, 48, "gbrpf32le")
        for plane, light in zip(frame.planes, (0.214041, 4.0, np.nan), strict=True):
            np.frombuffer(plane, np.float32)[:] = light  # green, blue, red
        frame.pts = 7
        clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    for size in (None, 32):
        with ClipReader(path, ClipSettings(size=size, fps=Fraction(24))) as reader:
            (picture,) = reader
        assert reader.info.colour == ColourTags(0, 1, 13, True)
        np.testing.assert_allclose(picture.image[10, 10], (0, 0.5, 1), atol=1e-4)

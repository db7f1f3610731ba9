"""What goes along beside pictures and sound: subtitles, chapters, timecode, tags."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet
from PIL import Image

from tests.video.made_clips import make_clip, real_clip
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, ClipWriter
from vidstyle.video.labels import Labels, Timecode, stream_tags

LINES = [(0.2, 0.4, "Nature"), (0.8, 0.6, "screams"), (1.6, 0.2, "– again")]
HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, \
Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
""".replace(b"\\\n", b"")
CHAPTERS = [("Bridge", 0, 1000), ("Sky", 1000, 2000)]


def labelled(path: Path, subtitles: str | None, timecode: str | None = "01:00:00:10") -> Path:
    """Two seconds of 25 frames each with three lines, two chapters, timecode and a title."""
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        clip.metadata.update({"title": "The Scream", "comment": "from the pier"})
        if timecode is not None:
            video.metadata["timecode"] = timecode
        clip.set_chapters(
            [
                {
                    "id": number,
                    "start": start,
                    "end": end,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for number, (title, start, end) in enumerate(CHAPTERS, 1)
            ]
        )
        lines = clip.add_stream(subtitles) if subtitles else None
        if lines is not None:
            lines.metadata["language"] = "nor"
            lines.codec_context.subtitle_header = HEADER
        for index in range(50):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = index
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
        for begin, length, text in LINES if lines is not None else ():
            event = f"0,0,Default,,0,0,0,,{text}".encode()
            packet = lines.codec_context.encode_subtitle(
                SubtitleSet.create(event, 0, round(length * 1000))
            )
            packet.stream, packet.time_base = lines, Fraction(1, 1000)
            packet.pts = packet.dts = round(begin * 1000)
            packet.duration = round(length * 1000)
            clip.mux(packet)
    return path


def carried(source: Path, target: Path, comment: str = "", **part: object) -> ClipWriter:
    clip = ClipSettings(**part)
    with (
        ClipReader(source, clip) as reader,
        ClipWriter(target, reader.info, None, clip) as writer,
    ):
        writer.comment = comment
        for frame in reader:
            writer.write(frame)
    return writer


def shown(path: Path) -> list[tuple[float, float, str]]:
    """(begin, length, text) of the first subtitle stream's lines."""
    with av.open(str(path)) as clip:
        stream = clip.streams.subtitles[0]
        lines = []
        for packet in clip.demux(stream):
            for line in stream.decode(packet) if packet.size > 2 else ():
                text = line.ass.decode().split(",", 8)[8]
                begin, length = packet.pts * packet.time_base, packet.duration * packet.time_base
                lines.append((float(begin), float(length), text))
    return lines


def chapters(path: Path) -> list[tuple[str, float, float]]:
    with av.open(str(path)) as clip:
        return [
            (
                chapter["metadata"]["title"],
                float(chapter["start"] * chapter["time_base"]),
                float(chapter["end"] * chapter["time_base"]),
            )
            for chapter in clip.chapters()
        ]


@pytest.mark.parametrize("target", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
@pytest.mark.parametrize(("source", "codec"), [("s.mp4", "mov_text"), ("s.mkv", "subrip")])
def test_subtitles_are_carried(tmp_path: Path, source: str, codec: str, target: str) -> None:
    path = labelled(tmp_path / source, codec)
    writer = carried(path, tmp_path / target)
    assert shown(tmp_path / target) == [pytest.approx(line) for line in LINES]
    kept = (Path(source).suffix, Path(target).suffix) in {
        (".mp4", ".mp4"),
        (".mp4", ".mov"),
        (".mkv", ".mkv"),
    }
    assert any("is rewritten as" in warning for warning in writer.warnings) != kept
    with av.open(str(tmp_path / target)) as clip:
        assert clip.streams.subtitles[0].metadata["language"] == "nor"
        assert len(clip.streams.subtitles) == 1


def test_subtitles_of_a_part_are_cut_to_it(tmp_path: Path) -> None:
    path = labelled(tmp_path / "s.mkv", "subrip")
    carried(path, tmp_path / "a.mkv", start=1.0, end=1.68)
    assert shown(tmp_path / "a.mkv") == [
        pytest.approx((0.0, 0.4, "screams")),
        pytest.approx((0.6, 0.08, "– again")),
    ]


def test_every_track_of_a_real_clip(tmp_path: Path) -> None:
    source = real_clip("nasa.mp4")
    for target in (tmp_path / "a.mp4", tmp_path / "a.mkv"):
        writer = carried(source, target, size=64, end=2.0)
        assert f"left out of {target.suffix}: video stream 2" in writer.warnings
        with av.open(str(target)) as clip:
            assert [stream.type for stream in clip.streams].count("subtitle") == 2
            assert len(clip.streams.audio) == 2
        (line,) = shown(target)
        assert line[:2] == (pytest.approx(0.21, abs=0.001), pytest.approx(1.79, abs=0.001))
        assert line[2].startswith("NAR: This is the optical")


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_chapters_are_carried(tmp_path: Path, ending: str) -> None:
    path = labelled(tmp_path / "s.mkv", None)
    carried(path, tmp_path / f"a{ending}")
    assert chapters(tmp_path / f"a{ending}") == [
        ("Bridge", 0.0, pytest.approx(1.0)),
        ("Sky", pytest.approx(1.0), pytest.approx(2.0)),
    ]
    # Once more: the track of titles in mp4 is neither subtitles nor lost.
    assert carried(tmp_path / f"a{ending}", tmp_path / "b.mp4").warnings == []
    assert [title for title, *_ in chapters(tmp_path / "b.mp4")] == ["Bridge", "Sky"]
    carried(path, tmp_path / f"part{ending}", start=0.6, end=1.4)
    assert chapters(tmp_path / f"part{ending}") == [
        ("Bridge", 0.0, pytest.approx(0.4)),
        ("Sky", pytest.approx(0.4), pytest.approx(0.8)),
    ]


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_timecode_is_carried(tmp_path: Path, ending: str) -> None:
    path = labelled(tmp_path / "s.mov", None)
    for part, expected in (({}, "01:00:00:10"), ({"start": 0.8}, "01:00:01:05")):
        target = tmp_path / f"a{len(part)}{ending}"
        carried(path, target, **part)
        assert Labels.of(target).timecode == expected


@pytest.mark.parametrize(
    ("text", "rate", "frames", "later"),
    [
        ("01:00:00:00", Fraction(24), 86400, "01:00:00:01"),
        ("00:59:59:24", Fraction(25), 89999, "01:00:00:00"),
        ("23:59:59:23", Fraction(24000, 1001), 2073599, "00:00:00:00"),
        ("00:00:59;29", Fraction(30000, 1001), 1799, "00:01:00;02"),  # 00 and 01 are left out
        ("00:09:59;29", Fraction(30000, 1001), 17981, "00:10:00;00"),  # but not here
        ("01:00:00;00", Fraction(30000, 1001), 107892, "01:00:00;01"),
        ("00:00:59;59", Fraction(60000, 1001), 3599, "00:01:00;04"),
    ],
)
def test_timecode_counts_as_smpte_does(text: str, rate: Fraction, frames: int, later: str) -> None:
    timecode = Timecode.parse(text, rate)
    assert timecode is not None
    assert timecode.frames == frames
    assert str(timecode) == text
    assert str(timecode.later(1)) == later
    assert Timecode.parse("soon", rate) is None


def test_tags_without_a_place_are_said(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "s.mkv", 5, metadata={"title": "The Scream", "DIRECTOR": "Munch"})
    for ending in (".mp4", ".mov", ".avi"):
        said = carried(path, tmp_path / f"a{ending}").warnings
        assert said == [f"left out of {ending}: the tags DIRECTOR"]
    assert carried(path, tmp_path / "a.mkv").warnings == []
    assert Labels.of(tmp_path / "a.mkv").tags == {"title": "The Scream", "DIRECTOR": "Munch"}


def test_when_it_was_shot_is_carried(tmp_path: Path) -> None:
    shot = {"creation_time": "2021-03-04T05:06:07.000000Z"}
    path = make_clip(tmp_path / "s.mov", 5, metadata=shot)
    for ending in (".mp4", ".mov", ".mkv", ".webm"):
        assert carried(path, tmp_path / f"a{ending}").warnings == []
        assert Labels.of(tmp_path / f"a{ending}").tags == shot
    said = carried(path, tmp_path / "a.avi").warnings
    assert said == ["left out of .avi: the tags creation_time"]


@pytest.mark.parametrize("year", [1890, 1950, 2045])
@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_a_time_that_mp4_cannot_count_is_left_out(tmp_path: Path, ending: str, year: int) -> None:
    """It would come back as another; mkv can."""
    shot = {"creation_time": f"{year}-03-04T05:06:07.000000Z", "title": "The Scream"}
    path = make_clip(tmp_path / "s.mkv", 5, metadata=shot)
    said = carried(path, tmp_path / f"a{ending}").warnings
    assert said == [f"left out of {ending}: the tags creation_time"]
    assert Labels.of(tmp_path / f"a{ending}").tags == {"title": "The Scream"}
    assert carried(path, tmp_path / "a.mkv").warnings == []
    assert Labels.of(tmp_path / "a.mkv").tags == shot


def test_languages_without_a_place_are_said(tmp_path: Path) -> None:
    """mov and mp4 have codes for three letters of the alphabet only, avi has none at all."""
    given = make_clip(tmp_path / "g.mkv", 5, sound=("aac", "aac"))
    with av.open(str(given)) as clip, av.open(str(tmp_path / "s.mkv"), "w") as target:
        copies = [target.add_stream_from_template(stream) for stream in clip.streams]
        for copy, language in zip(copies, ("en-GB", "nor", "zh-Hant"), strict=True):
            copy.metadata["language"] = language
        for packet in clip.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
    said = {
        ending: [
            warning
            for warning in carried(tmp_path / "s.mkv", tmp_path / f"a{ending}").warnings
            if "language" in warning
        ]
        for ending in (".mkv", ".mp4", ".avi")
    }
    assert said[".mkv"] == []
    assert said[".mp4"] == [
        "sound stream 2 loses its language zh-Hant: mp4 cannot say it",
        "left out of .mp4: the pictures' language en-GB",
    ]
    assert said[".avi"] == [
        "sound stream 1 loses its language nor: avi cannot say it",
        "sound stream 2 loses its language zh-Hant: avi cannot say it",
        "left out of .avi: the pictures' language en-GB",
    ]


def test_names_of_streams_and_attachments_are_carried(tmp_path: Path) -> None:
    given = make_clip(tmp_path / "g.mkv", 5, sound=("aac", "aac"))
    names = [{"language": "nor", "title": name} for name in ("The pier", "Talk", "Sea")]
    font = ("brush.ttf", "font/ttf", bytes(range(100)))
    with av.open(str(given)) as clip, av.open(str(tmp_path / "s.mkv"), "w") as target:
        copies = [target.add_stream_from_template(stream) for stream in clip.streams]
        for copy, name in zip(copies, names, strict=True):
            copy.metadata.update(name)
        copies[2].disposition = Disposition.default | Disposition.comment
        target.add_attachment(*font)
        for packet in clip.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
    assert carried(tmp_path / "s.mkv", tmp_path / "a.mkv").warnings == []
    assert carried(tmp_path / "a.mkv", tmp_path / "a.mp4").warnings == [
        "left out of .mp4: the attachments"
    ]
    assert carried(tmp_path / "a.mp4", tmp_path / "b.mkv").warnings == []
    for path in (tmp_path / "a.mkv", tmp_path / "b.mkv"):
        with av.open(str(path)) as clip:
            streams = [*clip.streams.video, *clip.streams.audio]
            assert [stream_tags(stream) for stream in streams] == names
            assert clip.streams.video[0].disposition == Disposition.default
            assert streams[2].disposition == Disposition.default | Disposition.comment
    with av.open(str(tmp_path / "a.mkv")) as clip:
        (found,) = clip.streams.attachments
        assert (found.name, found.mimetype, found.data) == font


def test_marks_without_a_place_are_said(tmp_path: Path) -> None:
    given = make_clip(tmp_path / "g.mkv", 5, sound=("aac", "aac"))
    with av.open(str(given)) as clip, av.open(str(tmp_path / "s.mkv"), "w") as target:
        copies = [target.add_stream_from_template(stream) for stream in clip.streams]
        copies[2].disposition = Disposition.forced | Disposition.hearing_impaired
        for packet in clip.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
    lost = {".mkv": [], ".mp4": [], ".webm": ["hearing impaired"]}
    lost[".mov"] = lost[".avi"] = ["forced", "hearing impaired"]
    for ending, marks in lost.items():
        said = carried(tmp_path / "s.mkv", tmp_path / f"a{ending}").warnings
        named = ", ".join(f"mark “{mark}”" for mark in marks)
        muxer = ending[1:].replace("mkv", "matroska")
        expected = [f"sound stream 2 loses its {named}: {muxer} cannot say it"] if marks else []
        assert [warning for warning in said if "mark" in warning] == expected
        with av.open(str(tmp_path / f"a{ending}")) as clip:
            kept = Disposition.forced & clip.streams.audio[1].disposition
        assert bool(kept) == ("forced" not in marks)


def test_tags_and_settings_are_written(tmp_path: Path) -> None:
    path = labelled(tmp_path / "s.mp4", None)
    for ending in (".mp4", ".mov", ".mkv", ".webm", ".avi"):
        carried(path, tmp_path / f"a{ending}", 'vidstyle {"steps": 3}')
        with av.open(str(tmp_path / f"a{ending}")) as clip:
            tags = {key.lower(): text for key, text in clip.metadata.items()}
        assert tags["title"] == "The Scream"
        assert tags["comment"] == 'from the pier\nvidstyle {"steps": 3}'


@pytest.mark.parametrize("length", [20, 1001])
def test_settings_are_written_into_gif_and_pictures(tmp_path: Path, length: int) -> None:
    path, made_by = make_clip(tmp_path / "s.mp4", 5), "vidstyle " + "x" * length
    names = ("a.gif", "a.%d.png", "a.%d.tif", "a.%d.exr")
    for name in names:
        carried(path, tmp_path / name, made_by)
        carried(path, tmp_path / f"plain_{name}")
    for name in names:
        made = tmp_path / name.replace("%d", "5")
        assert planes(made) == planes(made.with_name(f"plain_{made.name}"))
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.info["comment"].decode() == made_by
    for number in range(1, 6):
        with Image.open(tmp_path / f"a.{number}.png") as picture:
            picture.load()  # it checks every chunk
            assert picture.text == {"Comment": made_by}
        with Image.open(tmp_path / f"a.{number}.tif") as picture:
            assert picture.tag_v2[270] == made_by
        assert entries(tmp_path / f"a.{number}.tif") == sorted(picture.tag_v2)
        with av.open(str(tmp_path / f"a.{number}.exr")) as clip:
            assert next(clip.decode(video=0)).metadata["comments"] == made_by


def entries(path: Path) -> list[int]:
    """A TIFF's, as they follow one another; readers may rely on their order."""
    data = path.read_bytes()
    at = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[at : at + 2], "little")
    return [int.from_bytes(data[at + 2 + 12 * n :][:2], "little") for n in range(count)]


def planes(path: Path) -> list[list[bytes]]:
    with av.open(str(path)) as clip:
        return [[bytes(plane) for plane in frame.planes] for frame in clip.decode(video=0)]


def test_a_cover_picture_is_named_as_such(tmp_path: Path) -> None:
    with (
        av.open(str(make_clip(tmp_path / "s.mp4", 5))) as clip,
        av.open(str(tmp_path / "c.mp4"), "w") as target,
    ):
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        video = target.add_stream_from_template(clip.streams.video[0])
        target.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        target.mux(cover.encode(None))
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    writer = carried(tmp_path / "c.mp4", tmp_path / "a.mp4")
    assert (writer.info.width, writer.info.codec) == (64, "h264")
    assert writer.warnings == ["left out of .mp4: the cover picture"]


@pytest.mark.parametrize(("layout", "kept"), [("5.1", 6), ("5.1(side)", 6), ("2.1", 2)])
def test_sound_of_fewer_channels_is_said(tmp_path: Path, layout: str, kept: int) -> None:
    path = tmp_path / "s.mov"
    with av.open(str(path), "w") as clip:
        video, voice = clip.add_stream("libx264", rate=25), clip.add_stream("pcm_s16le", rate=48000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        voice.codec_context.layout = layout
        wave = av.AudioFrame(format="s16", layout=layout, samples=4608)
        picture = av.VideoFrame(64, 48, "yuv420p")
        wave.sample_rate, wave.pts, picture.pts = 48000, 0, 0
        clip.mux([*voice.encode(wave), *voice.encode(None)])
        clip.mux([*video.encode(picture), *video.encode(None)])
    (warning,) = carried(path, tmp_path / "a.webm").warnings
    mixed = ", mixed to stereo" if kept == 2 else ""
    assert f"encoded anew as libopus{mixed}: webm cannot hold pcm_s16le" in warning
    with av.open(str(tmp_path / "a.webm")) as clip:
        assert clip.streams.audio[0].codec_context.layout.nb_channels == kept
    assert carried(path, tmp_path / "a.avi").warnings == []
    with av.open(str(tmp_path / "a.avi")) as clip:
        assert clip.streams.audio[0].codec_context.layout.nb_channels == len(wave.layout.channels)


def test_what_pictures_cannot_carry_is_said(tmp_path: Path) -> None:
    path = labelled(tmp_path / "s.mkv", "subrip")
    sound = make_clip(tmp_path / "t.mp4", 5, sound=("aac",))
    assert carried(path, tmp_path / "a.gif").warnings == [
        "left out of .gif: the tags, the timecode, the subtitles, the chapters"
    ]
    assert carried(sound, tmp_path / "a.%03d.png").warnings == ["left out of .png: the sound"]
    lines, marks = carried(path, tmp_path / "a.avi").warnings
    assert "subtitle stream 1 (subrip) is left out" in lines
    assert marks == "left out of .avi: the chapters"

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.video.made_clips import grey_frame, make_clip, real_clip
from tests.video.test_interlace import interlaced
from vidstyle.errors import DecodeError, InputError
from vidstyle.frame import ColourTags, Frame, Shot
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, probe


def read(path: Path, **settings: object) -> list:
    with ClipReader(path, ClipSettings(**settings)) as reader:
        return list(reader)


def test_frames_come_in_order_with_their_times_and_levels(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 25, time_base=Fraction(1, 25))
    frames = read(clip)
    assert [frame.index for frame in frames] == list(range(25))
    assert [frame.pts_seconds for frame in frames] == [n / 25 for n in range(25)]
    for n, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.float32
        assert frame.image.flags.c_contiguous
        assert abs(frame.image[40, 50, 1] * 255 - (40 + 4 * n)) < 4  # the encoder's own error


def test_info(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.mp4", 10, sound=("aac", "aac"), tags=(1, 1, 1, 1), aspect=Fraction(4, 3)
    )
    info = probe(clip)
    assert (info.width, info.height, info.frames, info.rate) == (64, 48, 10, 25)
    assert info.seconds == pytest.approx(0.4, abs=0.001)
    assert (info.codec, info.pix_fmt, info.bit_depth) == ("h264", "yuv420p", 8)
    assert info.sound_streams == 2
    assert info.sample_aspect == Fraction(4, 3)
    assert (info.colour.matrix, info.colour.primaries, info.colour.transfer) == (1, 1, 1)
    assert not info.colour.full_range


def test_variable_times_are_exact(tmp_path: Path) -> None:
    pts = [0, 1001, 2002, 5005, 5500, 9009, 12012]
    clip = make_clip(tmp_path / "a.mp4", pts=pts, time_base=Fraction(1, 30000))
    frames = read(clip)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(p, 30000) for p in pts]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, None, range(50)),
        (0.4, 0.8, range(10, 20)),
        (0.41, 0.8, range(11, 20)),
        (1.0, None, range(25, 50)),
        (0.0, 0.04, range(1)),
        (1.96, 9.0, range(49, 50)),
    ],
)
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_the_range_is_half_open_and_exact(
    tmp_path: Path, ending: str, start: float, end: float | None, expected: range
) -> None:
    clip = make_clip(tmp_path / f"a{ending}", 50)
    levels = [frame.image[40, 50, 1] * 255 for frame in read(clip, start=start, end=end)]
    assert len(levels) == len(expected)
    for level, n in zip(levels, expected, strict=True):
        assert abs(level - (40 + 4 * n)) < 4


def test_the_range_counts_from_the_first_frame(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", pts=[100 + n for n in range(25)], sound=("aac",))
    frames = read(clip, start=0.4, end=0.6)
    assert len(frames) == 5
    assert frames[0].pts_seconds == pytest.approx(4.4)


def test_a_range_without_frames_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 25)
    with pytest.raises(InputError, match=r"--start 5: no frame .* 1\.000 s long"):
        read(clip, start=5.0)


def test_missing_times_are_made_from_the_rate(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.h264", 20)
    frames = read(clip)
    assert len(frames) == 20
    steps = np.diff([frame.pts_seconds for frame in frames])
    np.testing.assert_allclose(steps, 0.04, atol=1e-4)
    assert len(read(clip, start=0.4)) == 10


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_frames_are_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    clip = make_clip(
        tmp_path / "a.mp4", 3, rotation=degrees, mirrored=mirrored, aspect=Fraction(2, 1)
    )
    (frame, *_) = read(clip)
    with av.open(str(clip)) as container:
        coded = next(container.decode(video=0)).to_ndarray(format="gray")
    # FFmpeg's words: counter-clockwise by the angle, then mirrored.
    shown = np.rot90(coded, degrees // 90)
    shown = shown[:, ::-1] if mirrored else shown
    assert frame.image.shape[:2] == shown.shape
    bright = frame.image[..., 1] > frame.image[..., 1].mean()
    assert (bright == (shown > shown.mean())).mean() > 0.97
    info = probe(clip)
    assert (info.height, info.width) == shown.shape
    assert info.sample_aspect == (2 if degrees % 180 == 0 else Fraction(1, 2))


def test_size_shrinks_but_never_enlarges(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2, size=(128, 72), rotation=90)
    assert read(clip, size=64)[0].image.shape == (64, 36, 3)
    assert read(clip, size=999)[0].image.shape == (128, 72, 3)
    odd = make_clip(tmp_path / "odd.mkv", 2, size=(65, 47), codec="ffv1", pix_fmt="yuv444p")
    assert read(odd)[0].image.shape == (47, 65, 3)
    assert read(odd, size=32)[0].image.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("pix_fmt", "tags"),
    [("yuv420p", (1, 1, 1, 2)), ("yuv420p10le", (9, 9, 14, 1)), ("yuv420p", (6, 6, 6, 1))],
)
def test_colours_are_decoded_by_the_tags(tmp_path: Path, pix_fmt: str, tags: tuple) -> None:
    levels = {1: (30, 120, 200), 2: (30, 120, 200)}[tags[3]]
    path = tmp_path / "a.mkv"
    depth = 4 if "10" in pix_fmt else 1
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("ffv1" if depth == 4 else "libx264", rate=25, options={"qp": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc = tags[:3]
        context.color_range = tags[3]
        frame = av.VideoFrame(64, 48, pix_fmt)
        for plane, level in zip(frame.planes, levels, strict=True):
            np.frombuffer(plane, np.uint16 if depth == 4 else np.uint8)[:] = level * depth
        clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    (only,) = read(path)
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[tags[0]]
    if tags[3] == 2:
        luma, blue, red = levels[0] / 255, (levels[1] - 128) / 255, (levels[2] - 128) / 255
    else:
        luma, blue, red = (levels[0] - 16) / 219, (levels[1] - 128) / 224, (levels[2] - 128) / 224
    red, blue = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    expected = np.clip([red, green, blue], 0, 1)
    np.testing.assert_allclose(only.image[20, 20], expected, atol=0.002)


def test_sound_may_come_first(tmp_path: Path) -> None:
    """Pictures that the decoder still holds at the end come as well, and nothing is broken."""
    path = make_clip(tmp_path / "a.mp4", 25, sound=("aac",))
    with av.open(str(path)) as clip, av.open(str(tmp_path / "b.mp4"), "w") as target:
        streams = [clip.streams.audio[0], clip.streams.video[0]]
        copies = {stream.index: target.add_stream_from_template(stream) for stream in streams}
        for packet in clip.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
    for name in ("a.mp4", "b.mp4"):
        with ClipReader(tmp_path / name) as reader:
            assert len(list(reader)) == 25
        assert (reader.corrupt_packets, reader.warnings) == (0, [])


def test_a_change_of_size_is_said(tmp_path: Path) -> None:
    small = make_clip(tmp_path / "a.ts", 5)
    large = make_clip(tmp_path / "b.ts", 5, size=(96, 64), pix_fmt="yuv444p")
    both = tmp_path / "c.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with ClipReader(both) as reader:
        frames = list(reader)
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 10
    assert abs(frames[-1].image[40, 50, 1] * 255 - (40 + 4 * 4)) < 6
    (warning,) = reader.warnings
    assert "64x48" in warning


def test_hdr_is_refused_by_name(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 2, pix_fmt="yuv420p10le", tags=(9, 9, 16, 1))
    with pytest.raises(InputError, match=r"a\.mkv: HDR video \(PQ"):
        probe(clip)


def test_a_container_says_what_its_pictures_leave_open(tmp_path: Path) -> None:
    """FFmpeg's ProRes has tags in the container alone, unless its frames are tagged."""
    kind = {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}
    path = make_clip(tmp_path / "a.mov", 2, tags=(9, 9, 14, 1), **kind)
    assert probe(path).colour == ColourTags(9, 9, 14, False)
    path = make_clip(tmp_path / "b.mov", 2, tags=(9, 9, 16, 1), **kind)
    with pytest.raises(InputError, match="PQ"):
        ClipReader(path)


def test_cover_art_is_not_the_clip(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", 25, sound=("libmp3lame",))
    song = tmp_path / "song.mp3"
    with av.open(str(source)) as clip, av.open(str(song), "w") as target:
        voice = target.add_stream_from_template(clip.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = grey_frame(90, (64, 48), "yuvj420p")
        target.mux(cover.encode(picture))
        target.mux(cover.encode(None))
        for packet in clip.demux(audio=0):
            if packet.size:
                packet.stream = voice
                target.mux(packet)
    with av.open(str(song)) as written:
        assert written.streams.video  # else this test would show nothing
    with pytest.raises(InputError, match="no video stream"):
        probe(song)


def test_what_is_not_a_clip_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("to do: paint\n" * 50)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "junk.mp4").write_bytes(bytes(range(256)) * 40)
    whole = make_clip(tmp_path / "whole.mp4", 25).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(tmp_path / "still.png"), "w", format="image2") as still:
        still.add_stream("png", rate=1)
    rules = {
        "missing.mp4": "no such file",
        ".": "is a folder",
        "notes.txt": "not a video",
        "empty.mp4": "not a video",
        "junk.mp4": "not a video",
        "cut.mp4": "not a video",
    }
    for name, rule in rules.items():
        with pytest.raises(InputError, match=rule) as caught:
            probe(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)  # the next step follows


def test_a_picture_is_sent_to_its_own_command(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="vidstyle image"):
        probe(tmp_path / "a.png")


def test_it_is_iterated_once(tmp_path: Path) -> None:
    with ClipReader(make_clip(tmp_path / "a.mp4", 3)) as reader:
        assert len(list(reader)) == 3
        with pytest.raises(ValueError, match="once"):
            list(reader)


def test_broken_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 50, gop=5)
    with av.open(str(clip)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    data[places[22] : places[22] + 4] = b"\xff" * 4  # a length beyond the packet's end
    clip.write_bytes(data)
    with ClipReader(clip) as reader:
        frames = list(reader)
    assert reader.corrupt_packets == 1
    assert 45 <= len(frames) <= 49
    assert frames[-1].pts_seconds == pytest.approx(1.96)


def test_the_corrupted_clip() -> None:
    with ClipReader(real_clip("corrupted.mp4"), ClipSettings(size=64)) as reader:
        assert len(list(reader)) == 49
        assert reader.corrupt_packets == 1


def test_the_first_of_two_video_streams() -> None:
    info = probe(real_clip("nasa.mp4"))
    assert (info.width, info.height, info.sound_streams) == (320, 180, 2)


def test_the_rotated_clip_is_upright() -> None:
    info = probe(real_clip("rotated_90.mov"))
    assert (info.width, info.height, info.rotation_degrees) == (320, 568, 270)


def test_hidden_colour_under_alpha_does_not_show() -> None:
    path = real_clip("transparent.webm")
    (frame, *_) = read(path)
    assert probe(path).pix_fmt == "yuva420p"
    assert (frame.image.max(axis=2) < 0.02).mean() > 0.95


def cut_at(frames: list[Frame], *firsts: int) -> list[Shot]:
    """As `list_shots` gives them."""
    ends = [*firsts[1:], len(frames)]
    return [
        Shot(number, first, end, frames[first].pts, frames[first].crc)
        for number, (first, end) in enumerate(zip(firsts, ends, strict=True))
    ]


def check_same(clip: Path, shots: list[Shot], whole: list[Frame], **settings: object) -> int:
    """Picture by picture and time by time; how many packets were decoded."""
    with ClipReader(clip, ClipSettings(**settings)) as reader:
        decode, packets = reader._decode_packet, []
        reader._decode_packet = lambda packet: packets.append(packet) or decode(packet)  # type: ignore[method-assign,func-returns-value]
        found = list(reader.frames_of(shots))
    expected = [(shot.number, whole[n]) for shot in shots for n in range(shot.first, shot.end)]
    for (number, frame), (shot, same) in zip(found, expected, strict=True):
        assert (number, frame.index, frame.pts) == (shot, same.index, same.pts)
        assert frame.image.tobytes() == same.image.tobytes()
    return len(packets)


READ_THROUGH = (".avi", ".ts")  # no times, or seeks that land too late


@pytest.mark.parametrize("first", [40, 48, 51, 71])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi", ".ts"])
def test_shots_are_found_without_reading_all_before(
    tmp_path: Path, ending: str, first: int
) -> None:
    """At a keyframe, every twelfth here, and between two; with a part of the clip as well."""
    clip = make_clip(tmp_path / f"a{ending}", 75, sound=("aac",))
    for settings in ({}, {"start": 0.4, "size": 32}):
        whole = read(clip, **settings)
        place = first - (10 if settings else 0)
        shots = cut_at(whole, 0, place, place + 2)
        decoded = check_same(clip, shots[1:2], whole, **settings)
        # What a keyframe and the decoder's own delay cost, and the clip's first frame before.
        assert decoded < 45 or ending in READ_THROUGH


@pytest.mark.parametrize("kind", ["variable", "raw", "gif", "sequence", "joined", "repeated"])
def test_shots_of_odd_clips_are_the_same_frames(tmp_path: Path, kind: str) -> None:
    settings: dict[str, object] = {}
    if kind == "variable":
        pts = [0, 1001, 2002, 5005, 5500, *range(9009, 60000, 1001)]
        clip = make_clip(tmp_path / "a.mp4", len(pts), pts=pts, time_base=Fraction(1, 30000))
    elif kind == "sequence":
        clip, settings = tmp_path / "a.%04d.png", {"fps": Fraction(24)}
        for number in range(30):
            grey_frame(40 + 4 * number, (64, 48), "rgb24").to_image().save(str(clip) % (7 + number))
    elif kind in ("joined", "repeated"):  # of two recordings, whose clock starts over
        parts = [make_clip(tmp_path / f"{n}.ts", 15 + n) for n in range(2)]
        times = 3 if kind == "repeated" else 1
        clip = tmp_path / "a.ts"
        clip.write_bytes(b"".join(part.read_bytes() for part in parts) * times)
    else:
        codec, pix_fmt = {"raw": ("libx264", "yuv420p"), "gif": ("gif", "rgb8")}[kind]
        ending = {"raw": ".h264", "gif": ".gif"}[kind]
        clip = make_clip(tmp_path / f"a{ending}", 30, codec=codec, pix_fmt=pix_fmt)
    whole = read(clip, **settings)
    assert len(whole) >= 30
    check_same(clip, cut_at(whole, 0, 20, 25)[1:], whole, **settings)


def test_interlaced_shots_are_the_same_frames(tmp_path: Path) -> None:
    """The first of them is woven with a field of the frame before."""
    clip = interlaced(tmp_path / "a.mp4", 60)  # with a keyframe in every fourth
    whole = read(clip)
    assert check_same(clip, cut_at(whole, 0, 48)[1:], whole) < 50


def test_a_shot_that_is_not_there_is_looked_for_by_counting(tmp_path: Path) -> None:
    """As where a damaged file's seeks land elsewhere; and where it has become shorter."""
    clip = make_clip(tmp_path / "a.mp4", 50)
    whole = read(clip)
    (_, shot) = cut_at(whole, 0, 30)
    for wrong in ({"crc": 1}, {"pts": whole[7].pts}, {"pts": None}, {"pts": 10**9}):
        assert check_same(clip, [replace(shot, **wrong)], whole) > 40
    with ClipReader(clip) as reader, pytest.raises(DecodeError, match="frame 50 did not come"):
        list(reader.frames_of([replace(shot, end=51)]))

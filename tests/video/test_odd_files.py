"""Files as recorders, broadcasters and other tools leave them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.made_clips import (
    click_time,
    copied,
    damage,
    frames,
    grey_frame,
    info,
    make_clip,
    picture_packets,
    picture_times,
    texture,
)
from vidstyle.errors import InputError
from vidstyle.settings import ClipSettings, OutputSettings
from vidstyle.video import ClipReader, ClipWriter, probe
from vidstyle.video.source import packets_of


def loud_moments(path: Path) -> list[float]:
    """Seconds at which a click begins, a tenth of a second apart at least."""
    found: list[float] = []
    with av.open(str(path)) as clip:
        for frame in clip.decode(audio=0):
            wave = np.atleast_2d(frame.to_ndarray())[0]
            loud = np.flatnonzero(np.abs(wave) > 0.25)
            moment = float(frame.pts * frame.time_base) + loud[0] / 48000 if loud.size else 0
            if loud.size and (not found or moment > found[-1] + 0.1):
                found.append(moment)
    return found


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_joined_recordings_go_on(tmp_path: Path, ending: str) -> None:
    one = make_clip(tmp_path / "one.ts", 50, sound=("mp2",), click=1.0)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() * 2)
    copied(joined, tmp_path / f"a{ending}")
    times = picture_times(tmp_path / f"a{ending}")
    assert len(times) == 100
    for before, after in pairwise(times):
        assert float(after - before) == pytest.approx(0.04, abs=0.0011)
    first, second = loud_moments(tmp_path / f"a{ending}")
    assert second - first == pytest.approx(2.0, abs=0.04)  # sound has its own, whole packets


def test_pictures_before_time_zero_keep_their_distance(tmp_path: Path) -> None:
    """What mkv says of negative times is nothing."""
    path = tmp_path / "a.mkv"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", container_options=options) as clip:
        video = clip.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(25):
            frame = grey_frame(40 + 4 * index, (64, 48), "yuv420p")
            frame.pts = index - 10
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    with av.open(str(path)) as clip:
        assert next(clip.demux(video=0)).pts is None  # else this test would show nothing
    copied(path, tmp_path / "a.mp4")
    times = picture_times(tmp_path / "a.mp4")
    assert [round(float(time - times[0]) * 25, 1) for time in times] == list(range(25))


def test_guessed_times_are_put_in_order(tmp_path: Path) -> None:
    """AVI has one time a packet: with B-frames FFmpeg says 1, 2, 4, 3, 6, 5, …"""
    path = make_clip(tmp_path / "a.avi", 50)
    guessed = picture_times(path)
    assert guessed != sorted(guessed)  # else this test would show nothing
    copied(path, tmp_path / "b.mp4")
    times = picture_times(tmp_path / "b.mp4")
    assert [time - times[0] for time in times] == [Fraction(n, 25) for n in range(50)]


def test_pictures_and_sound_of_avi_begin_together(tmp_path: Path) -> None:
    """FFmpeg would have H.264 there begin a frame late, also without B-frames."""
    path = make_clip(tmp_path / "s.mp4", 25, sound=("libmp3lame",), click=0.5)
    copied(path, tmp_path / "a.avi")
    assert picture_times(tmp_path / "a.avi")[0] > 0  # else this test would show nothing
    copied(tmp_path / "a.avi", tmp_path / "b.mp4")
    assert picture_times(tmp_path / "b.mp4") == [Fraction(n, 25) for n in range(25)]
    assert click_time(tmp_path / "b.mp4") == click_time(tmp_path / "a.avi")


def test_sound_of_a_file_without_an_index_is_cut_to_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mp4", 50, sound=("aac",), click=1.2)

    def refuse(*place: object, **stream: object) -> None:
        raise av.PermissionError(1, "Operation not permitted")

    with (
        ClipReader(path, ClipSettings(1.0, 1.6)) as reader,
        ClipWriter(tmp_path / "b.mp4", reader.info, None, ClipSettings(1.0, 1.6)) as writer,
    ):
        frames = list(reader)
        source = writer._tracks._source
        monkeypatch.setattr(writer._tracks, "_source", _Unseekable(source, refuse))
        for frame in frames:
            writer.write(frame)
    assert click_time(tmp_path / "b.mp4") == pytest.approx(0.2, abs=0.03)


class _Unseekable:
    def __init__(self, source: object, refuse: object) -> None:
        self._source, self.seek = source, refuse

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)


def test_ticks_are_not_taken_for_frames(tmp_path: Path) -> None:
    """Raw DV's headers give 60,000 frames a second."""
    path = tmp_path / "a.dv"
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("dvvideo", rate=25)
        video.width, video.height, video.pix_fmt = 720, 576, "yuv420p"
        for index in range(4):
            frame = grey_frame(90, (720, 576), "yuv420p")
            frame.pts = index
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    assert probe(path).rate == 25
    copied(path, tmp_path / "a.mp4", size=64)
    assert picture_times(tmp_path / "a.mp4") == [Fraction(n, 25) for n in range(4)]


def test_damaged_frames_are_kept_and_counted(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", 50, gop=50, codec="mpeg4")
    damage(path, 20, 21)
    with ClipReader(path) as reader:
        kept = len(list(reader))
    assert kept + reader.corrupt_packets == 50
    assert reader.damaged_frames > 0


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"level": "3", "slicecrc": "1", "slices": "4"}, [3, 7]),
        ({"level": "3", "slicecrc": "1", "slices": "4", "coder": "range_tab"}, [3, 7]),
        ({"level": "4", "strict": "-2", "slicecrc": "2", "slices": "4"}, [3, 7]),
        ({"level": "3", "slicecrc": "0", "slices": "4"}, []),
        ({"level": "1"}, []),
    ],
)
def test_damage_that_checksums_show_is_counted(
    tmp_path: Path, options: dict[str, str], found: list[int]
) -> None:
    """FFV1's decoder puts what it has in place of a broken slice, and says nothing."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("ffv1", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for index in range(10):
            image = (texture(index) * 255).astype(np.uint8)
            clip.mux(video.encode(av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")))
        clip.mux(video.encode(None))
    with ClipReader(path) as reader:
        assert (len(list(reader)), reader.damaged_frames) == (10, 0)
    packets, data = picture_packets(path), bytearray(path.read_bytes())
    for number in (3, 7):
        data[data.find(packets[number]) + len(packets[number]) // 3] ^= 0x55
    path.write_bytes(data)
    with ClipReader(path) as reader:
        assert len(list(reader)) + reader.corrupt_packets == 10
    assert reader.damaged_frames + reader.corrupt_packets == len(found)


def textured(path: Path, count: int, codec: str | None = None) -> Path:
    """So many pictures unlike one another, ten a second."""
    given, times = info(width=160, height=120, rate=Fraction(10)), range(0, count * 1280, 1280)
    pictures = [texture(index) for index in range(count)]
    with ClipWriter(path, given, OutputSettings(codec=codec)) as writer:
        for frame in frames(pictures, list(times), given.time_base):
            writer.write(frame)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.webm", "libvpx-vp9"), ("a.mkv", "libsvtav1"), ("a.mkv", "libx264"), ("a.mkv", "libx265")],
)
@pytest.mark.parametrize("blank", [False, True])
def test_lost_pictures_are_counted(tmp_path: Path, name: str, codec: str, blank: bool) -> None:
    """Also where a decoder passes over them without an error, as AV1's and HEVC's do."""
    path = textured(tmp_path / name, 30, codec)
    with ClipReader(path) as reader:
        assert (len(list(reader)), reader.corrupt_packets) == (30, 0)
    sizes = [len(packet) for packet in picture_packets(path)]
    largest = sizes.index(max(sizes[10:20]), 10)
    damage(path, largest, **({"kept": 0, "rest": b"\0"} if blank else {}))
    with ClipReader(path) as reader:
        count = len(list(reader))
    assert count < 30
    assert count + reader.corrupt_packets == 30


def test_avi_may_hold_its_last_picture(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "s.mov", 3, pts=[0, 1, 2], codec="mjpeg", pix_fmt="yuvj420p")
    with ClipReader(path) as reader, ClipWriter(tmp_path / "a.avi", reader.info) as writer:
        for frame in reader:
            frame.coded.duration *= 1 + 20 * (frame.index == 2)
            writer.write(frame)
    with ClipReader(tmp_path / "a.avi") as reader:
        assert reader._stream.frames > len(list(reader)) == 3  # else this test would show nothing
    assert reader.warnings == []


def test_a_damaged_clip_looks_alike_each_time(tmp_path: Path) -> None:
    """Not with several threads at the decoder: they conceal damage with what they just have."""
    path, chance = textured(tmp_path / "a.mp4", 40), np.random.default_rng(0)
    data = bytearray(path.read_bytes())
    for place in chance.integers(len(data) // 4, len(data), 60):
        data[place] ^= 16
    path.write_bytes(data)
    reads = [[frame.image for frame in ClipReader(path, ClipSettings(threads=n))] for n in (1, 4)]
    np.testing.assert_array_equal(*reads)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi"])
def test_a_clip_cut_off_is_said(tmp_path: Path, name: str, share: float) -> None:
    path = textured(tmp_path / name, 40)
    data = path.read_bytes()
    assert ClipReader(path).warnings == []
    path.write_bytes(data[: round(len(data) * share)])
    with ClipReader(path) as reader:
        count = len(list(reader))
    assert 0 < count < 39
    (warning,) = reader.warnings
    said = re.match(r"the clip breaks off after (\d\.\d\d) of 4\.00 s", warning)
    assert float(said[1]) == pytest.approx(count / 10, abs=0.2)  # some lie before lost ones


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_whole_file_is_not_called_cut_off(tmp_path: Path, name: str) -> None:
    """One bad packet may take all that lean on it: HEVC's decoder shows none of them."""
    path = make_clip(tmp_path / name, 20, codec="libx265", gop=250)
    damage(path, 8, kept=4)
    with ClipReader(path) as reader:
        count = len(list(reader))
    assert count < 18
    assert count + reader.corrupt_packets == 20
    (warning,) = reader.warnings
    said = r"no picture can be decoded after 0\.\d\d of 0\.80 s: the file is damaged there"
    assert re.fullmatch(said, warning)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_sound_cut_off_is_said(tmp_path: Path, name: str) -> None:
    copied(make_clip(tmp_path / "s.mp4", 50, sound=("aac",)), tmp_path / name)
    assert copied(tmp_path / name, tmp_path / "a1.mkv")[1].warnings == []
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: round(len(data) * 0.8)])
    (warning,) = copied(tmp_path / name, tmp_path / "b.mkv")[1].warnings
    assert re.fullmatch(r"sound stream 1 breaks off after [01]\.\d\d of 2\.\d\d s", warning)


def test_a_file_cut_off_that_states_no_streams_end_is_said(tmp_path: Path) -> None:
    """As mkvmerge does, whose tags come last."""
    path = make_clip(tmp_path / "a.mkv", 50, sound=("aac",))
    data = path.read_bytes().replace(b"DURATION", b"DIRECTOR")
    path.write_bytes(data)
    assert copied(path, tmp_path / "whole.mp4")[1].warnings == []
    path.write_bytes(data[: round(len(data) * 0.8)])
    assert re.match(
        r"the file breaks off after 1\.\d\d of 2\.02 s",
        copied(path, tmp_path / "b.mkv")[1].warnings[0],
    )


def test_streams_that_begin_midway_do_no_harm() -> None:
    """A damaged flv's do; PyAV at times looks for them when all is read, and fails."""

    class Damaged:
        def demux(self, *streams: object) -> Iterator[str]:
            yield "packet"
            raise IndexError("list index out of range")

    assert list(packets_of(Damaged())) == ["packet"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_sound_that_goes_on_is_no_missing_picture(tmp_path: Path, ending: str) -> None:
    path = make_clip(tmp_path / "s.mp4", 10, sound=("aac",), sound_seconds=9.0)
    copied(path, tmp_path / f"a{ending}")
    assert copied(tmp_path / f"a{ending}", tmp_path / "b.mkv")[0].warnings == []


def test_broken_sound_does_not_stop_a_render(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.ts", 50, sound=("aac",), click=1.5)
    with av.open(str(path)) as clip:
        head = bytes(next(clip.demux(audio=0)))[:4]  # of ADTS: rate and channels are in it
    whole = path.read_bytes()
    assert whole.count(head) > 20
    path.write_bytes(whole.replace(head, head[:2] + b"\x7c" + head[3:], 3))
    writer = copied(path, tmp_path / "a.mp4")[1]
    assert any("broken packets of sound" in warning for warning in writer.warnings)
    assert len(picture_times(tmp_path / "a.mp4")) == 50
    assert click_time(tmp_path / "a.mp4") == pytest.approx(1.5, abs=0.05)


def test_captions_inside_the_pictures_are_said(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "a.h264", 5)
    caption = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x2c\xff"  # CEA-708, Annex A/53
    message = b"\0\0\1\x06\x04" + bytes([len(caption)]) + caption + b"\x80"
    pictures = re.sub(
        rb"\x00\x00\x01[\x01\x41\x65]", lambda start: message + start[0], plain.read_bytes()
    )
    (tmp_path / "b.h264").write_bytes(pictures)
    assert copied(plain, tmp_path / "a.mp4")[0].warnings == []
    with ClipReader(tmp_path / "b.h264") as reader:
        assert reader.warnings == ["left out: the closed captions inside the pictures"]


def test_a_codec_that_nobody_knows_is_said(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", 5)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_PAINT/ISO/OIL"))
    with pytest.raises(InputError, match="codec is unknown here; convert it"):
        probe(path)


def test_sound_that_begins_late_does_so_everywhere(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", 25, sound=("aac",), click=0.5)
    late = tmp_path / "late.mkv"
    with av.open(str(path)) as clip, av.open(str(late), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
            if packet.size:
                if packet.stream.type == "audio":
                    packet.pts, packet.dts = packet.pts + 300, packet.dts + 300
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    assert copied(late, tmp_path / "a.mp4")[1].warnings == []
    assert click_time(tmp_path / "a.mp4") == pytest.approx(0.8, abs=0.002)
    (warning,) = copied(late, tmp_path / "a.avi")[1].warnings
    assert "encoded anew as pcm_s16le: avi has no times" in warning
    assert click_time(tmp_path / "a.avi") == pytest.approx(0.8, abs=0.002)
    assert copied(tmp_path / "a.avi", tmp_path / "b.avi")[1].warnings == []


def test_sound_that_begins_before_the_pictures_is_said_of_avi(tmp_path: Path) -> None:
    late = make_clip(tmp_path / "late.mkv", pts=list(range(8, 33)), sound=("aac",), click=0.5)
    assert copied(late, tmp_path / "a.mp4")[1].warnings == []
    assert picture_times(tmp_path / "a.mp4")[0] == Fraction(8, 25)
    warnings = copied(late, tmp_path / "a.avi")[1].warnings
    assert any("sound begins 0.32 s before the pictures: .avi shows" in said for said in warnings)
    assert click_time(tmp_path / "a.avi") == pytest.approx(0.5, abs=0.002)
    path = make_clip(tmp_path / "s.mkv", 25, sound=("aac",))
    assert not any("begins" in said for said in copied(path, tmp_path / "b.avi")[1].warnings)


@pytest.mark.parametrize("ending", [".mp4", ".avi"])
@pytest.mark.parametrize("seconds", [0.8, 6.4])
def test_a_gap_in_sound_encoded_anew_stays_one(tmp_path: Path, ending: str, seconds: float) -> None:
    """In mkv, whose packets from 0.4 s on are lost for so long; mkv's clock is no sample's."""
    path = make_clip(tmp_path / "a.mkv", 200, sound=("pcm_s16le",), click=0.7 + seconds)
    end = 400 + 1000 * seconds
    with av.open(str(path)) as clip, av.open(str(tmp_path / "s.mkv"), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
            lost = packet.stream.type == "audio" and 400 <= (packet.pts or 0) < end
            if packet.size and not lost:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    copied(tmp_path / "s.mkv", tmp_path / f"a{ending}")
    assert click_time(tmp_path / f"a{ending}") == pytest.approx(0.7 + seconds, abs=0.002)


def test_sound_that_changes_its_kind_goes_on(tmp_path: Path) -> None:
    """As a broadcast's does between programmes: here from one channel to two."""
    for layout in ("mono", "stereo"):
        with av.open(str(tmp_path / f"{layout}.ts"), "w") as clip:
            video, voice = (
                clip.add_stream("mpeg2video", rate=25),
                clip.add_stream("mp2", rate=48000),
            )
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            voice.codec_context.layout = layout
            for index in range(50):
                frame = grey_frame(90, (64, 48), "yuv420p")
                frame.pts = index
                clip.mux(video.encode(frame))
                wave = np.full((voice.codec_context.layout.nb_channels, 1920), 8000, np.int16)
                heard = av.AudioFrame.from_ndarray(wave, "s16p", layout)
                heard.sample_rate, heard.pts = 48000, index * 1920
                heard.time_base = Fraction(1, 48000)
                clip.mux(voice.encode(heard))
            clip.mux([*video.encode(None), *voice.encode(None)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "mono.ts").read_bytes() + (tmp_path / "stereo.ts").read_bytes())
    copied(joined, tmp_path / "a.avi")
    with av.open(str(tmp_path / "a.avi")) as clip:
        wave = np.concatenate([frame.to_ndarray() for frame in clip.decode(audio=0)], axis=1)
    assert wave.size == pytest.approx(4 * 48000, abs=4000)
    assert np.mean(np.abs(wave) > 4000) > 0.95


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi"])
def test_sound_that_is_only_announced_is_left_out(tmp_path: Path, ending: str) -> None:
    """As in a transport stream between programmes; avi could not be finished with it."""
    with av.open(str(tmp_path / "s.ts"), "w") as clip:
        video, voice = clip.add_stream("mpeg2video", rate=25), clip.add_stream("mp2", rate=48000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        voice.codec_context.layout = "mono"
        for index in range(50):
            frame = grey_frame(90, (64, 48), "yuv420p")
            frame.pts = index
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    warnings = copied(tmp_path / "s.ts", tmp_path / f"a{ending}")[1].warnings
    assert warnings == ["sound stream 1 is left out: no packet of it can be read"]
    assert len(picture_times(tmp_path / f"a{ending}")) == 50

"""Sound beside the pictures: when it is heard, from its first moment to its last."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from tests.video.made_clips import copied
from vidstyle.video import ClipWriter
from vidstyle.video.timeline import Timeline

RATE, FPS = 48000, 25
FLASH = 25  # the one bright frame; the click is heard with it
HEARD = 0.03


def flashing(path: Path, codec: str, seconds: int = 2) -> Path:
    """Dark pictures with a flash after a second; a quiet tone throughout with a click there."""
    with av.open(str(path), "w") as clip:
        # avi has one time a frame, no room for reordering.
        video = clip.add_stream("libx264", rate=FPS, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        voice = clip.add_stream(codec, rate=RATE)
        voice.codec_context.layout = "mono"
        wave = np.float32(0.15 * np.sin(np.arange(RATE * seconds) * 0.06))[None]
        click = RATE * FLASH // FPS
        wave[0, click : click + 480] += np.float32(0.7 * np.sin(np.arange(480) * 0.4))
        step = RATE // FPS
        for index in range(FPS * seconds):
            sound = np.ascontiguousarray(wave[:, index * step : (index + 1) * step])
            heard = av.AudioFrame.from_ndarray(sound, "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE, index * step, Fraction(1, RATE)
            clip.mux(voice.encode(heard))
            level = 235 if index == FLASH else 40 + index % 8
            grey = np.full((48, 64, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
            frame.pts = index
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
        clip.mux(voice.encode(None))
    return path


class Moments(NamedTuple):
    """Seconds after the flash."""

    picture: float
    click: float
    first: float
    last: float


def moments(path: Path) -> Moments:
    with av.open(str(path)) as clip:
        frames = [(frame.pts * frame.time_base, frame.to_ndarray(format="gray").mean())
                  for frame in clip.decode(video=0)]  # fmt: skip
    flash = next(time for time, level in frames if level > 150)
    with av.open(str(path)) as clip:
        pieces = [
            (float(frame.pts * frame.time_base - flash), _mono(frame))
            for frame in clip.decode(audio=0)
        ]
    for (begin, wave), (after, _) in pairwise(pieces):
        assert after == pytest.approx(begin + wave.size / RATE, abs=0.0025)  # no gaps
    heard = [
        (begin + np.flatnonzero(np.abs(wave) > HEARD) / RATE, begin, wave) for begin, wave in pieces
    ]
    times = np.concatenate([found for found, *_ in heard])
    loud = [begin + np.flatnonzero(np.abs(wave) > 0.3) / RATE for _, begin, wave in heard]
    return Moments(
        float(frames[0][0] - flash),
        float(np.concatenate(loud)[0]),
        float(times[0]),
        float(times[-1]),
    )


def _mono(frame: av.AudioFrame) -> np.ndarray:
    wave = frame.to_ndarray()
    if wave.dtype.kind == "i":
        wave = wave / np.iinfo(wave.dtype).max
    return wave[0] if frame.format.is_planar else wave[0, :: frame.layout.nb_channels]


def carried(source: Path, target: Path, **part: float) -> ClipWriter:
    return copied(source, target, **part)[1]


# mkv counts milliseconds, for pictures and for sound.
TICKS = {".mp4": 0.0001, ".mov": 0.0001, ".mkv": 0.0011, ".webm": 0.0011}


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("aac.mp4", ".mkv"),
        ("libmp3lame.mp4", ".mkv"),
        ("ac3.mp4", ".mkv"),
        ("libopus.mp4", ".mkv"),
        ("aac.mkv", ".mkv"),
        ("aac.mkv", ".mp4"),
        ("libmp3lame.mkv", ".mov"),
        ("pcm_s16le.mov", ".mp4"),
        ("aac.ts", ".mp4"),
        ("mp2.ts", ".mkv"),
    ],
)
def test_all_sound_is_heard_when_it_was(tmp_path: Path, source: str, ending: str) -> None:
    path = flashing(tmp_path / source, source.partition(".")[0])
    carried(path, tmp_path / f"a{ending}")
    before, after = moments(path), moments(tmp_path / f"a{ending}")
    allowed = TICKS[ending]
    assert after.click == pytest.approx(before.click, abs=allowed)
    assert after.first == pytest.approx(before.first, abs=allowed + 0.0005)
    assert after.last == pytest.approx(before.last, abs=allowed + 0.0005)


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("aac.mp4", ".mp4"),
        ("libmp3lame.ts", ".mov"),
        ("flac.mp4", ".mkv"),
        ("libmp3lame.mp4", ".mkv"),
        ("ac3.mkv", ".mkv"),
        ("pcm_s16le.mov", ".mp4"),
        ("libopus.mp4", ".mkv"),
        ("libopus.mkv", ".webm"),
    ],
)
def test_sound_of_a_part_begins_with_its_first_picture(
    tmp_path: Path, source: str, ending: str
) -> None:
    """A decoder needs what comes before: MP3 would else be silent for a tenth of a second."""
    path = flashing(tmp_path / source, source.partition(".")[0])
    carried(path, tmp_path / f"a{ending}", start=0.5)
    before, after = moments(path), moments(tmp_path / f"a{ending}")
    assert after.picture == -0.48  # the first frame from half a second on
    assert after.click == pytest.approx(before.click, abs=TICKS[ending])
    assert after.first == pytest.approx(after.picture, abs=TICKS[ending] + 0.0005)
    assert after.last == pytest.approx(before.last, abs=TICKS[ending] + 0.0005)


@pytest.mark.parametrize("source", ["aac.mp4", "aac.ts", "mp2.ts", "libmp3lame.avi", "ac3.mkv"])
@pytest.mark.parametrize("start", [0.0, 0.5])
def test_avi_has_sound_to_the_sample(tmp_path: Path, source: str, start: float) -> None:
    """Though it has no times for sound, whose packets of 20 to 32 ms begin where they like."""
    path = flashing(tmp_path / source, source.partition(".")[0])
    carried(path, tmp_path / "a.avi", start=start)
    before, after = moments(path), moments(tmp_path / "a.avi")
    # FFmpeg takes H.264 in avi to be reordered: stored is the true time, a frame earlier.
    late = 0.0 if source.endswith(".avi") else 0.04
    assert after.click + late == pytest.approx(before.click, abs=0.0005)
    if start:
        assert after.first + 0.04 == pytest.approx(after.picture, abs=0.0005)


@pytest.mark.parametrize("codec", ["aac", "ac3", "libmp3lame", "pcm_s16le"])
def test_avi_counts_packets_of_sound(tmp_path: Path, codec: str) -> None:
    """So those of its parts begin between two, and its header must not say bytes instead."""
    path = flashing(tmp_path / "s.avi", codec)
    before = moments(path)
    carried(path, tmp_path / "a.avi")
    assert moments(tmp_path / "a.avi") == pytest.approx(before, abs=0.001)
    for name, part in (("a.mp4", {}), ("b.mp4", {"start": 0.5})):
        carried(path, tmp_path / name, **part)
        # FFmpeg takes H.264 in avi to be reordered: stored is the true time, a frame earlier.
        assert moments(tmp_path / name).click == pytest.approx(before.click + 0.04, abs=0.0005)


def test_sound_of_one_channel_stays_so(tmp_path: Path) -> None:
    """Though avi says how many channels there are only, not which."""
    path = flashing(tmp_path / "s.avi", "pcm_s16le")
    (warning,) = carried(path, tmp_path / "a.mp4").warnings
    assert warning == (
        "sound stream 1 (pcm_s16le) is encoded anew as aac: mp4 cannot hold pcm_s16le"
    )
    with av.open(str(tmp_path / "a.mp4")) as clip:
        assert clip.streams.audio[0].codec_context.layout.name == "mono"


def later(source: Path, target: Path, seconds: int) -> Path:
    """The same recording with a clock that is ahead."""
    with (
        av.open(str(source)) as clip,
        av.open(str(target), "w", container_options={"mpegts_copyts": "1"}) as made,
    ):
        copies = [made.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
            if packet.size:
                ticks = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = copies[packet.stream_index]
                made.mux(packet)
    return target


@pytest.mark.parametrize("codec", ["aac", "mp2"])  # mp2 is encoded anew in mp4
def test_sound_stays_with_the_pictures_of_joined_recordings(tmp_path: Path, codec: str) -> None:
    """Whether the clock starts over or jumps on; each joint cost up to a packet before."""
    one = flashing(tmp_path / f"{codec}.ts", codec)
    other = later(one, tmp_path / "later.ts", 3600)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(path.read_bytes() for path in (one, one, other, one, one)))
    for part, count in (({}, 5), ({"start": 3.5, "end": 7.9}, 2)):
        target = tmp_path / f"a{count}.mp4"
        carried(joined, target, **part)
        with av.open(str(target)) as clip:
            levels = [
                (float(frame.pts * frame.time_base), frame.to_ndarray(format="gray").mean())
                for frame in clip.decode(video=0)
            ]
        with av.open(str(target)) as clip:
            heard = [
                float(frame.pts * frame.time_base) + np.flatnonzero(_mono(frame) > 0.5)[0] / RATE
                for frame in clip.decode(audio=0)
                if _mono(frame).max() > 0.5
            ]
        flashes = [time for time, level in levels if level > 150]
        clicks = [time for before, time in pairwise([-1.0, *heard]) if time > before + 0.1]
        assert len(flashes) == len(clicks) == count
        np.testing.assert_allclose(clicks, flashes, atol=0.021)
        steps = np.diff([time for time, _ in levels])
        np.testing.assert_allclose(steps, 0.04, atol=0.001)


def test_a_gap_in_a_recording_stays_one(tmp_path: Path) -> None:
    """In which sound goes on: no new recording begins there, though the pictures' times jump."""
    path = flashing(tmp_path / "aac.ts", "aac", seconds=16)
    with av.open(str(path)) as clip, av.open(str(tmp_path / "s.ts"), "w") as made:
        copies = [made.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
            seconds = (packet.pts or 0) * packet.time_base
            lost = packet.stream.type == "video" and 3 < seconds < 14.5
            if packet.size and not lost:
                packet.stream = copies[packet.stream_index]
                made.mux(packet)
    carried(tmp_path / "s.ts", tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as clip:
        assert clip.duration / 1e6 == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize("ending", [".ts", ".mkv"])
def test_a_broken_time_of_sound_is_no_hour_of_silence(tmp_path: Path, ending: str) -> None:
    """Which sound encoded anew would be filled with."""
    path = flashing(tmp_path / f"mp2{ending}", "mp2")

    def broken(clip: av.container.InputContainer) -> Iterator[av.Packet]:
        sound = 0
        for packet in clip.demux():
            sound += packet.stream.type == "audio"
            if packet.stream.type == "audio" and sound == 20:
                packet.pts = packet.dts = packet.pts + round(20_000 / packet.time_base)
            yield packet

    with av.open(str(path)) as clip:
        whole = [packet for packet in clip.demux() if packet.size]
    with av.open(str(path)) as clip:
        moved = Timeline(clip, clip.streams.video[0]).moved(broken(clip))
        kept = [packet.pts * packet.time_base for packet in moved if packet.size]
    assert len(kept) == len(whole) - 1
    assert max(kept) == max(packet.pts * packet.time_base for packet in whole)


def test_sound_goes_on_beyond_the_length_that_the_header_says(tmp_path: Path) -> None:
    """As where a recording was broken off and mended badly."""
    path = flashing(tmp_path / "mp2.mkv", "mp2", seconds=16)
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, a double
    path.write_bytes(data[:at] + struct.pack(">d", 2000.0) + data[at + 8 :])
    with av.open(str(path)) as clip:
        whole = sum(packet.size > 0 for packet in clip.demux())
    with av.open(str(path)) as clip:
        assert clip.duration == 2_000_000
        moved = Timeline(clip, clip.streams.video[0]).moved(clip.demux())
        assert sum(packet.size > 0 for packet in moved) == whole


def test_a_broken_time_of_a_picture_moves_no_other(tmp_path: Path) -> None:
    with av.open(str(flashing(tmp_path / "mp2.ts", "mp2"))) as clip:
        packets = [packet for packet in clip.demux() if packet.size]
        times = [packet.pts for packet in packets]
        (broken, *_) = (n for n in range(30, 60) if packets[n].stream.type == "video")
        packets[broken].pts += 2**32
        moved = list(Timeline(clip, clip.streams.video[0]).moved(packets))
    assert [packet.pts for packet in moved] == times

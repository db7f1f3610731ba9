"""Clips made for a test, and what there is to know of one opened again."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidstyle.frame import ClipInfo, ColourTags, Frame
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, ClipWriter

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"

INFO = ClipInfo(
    path=Path("missing.mp4"),
    width=64,
    height=48,
    rate=Fraction(25),
    time_base=Fraction(1, 12800),
    frames=None,
    seconds=None,
    rotation_degrees=0,
    colour=ColourTags(1, 1, 1, False),
    codec="h264",
    pix_fmt="yuv420p",
    bit_depth=8,
    sound_streams=0,
)


def info(**changes: object) -> ClipInfo:
    return replace(INFO, **changes)


def real_clip(name: str) -> Path:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def gradient(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """(H, W, 3) float32 in [0.1, 0.9]: smooth, so that 4:2:0 can hold it."""
    corners = np.random.default_rng(seed).uniform(0.1, 0.9, (2, 2, 3))
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    top = corners[0, 0] * (1 - x) + corners[0, 1] * x
    bottom = corners[1, 0] * (1 - x) + corners[1, 1] * x
    return (top * (1 - y) + bottom * y).astype(np.float32)


def texture(seed: int, width: int = 160, height: int = 120) -> np.ndarray:
    """(H, W, 3) float32: coloured blobs of 20 px with a little noise, unlike another seed's."""
    rng = np.random.default_rng(seed)
    blobs = rng.uniform(0, 1, (height // 20, -(-width // 20), 3)).repeat(20, 0).repeat(20, 1)
    noise = rng.uniform(-0.03, 0.03, (height, width, 3))
    return np.clip(blobs[:, :width] + noise, 0, 1).astype(np.float32)


def flat(colour: tuple[float, float, float], width: int = 64, height: int = 48) -> np.ndarray:
    return np.broadcast_to(np.float32(colour), (height, width, 3)).copy()


def frames(images: list[np.ndarray], pts: list[int], time_base: Fraction) -> list[Frame]:
    return [
        Frame(image, index, moment, time_base)
        for index, (image, moment) in enumerate(zip(images, pts, strict=True))
    ]


def make_clip(
    path: Path,
    pictures: int = 25,
    *,
    size: tuple[int, int] = (64, 48),
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sound: tuple[str, ...] = (),
    click: float = 0.5,
    sound_seconds: float | None = None,
    rotation: int | None = None,
    mirrored: bool = False,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    metadata: dict[str, str] | None = None,
    gop: int = 12,
    rate: Fraction = Fraction(25),
) -> Path:
    """A clip whose frame n is grey at level 40 + 4n and whose sound is one click at `click` s.

    `tags` are matrix, primaries, transfer, range.
    """
    pts = list(range(pictures)) if pts is None else pts
    with av.open(str(path), "w") as clip:
        clip.metadata.update(metadata or {})
        video = clip.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        context = video.codec_context
        context.time_base, context.gop_size = time_base, gop
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if tags is not None:
            context.colorspace, context.color_primaries, context.color_trc = tags[:3]
            context.color_range = tags[3]
        if rotation is not None:
            video.set_display_rotation(rotation, hflip=mirrored)
        voices = [clip.add_stream(name, rate=48000) for name in sound]
        for voice in voices:
            voice.codec_context.layout = "mono"
        seconds = sound_seconds or float((pts[-1] + 1) * time_base)
        for voice in voices:
            _click(clip, voice, click, seconds)
        for index, moment in enumerate(pts):
            frame = grey_frame(40 + 4 * (index % 50), size, pix_fmt)
            frame.pts, frame.time_base = moment, time_base
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    return path


def picture_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as clip:
        return [bytes(packet) for packet in clip.demux(video=0) if packet.size]


def damage(path: Path, *numbers: int, kept: int = 8, rest: bytes = b"\xaa") -> None:
    """These packets of the picture keep their first bytes only."""
    packets, data = picture_packets(path), path.read_bytes()
    for packet in (packets[number] for number in numbers):
        assert data.count(packet) == 1
        data = data.replace(packet, packet[:kept].ljust(len(packet), rest))
    path.write_bytes(data)


def encoded(path: Path, images: list[np.ndarray]) -> Path:
    """Pictures (H, W, 3) in [0, 1] by H.264, nearly without loss, a keyframe in every twelfth."""
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("libx264", rate=25)
        video.height, video.width, _ = images[0].shape
        video.pix_fmt, video.codec_context.gop_size, video.options = "yuv420p", 12, {"crf": "10"}
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.rint(image * 255).astype(np.uint8))
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    return path


def make_film(path: Path, *shots: int) -> Path:
    """A clip of 64×48 with sound: shots of so many frames, each moving over a ground of its own."""
    voiced = make_clip(path.with_name("voiced.mkv"), sum(shots), sound=("aac",), click=0.1)
    grounds = [texture(1 + shot, 64 + max(shots), 60)[:48] for shot in range(len(shots))]
    views = [
        grounds[shot][:, n : n + 64] for shot, frames in enumerate(shots) for n in range(frames)
    ]
    with ClipReader(voiced) as reader, ClipWriter(path, reader.info, clip=ClipSettings()) as out:
        for view, frame in zip(views, reader, strict=True):
            out.write(replace(frame, image=np.ascontiguousarray(view)))
    voiced.unlink()
    return path


def grey_frame(level: int, size: tuple[int, int], pix_fmt: str) -> av.VideoFrame:
    picture = np.full((size[1], size[0], 3), level, np.uint8)
    # A brighter top left quarter tells which way is up.
    picture[: size[1] // 2, : size[0] // 2] += 40
    return av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)


def _click(
    clip: av.container.OutputContainer, voice: object, moment: float, seconds: float
) -> None:
    wave = np.zeros((1, int(48000 * seconds)), np.float32)
    begin = int(48000 * moment)
    heard = wave[0, begin : begin + 480]
    heard[:] = 0.9 * np.sin(np.arange(heard.size) * 0.4)
    for start in range(0, wave.shape[1], 960):
        piece = np.ascontiguousarray(wave[:, start : start + 960])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        clip.mux(voice.encode(frame))
    clip.mux(voice.encode(None))


def picture_times(path: Path) -> list[Fraction]:
    """Seconds at which the first video stream's frames are shown."""
    with av.open(str(path)) as clip:
        return [frame.pts * frame.time_base for frame in clip.decode(video=0)]


def click_time(path: Path, stream: int = 0) -> float:
    """Seconds at which the sound first exceeds a quarter of full scale."""
    with av.open(str(path)) as clip:
        voice = clip.streams.audio[stream]
        for frame in clip.decode(voice):
            wave = frame.to_ndarray()
            if wave.dtype == np.int16:
                wave = wave / 32768
            loud = np.flatnonzero(np.abs(np.atleast_2d(wave)[0]) > 0.25)
            if loud.size:
                return float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate
    raise AssertionError(f"no click in {path}")


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if "partial" in entry.name]


def copied(source: Path, target: Path, **part: object) -> tuple[ClipReader, ClipWriter]:
    """The tool without a style."""
    clip = ClipSettings(**part)
    with (
        ClipReader(source, clip) as reader,
        ClipWriter(target, reader.info, None, clip) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    return reader, writer

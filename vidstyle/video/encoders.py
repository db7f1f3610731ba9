"""Which encoder, in which container, with which options: settled before any work is done."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

import av
from av.video.codeccontext import VideoCodecContext

from vidstyle.errors import SettingsError
from vidstyle.settings import OutputSettings
from vidstyle.video.colour import PixelLayout
from vidstyle.video.target import check_target


@dataclass(frozen=True)
class Container:
    """An ending's muxer and its usual encoders.

    `exact_times`: keeps any time base, rotations and edits. `copied`: the sound codecs that
    players expect in it; `None` means all that the muxer takes.
    """

    muxer: str
    video: str
    sound: str
    exact_times: bool = False
    copied: frozenset[str] | None = None


@dataclass(frozen=True)
class Encoder:
    """`quality` is the name of the crf-like option, `crf` our default on its scale up to `top`.

    `even_sides`: refuses odd ones in subsampled layouts. `states_aspect`: its own bytes give the
    pixels' shape, which mkv, webm and avi would else lose.
    """

    quality: str | None = "crf"
    crf: float | None = None
    top: int = 51
    whole_crf: bool = False
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None
    even_sides: bool = False
    states_aspect: bool = False


# The muxer takes Vorbis and PCM in mp4 as well, but hardly any player does.
_IN_MP4: Final = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_IN_AVI: Final = frozenset({"mp3", "mp2", "ac3", "aac", "pcm_s16le", "pcm_u8"})
CONTAINERS: Final = {
    ".mp4": Container("mp4", "libx264", "aac", exact_times=True, copied=_IN_MP4),
    ".m4v": Container("mp4", "libx264", "aac", exact_times=True, copied=_IN_MP4),
    ".mov": Container("mov", "libx264", "aac", exact_times=True),
    ".mkv": Container("matroska", "libx264", "aac"),
    ".webm": Container("webm", "libvpx-vp9", "libopus"),
    ".avi": Container("avi", "libx264", "libmp3lame", copied=_IN_AVI),
}
ENCODERS: Final = {
    # Without mbtree=0 the same frames give different bytes from run to run.
    "libx264": Encoder(
        crf=16, options={"x264-params": "mbtree=0"}, even_sides=True, states_aspect=True
    ),
    "libx264rgb": Encoder(crf=16, options={"x264-params": "mbtree=0"}),
    # Apple's players know HEVC in mp4 only as hvc1.
    "libx265": Encoder(
        crf=18,
        options={"x265-params": "log-level=error"},
        tag="hvc1",
        even_sides=True,
        states_aspect=True,
    ),
    "libsvtav1": Encoder(crf=24, top=63, whole_crf=True, options={"preset": "8"}),
    "libvpx-vp9": Encoder(
        crf=22,
        top=63,
        whole_crf=True,
        options={"deadline": "good", "cpu-used": "4", "row-mt": "1"},
    ),
    "prores_ks": Encoder(quality=None, options={"profile": "hq", "vendor": "apl0"}),
    "ffv1": Encoder(quality=None, options={"level": "3", "slicecrc": "1"}),
    "h264_nvenc": Encoder(
        quality="cq", crf=19, options={"rc": "vbr"}, even_sides=True, states_aspect=True
    ),
    "hevc_nvenc": Encoder(
        quality="cq", crf=21, options={"rc": "vbr"}, tag="hvc1", even_sides=True, states_aspect=True
    ),
}
_KNOWN: Final = "libx264, libx265, libsvtav1, libvpx-vp9, prores_ks, ffv1"
# First choice that an encoder takes: what plays everywhere, then what its users expect.
_USUAL_LAYOUTS: Final = ("yuv420p", "yuv422p10le", "yuv422p", "yuv444p", "gbrp", "bgr0")


@dataclass(frozen=True)
class Plan:
    """A checked request: everything about the encoding that needs no frame to be known."""

    container: Container
    codec: str
    encoder: Encoder
    layout: PixelLayout
    crf: float | None

    @property
    def options(self) -> dict[str, str]:
        options = dict(self.encoder.options)
        if self.encoder.quality is not None and self.crf is not None:
            options[self.encoder.quality] = f"{self.crf:g}"
        return options


def check_output(path: Path, settings: OutputSettings) -> Plan:
    """All that can be refused before the first frame: target, ending, codec, layout, crf.

    Raises `OutputError` for the target and `SettingsError` for the rest. Opens the encoder once,
    so that one whose hardware is missing is refused too.
    """
    container = container_for(path)
    codec = _codec(settings.codec or container.video)
    encoder = ENCODERS.get(codec.name, Encoder(quality=None))
    _check_held(codec, container, path)
    layout = _layout(codec, settings.pix_fmt)
    plan = Plan(container, codec.name, encoder, layout, _crf(codec.name, encoder, settings.crf))
    check_target(path, settings.overwrite)
    _try_to_open(plan)
    return plan


def container_for(path: Path) -> Container:
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        endings = ", ".join(CONTAINERS)
        raise SettingsError(f"{path}: its name must end in one of {endings}") from None


def _codec(name: str) -> av.Codec:
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:
        raise SettingsError(f"--codec {name}: no such encoder; there are {_KNOWN}") from error
    if codec.type != "video":
        raise SettingsError(f"--codec {name}: encodes {codec.type}; for video there are {_KNOWN}")
    return codec


def _check_held(codec: av.Codec, container: Container, path: Path) -> None:
    if not _is_held(codec, container):
        raise SettingsError(
            f"--codec {codec.name}: a {path.suffix} file cannot hold it; "
            f"use {container.video}, or end the name in .mkv"
        )


def _is_held(codec: av.Codec, container: Container) -> bool:
    with av.open(io.BytesIO(), "w", format=container.muxer) as muxer:
        return codec.name in muxer.supported_codecs


def _layout(codec: av.Codec, name: str | None) -> PixelLayout:
    offered = [entry.name for entry in codec.video_formats or ()]
    if name is not None:
        layout = PixelLayout(name)
        if offered and name not in offered:
            choice = ", ".join(offered[:12])
            raise SettingsError(f"--pix-fmt {name}: {codec.name} takes {choice}")
        return layout
    for usual in _USUAL_LAYOUTS:
        if usual in offered:
            return PixelLayout(usual)
    raise SettingsError(f"--codec {codec.name}: takes no usual pixel format; use one of {_KNOWN}")


def _crf(codec: str, encoder: Encoder, asked: float | None) -> float | None:
    if asked is None:
        return encoder.crf
    if encoder.quality is None:
        raise SettingsError(f"--crf {asked:g}: {codec} has no such scale; leave --crf out")
    if asked > encoder.top:
        raise SettingsError(f"--crf {asked:g}: must be between 0 and {encoder.top} for {codec}")
    if encoder.whole_crf and asked != int(asked):
        raise SettingsError(f"--crf {asked:g}: must be a whole number for {codec}")
    return asked


def _try_to_open(plan: Plan) -> None:
    context = cast(VideoCodecContext, av.CodecContext.create(plan.codec, "w"))
    context.width, context.height = 256, 144  # hardware refuses very small pictures
    context.pix_fmt = plan.layout.name
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = plan.options
    quiet_libraries()
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        raise SettingsError(
            f"--codec {plan.codec}: cannot be opened on this machine with "
            f"--pix-fmt {plan.layout.name}; use {plan.container.video}"
        ) from error


def quiet_libraries() -> None:
    """SVT-AV1 writes a page to stderr for every encoder it opens, unless told by environment."""
    os.environ.setdefault("SVT_LOG", "1")


def default_ending(source: Path, codec: str | None) -> str:
    """The source's ending if its container can hold the codec (H.264 if not named), else mp4.

    Not avi: it would snap the frames' times.
    """
    wanted = _codec(codec or CONTAINERS[".mp4"].video)
    for ending in (source.suffix.lower(), ".mp4", ".mkv", ".webm"):
        container = CONTAINERS.get(ending)
        if container and container.muxer != "avi" and _is_held(wanted, container):
            return ending
    return ".mp4"

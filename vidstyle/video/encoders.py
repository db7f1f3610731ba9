"""Which encoder, in which container, with which options: settled before any work is done."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
from av.stream import Disposition

from vidstyle.errors import SettingsError
from vidstyle.frame import ClipInfo
from vidstyle.settings import OutputSettings
from vidstyle.video.colour import BT470BG, BT709
from vidstyle.video.planes import PixelLayout, writable_layout
from vidstyle.video.sequence import ImageSequence
from vidstyle.video.target import check_sequence_target, check_target

_NO_MARKS: Final = Disposition(0)


@dataclass(frozen=True)
class Container:
    """An ending's muxer and its usual encoders.

    `exact_times`: keeps any time base, rotations and edits. `copied`: the sound codecs that
    players expect in it; `None` means all that the muxer takes. `tags`: says more of itself than
    its streams do, `any_tags` under any name, `chapters` also where they begin, `attachments` files
    of any kind, `marks` what a stream is for, apart from being the usual one. `numbered`: a file a
    frame. `states_colour`: says so of streams that do not themselves. `refused`: codecs that it
    lists, yet does not take.
    """

    muxer: str
    video: str
    sound: str | None = None
    subtitles: str | None = None
    exact_times: bool = False
    copied: frozenset[str] | None = None
    tags: bool = True
    any_tags: bool = False
    chapters: bool = True
    attachments: bool = False
    marks: Disposition = _NO_MARKS
    numbered: bool = False
    states_colour: bool = True
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Encoder:
    """`quality` is the name of the crf-like option, `crf` our default on its scale up to `top`.

    `even_sides`: refuses odd ones in subsampled layouts. `states_aspect`: its own bytes give the
    pixels' shape, which mkv, webm and avi would else lose. `states_range`: its files say when
    levels fill the full range; `matrix`: that which they are always read with. `states_colour`:
    its own bytes name matrix and range. `lossless`: keeps the source's pixel format where it can.
    `most_bits`: of a sample, unless asked for more. `untagged`: its files do not name colours.
    """

    quality: str | None = "crf"
    crf: float | None = None
    top: int = 51
    whole_crf: bool = False
    options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None
    even_sides: bool = False
    states_aspect: bool = False
    states_range: bool = True
    matrix: int | None = None
    states_colour: bool = True
    lossless: bool = False
    most_bits: int = 32
    untagged: bool = False


_PICTURES: Final = ("png", "tiff", "exr")


def _pictures(codec: str) -> Container:
    return Container("image2", codec, tags=False, chapters=False, numbered=True)


# The muxer takes Vorbis and PCM in mp4 as well, but hardly any player does.
_IN_MP4: Final = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_IN_AVI: Final = frozenset({"mp3", "mp2", "ac3", "aac", "pcm_s16le", "pcm_u8"})
_USUAL_MARKS: Final = (
    Disposition.dub
    | Disposition.comment
    | Disposition.forced
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
)
_MP4: Final = Container(
    "mp4",
    "libx264",
    "aac",
    "mov_text",
    exact_times=True,
    copied=_IN_MP4,
    marks=_USUAL_MARKS | Disposition.captions | Disposition.descriptions,
)
CONTAINERS: Final = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container(
        "mov",
        "libx264",
        "aac",
        "mov_text",
        exact_times=True,
        refused=frozenset({"av1", "vp8", "vp9"}),
    ),
    ".mkv": Container(
        "matroska",
        "libx264",
        "aac",
        "subrip",
        any_tags=True,
        attachments=True,
        marks=_USUAL_MARKS | Disposition.original,
    ),
    ".webm": Container(
        "webm", "libvpx-vp9", "libopus", "webvtt", any_tags=True, marks=Disposition.forced
    ),
    ".avi": Container(
        "avi", "libx264", "pcm_s16le", copied=_IN_AVI, chapters=False, states_colour=False
    ),
    ".gif": Container("gif", "gif", tags=False, chapters=False),
    ".png": _pictures("png"),
    ".tif": _pictures("tiff"),
    ".tiff": _pictures("tiff"),
    ".exr": _pictures("exr"),
}
ENCODERS: Final = {
    # Finer than film needs: coarser, x264 adds flicker of its own to brush work, from
    # "Shimmer" in tests/bench/results/README.md. Without mbtree=0 the same frames give different
    # bytes from run to run.
    "libx264": Encoder(
        crf=6, options={"x264-params": "mbtree=0"}, even_sides=True, states_aspect=True
    ),
    "libx264rgb": Encoder(crf=6, options={"x264-params": "mbtree=0"}, states_aspect=True),
    "libx265": Encoder(
        crf=18,
        options={"x265-params": "log-level=error"},
        tag="hvc1",  # Apple's players know HEVC in mp4 only so
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
    # Without its option it refuses transparency.
    "libvpx": Encoder(
        quality=None, options={"auto-alt-ref": "0"}, states_range=False, matrix=BT470BG
    ),
    "prores_ks": Encoder(
        quality=None, options={"profile": "hq", "vendor": "apl0"}, states_range=False
    ),
    "dnxhd": Encoder(
        quality=None, options={"profile": "dnxhr_hq"}, states_range=False, matrix=BT709
    ),
    "ffv1": Encoder(
        quality=None,
        options={"level": "3", "slicecrc": "1"},
        states_colour=False,
        lossless=True,
        most_bits=16,  # lists float, which its level 3 has not
    ),
    "gif": Encoder(quality=None, states_aspect=True, untagged=True),
    "png": Encoder(quality=None, states_aspect=True, lossless=True),
    "tiff": Encoder(
        quality=None,
        options={"compression_algo": "lzw"},
        states_aspect=True,
        lossless=True,
        untagged=True,
    ),
    "exr": Encoder(
        quality=None,
        options={"compression": "zip16"},
        states_aspect=True,
        lossless=True,
        untagged=True,
    ),
    "h264_nvenc": Encoder(
        quality="cq",
        crf=19,
        options={"rc": "vbr"},
        even_sides=True,
        states_aspect=True,
        most_bits=8,  # few cards do more
    ),
    "hevc_nvenc": Encoder(
        quality="cq", crf=21, options={"rc": "vbr"}, tag="hvc1", even_sides=True, states_aspect=True
    ),
    "av1_nvenc": Encoder(quality="cq", crf=24, top=63, options={"rc": "vbr"}),
}
_OTHER: Final = Encoder(quality=None, states_range=False, states_colour=False)
# The muxers that carry the transparency of a codec, where not all do.
_ALPHA_IN: Final = {
    "vp8": ("matroska", "webm"),
    "vp9": ("matroska", "webm"),
    "hevc": (),  # its encoder lists the formats, but is built without
}
# Where a layout wants another than the encoder's usual one.
_PROFILES: Final = {
    ("prores_ks", "yuv444p10le"): "4444",
    ("prores_ks", "yuva444p10le"): "4444",
    ("dnxhd", "yuv422p10le"): "dnxhr_hqx",
    ("dnxhd", "yuv444p10le"): "dnxhr_444",
    ("dnxhd", "gbrp10le"): "dnxhr_444",
}
_KNOWN: Final = "libx264, libx265, libsvtav1, libvpx-vp9, prores_ks, ffv1"
# The first choice is what plays everywhere, then what an encoder's users expect.
_USUAL_CHROMA: Final = ("yuv420p", "yuv422p", "yuv444p", "gbrp", "gray")


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
        profile = _PROFILES.get((self.codec, self.layout.name))
        if profile is not None:
            options["profile"] = profile
        if self.encoder.quality is not None and self.crf is not None:
            options[self.encoder.quality] = f"{self.crf:g}"
        return options


def check_output(path: Path, settings: OutputSettings, info: ClipInfo | None = None) -> Plan:
    """All that can be refused before the encoder is opened: target, ending, codec, layout, crf.

    `info` is the source's, for the pixel format that suits it. Raises `OutputError` for the target
    and `SettingsError` for the rest.
    """
    container = container_for(path)
    codec = _codec(settings.codec or container.video)
    encoder = ENCODERS.get(codec.name, _OTHER)
    _check_held(codec, container, path)
    layout = _layout(codec, container, settings.pix_fmt, info)
    plan = Plan(container, codec.name, encoder, layout, _crf(codec.name, encoder, settings.crf))
    check = check_sequence_target if container.numbered else check_target
    check(path, settings.overwrite)
    return plan


def container_for(path: Path) -> Container:
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise SettingsError(f"{path}: its name must end in one of {', '.join(CONTAINERS)}")
    if container.numbered and ImageSequence.of(path) is None:
        raise SettingsError(
            f"{path}: a sequence's name needs a place for the number, "
            f"such as {path.stem}.%04d{path.suffix}"
        )
    return container


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
    if container.numbered:
        return codec.name == container.video
    if codec.canonical_name in container.refused:
        return False
    with av.open(io.BytesIO(), "w", format=container.muxer) as muxer:
        return codec.name in muxer.supported_codecs


def _layout(
    codec: av.Codec, container: Container, name: str | None, info: ClipInfo | None
) -> PixelLayout:
    encoder = ENCODERS.get(codec.name, _OTHER)
    clear = container.muxer in _ALPHA_IN.get(codec.canonical_name, (container.muxer,))
    offered = [entry.name for entry in codec.video_formats or ()]
    if name is not None:
        layout = writable_layout(name)
        if offered and name not in offered:
            choice = ", ".join(offered[:12])
            raise SettingsError(f"--pix-fmt {name}: {codec.name} takes {choice}")
        if layout.has_alpha and not clear:
            raise SettingsError(
                f"--pix-fmt {name}: {container.muxer} does not carry the transparency of "
                f"{codec.name}; end the name in .webm or leave --pix-fmt out"
            )
        return layout
    usual = [layout for layout in map(PixelLayout, offered) if layout.is_writable]
    usual = [
        layout
        for layout in usual
        if layout.depth <= encoder.most_bits and (clear or not layout.has_alpha)
    ]
    if codec.name in _PICTURES:
        usual = [layout for layout in usual if layout.is_rgb or layout.is_grey]
    if not usual:
        raise SettingsError(
            f"--codec {codec.name}: takes no usual pixel format; use one of {_KNOWN}"
        )
    return min(usual, key=lambda layout: _unfit(layout, encoder, info))


def _unfit(layout: PixelLayout, encoder: Encoder, info: ClipInfo | None) -> tuple[object, ...]:
    """Smallest for the layout that loses least of the source, then the most usual one."""
    depth = min(info.bit_depth if info else 8, encoder.most_bits)
    alpha = info is not None and info.has_alpha
    source = PixelLayout(info.pix_fmt) if info else layout
    same = info is not None and layout.planar == source.planar.replace("yuvj", "yuv")
    opaque = layout.planar.replace("yuva", "yuv").replace("gbrap", "gbrp")
    place = [opaque.startswith(chroma) for chroma in (*_USUAL_CHROMA, "")].index(True)
    return (
        layout.is_grey,  # a painting of a grey clip has colours
        layout.has_alpha != alpha,
        max(0, depth - layout.depth),
        not (encoder.lossless and same),
        encoder.lossless and _loses_colour(layout, source),
        layout.depth,
        layout.name == "pal8",
        place,
    )


def _loses_colour(layout: PixelLayout, source: PixelLayout) -> bool:
    fewer = any(ours > theirs for ours, theirs in zip(layout.unit, source.unit, strict=True))
    return fewer or layout.is_rgb != source.is_rgb


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


def quiet_libraries() -> None:
    """SVT-AV1 writes a page to stderr for every encoder it opens, unless told by environment."""
    os.environ.setdefault("SVT_LOG", "0")


@contextmanager
def usual_priority() -> Iterator[None]:
    """SVT-AV1 makes root's processes real-time, calling threads included: little else would run."""
    threads = Path("/proc/self/task")
    if not threads.is_dir():
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in threads.iterdir():
            with suppress(ProcessLookupError):
                if os.sched_getscheduler(int(thread.name)) == os.SCHED_FIFO:
                    os.sched_setscheduler(int(thread.name), *before)


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

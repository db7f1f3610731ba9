"""Files opened to be read, whatever their names and tags are written in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

MICROSECOND: Final = Fraction(1, 1_000_000)  # FFmpeg's unit for a container's own times
_COVER: Final = Disposition.attached_pic | Disposition.timed_thumbnails
_STATE_LENGTH: Final = ("mov", "matroska", "flv")  # others' is worked out from the file's size
_CLOCK_TIME: Final = re.compile(r"(\d+):(\d+):([\d.]+)")
_TAGS_MAY_FAIL: Final = int(av.__version__.split(".")[0]) < 19


def url(path: Path) -> str:
    """For FFmpeg, which takes `take 12:30.mp4` for a protocol's address without this."""
    return f"file:{path}"


def open_source(path: Path) -> InputContainer:
    """FFmpeg's container at `path`, also where its tags are not UTF-8. Raises as `av.open`."""
    if _TAGS_MAY_FAIL:  # later PyAVs keep their bytes, and have no such argument
        return av.open(url(path), metadata_errors="replace")
    return av.open(url(path))


def moving_pictures(container: InputContainer) -> list[VideoStream]:
    """The video streams, without cover art."""
    return [stream for stream in container.streams.video if not stream.disposition & _COVER]


def packets_of(container: InputContainer, *streams: Stream) -> Iterator[av.Packet]:
    """`demux`, also of a file in which damage lets streams begin that its header does not know."""
    with suppress(IndexError):  # PyAV's, when it has come to the end of all that it knows
        yield from container.demux(*streams)


def stated_end(container: InputContainer, stream: Stream) -> Fraction | None:
    """When pictures or sound end on the file's clock, apart from one another, by its headers.

    None where those do not say. Mkv says it in a tag of the stream, avi as a number of pictures,
    which are fewer also where one is to be held: there the file must be too short as well.
    """
    base = stream.time_base or MICROSECOND
    if container.format.name == "avi" and stream.type == "video" and _is_short(container):
        return stream.frames * base if stream.frames else None
    if not container.format.name.startswith(_STATE_LENGTH):
        return None
    tag = _CLOCK_TIME.match(stream.metadata.get("DURATION", ""))
    if tag is not None:
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + Fraction(tag[3])
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * base
    return whole_end(container) if len(container.streams) == 1 else None


def _is_short(avi: InputContainer) -> bool:
    """Whether it has fewer bytes than its first ones say."""
    with open(avi.name.removeprefix("file:"), "rb") as file:
        head = file.read(8)
    return avi.size < len(head) + int.from_bytes(head[4:], "little")


def whole_end(container: InputContainer) -> Fraction | None:
    """When the last of all streams ends, where the file's header states it."""
    return estimated_end(container) if container.format.name.startswith(_STATE_LENGTH) else None


def estimated_end(container: InputContainer) -> Fraction | None:
    """The same, or what FFmpeg works out from the file's size."""
    if container.duration is None:
        return None
    return ((container.start_time or 0) + container.duration) * MICROSECOND

"""Files opened to be read, whatever their names and tags are written in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

MICROSECOND: Final = Fraction(1, 1_000_000)  # FFmpeg's unit for a container's own times
_COVER: Final = Disposition.attached_pic | Disposition.timed_thumbnails
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

"""What a clip says of itself, apart from its streams: tags, chapters, timecode."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import av
from av.container import InputContainer
from av.stream import AttachmentStream, Stream
from av.video.stream import VideoStream

from vidstyle.video.source import moving_pictures, open_source

if TYPE_CHECKING:
    from av.container.core import Chapter

# What the muxer writes itself, or what goes elsewhere.
_NOT_CARRIED: Final = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "software",
    "timecode",
}  # fmt: skip
_UNKNOWN_LANGUAGE: Final = "und"
_TIMECODE: Final = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
_CREATED: Final = "creation_time"
_DAY: Final = 24  # hours, after which timecode starts again
_CHAPTER_TICK: Final = Fraction(1, 1_000_000_000)


@dataclass(frozen=True)
class Labels:
    """`tags` are the container's, `picture_tags` the video stream's, `timecode` is the first
    frame's. `attachments` are (name, MIME type, bytes), mostly the subtitles' fonts. `others` names
    the streams that no result carries.
    """

    tags: dict[str, str] = field(default_factory=dict)
    picture_tags: dict[str, str] = field(default_factory=dict)
    chapters: tuple[Chapter, ...] = ()
    timecode: str | None = None
    subtitles: bool = False
    attachments: tuple[tuple[str, str, bytes], ...] = ()
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Path) -> Labels:
        """None if the file is gone (a resumed render needs only frames) or is many pictures."""
        with suppress(av.FFmpegError, OSError), open_source(source) as clip:
            return cls(
                tags=_tags(clip),
                picture_tags=next(map(stream_tags, moving_pictures(clip)), {}),
                chapters=tuple(clip.chapters()),
                timecode=_timecode(clip),
                subtitles=bool(clip.streams.subtitles),
                attachments=tuple(map(_attachment, clip.streams.attachments)),
                others=_others(clip),
            )
        return cls()

    def between(self, begin: Fraction, end: Fraction | None, origin: Fraction) -> list[Chapter]:
        """The chapters, or what is left of them, of the part from `begin` to `end`.

        Seconds on the source's clock; the result's is 0 at `origin`.
        """
        kept: list[Chapter] = []
        for chapter in self.chapters:
            base = chapter["time_base"] or _CHAPTER_TICK
            first, last = max(chapter["start"] * base, begin), chapter["end"] * base
            last = last if end is None else min(last, end)
            if first < last:
                kept.append(
                    {
                        "id": len(kept) + 1,
                        "start": round((first - origin) / _CHAPTER_TICK),
                        "end": round((last - origin) / _CHAPTER_TICK),
                        "time_base": _CHAPTER_TICK,
                        "metadata": chapter["metadata"],
                    }
                )
        return kept


def _tags(clip: InputContainer) -> dict[str, str]:
    return {key: text for key, text in clip.metadata.items() if key.lower() not in _NOT_CARRIED}


def lost_tags(tags: dict[str, str], muxer: str) -> list[str]:
    """Those of a clip that it has no place for, found by trial, since nothing lists them."""
    if not tags:
        return []
    with _tried(muxer, tags, {}) as made:
        kept = {key.lower(): text for key, text in made.metadata.items()}
    return [key for key, text in tags.items() if not _is_kept(key.lower(), text, kept)]


def _is_kept(key: str, text: str, kept: dict[str, str]) -> bool:
    """Words may come back a little different, but a time that mp4 cannot count is another."""
    if key not in kept or key != _CREATED:
        return key in kept
    with suppress(ValueError):
        return abs(_moment(kept[key]) - _moment(text)) < timedelta(seconds=1)
    return False


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def lost_stream_tags(tags: dict[str, str], muxer: str) -> list[str]:
    """The same of one stream: a language, say, that it has no code for."""
    if not tags:
        return []
    with _tried(muxer, {}, tags) as made:
        kept = stream_tags(made.streams[0])
    return [f"{key} {text}" for key, text in tags.items() if kept.get(key) != text]


@contextmanager
def _tried(muxer: str, tags: dict[str, str], of_stream: dict[str, str]) -> Iterator[InputContainer]:
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as trial:
        trial.metadata.update(tags)
        stream = cast(VideoStream, trial.add_stream("mpeg4", rate=1))
        stream.metadata.update(of_stream)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        trial.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        trial.mux(stream.encode(None))
    with av.open(io.BytesIO(file.getvalue())) as made:
        yield cast(InputContainer, made)


def stream_tags(stream: Stream) -> dict[str, str]:
    """Its language and title, which mp4 and mov call its name."""
    given = stream.metadata
    said = {"language": given.get("language"), "title": given.get("title", given.get("name"))}
    return {key: text for key, text in said.items() if text and text != _UNKNOWN_LANGUAGE}


def _attachment(stream: AttachmentStream) -> tuple[str, str, bytes]:
    kind = stream.mimetype or "application/octet-stream"
    return stream.name or f"attachment {stream.index}", kind, stream.data or b""


def _timecode(clip: InputContainer) -> str | None:
    for tags in (*(stream.metadata for stream in clip.streams), clip.metadata):
        for key, text in tags.items():
            if key.lower() == "timecode":
                return text
    return None


def _others(clip: InputContainer) -> tuple[str, ...]:
    moving = moving_pictures(clip)
    pictures = [f"video stream {n}" for n in range(2, len(moving) + 1)]
    covers = ["the cover picture"] * (len(clip.streams.video) > len(moving))
    data = [
        f"data stream {number}"
        for number, stream in enumerate(clip.streams.data, 1)
        if "timecode" not in stream.metadata and not repeats_chapters(stream, clip)
    ]
    return (*covers, *pictures, *data)


def repeats_chapters(stream: Stream, clip: InputContainer) -> bool:
    """Whether it is the track of titles that mp4 and mov keep beside their chapters."""
    titles = len(clip.chapters())
    return titles > 0 and stream.frames == titles and not stream.disposition


@dataclass(frozen=True)
class Timecode:
    """SMPTE 12M: `frames` since midnight at a nominal `rate` a second; `drop` skips numbers.

    Drop-frame timecode leaves out the first two numbers (four at 59.94) of every minute but each
    tenth, so that it keeps the pace of the clock.
    """

    frames: int
    rate: int
    drop: bool

    @classmethod
    def parse(cls, text: str, rate: Fraction) -> Timecode | None:
        """None where it is no timecode."""
        match = _TIMECODE.fullmatch(text)
        if match is None:
            return None
        hours, minutes, seconds, count = (int(match[n]) for n in (1, 2, 3, 5))
        nominal = round(rate)
        drop = match[4] != ":" and nominal % 30 == 0
        minutes += 60 * hours
        frames = (60 * minutes + seconds) * nominal + count
        return cls(frames - drop * _dropped(nominal) * (minutes - minutes // 10), nominal, drop)

    def later(self, frames: int) -> Timecode:
        return replace(self, frames=self.frames + frames)

    def __str__(self) -> str:
        number, skipped = self.frames, _dropped(self.rate)
        if self.drop:
            tens, rest = divmod(number, 600 * self.rate - 9 * skipped)
            minutes = max(0, rest - skipped) // (60 * self.rate - skipped)
            number += skipped * (9 * tens + minutes)
        seconds, count = divmod(number, self.rate)
        hours, minutes, seconds = seconds // 3600 % _DAY, seconds // 60 % 60, seconds % 60
        return f"{hours:02}:{minutes:02}:{seconds:02}{';' if self.drop else ':'}{count:02}"


def _dropped(rate: int) -> int:
    return rate // 15

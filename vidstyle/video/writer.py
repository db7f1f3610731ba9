"""Frames → a finished clip under its name, or nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import numpy as np
from av.video.stream import VideoStream

from vidstyle.errors import EncodeError
from vidstyle.frame import ClipInfo, Frame
from vidstyle.settings import ClipSettings, OutputSettings
from vidstyle.video.colour import RGB, RgbToFrame, output_tags
from vidstyle.video.encoders import check_output, quiet_libraries
from vidstyle.video.geometry import Orientation
from vidstyle.video.reader import exact_seconds
from vidstyle.video.sound import Sound
from vidstyle.video.target import PartialFile, url

# What the muxer writes itself.
_MUXER_KEYS: Final = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time",
}  # fmt: skip
_LEAST_TIMESCALE: Final = 1000  # mp4's own default for its edit lists


class ClipWriter:
    """Encodes upright frames into `path`; a context manager.

    `info` is the source's: its time base, orientation, colour tags and metadata go to the result.
    `clip` is the part whose sound goes along; without it the result is silent. Frames come in
    order, (info.height, info.width, 3), with the source's pts.

    - Bytes go to a hidden file beside `path`, which takes its name on a clean exit only and is
      removed on any exception.
    - Times: exact in mp4 and mov, whole milliseconds in mkv and webm, whole frames in avi. The
      result's clock starts when the source's earliest stream does, or with the first frame
      written where that is not the clip's first; sound and pictures move together.
    - Sides: H.264 and HEVC in 4:2:0 need even ones, so an odd last column or row is cut off, with
      a warning; `pix_fmt="yuv444p"` keeps it, at the price of browsers and many televisions.
    - A rotated source's frames are turned back and its rotation is written, in mp4 and mov;
      elsewhere they stay upright.

    - `clip.threads` are the encoder's too: another number gives other bytes.

    `warnings` collects, one line each, what the result could not take over from the source.
    Raises `OutputError` and `SettingsError` before any work (see `check_output`), `EncodeError`
    when encoding or the disk fails, `ValueError` for a frame of another size.
    """

    def __init__(
        self,
        path: Path,
        info: ClipInfo,
        settings: OutputSettings | None = None,
        clip: ClipSettings | None = None,
    ) -> None:
        self.path = Path(path)
        self.info = info
        self.warnings: list[str] = []
        self._clip = clip
        settings = settings or OutputSettings()
        self._plan = check_output(self.path, settings)
        self._orientation = self._restored_orientation()
        self._time_base = info.time_base if self._snaps is None else self._snaps
        self._colour = output_tags(info.colour)
        self._convert = RgbToFrame(self._colour, self._plan.layout)
        self._partial = PartialFile(self.path, settings.overwrite)
        self._origin: Fraction | None = None
        self._last_pts = -1
        self._moved = Fraction(0)
        with self._failing_cleanly():
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._abandon()
        else:
            self._finish()

    def write(self, frame: Frame) -> None:
        if frame.image.shape != (self.info.height, self.info.width, 3):
            raise ValueError(
                f"frame {frame.index} is {frame.width}x{frame.height}, "
                f"the clip {self.info.width}x{self.info.height}"
            )
        with self._failing_cleanly():
            seconds = frame.pts * frame.time_base
            if self._origin is None:
                self._start(seconds)
            picture = self._convert(self._crop(self._orientation.coded(frame.image)))
            picture.pts, picture.time_base = self._pts(seconds), self._time_base
            self._mux(self._stream.encode(picture))

    @property
    def partial(self) -> Path:
        """The hidden file."""
        return self._partial.path

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the result, upright: odd sides may have been cut."""
        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        return (height, width) if self._orientation.swaps_sides else (width, height)

    @property
    def _snaps(self) -> Fraction | None:
        """The frame length that times are rounded to; `None` where the container keeps them."""
        return 1 / self.info.rate if self._plan.container.muxer == "avi" else None

    def _restored_orientation(self) -> Orientation:
        if not self._plan.container.exact_times:
            return Orientation()
        return Orientation(self.info.rotation_degrees, self.info.mirrored)

    def _open(self) -> None:
        self._container = av.open(
            str(self._partial.path),
            "w",
            format=self._plan.container.muxer,
            container_options=self._muxer_options(),
        )
        self._stream = self._add_stream()
        self._sound: Sound | None = None
        if self._clip is not None:
            self._sound = Sound(
                self.info.path, self._container, self._plan.container, self.warnings
            )
        self._container.metadata.update(_metadata(self.info.path))

    def _muxer_options(self) -> dict[str, str]:
        # bitexact: else every run writes other identifiers, and the library's version.
        options = {"fflags": "+bitexact"}
        if self._plan.container.exact_times:
            scale = self._time_base.denominator
            # A late first frame is an entry in the edit list, which has a clock of its own.
            scale *= -(-_LEAST_TIMESCALE // scale)
            options |= {"movflags": "+faststart", "movie_timescale": str(scale)}
        return options

    def _add_stream(self) -> VideoStream:
        quiet_libraries()
        plan, info = self._plan, self.info
        stream = cast(
            VideoStream,
            self._container.add_stream(plan.codec, rate=info.rate, options=plan.options),
        )
        context = stream.codec_context
        context.width, context.height = self._coded_size()
        context.pix_fmt = plan.layout.name
        # Each number of threads has its own bytes.
        context.thread_count = self._clip.threads if self._clip else 0
        context.time_base = self._time_base
        aspect = 1 / info.sample_aspect if self._orientation.swaps_sides else info.sample_aspect
        context.sample_aspect_ratio = aspect
        if aspect != 1 and not (plan.container.exact_times or plan.encoder.states_aspect):
            self.warnings.append(
                f"the pixels' shape ({aspect}) is lost, so the picture will look stretched: "
                f"{self.path.suffix} with {plan.codec} cannot say it; end the name in .mp4"
            )
        if plan.encoder.tag is not None and plan.container.exact_times:
            context.codec_tag = plan.encoder.tag
        if self._snaps is not None:
            context.max_b_frames = 0  # avi has one time a frame: no room for reordering
        self._tag(stream)
        return stream

    def _tag(self, stream: VideoStream) -> None:
        # On the context and before the first frame: tags on frames alone are not written.
        context, colour = stream.codec_context, self._colour
        rgb = self._plan.layout.is_rgb
        context.colorspace = RGB if rgb else colour.matrix
        context.color_primaries = colour.primaries
        context.color_trc = colour.transfer
        context.color_range = 2 if rgb or colour.full_range else 1
        if self._orientation != Orientation():
            stream.set_display_rotation(
                self._orientation.rotation_degrees, hflip=self._orientation.mirrored
            )

    def _coded_size(self) -> tuple[int, int]:
        width, height = self.info.width, self.info.height
        if self._orientation.swaps_sides:
            width, height = height, width
        across, down = self._plan.layout.unit if self._plan.encoder.even_sides else (1, 1)
        kept = max(width - width % across, across), max(height - height % down, down)
        if kept != (width, height):
            self.warnings.append(
                f"{width}x{height} is cut to {kept[0]}x{kept[1]}: {self._plan.layout.name} needs "
                "even sides here; --pix-fmt yuv444p keeps the size"
            )
        return kept

    def _crop(self, image: np.ndarray) -> np.ndarray:
        return image[: self._stream.codec_context.height, : self._stream.codec_context.width]

    def _start(self, seconds: Fraction) -> None:
        """Settle the result's clock, now that the first frame's time is known."""
        info = self.info
        first = info.first_pts * info.time_base
        whole = seconds == first
        self._origin = info.origin_pts * info.time_base if whole else seconds
        if self._sound is not None and self._clip is not None:
            end = self._clip.end
            until = None if end is None else first + exact_seconds(end)
            self._sound.start(self._origin, None if whole else seconds, until)

    def _pts(self, seconds: Fraction) -> int:
        assert self._origin is not None
        ticks = (seconds - self._origin) / self._time_base
        pts = max(round(ticks), self._last_pts + 1)
        self._moved = max(self._moved, abs(pts - ticks) * self._time_base)
        self._last_pts = pts
        return pts

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            # Sound only up to here: what the muxer must hold back to interleave stays small.
            if self._sound is not None and packet.dts is not None:
                self._sound.pump(packet.dts * packet.time_base)
            self._container.mux(packet)

    def _finish(self) -> None:
        with self._failing_cleanly():
            if self._origin is None:
                raise EncodeError(f"{self.path}: no frame was written, so no file was made")
            self._mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.finish()
                self._sound.close()
            self._container.close()
            self._partial.commit()
        if self._snaps is not None and self._moved > self._snaps / 2:
            self.warnings.append(
                f"{self.path.suffix} keeps one frame rate only: frames moved by up to "
                f"{float(self._moved):.3f} s; end the name in .mp4 to keep their times"
            )

    def _abandon(self) -> None:
        # Removed first, so that closing does not rearrange a file nobody will see.
        self._partial.discard()
        with suppress(av.FFmpegError, OSError, AttributeError):
            if self._sound is not None:
                self._sound.close()
        with suppress(av.FFmpegError, OSError, AttributeError):
            self._container.close()
        self._partial.discard()

    @contextmanager
    def _failing_cleanly(self) -> Iterator[None]:
        """Leave nothing behind on any exception; FFmpeg's and the disk's become `EncodeError`."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            self._abandon()
            raise EncodeError(_reason(self.path, error)) from error
        except BaseException:
            self._abandon()
            raise


def _reason(path: Path, error: OSError | av.FFmpegError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full; free some space or choose another folder with -o"
    if error.errno == errno.EFBIG:
        return f"{path}: larger than files may be here; choose another folder with -o"
    return f"{path}: could not be written ({error.strerror or error}); try another --codec or -o"


def _metadata(source: Path) -> dict[str, str]:
    """The source's title and the like; none if it is gone (a resumed render needs only frames)."""
    with suppress(av.FFmpegError, OSError), av.open(url(source), metadata_errors="replace") as clip:
        return {key: text for key, text in clip.metadata.items() if key.lower() not in _MUXER_KEYS}
    return {}

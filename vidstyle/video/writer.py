"""Frames → a finished clip under its name, or nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import av
import numpy as np
from av.codec.context import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from vidstyle.errors import EncodeError, SettingsError
from vidstyle.frame import ClipInfo, ColourTags, Frame
from vidstyle.settings import ClipSettings, OutputSettings
from vidstyle.video.bars import Window
from vidstyle.video.colour import UNSPECIFIED, output_tags, settle_tags
from vidstyle.video.comment import add_comment
from vidstyle.video.convert import RgbToFrame
from vidstyle.video.encoders import check_output, quiet_libraries, usual_priority
from vidstyle.video.geometry import Orientation
from vidstyle.video.labels import Labels, Timecode, lost_stream_tags, lost_tags
from vidstyle.video.palette import Palette
from vidstyle.video.reader import exact_seconds
from vidstyle.video.sequence import ImageSequence
from vidstyle.video.siting import place_written
from vidstyle.video.source import url
from vidstyle.video.target import Announce, PartialFile, PartialSequence
from vidstyle.video.tracks import Tracks

_SILENT: Final = ColourTags(UNSPECIFIED, UNSPECIFIED, UNSPECIFIED, False)
_USUAL_PRIMARIES: Final = (1, 5, 6)  # too close to sRGB's to be missed
_MOST_BITS: Final = 16  # of whole levels; float ones have no such number
_LEAST_TIMESCALE: Final = 1000  # mp4's own default for its edit lists

_LONGEST_DELAY: Final = 3600  # seconds from a packet's decoding to its showing


class ClipWriter:
    """Encodes upright frames into `path`; a context manager.

    `info` is the source's: its time base, orientation, colour tags and metadata go to the result.
    `clip` is the part whose sound goes along; without it the result is silent. Frames come in
    order, (info.height, info.width, 3), with the source's pts.

    - Bytes go to a hidden file beside `path`, which takes its name on a clean exit only and is
      removed on any exception.
    - Times: exact in mp4 and mov, whole milliseconds in mkv and webm, whole hundredths of seconds
      in gif, whole frames in avi and image sequences. The result's clock starts when the source's
      earliest stream does, or with the first frame written where that is not the clip's first;
      sound and pictures move together.
    - A path such as `out.%04d.png` is an image sequence, numbered as the source's, else from 1.
    - Levels: rounded once; dithered where the result has fewer bits than the source. `alpha` goes
      along where the pixel format has room for it.
    - Sides: H.264 and HEVC in 4:2:0 need even ones, so an odd last column or row is cut off, with
      a warning; `pix_fmt="yuv444p"` keeps it, at the price of browsers and many televisions.
    - A rotated source's frames are turned back and its rotation is written, in mp4 and mov;
      elsewhere they stay upright.

    - `clip.threads` are the encoder's: another number gives other bytes.
    - Of a `window` frames are what is in it; what is `around` stays as it was.
    - `kept` is the share of each frame that is its source, unpainted. Of what is not painted at all
      colour samples stay where the source has them (chroma siting), and the file says so.

    `warnings` collects, one line each, what the result could not take over from the source.
    `announce` is told of the hidden file, or folder, before it is there: a kill may leave it.
    `comment`, set before the first frame, goes to the result's tags, after the source's own, or
    into each picture.
    Raises `OutputError` and `SettingsError` before any work (see `check_output`), `EncodeError`
    when encoding or the disk fails, `ValueError` for a frame of another size.
    """

    def __init__(
        self,
        path: Path,
        info: ClipInfo,
        settings: OutputSettings | None = None,
        clip: ClipSettings | None = None,
        kept: float = 0.0,
        announce: Announce = lambda hidden: None,
        window: Window | None = None,
    ) -> None:
        self.path = Path(path)
        self.info, self._window = info, window
        self.warnings: list[str] = []
        self._clip, self._kept = clip, kept
        self.comment = ""
        self._labels = Labels.of(info.path)
        settings = settings or OutputSettings()
        self._plan = check_output(self.path, settings, info)
        self._orientation = self._restored_orientation()
        self._time_base = info.time_base if self._snaps is None else self._snaps
        layout = self._plan.layout
        self._colour = self._output_tags()
        self._place = self._siting()
        dither = layout.depth < info.bit_depth
        self._convert = RgbToFrame(self._colour, layout, dither, self._place)
        self._palette = Palette() if layout.name == "pal8" else None
        partial = PartialSequence if self._plan.container.numbered else PartialFile
        self._partial = partial(self.path, settings.overwrite, announce)
        self._origin: Fraction | None = None
        self._last_pts = -1
        self._moved = Fraction(0)
        if settings.pix_fmt is None:
            self._tell_of_depth()
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

    def write(self, frame: Frame, source: Frame | None = None) -> None:
        """Encode a frame.

        What is kept of `source` has the samples of `source.coded` to the last bit, not what is left
        of them after R'G'B', where the result has them too: the same pixel format, in the same
        places, nothing scaled.
        """
        frame = self._whole(frame)
        source = self._whole(source) if source is not None and self._kept else None
        if frame.image.shape != (self.info.height, self.info.width, 3):
            raise ValueError(
                f"frame {frame.index} is {frame.width}x{frame.height}, "
                f"the clip {self.info.width}x{self.info.height}"
            )
        with self._failing_cleanly():
            seconds = frame.pts * frame.time_base
            if self._origin is None:
                self._start(seconds)
            rest = self._rest(source) if source is not None else None
            # A render rounds what it is given; with nothing painted there is no need to.
            image = source.image if source is not None and self._kept == 1 else frame.image
            picture = self._convert(self._placed(image), self._alpha(frame), rest)
            picture.pts, picture.time_base = self._pts(seconds), self._time_base
            picture.duration = self._length(frame)
            if self._palette is not None:
                picture = self._palette(picture)
            self._mux(self._stream.encode(picture))

    def _whole(self, frame: Frame) -> Frame:
        """As it is shown: faded, amid its bars."""
        image = frame.shown
        if self._window is not None and frame.around is not None:
            image = self._window.put_back(image, frame.around)
        return replace(frame, image=image)

    def _rest(self, source: Frame) -> list[np.ndarray] | None:
        """The kept share of what the source's samples have beyond its R'G'B', plane by plane."""
        coded, theirs, ours = source.coded, self.info.colour, self._colour
        if (theirs.matrix, theirs.full_range) != (ours.matrix, ours.full_range):
            return None  # their levels mean another colour here
        if self.info.chroma_place not in (None, self._place):
            return None
        given = Orientation(self.info.rotation_degrees, self.info.mirrored)
        if coded is None or (coded.height, coded.width) != given.coded(source.image).shape[:2]:
            return None  # it was scaled
        turn = Orientation() if self._orientation == given else given
        image, alpha = self._placed(source.image), self._alpha(source)
        rest = self._convert.rest(coded, turn, image, alpha)
        return None if rest is None else [self._kept * levels for levels in rest]

    def _alpha(self, frame: Frame) -> np.ndarray | None:
        if frame.alpha is None:
            return None
        if not self._plan.layout.has_alpha and frame.alpha.min() < 1:
            self._warn_once(
                f"transparency is lost, the picture lies over black: {self._plan.layout.name} has "
                "no room for it; use a .mov with --codec prores_ks, or a .webm"
            )
        return self._placed(frame.alpha)

    def _warn_once(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _placed(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) upright → as the result holds it: turned, odd sides cut."""
        height, width = self._stream.codec_context.height, self._stream.codec_context.width
        return self._orientation.coded(image)[:height, :width]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the result, upright: odd sides may have been cut."""
        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        return (height, width) if self._orientation.swaps_sides else (width, height)

    @property
    def _snaps(self) -> Fraction | None:
        """What times are rounded to; `None` where the muxer takes them as they are."""
        container = self._plan.container
        if container.muxer == "gif":
            return Fraction(1, 100)
        return 1 / self.info.rate if container.numbered or container.muxer == "avi" else None

    def _output_tags(self) -> ColourTags:
        layout, encoder = self._plan.layout, self._plan.encoder
        tags = output_tags(self.info.colour, layout.is_rgb)
        if layout.is_rgb:
            return tags
        if self._plan.container.numbered or not self._says_colour:
            # What readers take the silent ones for.
            silent = settle_tags(_SILENT, self.info.width, self.info.height)
            return replace(silent, full_range=layout.is_grey)
        return replace(
            tags,
            matrix=encoder.matrix or tags.matrix,
            full_range=tags.full_range and encoder.states_range,
        )

    def _siting(self) -> str:
        """Where colour samples lie: painted ones where players look that do not ask."""
        usual = place_written(self._plan.codec)
        return (self.info.chroma_place or usual) if self._kept == 1 else usual

    @property
    def _says_colour(self) -> bool:
        return self._plan.container.states_colour or self._plan.encoder.states_colour

    def _tell_of_depth(self) -> None:
        plan, bits, given = self._plan, self._plan.layout.depth, self.info.bit_depth
        if bits < min(given, _MOST_BITS) and plan.container.muxer != "gif":
            more = "libx265 and libsvtav1 keep 10" if bits == 8 else f"ffv1 keeps {_MOST_BITS}"
            self.warnings.append(
                f"{given} bits a sample become {bits}, dithered: {plan.codec} takes no more; {more}"
            )
        if bits > 8 and plan.codec == "libx264":
            self.warnings.append(
                f"H.264 of {bits} bits, as the source has {given}: browsers and many televisions "
                "do not play it; --pix-fmt yuv420p makes 8 bits, dithered"
            )

    def _restored_orientation(self) -> Orientation:
        if not self._plan.container.exact_times:
            return Orientation()
        return Orientation(self.info.rotation_degrees, self.info.mirrored)

    def _open(self) -> None:
        path = self._partial.path
        if self._plan.container.numbered:
            path = ImageSequence(path).pattern
        self._container = av.open(
            url(path),
            "w",
            format=self._plan.container.muxer,
            container_options=self._muxer_options(),
        )
        self._stream = self._add_stream()
        self._open_encoder()
        self._tracks: Tracks | None = None
        pictures_only = self._plan.container.sound is None or self.info.first_number is not None
        if self._clip is not None and not pictures_only:
            whole = self._clip.start == 0
            self._tracks = Tracks(
                self.info.path, self._container, self._plan.container, self.warnings, whole
            )
        self._label()

    def _label(self) -> None:
        """The tags that need no frame to be known; and what the container has no place for."""
        container, labels, ending = self._plan.container, self._labels, self.path.suffix
        lost = list(labels.others)
        if container.tags:
            nameless = [] if container.any_tags else lost_tags(labels.tags, container.muxer)
            kept = {key: text for key, text in labels.tags.items() if key not in nameless}
            lost += [f"the tags {', '.join(nameless)}"] * bool(nameless)
            self._container.metadata.update(kept)
            self._stream.metadata.update(labels.picture_tags)
            self._stream.disposition = Disposition.default  # which mkv would else deny
            if not container.any_tags:
                unsaid = lost_stream_tags(labels.picture_tags, container.muxer)
                lost += [f"the pictures' {', '.join(unsaid)}"] * bool(unsaid)
        else:
            lost += ["the tags"] * bool(labels.tags) + ["the timecode"] * bool(labels.timecode)
        if container.sound is None:
            lost += ["the sound"] * bool(self.info.sound_streams)
            lost += ["the subtitles"] * labels.subtitles
        if labels.chapters and not container.chapters:
            lost.append("the chapters")
        if container.attachments:
            for name, kind, data in labels.attachments:
                self._container.add_attachment(name, kind, data)
        else:
            lost += ["the attachments"] * bool(labels.attachments)
        primaries = self.info.colour.primaries
        silent = self._plan.encoder.untagged or not self._says_colour
        if silent and primaries not in _USUAL_PRIMARIES:
            lost.append(f"colour primaries {primaries}")
        if lost:
            self.warnings.append(f"left out of {ending}: {', '.join(lost)}")

    def _open_encoder(self) -> None:
        """Now, so that one whose hardware is missing is refused before any work."""
        plan = self._plan
        try:
            with usual_priority():
                self._stream.codec_context.open()
        except (av.FFmpegError, ValueError) as error:
            context = self._stream.codec_context
            raise SettingsError(
                f"--codec {plan.codec}: cannot be opened on this machine for {context.width}x"
                f"{context.height} with --pix-fmt {plan.layout.name}; use {plan.container.video}"
            ) from error

    def _muxer_options(self) -> dict[str, str]:
        # bitexact: else every run writes other identifiers, and the library's version.
        options = {"fflags": "+bitexact"}
        if self._plan.container.numbered:
            options["frame_pts"] = "1"
        if self._plan.container.exact_times:
            scale = self._time_base.denominator
            # A late first frame is an entry in the edit list, which has a clock of its own.
            scale *= -(-_LEAST_TIMESCALE // scale)
            options |= {"movflags": "+faststart", "movie_timescale": str(scale)}
        return options

    def _add_stream(self) -> VideoStream:
        quiet_libraries()
        plan, info, options = self._plan, self.info, self._plan.options
        if self._place != place_written(plan.codec):
            options["chroma_sample_location"] = self._place
        stream = cast(
            VideoStream, self._container.add_stream(plan.codec, rate=info.rate, options=options)
        )
        context = stream.codec_context
        context.width, context.height = self._coded_size()
        context.pix_fmt = plan.layout.name
        # Each number of threads has its own bytes.
        context.thread_count = self._clip.threads if self._clip else 0
        context.time_base = self._time_base
        context.flags |= Flags.frame_duration
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
        context.colorspace = colour.matrix
        context.color_primaries = colour.primaries
        context.color_trc = colour.transfer
        context.color_range = 2 if colour.full_range else 1
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

    def _start(self, seconds: Fraction) -> None:
        """Settle the result's clock, now that the first frame's time is known."""
        info = self.info
        first = info.first_pts * info.time_base
        whole = seconds == first
        self._origin = info.origin_pts * info.time_base if whole else seconds
        if self._plan.container.numbered:
            self._last_pts = self._number(seconds) - 1
            self._origin = seconds - self._number(seconds) * self._time_base
        elif self._snaps is not None:  # the first picture's time is then exact, as sound's is
            self._origin = seconds - (seconds - self._origin) // self._snaps * self._snaps
            if self._tracks is not None and seconds > self._origin:  # gif has no sound
                self.warnings.append(
                    f"sound begins {float(seconds - self._origin):.2f} s before the pictures: "
                    f"{self.path.suffix} shows the first one from there; end the name in .mp4"
                )
        end = self._clip.end if self._clip is not None else None
        until = None if end is None else first + exact_seconds(end)
        self._label_part(seconds, self._origin if whole else seconds, until)
        if self._tracks is not None:
            self._tracks.start(self._origin, None if whole else seconds, until)

    def _label_part(self, seconds: Fraction, begin: Fraction, until: Fraction | None) -> None:
        """The comment, chapters from `begin` to `until`, the timecode of the frame at `seconds`."""
        container, info = self._plan.container, self.info
        assert self._origin is not None
        if container.tags and self.comment:
            theirs = [text for key, text in self._labels.tags.items() if key.lower() == "comment"]
            self._container.metadata["comment"] = "\n".join([*theirs, self.comment])
        if container.chapters:
            self._container.set_chapters(self._labels.between(begin, until, self._origin))
        timecode = Timecode.parse(self._labels.timecode or "", info.rate)
        if timecode is not None and container.tags:
            since = round((seconds - info.first_pts * info.time_base) * info.rate)
            carrier = self._stream if container.chapters else self._container
            carrier.metadata["timecode"] = str(timecode.later(since))

    def _number(self, seconds: Fraction) -> int:
        """Of an image sequence's file; the source's, if it is one too."""
        if self.info.first_number is None:
            return 1
        return self.info.first_number + round(seconds * self.info.rate)

    def _pts(self, seconds: Fraction) -> int:
        assert self._origin is not None
        ticks = (seconds - self._origin) / self._time_base
        due = self._last_pts + 1
        counted = self._plan.container.numbered and self.info.first_number is None
        pts = due if counted else max(round(ticks), due)
        self._moved = max(self._moved, abs(pts - ticks) * self._time_base)
        self._last_pts = pts
        return pts

    def _length(self, frame: Frame) -> int:
        """For the last one, as each other ends where the next begins."""
        given = 0 if frame.coded is None else frame.coded.duration * frame.time_base
        return round((given or 1 / self.info.rate) / self._time_base)

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            _mend_dts(packet)
            # Sound only up to here: what the muxer must hold back to interleave stays small.
            if self._tracks is not None and packet.dts is not None:
                self._tracks.pump(packet.dts * packet.time_base)
            self._container.mux(packet)

    def _finish(self) -> None:
        with self._failing_cleanly():
            if self._origin is None:
                raise EncodeError(f"{self.path}: no frame was written, so no file was made")
            self._mux(self._stream.encode(None))
            if self._tracks is not None:
                self._tracks.finish()
                self._tracks.close()
            self._container.close()
            if self.comment and not self._plan.container.tags:
                for picture in self._partial.files():
                    add_comment(picture, self.comment)
            self._partial.commit()
        if self._snaps is not None and self._moved > self._snaps / 2:
            gif = self._plan.container.muxer == "gif"
            kept = "at most 100 frames a second" if gif else "one frame rate only"
            self.warnings.append(
                f"{self.path.suffix} keeps {kept}: frames moved by up to "
                f"{float(self._moved):.3f} s; end the name in .mp4 to keep their times"
            )

    def _abandon(self) -> None:
        # Removed first, so that closing does not rearrange a file nobody will see.
        self._partial.discard()
        with suppress(av.FFmpegError, OSError, AttributeError):
            if self._tracks is not None:
                self._tracks.close()
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


def _mend_dts(packet: av.Packet) -> None:
    """x265 gives one or two frames, fewer than it reorders, whatever its memory held."""
    if packet.pts is None or packet.dts is None:
        return
    if not 0 <= (packet.pts - packet.dts) * packet.time_base < _LONGEST_DELAY:
        packet.dts = packet.pts


def _reason(path: Path, error: OSError | av.FFmpegError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full; free some space or choose another folder with -o"
    if error.errno == errno.EFBIG:
        return f"{path}: larger than files may be here; choose another folder with -o"
    return f"{path}: could not be written ({error.strerror or error}); try another --codec or -o"

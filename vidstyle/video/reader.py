"""A clip, frame by frame: upright, scaled, in float RGB, at its exact times."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain, dropwhile, islice
from pathlib import Path
from typing import Final, NamedTuple, Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vidstyle.disk import check_regular
from vidstyle.errors import DecodeError, InputError
from vidstyle.frame import ClipInfo, ColourTags, Frame, Shot
from vidstyle.settings import ClipSettings
from vidstyle.video.bars import ENOUGH, Window, find_window
from vidstyle.video.colour import as_picture, as_stated, settle_rgb_tags, settle_tags
from vidstyle.video.convert import FrameToRgb
from vidstyle.video.fades import MOST, ROOM, unfaded
from vidstyle.video.ffv1 import has_damage
from vidstyle.video.geometry import Orientation, scaled_size
from vidstyle.video.interlace import Deinterlacer
from vidstyle.video.owed import OwedPictures
from vidstyle.video.planes import PixelLayout
from vidstyle.video.sequence import ImageSequence
from vidstyle.video.siting import LEFT, place_read
from vidstyle.video.source import (
    MICROSECOND,
    moving_pictures,
    open_source,
    packets_of,
    stated_end,
    url,
)
from vidstyle.video.timeline import Timeline, may_start_over

_READ_TRIES: Final = 20  # broken reads in one clip before the rest is given up
_USUAL_RATE: Final = Fraction(25)  # where no header gives one, as FFmpeg assumes
_FASTEST: Final = 1000  # frames a second
_CUT_OFF: Final = Fraction(3, 2)  # frames that may be missing: avi's headers count one too many
_REORDERED: Final = 16  # frames that H.264 may hold back, at most
_SAME: Final = 3  # times that the same frame is found
_NEAR: Final = 48  # frames at its beginning, where it has too few that can be sought
_UNTIMED: Final = 100  # packets without times at a clip's start, as negative ones are in mkv


def exact_seconds(value: float) -> Fraction:
    """The decimal a user typed: 1.001 is 1001/1000, not the binary number beside it."""
    return Fraction(repr(float(value)))


def open_clip(path: Path, rate: Fraction | None = None) -> InputContainer:
    """FFmpeg's container at `path`; `InputError` says what is wrong with it.

    `rate` is for image sequences, which have none of their own.
    """
    sequence = None if path.exists() else ImageSequence.of(path)
    if sequence is not None:
        return _open_sequence(sequence, rate)
    if rate is not None:
        raise InputError(f"{path}: has its own frame times; leave --fps out")
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a clip in it")
    check_regular(path, "a clip")
    try:
        container = open_source(path)
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; check its permissions") from error
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{path}: {_NOT_A_VIDEO}") from error
    return _refuse_stills(container, path)


def _open_sequence(sequence: ImageSequence, rate: Fraction | None) -> InputContainer:
    path, numbers = sequence.path, sequence.unbroken()
    first = numbers[0]
    if rate is None:
        raise InputError(f"{path}: pictures have no frame rate; give one, such as --fps 24")
    for number in numbers:
        check_regular(sequence.file(number), "a picture")
        if sequence.file(number).stat().st_size == 0:  # for FFmpeg the sequence would end there
            raise InputError(f"{sequence.file(number)}: is empty; copy a neighbour in its place")
    options = {"framerate": str(rate), "start_number": str(first)}
    try:
        return av.open(url(sequence.pattern), format="image2", options=options)
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; check its permissions") from error
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{path}: not pictures FFmpeg can read; use PNG, TIFF or EXR") from error


_NOT_A_VIDEO: Final = "not a video FFmpeg can read; try another file, or convert it to mp4 first"


def _refuse_stills(container: InputContainer, path: Path) -> InputContainer:
    name = container.format.name
    if name == "tty":  # FFmpeg's name for plain text, which it draws as a film of a terminal
        container.close()
        raise InputError(f"{path}: {_NOT_A_VIDEO}")
    if name == "image2" or name.endswith("_pipe"):
        container.close()
        raise InputError(
            f"{path}: a picture, not a clip; use `vidstyle image`, or name a sequence by its "
            "number's place, as shot.%04d.png"
        )
    return container


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not cover art."""
    moving = moving_pictures(container)
    for stream in moving:
        if stream.codec_context is not None:
            return stream
    if moving:
        raise InputError(f"{path}: its video codec is unknown here; convert it to H.264 first")
    raise InputError(f"{path}: has no video stream; name a clip with pictures in it")


def probe(path: Path, settings: ClipSettings | None = None) -> ClipInfo:
    """What `ClipReader(path, settings).info` says; decodes one frame. Raises as it does."""
    with ClipReader(path, settings) as reader:
        return reader.info


_INTERLACED: Final = "the clip is interlaced: its fields were made one picture a frame (bwdif)"
_FILLED: Final = (
    "some pictures have no black bars, and are painted where others have none; "
    "--paint-bars paints all of them"
)
_BESIDE: Final = {
    SideDataType.A53_CC: "the closed captions inside the pictures",
    SideDataType.SPHERICAL: "that the pictures are a sphere's",
    SideDataType.STEREO3D: "that the pictures hold two views",
}


def find_bars(path: Path, settings: ClipSettings | None = None) -> Window | None:
    """The clip's picture without the black bars around it; none where it has none.

    Raises as `ClipReader`.
    """
    settings = settings or ClipSettings()
    if settings.paint_bars:
        return None
    # Looked for at the clip's own size: a smaller one would straighten edges.
    with ClipReader(path, replace(settings, size=None)) as reader:
        window = None if reader.info.has_alpha else find_window(reader.glimpses())
        size = reader.size
    if window is None:
        return None
    return window.scaled(size, scaled_size(*size, settings.size))


class _Picture(NamedTuple):
    frame: av.VideoFrame
    pts: int


class _Clock:
    """Gives every frame a pts later than the one before, in the stream's time base."""

    def __init__(self, due: int | None, step: int) -> None:
        self._due = due
        self._step = step
        self._last: int | None = None

    def time_of(self, frame: av.VideoFrame) -> int | None:
        pts = self._due if frame.pts is None else frame.pts
        if pts is None:
            return None
        if self._last is not None and pts <= self._last:
            pts = self._last + 1  # the least that keeps the frames in order and later times true
        self._last = pts
        self._due = pts + (frame.duration or self._step)
        return pts


class ClipReader:
    """Iterates once over a clip's frames; a context manager that closes the file.

    Frames come upright and scaled to `settings.size`, those whose time t since the clip's first
    frame is in start <= t < end, numbered from 0. Their pts strictly increase: a missing one is a
    frame's length after the one before, a repeated one a tick; where the file's clock starts over,
    they go on. Packets that do not decode, or silently give no picture, are skipped and counted in
    `corrupt_packets`; damaged frames that do decode are kept, a repaired picture being better than
    a jump, and counted in `damaged_frames`. What is marked interlaced is deinterlaced. A path such
    as `shot.%04d.exr` is an image sequence and needs `settings.fps`; linear light becomes sRGB.
    With `unfade` fades from and to black are in `Frame.fade` alone. With a `window` only what is in
    it comes.

    `warnings` collects, one line each, what was done to the frames. Raises `InputError` where the
    file is no clip, is HDR, or has no frame in the asked range, and `DecodeError` where its pixel
    format cannot be converted.
    """

    def __init__(
        self,
        path: Path,
        settings: ClipSettings | None = None,
        unfade: bool = False,
        window: Window | None = None,
    ) -> None:
        self.path = Path(path)
        self.settings = settings or ClipSettings()
        self.window, self._unfade = window, unfade
        self._broken_packets = 0
        self.damaged_frames = 0
        self.warnings: list[str] = []
        self._iterated = False
        self._open()
        try:
            self._begin()
            self.info = self._describe(self._first)
        except BaseException:
            self.close()
            raise
        self._orientation = Orientation(self.info.rotation_degrees, self.info.mirrored)
        self._converters: dict[bool, FrameToRgb] = {}

    def again(self) -> ClipReader:
        """Another of the same."""
        return ClipReader(self.path, self.settings, self._unfade, self.window)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of what comes."""
        return self.window.size if self.window else (self.info.width, self.info.height)

    @property
    def corrupt_packets(self) -> int:
        return self._broken_packets + self._owed.lost

    @property
    def expected_frames(self) -> int | None:
        """About how many frames will come, from the headers: for a progress bar."""
        start, end, seconds = self.settings.start, self.settings.end, self.info.seconds
        if start == 0 and end is None and self.info.frames is not None:
            return self.info.frames
        if seconds is None:
            return None
        until = min(exact_seconds(seconds), math.inf if end is None else exact_seconds(end))
        rate = self.info.rate
        return max(0, math.ceil(until * rate) - math.ceil(exact_seconds(start) * rate))

    def __iter__(self) -> Iterator[Frame]:
        if self._iterated:
            raise ValueError("a ClipReader is iterated once; open another")
        self._iterated = True
        frame = None
        for frame in self._frames(self._in_range(), 0):
            yield frame
        if frame is None:
            raise InputError(self._nothing_in_range())

    def glimpses(self) -> Iterator[np.ndarray]:
        """Instead of iterating: some frames' pictures, from wherever the file finds one at once."""
        self._iterated = True
        start, until = self.settings.start, self.settings.end or self.info.seconds or 0
        seen = set[int]()
        for n in range(ENOUGH):
            seconds = exact_seconds(start + max(0.0, until - start) * n / (ENOUGH - 1))
            pictures = self._sought(self.info.first_pts + int(seconds / self._time_base))
            picture = next(pictures, None) if pictures else None
            if picture is not None and picture.pts not in seen:
                seen.add(picture.pts)
                yield self._frame(picture, 0).image
            elif n == _SAME:
                break  # it has but one that can be sought
        if len(seen) < ENOUGH // 2:
            self._begin_again()
            near = islice(self._in_range(), 0, _NEAR, 2 * _NEAR // ENOUGH)
            yield from (self._frame(picture, 0).image for picture in near)

    def frames_of(self, shots: Sequence[Shot]) -> Iterator[tuple[int, Frame]]:
        """Instead of iterating: each frame of these neighbouring shots with its shot's number.

        Frames are the same, and numbered as there; where the file can seek, what lies before them
        is not decoded. Raises `DecodeError` where they do not come again.
        """
        self._iterated = True
        frames = self._frames_at(shots[0]) or self._counted_to(shots[0])
        for shot in shots:
            for index in range(shot.first, shot.end):
                frame = next(frames, None)
                if frame is None:
                    raise DecodeError(
                        f"{self.path}: frame {index} did not come again; "
                        "try again when nothing writes to the file"
                    )
                yield shot.number, frame

    def _frames_at(self, shot: Shot) -> Iterator[Frame] | None:
        """From a shot's first frame on; none where a seek does not find that very picture."""
        begin = shot.pts
        if shot.first == 0 or begin is None:
            return None
        pictures = self._before_end(self._sought(begin - self._woven) or iter([]))
        later = dropwhile(lambda picture: picture.pts < begin, pictures)
        frames = self._frames(later, shot.first)
        head = next(frames, None)
        if head is None or (head.pts, head.crc) != (begin, shot.crc):
            self._begin_again()
            return None
        return chain([head], frames)

    def _counted_to(self, shot: Shot) -> Iterator[Frame]:
        if self._unfade:  # which is known from what was before
            return islice(self._frames(self._in_range(), 0), shot.first, None)
        return self._frames(islice(self._in_range(), shot.first, None), shot.first)

    @property
    def _woven(self) -> int:
        """How long before a picture those are, in ticks, that it is deinterlaced with, at most."""
        return round(1 / self._time_base) * self._first.frame.interlaced_frame

    def _in_range(self) -> Iterator[_Picture]:
        start = exact_seconds(self.settings.start)
        for picture in self._before_end(self._from(start)):
            if self._since_begin(picture) >= start:
                yield picture

    def _before_end(self, pictures: Iterator[_Picture]) -> Iterator[_Picture]:
        end = math.inf if self.settings.end is None else exact_seconds(self.settings.end)
        reached = self.info.first_pts
        for picture in pictures:
            if self._since_begin(picture) >= end:
                return
            reached = picture.pts + picture.frame.duration
            yield picture
        self._tell_if_cut_off(reached)

    def _since_begin(self, picture: _Picture) -> Fraction:
        return (picture.pts - self.info.first_pts) * self._time_base

    def _tell_if_cut_off(self, reached: int) -> None:
        end, begin = reached * self._time_base, self.info.first_pts * self._time_base
        stated = stated_end(self._container, self._stream)
        if stated is None or not self._is_missing(stated - end):
            return
        after = f"after {float(end - begin):.2f} of {float(stated - begin):.2f} s"
        if self._is_missing(stated - self._read_to * self._time_base):
            self._warn_once(
                f"the clip breaks off {after}: it is cut off, or was not copied to its end"
            )
        else:
            self._warn_once(f"no picture can be decoded {after}: the file is damaged there")

    def _is_missing(self, seconds: Fraction) -> bool:
        return seconds * self.info.rate > _CUT_OFF

    def _from(self, start: Fraction) -> Iterator[_Picture]:
        """Pictures from the last keyframe at or before `start`, or earlier."""
        if start == 0:
            return chain([self._first], self._pictures)
        target = self.info.first_pts + math.ceil(start / self._time_base)
        pictures = self._sought(target)
        if pictures is None:
            self._begin_again()
            return chain([self._first], self._pictures)
        return pictures

    def _sought(self, target: int) -> Iterator[_Picture] | None:
        """Pictures from `target` on, a pts, or from before; none where the file cannot seek."""
        if may_start_over(self._container):
            return None
        with suppress(av.FFmpegError):
            self._container.seek(target, stream=self._stream)
            self._decoder.flush_buffers()
            pictures = self._decode(from_start=False)
            head = next(pictures, None)
            # Formats without an index land where they can, even too late.
            if head is not None and head.pts <= target:
                return chain([head], pictures)
        return None

    def _begin(self) -> None:
        # A rotation is known for sure only from a frame, so one is decoded ahead.
        self._pictures = self._decode(from_start=True)
        self._first = self._first_picture()

    def _begin_again(self) -> None:
        self.close()
        self._open()
        self._begin()

    def _open(self) -> None:
        self._container = open_clip(self.path, self.settings.fps)
        try:
            self._stream = picture_stream(self._container, self.path)
        except InputError:
            self.close()
            raise
        self._time_base = Fraction(self._stream.time_base or 1 / _rate(self._stream))
        said = self._stream.codec_context  # by the container, until ProRes's decoder opens
        self._stated = ColourTags(said.colorspace, said.color_primaries, said.color_trc, False)
        self._decoder = _decoder(self._stream)
        # Several decode a damaged clip differently from run to run, and lose more of its frames.
        self._decoder.thread_count = 1
        self._spoilt: set[int | None] = set()  # times of pictures whose decoder does not tell
        self._read_to = 0  # ticks: where the last picture ends that the file has, decoded or not
        # AVI's packets have one each, in the order of decoding: what FFmpeg makes of it for these
        # codecs, whose own bytes do not tell their order early, is a guess.
        in_avi = self._container.format.name == "avi"
        self._one_time = in_avi and self._decoder.codec.canonical_name in ("h264", "hevc")

    def _packets(self) -> Iterator[av.Packet | None]:
        timeline = Timeline(self._container, self._stream)
        sound = self._container.streams.audio if may_start_over(self._container) else ()
        for _ in range(_READ_TRIES):
            try:
                for packet in timeline.moved(packets_of(self._container, self._stream, *sound)):
                    if packet.stream is not self._stream:  # a last, empty one says index 0
                        continue
                    if self._one_time:
                        packet.pts = packet.dts
                    self._read_to = max(self._read_to, _end(packet))
                    yield packet
                return
            except av.FFmpegError:
                self._broken_packets += 1
        yield None  # what the decoder still holds

    def _decode(self, from_start: bool) -> Iterator[_Picture]:
        """All pictures from here on; only at the start those without times can be placed."""
        fields = Deinterlacer(self._time_base)
        for frame in self._timed(from_start):
            for what in _beside(frame):
                self._warn_once(f"left out: {what}")
            for picture in fields.feed(frame):
                yield _Picture(picture, cast(int, picture.pts))
            if fields.active:
                self._warn_once(_INTERLACED)
        for picture in fields.finish():
            yield _Picture(picture, cast(int, picture.pts))

    def _warn_once(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _timed(self, from_start: bool) -> Iterator[av.VideoFrame]:
        step = max(1, round(1 / (_rate(self._stream) * self._time_base)))
        self._owed = OwedPictures(self._decoder.codec.canonical_name)
        due, packets = _first_time(self._packets(), step)
        clock = _Clock(due if from_start else None, step)
        decoded = (frame for packet in packets for frame in self._decode_packet(packet))
        for frame in _sorted_times(decoded) if self._one_time else decoded:
            pts = clock.time_of(frame)
            if pts is None:
                return  # after a seek in a file without times: nothing says where we are
            frame.pts = pts
            yield frame

    def _decode_packet(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            self._broken_packets += 1
            return []
        if self._decoder.codec.canonical_name == "ffv1" and packet and has_damage(bytes(packet)):
            self._spoilt.add(packet.pts)
        if not self._one_time:  # such times are no picture's own
            self._owed.compare(packet, frames)
        return frames

    def _first_picture(self) -> _Picture:
        first = next(self._pictures, None)
        if first is None:
            lost = f" ({self.corrupt_packets} broken packets)" if self.corrupt_packets else ""
            raise InputError(f"{self.path}: no frame can be decoded{lost}; try another copy of it")
        return first

    def _describe(self, first: _Picture) -> ClipInfo:
        stream, frame = self._stream, first.frame
        orientation = _orientation(frame)
        width, height = scaled_size(frame.width, frame.height, self.settings.size)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        layout = PixelLayout(frame.format.name)
        codec, numbers = stream.codec_context.codec.canonical_name, self._numbers()
        if orientation.swaps_sides:
            width, height, aspect = height, width, 1 / aspect
        return ClipInfo(
            path=self.path,
            width=width,
            height=height,
            rate=_rate(stream),
            time_base=self._time_base,
            frames=stream.frames or (len(numbers) if numbers else None),
            seconds=_duration(self._container, stream, self._time_base),
            rotation_degrees=orientation.rotation_degrees,
            colour=self._tags(frame),
            codec=codec,
            pix_fmt=layout.name,
            bit_depth=layout.depth,
            sound_streams=len(self._container.streams.audio),
            sample_aspect=aspect,
            mirrored=orientation.mirrored,
            first_pts=first.pts,
            origin_pts=_origin(self._container, self._time_base, first.pts),
            has_alpha=layout.has_alpha,
            first_number=numbers[0] if numbers else None,
            chroma_place=place_read(frame, codec, self._container.format.name),
        )

    def _tags(self, frame: av.VideoFrame) -> ColourTags:
        layout = PixelLayout(frame.format.name)
        full_range = frame.color_range == 2 or layout.name.startswith("yuvj")
        if layout.is_grey and frame.color_range == 0:
            # Grey pictures (TIFF, JPEG 2000, …) and FFV1 say nothing, and use all levels.
            codec = self._stream.codec_context.codec
            full_range = codec.intra_only or (codec.lossless and not codec.lossy)
        tags = ColourTags(frame.colorspace, frame.color_primaries, frame.color_trc, full_range)
        tags = as_stated(tags, self._stated)
        if self.settings.fps is not None:
            tags = as_picture(tags)
        try:
            if layout.is_rgb or layout.is_float:
                return settle_rgb_tags(tags, linear=layout.is_float)
            return settle_tags(tags, frame.width, frame.height)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    def _numbers(self) -> range | None:
        if self.settings.fps is None:
            return None
        return ImageSequence(self.path).unbroken()

    def _frames(self, pictures: Iterator[_Picture], first: int) -> Iterator[Frame]:
        """Numbered from `first`."""
        counted = map(self._counted, pictures)
        if not self._unfade:
            return (self._frame(picture, first + n) for n, picture in enumerate(counted))
        size = sum(plane.buffer_size for plane in self._first.frame.planes)
        most = max(1, min(MOST, ROOM // size))
        return unfaded(counted, lambda picture, n: self._frame(picture, first + n), most)

    def _counted(self, picture: _Picture) -> _Picture:
        self.damaged_frames += picture.frame.is_corrupt or picture.pts in self._spoilt
        return picture

    def _frame(self, picture: _Picture, index: int) -> Frame:
        first, frame = self._first.frame, picture.frame
        if (frame.width, frame.height) != (first.width, first.height):
            self._warn_once(
                "the pictures' size changes within the clip: "
                f"all are scaled to the first's {first.width}x{first.height}"
            )
        try:
            image, alpha = self._converter(frame)(frame)
        except (av.FFmpegError, ValueError) as error:
            name = picture.frame.format.name
            raise DecodeError(
                f"{self.path}: pixel format {name} cannot be converted; "
                "convert the clip to yuv420p first"
            ) from error
        whole = Frame(
            self._upright(image),
            index,
            picture.pts,
            self._time_base,
            None if alpha is None else self._upright(alpha),
            picture.frame,
        )
        if self.window is None:
            return whole
        if self.window.is_filled(whole.image):
            self._warn_once(_FILLED)
        inside = np.ascontiguousarray(self.window.cut(whole.image))
        return replace(whole, image=inside, around=whole.image)

    def _upright(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self._orientation.upright(image))

    def _converter(self, frame: av.VideoFrame) -> FrameToRgb:
        """Sequences mix them: programs save black as grey among pictures in colour."""
        layout = PixelLayout(frame.format.name)
        rgb = layout.is_rgb or layout.is_float
        if rgb not in self._converters:
            width, height = self.info.width, self.info.height
            if self._orientation.swaps_sides:
                width, height = height, width
            place = self.info.chroma_place or LEFT
            self._converters[rgb] = FrameToRgb(self._tags(frame), width, height, place)
        return self._converters[rgb]

    def _nothing_in_range(self) -> str:
        seconds, end = self.info.seconds, self.settings.end
        length = "" if seconds is None else f", which is {seconds:.3f} s long"
        until = "" if end is None else f" --end {end:g}"
        return (
            f"--start {self.settings.start:g}{until}: no frame of {self.path} lies there{length}; "
            "choose times inside it"
        )


def _end(packet: av.Packet) -> int:
    begin = packet.dts if packet.pts is None else packet.pts
    return (begin or 0) + (packet.duration or 0)


def _first_time(
    packets: Iterator[av.Packet | None], step: int
) -> tuple[int, Iterator[av.Packet | None]]:
    """The first picture's pts, by the first packet that has one, else 0; and all the packets."""
    early: list[av.Packet | None] = []
    for packet in islice(packets, _UNTIMED):
        early.append(packet)
        if packet is not None and packet.pts is not None:
            return packet.pts - step * (len(early) - 1), chain(early, packets)
    return 0, chain(early, packets)


def _sorted_times(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Each gets the earliest time of its own and those after it."""
    waiting: deque[av.VideoFrame] = deque()
    times: list[int] = []
    for frame in frames:
        waiting.append(frame)
        if frame.pts is not None:
            heappush(times, frame.pts)
        if len(waiting) > _REORDERED:
            yield _earliest(waiting, times)
    while waiting:
        yield _earliest(waiting, times)


def _earliest(waiting: deque[av.VideoFrame], times: list[int]) -> av.VideoFrame:
    frame = waiting.popleft()
    frame.pts = heappop(times) if times else None
    return frame


def _decoder(stream: VideoStream) -> VideoCodecContext:
    # FFmpeg's own VP8/VP9 decoders drop the alpha layer, and what lies under it is arbitrary.
    if stream.metadata.get("alpha_mode") == "1" and stream.codec_context.name in ("vp8", "vp9"):
        library = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[stream.codec_context.name]
        if library in av.codecs_available:
            return cast(VideoCodecContext, av.CodecContext.create(library, "r"))
    return stream.codec_context


def _beside(frame: av.VideoFrame) -> list[str]:
    """What goes along with a picture that no result carries."""
    with suppress(ValueError):  # side data of a kind that PyAV does not know
        return [what for kind, what in _BESIDE.items() if kind in frame.side_data]
    return []


def _orientation(frame: av.VideoFrame) -> Orientation:
    try:
        matrix = cast(SideData | None, frame.side_data.get(SideDataType.DISPLAYMATRIX))  # type: ignore[call-overload]
    except ValueError:  # side data of a kind that PyAV does not know, beside it or instead
        return Orientation(round(frame.rotation / 90) * 90 % 360)
    if matrix is None:
        return Orientation()
    return Orientation.of_display_matrix(np.frombuffer(memoryview(matrix), np.int32).tolist())


def _rate(stream: VideoStream) -> Fraction:
    rates = stream.average_rate, stream.guessed_rate, stream.base_rate
    # Headers that do not say may count the clock's ticks for frames.
    likely = (rate for rate in rates if rate and rate <= _FASTEST)
    # A Fraction, for PyAV's own numbers (from 19 on) round where two of them meet.
    return Fraction(next(likely, _USUAL_RATE))


def _duration(container: InputContainer, stream: VideoStream, time_base: Fraction) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * time_base)
    return float(container.duration * MICROSECOND) if container.duration else None


def _origin(container: InputContainer, time_base: Fraction, first_pts: int) -> int:
    """When the clip begins, pictures or sound: that moment is 0 in the result."""
    begin = (container.start_time or 0) * MICROSECOND
    # FFmpeg rounds this time to microseconds; do not take that for earlier sound.
    if abs(first_pts * time_base - begin) <= 2 * MICROSECOND:
        return first_pts
    return min(first_pts, max(0, math.floor(begin / time_base)))

"""The source's sound and subtitles, carried packet by packet, in step with the pictures."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final, Protocol, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.stream import Disposition, Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from vidstyle.video.encoders import Container
from vidstyle.video.labels import lost_stream_tags, repeats_chapters, stream_tags
from vidstyle.video.reader import picture_stream
from vidstyle.video.source import MICROSECOND, open_source, packets_of, stated_end, whole_end
from vidstyle.video.timeline import Timeline, may_start_over

_BITS_PER_CHANNEL: Final = 96_000  # transparent for AAC and Opus alike
_GAP: Final = 0.02  # seconds: less is a coarse clock's rounding
# Sound before a part's first moment that goes along unheard: a decoder begins with a fade or, where
# packets lean on those before (MP3), with silence.
_RUN_UP: Final = Fraction(1, 20)
_RUN_UP_OF: Final = {"mp3": Fraction(1, 10), "opus": Fraction(2, 25)}  # RFC 7845 asks for that
_BEFORE: Final = Fraction(1, 5)  # seconds to seek further back, so that it is among what is read
_APART: Final = Fraction(1)  # seconds between what lies side by side in a file, at most
_CUT_OFF: Final = Fraction(1, 10)  # seconds of sound that may be missing without a word
_ALL_CUT_OFF: Final = Fraction(3, 10)  # the same of a file, whose header may be rough
_SAY_RUN_IN: Final = ("matroska", "webm")
# Opus says it in a header of its own as well, in samples at 48 kHz, and players want both to agree.
_OPUS_RUN_IN: Final = re.compile(rb"(?s)(?<=OpusHead..)..")
_OPUS_RATE: Final = 48_000
_TRACK_UID, _CODEC_DELAY = bytes.fromhex("73c588"), bytes.fromhex("56aa88")  # with a length of 8
_ANY_CODEC_DELAY: Final = re.compile(rb"\x56\xaa(?=[\x81-\x88])")
_NO_TIME: Final = Fraction(0)
_COARSE: Final = Fraction(1, 1000)  # seconds a tick
# Of files that tell how many channels there are, but not which.
_USUAL_LAYOUTS: Final = {
    "1 channels": "mono",
    "2 channels": "stereo",
    "6 channels": "5.1",
    "8 channels": "7.1",
}
_TEXT: Final = ("ass", "mov_text", "subrip", "text", "webvtt")


class _Track(Protocol):
    """One source stream's way into the result.

    `sheds_run_in`: packets before time 0, there to start the decoder up, are left out.
    """

    sheds_run_in: bool

    def convert(self, packet: av.Packet, origin: Fraction) -> Iterable[av.Packet]:
        """Packets for the result, whose clock shows 0 at `origin` on the source's."""

    def drain(self) -> Iterable[av.Packet]:
        """What is still held back."""


class _Copied:
    sheds_run_in = False

    def __init__(
        self, stream: AudioStream | SubtitleStream, source: AudioStream | SubtitleStream
    ) -> None:
        self._stream, self._source = stream, source

    def convert(self, packet: av.Packet, origin: Fraction) -> list[av.Packet]:
        shift = round(origin / packet.time_base)
        assert packet.pts is not None  # the others were left out
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        if self.sheds_run_in:
            packet.pts, packet.dts = max(packet.pts, 0), max(packet.dts, 0)
        packet.stream = self._stream
        return [packet]

    def state_run_in(self, first: av.Packet, origin: Fraction) -> None:
        """In the header of Matroska: how long before `origin` the first packet of sound begins."""
        source = cast(AudioStream, self._source)
        early = max(_NO_TIME, origin - _begin(first))
        stated = Fraction(source.codec_context.delay, source.codec_context.sample_rate)
        # A clock of milliseconds is too coarse to contradict what the source's header says.
        if abs(early - stated) >= first.time_base:
            self.state(first, early)

    def state(self, first: av.Packet, run_in: Fraction = _NO_TIME) -> None:
        """Say of the sound in the result's header what Matroska's could say of it."""
        with _stub(cast(AudioStream, self._source), first, run_in) as header:
            # The filter does nothing but hand the parameters over.
            BitStreamFilterContext("null", header.streams.audio[0], self._stream)

    def drain(self) -> list[av.Packet]:
        return []


class _Encoded:
    """Sound from time 0 on, to the sample, with silence wherever there is none."""

    sheds_run_in = False

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        self._graph = Graph()
        self._kind: tuple[object, ...] = ()
        self._end = 0  # of what has been encoded, in samples

    def convert(self, packet: av.Packet, origin: Fraction) -> Iterator[av.Packet]:
        try:
            frames = cast(list[av.AudioFrame], packet.decode())
        except av.FFmpegError:
            return  # a broken packet is a short silence
        for frame in frames:
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(origin / frame.time_base)
            yield from self._encoded(self._timed(frame))

    def drain(self) -> Iterator[av.Packet]:
        yield from self._encoded(self._rest())
        yield from self._stream.encode(None)

    def _timed(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        kind = (frame.sample_rate, frame.format.name, frame.layout.name, frame.time_base)
        rate = self._stream.codec_context.sample_rate
        begin = 0 if frame.pts is None else round(frame.pts * (frame.time_base or 0) * rate)
        if kind != self._kind or begin - self._end > 2 * rate:
            yield from self._rest()
            # By the second: the graph would hold all of a long silence at once.
            while begin - self._end > 2 * rate:
                yield self._second_of_silence()
            self._graph, self._kind = self._build(frame), kind
        self._graph.push(frame)
        yield from self._ready()

    def _second_of_silence(self) -> av.AudioFrame:
        made = self._stream.codec_context
        frame = av.AudioFrame(made.format.name, made.layout.name, made.sample_rate)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.time_base = made.sample_rate, Fraction(1, made.sample_rate)
        frame.pts = self._end
        self._end += made.sample_rate
        return frame

    def _rest(self) -> Iterator[av.AudioFrame]:
        if self._kind:
            self._graph.push(None)
            yield from self._ready()

    def _ready(self) -> Iterator[av.AudioFrame]:
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                frame = cast(av.AudioFrame, self._graph.pull())
                self._end += frame.samples
                yield frame

    def _build(self, frame: av.AudioFrame) -> Graph:
        graph = Graph()
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=frame.time_base,
        )
        made = self._stream.codec_context
        gaps = f"async=1:min_hard_comp={_GAP}:first_pts={self._end}"
        timed = graph.add("aresample", f"{made.sample_rate}:{gaps}")
        kind = f"sample_fmts={made.format.name}:channel_layouts={made.layout.name}"
        graph.link_nodes(source, timed, graph.add("aformat", kind), graph.add("abuffersink"))
        graph.configure()
        return graph

    def _encoded(self, frames: Iterable[av.AudioFrame]) -> Iterator[av.Packet]:
        for frame in frames:
            yield from self._stream.encode(frame)


class _Rewritten:
    """Text subtitles in another codec; what both know of italics and places stays."""

    sheds_run_in = False

    def __init__(self, source: SubtitleCodecContext, stream: SubtitleStream) -> None:
        self._source, self._stream = source, stream

    def convert(self, packet: av.Packet, origin: Fraction) -> list[av.Packet]:
        try:
            shown = self._source.decode2(packet)
            lines = [line.ass for line in shown or () if isinstance(line, AssSubtitle)]
            return [self._written(line, packet, origin) for line in lines]
        except (av.FFmpegError, ValueError):
            return []  # a broken line is not shown

    def _written(self, line: bytes, packet: av.Packet, origin: Fraction) -> av.Packet:
        whole = SubtitleSet.create(line, 0, round(_length(packet) * 1000))
        written = self._stream.codec_context.encode_subtitle(whole)
        written.time_base, written.stream = packet.time_base, self._stream
        written.pts = written.dts = (packet.pts or 0) - round(origin / packet.time_base)
        written.duration = packet.duration
        return written

    def drain(self) -> list[av.Packet]:
        return []


class Tracks:
    """All sound and subtitles of `source`, added to `output`; `pump` keeps them with the pictures.

    Sound the container cannot hold is encoded anew as its usual one; a stream that cannot be
    carried at all is left out, and both are said in `warnings`. Times are seconds on the source's
    clock. Sound begins where it was asked to: packets before that are marked as unheard; it ends
    with a whole packet. Avi has no marks and no times for sound, so that only a `whole` avi's is
    copied there. A subtitle is cut to the part of it that is shown.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        container: Container,
        warnings: list[str],
        whole: bool = True,
    ) -> None:
        self._container = container
        self._output = output
        self._warnings = warnings
        self._path, self._whole = source, whole
        self._source = open_source(source)
        self._tracks: dict[int, _Track] = {}
        self._origin = Fraction(0)
        self._since: Fraction | None = None
        self._until: Fraction | None = None
        for number, stream in enumerate(self._source.streams.audio, 1):
            self._add(stream, number)
        for number, lines in enumerate(self._source.streams.subtitles, 1):
            if not repeats_chapters(lines, self._source):
                self._add_lines(lines, number)
        # Subtitles are far between: waiting for the next would read on and on.
        sound = {stream.index for stream in self._source.streams.audio} & set(self._tracks)
        self._awaited = sound or set(self._tracks)
        self._reached: dict[int, Fraction] = {}
        self._packets = self._trimmed()
        self._next: av.Packet | None = None

    def start(self, origin: Fraction, since: Fraction | None, until: Fraction | None) -> None:
        """`origin` becomes 0; packets before `since` or from `until` on are left out."""
        self._origin, self._since, self._until = origin, since, until
        if since is not None and self._tracks and not may_start_over(self._source):
            try:
                self._source.seek(int((since - _BEFORE) / MICROSECOND))
            except av.FFmpegError:  # without an index, after which it is of no more use
                self._source = open_source(self._path)
        for index, track in self._tracks.items():
            if isinstance(track, _Copied):
                track.sheds_run_in = self._sheds(self._source.streams[index])
        self._settle_headers()
        self._next = next(self._packets, None)

    def _sheds(self, stream: Stream) -> bool:
        """A run-in has negative times: a muxer with no way to write those delays all streams."""
        stated = stream.type == "audio" and self._container.muxer in _SAY_RUN_IN
        return not (stated or self._container.exact_times)

    def _settle_headers(self) -> None:
        """What the result's header says of copied sound, which the first packets tell."""
        muxer = self._container.muxer
        # Of parameters that come from an avi, FFmpeg's muxer makes a clock that counts bytes.
        again = muxer == "avi" and self._source.format.name == "avi"
        if muxer not in _SAY_RUN_IN and not again:
            return
        begun: dict[int, av.Packet] = {}
        ahead: list[av.Packet] = []
        for packet in self._packets:
            ahead.append(packet)
            begun.setdefault(packet.stream_index, packet)
            if self._awaited <= set(begun) or _begin(packet) > self._origin + _APART:
                break
        self._packets = chain(ahead, self._packets)
        for index, track in self._tracks.items():
            if index in begun and isinstance(track, _Copied):
                if again:
                    track.state(begun[index])
                elif not track.sheds_run_in:
                    track.state_run_in(begun[index], self._origin)

    def pump(self, moment: Fraction) -> None:
        """Write all packets that begin before `moment` on the result's clock."""
        while self._next is not None and _begin(self._next) - self._origin < moment:
            self._write(self._next)
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Write the rest."""
        while self._next is not None:
            self._write(self._next)
            self._next = next(self._packets, None)
        for track in self._tracks.values():
            for packet in track.drain():
                self._output.mux(packet)

    def close(self) -> None:
        self._source.close()

    def _write(self, packet: av.Packet) -> None:
        try:
            for converted in self._tracks[packet.stream_index].convert(packet, self._origin):
                self._output.mux(converted)
        except (av.InvalidDataError, av.PatchWelcomeError, av.ArgumentError):
            self._warn_once("broken packets of sound are left out, as short silences")

    def _warn_once(self, warning: str) -> None:
        if warning not in self._warnings:
            self._warnings.append(warning)

    def _trimmed(self) -> Iterator[av.Packet]:
        for packet in self._demuxed():
            if packet.size == 0 or packet.pts is None:
                continue
            _count_samples(packet)
            if packet.stream.type == "audio" and self._is_heard_before(packet):
                continue
            if packet.stream.type == "subtitle":
                self._cut(packet)
            begin = _begin(packet)
            if self._until is not None and begin >= self._until:
                self._awaited.discard(packet.stream_index)
                if not self._awaited:
                    return
            elif not self._too_early(packet, begin):
                yield packet

    def _is_heard_before(self, packet: av.Packet) -> bool:
        """Whether it overlaps what is there already, as where recordings are joined."""
        begin = _begin(packet)
        reached = self._reached.get(packet.stream_index, begin)
        self._reached[packet.stream_index] = max(begin, reached)
        return begin < reached

    def _cut(self, packet: av.Packet) -> None:
        """Leave of a subtitle what is shown of it in the part."""
        begin = _begin(packet)
        end = begin + _length(packet)
        first, last = max(begin, self._since or begin), min(end, self._until or end)
        if first < last:
            packet.pts = packet.dts = round(first / packet.time_base)
            packet.duration = round((last - first) / packet.time_base)

    def _demuxed(self) -> Iterator[av.Packet]:
        if not self._tracks:
            return
        source, picture = self._source, picture_stream(self._source, self._path)
        streams = [picture, *source.streams.audio, *source.streams.subtitles]
        ends: dict[int, Fraction] = {}
        try:
            for packet in Timeline(source, picture).moved(packets_of(source, *streams)):
                end = _begin(packet) + _length(packet)
                ends[packet.stream_index] = max(end, ends.get(packet.stream_index, end))
                if packet.stream_index in self._tracks:
                    yield packet
        except av.FFmpegError as error:
            self._warnings.append(f"sound and subtitles break off: {error.strerror}")
        else:
            self._tell_if_cut_off(picture, ends)

    def _tell_if_cut_off(self, picture: Stream, ends: dict[int, Fraction]) -> None:
        """Sound; and the file, where headers do not state the pictures' own end."""
        for number, stream in enumerate(self._source.streams.audio, 1):
            stated, end = stated_end(self._source, stream), ends.get(stream.index, _NO_TIME)
            if stream.index in self._tracks and stated is not None and stated - end > _CUT_OFF:
                self._warnings.append(_cut_off(f"sound stream {number}", end, stated))
        if stated_end(self._source, picture) is None:
            whole, end = whole_end(self._source), max(ends.values(), default=_NO_TIME)
            if whole is not None and whole - end > _ALL_CUT_OFF:
                self._warnings.append(_cut_off("the file", end, whole))

    def _too_early(self, packet: av.Packet, begin: Fraction) -> bool:
        sheds = self._tracks[packet.stream_index].sheds_run_in
        if self._since is None:
            return sheds and begin + _length(packet) / 2 < self._origin
        if sheds or packet.stream.type == "subtitle":
            return begin < self._since
        codec = packet.stream.codec_context.codec.canonical_name
        return begin + _length(packet) <= self._since - _RUN_UP_OF.get(codec, _RUN_UP)

    def _add(self, stream: AudioStream, number: int) -> None:
        if stream.codec_context is None:
            self._warnings.append(f"sound stream {number} is left out: its codec is unknown")
            return
        if not stream.codec_context.sample_rate:  # which the first packet would tell
            self._warnings.append(f"sound stream {number} is left out: no packet of it can be read")
            return
        lacking = self._lacks(stream)
        if lacking:
            encoded = self._encoder(stream, number, lacking)
            if encoded is None:
                return
            copy = encoded
            self._tracks[stream.index] = _Encoded(copy)
        else:
            copy = self._output.add_stream_from_template(stream)
            self._tracks[stream.index] = _Copied(copy, stream)
        self._describe(stream, copy, f"sound stream {number}")

    def _lacks(self, stream: AudioStream) -> str:
        """What keeps the container from having this sound as it is; empty if nothing does."""
        name, container = stream.codec_context.codec.canonical_name, self._container
        usual = container.copied is None or name in container.copied
        if not (usual and _holds(container, stream)):
            return f"cannot hold {name}"
        if container.muxer == "avi" and not self._counts(stream):
            return "has no times for packets of sound"
        return ""

    def _counts(self, stream: AudioStream) -> bool:
        """Whether its packets follow one another from the result's first moment on."""
        begin = (stream.start_time or 0) * (stream.time_base or 0)
        from_start = begin <= (self._source.start_time or 0) * MICROSECOND
        return self._whole and from_start and self._source.format.name == "avi"

    def _encoder(self, stream: AudioStream, number: int, reason: str) -> AudioStream | None:
        name, target = stream.codec_context.codec.canonical_name, self._container.sound
        assert target is not None
        given = stream.codec_context.layout.name
        given = _USUAL_LAYOUTS.get(given, given)
        # "5.1(side)" of films is "5.1" to an encoder that knows one place for it only.
        for layout in (given, given.partition("(")[0], "stereo"):
            rate = _rate(target, stream.codec_context.rate)
            if _can_encode(target, rate, layout):
                mixed = "" if given.startswith(layout) else ", mixed to stereo"
                if mixed or name != target:
                    self._warnings.append(
                        f"sound stream {number} ({name}) is encoded anew as {target}{mixed}: "
                        f"{self._container.muxer} {reason}"
                    )
                made = cast(AudioStream, self._output.add_stream(target, rate=rate))
                _configure(made.codec_context, layout)
                return made
        self._leave_out(f"sound stream {number} ({name})")
        return None

    def _add_lines(self, stream: SubtitleStream, number: int) -> None:
        if stream.codec_context is None:
            self._warnings.append(f"subtitle stream {number} is left out: its codec is unknown")
            return
        name, target = stream.codec_context.codec.canonical_name, self._container.subtitles
        if _holds(self._container, stream):
            copy = self._output.add_stream_from_template(stream)
            self._tracks[stream.index] = _Copied(copy, stream)
        elif target is not None and _is_text(stream):
            copy = cast(SubtitleStream, self._output.add_stream(target))
            copy.codec_context.subtitle_header = stream.codec_context.subtitle_header
            self._tracks[stream.index] = _Rewritten(stream.codec_context, copy)
            self._warnings.append(
                f"subtitle stream {number} ({name}) is rewritten as {target}: "
                f"{self._container.muxer} cannot hold {name}"
            )
        else:
            self._leave_out(f"subtitle stream {number} ({name})")
            return
        self._describe(stream, copy, f"subtitle stream {number}")

    def _describe(
        self,
        stream: AudioStream | SubtitleStream,
        copy: AudioStream | SubtitleStream,
        what: str,
    ) -> None:
        tags, container = stream_tags(stream), self._container
        copy.metadata.update(tags)
        copy.disposition = stream.disposition
        lost = [] if container.any_tags else lost_stream_tags(tags, container.muxer)
        unsaid = stream.disposition & ~container.marks & ~Disposition.default
        lost += [f"mark “{mark.name}”".replace("_", " ") for mark in unsaid]
        if lost:
            named = ", ".join(lost)
            self._warnings.append(f"{what} loses its {named}: {container.muxer} cannot say it")

    def _leave_out(self, what: str) -> None:
        self._warnings.append(f"{what} is left out: {self._container.muxer} cannot hold it")


def _stub(stream: AudioStream, packet: av.Packet, seconds: Fraction) -> InputContainer:
    """A Matroska file of one packet, with `stream`'s parameters but this run-in.

    PyAV has no other way to set AVCodecParameters.initial_padding. The element of the run-in takes
    the place of one as long that no reader needs; another name hides the source's own.
    """
    made = io.BytesIO()
    with av.open(made, "w", format="matroska") as muxer:
        only = av.Packet(bytes(packet))
        only.stream, only.pts, only.dts = muxer.add_stream_from_template(stream), 0, 0
        muxer.mux(only)
    data = made.getvalue()
    if seconds:
        own = struct.pack("<H", round(seconds * _OPUS_RATE))
        data = _OPUS_RUN_IN.sub(lambda place: own, data, count=1)
    at = data.index(_TRACK_UID)
    delay = _CODEC_DELAY + struct.pack(">Q", round(seconds * 1_000_000_000))
    rest = data[at + len(delay) :]
    if stream.codec_context.delay:
        rest = _ANY_CODEC_DELAY.sub(b"\x56\xab", rest, count=1)
    return cast(InputContainer, av.open(io.BytesIO(data[:at] + delay + rest)))


def _cut_off(what: str, end: Fraction, stated: Fraction) -> str:
    return f"{what} breaks off after {float(end):.2f} of {float(stated):.2f} s"


def _is_text(stream: SubtitleStream) -> bool:
    """Also opens its decoder, whose header is the encoder's."""
    if stream.codec_context.codec.canonical_name not in _TEXT:
        return False
    try:
        stream.codec_context.open(strict=False)
    except (av.FFmpegError, ValueError):
        return False
    return stream.codec_context.subtitle_header is not None


def _count_samples(packet: av.Packet) -> None:
    """Where the file counts packets, as avi does: a part need not begin with one."""
    if packet.time_base > _COARSE and isinstance(packet.stream, AudioStream):
        tick = Fraction(1, packet.stream.codec_context.sample_rate)
        ticks = packet.time_base / tick
        packet.pts = round((packet.pts or 0) * ticks)
        packet.dts = None if packet.dts is None else round(packet.dts * ticks)
        packet.duration = round((packet.duration or 0) * ticks)
        packet.time_base = tick


def _begin(packet: av.Packet) -> Fraction:
    return (packet.pts or 0) * packet.time_base


def _length(packet: av.Packet) -> Fraction:
    return (packet.duration or 0) * packet.time_base


def _holds(container: Container, stream: AudioStream | SubtitleStream) -> bool:
    """Try it: some muxers accept a codec and fail only when the header is written."""
    try:
        with av.open(io.BytesIO(), "w", format=container.muxer) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _rate(encoder: str, rate: int) -> int:
    offered = av.Codec(encoder, "w").audio_rates
    return rate if not offered or rate in offered else max(offered)


def _configure(context: AudioCodecContext, layout: str) -> None:
    context.layout = layout
    context.bit_rate = _BITS_PER_CHANNEL * context.layout.nb_channels


def _can_encode(encoder: str, rate: int, layout: str) -> bool:
    try:
        context = cast(AudioCodecContext, av.CodecContext.create(encoder, "w"))
        context.sample_rate = rate
        context.format = (av.Codec(encoder, "w").audio_formats or [])[0]
        _configure(context, layout)
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True

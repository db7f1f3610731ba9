"""One clock for a file whose own starts over, as that of joined recordings does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Stream

from vidstyle.video.source import estimated_end

_STARTS_OVER: Final = Fraction(1)  # seconds back; less is disorder
_JUMPS: Final = Fraction(10)  # seconds on, in files whose clock may; FFmpeg's own measure
_MAY_START_OVER: Final = cast(int, Flags.ts_discont.value)
_HELD: Final = 500  # packets that may lie in a file before the picture they belong to


def may_start_over(container: InputContainer) -> bool:
    """Whether its kind of file may simply be joined (transport streams, VOB); seeks go astray."""
    return bool(container.format.flags & _MAY_START_OVER)


class Timeline:
    """Packets whose times go on where the file's jump, for all streams alike.

    The pictures' packets tell when a new recording begins: its first follows their last. What else
    has jumped waits for that, so that sound and pictures stay together at every joint.
    """

    def __init__(self, container: InputContainer, picture: Stream) -> None:
        self._picture = picture.index
        self._jumps = may_start_over(container)
        self._shift = Fraction(0)  # the pictures'
        self._shifts: dict[int, Fraction] = {}
        self._last: dict[int, Fraction] = {}
        self._end: Fraction | None = None  # of the pictures' last
        self._front: Fraction | None = None  # of all but subtitles
        end = estimated_end(container)
        self._latest = None if end is None else end + _JUMPS  # that anything begins

    def moved(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """The same packets: the pictures' at least, and all sound's where clocks may jump."""
        waiting: list[av.Packet] = []
        try:
            for packet in packets:
                yield from self._in_turn(packet, waiting)
        except av.FFmpegError:
            yield from self._released(waiting)  # what was read before the file broke off
            raise
        yield from self._released(waiting)

    def _in_turn(self, packet: av.Packet, waiting: list[av.Packet]) -> Iterator[av.Packet]:
        if packet.size and packet.stream_index == self._picture:
            if self._has_jumped(packet, self._shift) and self._end is not None:
                self._shift = self._end - _time(packet)
                yield from self._released(waiting)
            yield self._move(packet)
        elif packet.size and (waiting or self._is_lost(packet) or self._is_astray(packet)):
            waiting.append(packet)
            if len(waiting) > _HELD:
                yield from self._released(waiting)
        else:
            yield self._move(packet)

    def _released(self, waiting: list[av.Packet]) -> Iterator[av.Packet]:
        """In turn, but for those that a broken time puts far ahead of all others."""
        for packet in waiting:
            if not self._is_astray(packet):
                yield self._move(packet)
        waiting.clear()

    def _is_astray(self, packet: av.Packet) -> bool:
        """Far ahead of all that was read, and where no clock jumps of what the header says too."""
        if self._front is None:
            return False
        latest = self._front + _JUMPS
        if not self._jumps:
            if self._latest is None:
                return False
            latest = max(latest, self._latest)
        before = self._shifts.get(packet.stream_index, self._shift)
        return _time(packet) + min(before, self._shift) > latest

    def _is_lost(self, packet: av.Packet) -> bool:
        before = self._shifts.get(packet.stream_index, self._shift)
        return all(self._has_jumped(packet, shift) for shift in (before, self._shift))

    def _has_jumped(self, packet: av.Packet, shift: Fraction) -> bool:
        last, begin = self._last.get(packet.stream_index), _time(packet) + shift
        if packet.dts is None or last is None or self._front is None:
            return False
        return begin < last - _STARTS_OVER or (self._jumps and begin > self._front + _JUMPS)

    def _move(self, packet: av.Packet) -> av.Packet:
        index = packet.stream_index
        if not packet.size or (packet.dts is None and packet.pts is None):
            return packet
        shift = self._shifts.get(index, self._shift)
        if index == self._picture or self._has_jumped(packet, shift):
            shift = self._shift
        self._shifts[index] = shift
        if self._jumps and packet.pts is not None and packet.dts is not None:
            apart = abs(packet.pts - packet.dts) * packet.time_base
            packet.pts = packet.dts if apart > _JUMPS else packet.pts  # a broken one
        ticks = round(shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
        self._note(packet)
        return packet

    def _note(self, packet: av.Packet) -> None:
        begin = _time(packet)
        end = begin + (packet.duration or 0) * packet.time_base
        self._last[packet.stream_index] = begin
        if packet.stream_index == self._picture and packet.dts is not None:
            self._end = end
        if packet.stream.type != "subtitle":
            self._front = max(end, self._front or end)


def _time(packet: av.Packet) -> Fraction:
    ticks = packet.pts if packet.dts is None else packet.dts
    return (ticks or 0) * packet.time_base

"""Which packets gave no picture, though their decoder said nothing of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import av

# A packet is a picture there. VP8 and MPEG-4 have some that show nothing.
_ONE_EACH: Final = ("av1", "h264", "hevc", "vp9")


class OwedPictures:
    """Compares packets with pictures by their times; `lost` is the number of those left out.

    Pictures come in the order of their times, or nearly so: one that comes late is not lost. What
    lies before the first leans on pictures that the file does not have.
    """

    def __init__(self, codec: str) -> None:
        self._counts = codec in _ONE_EACH
        self._owed: set[int] = set()
        self._lost: set[int] = set()
        self._first: int | None = None

    @property
    def lost(self) -> int:
        return len(self._lost)

    def compare(self, packet: av.Packet | None, frames: Iterable[av.VideoFrame]) -> None:
        """`frames` is what the decoder gave for `packet`, which ends a clip if it is empty."""
        last = packet is None or not packet.size
        if packet is not None and packet.size and packet.pts is not None and not packet.is_discard:
            self._owed.add(packet.pts)
        for frame in frames:
            if frame.interlaced_frame:  # each field may have a packet
                self._counts = False
            if frame.pts is not None:
                self._receive(frame.pts)
        if last:
            self._settle(self._owed)

    def _receive(self, came: int) -> None:
        self._first = came if self._first is None else self._first
        self._settle({pts for pts in self._owed if pts <= came})
        self._lost.discard(came)

    def _settle(self, due: set[int]) -> None:
        self._owed = self._owed - due
        if self._counts and self._first is not None:
            self._lost |= {pts for pts in due if pts > self._first}

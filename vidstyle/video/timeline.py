"""One clock for a file whose own starts over, as that of joined recordings does."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

_STARTS_OVER: Final = Fraction(1)  # seconds back; less is disorder


class Timeline:
    """Moments in seconds that go on where the file's jump back, for streams read together."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Fraction, Fraction]] = {}
        self._shift = Fraction(0)

    def place(self, stream: int, begin: Fraction, length: Fraction) -> Fraction:
        """When the next piece of `stream` begins, which the file says begins at `begin`."""
        begin += self._shift
        before, end = self._last.get(stream, (begin, begin))
        if begin < before - _STARTS_OVER:
            self._shift += end - begin
            begin = end
        self._last[stream] = begin, begin + length
        return begin

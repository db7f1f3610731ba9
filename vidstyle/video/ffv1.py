"""FFV1's own checksums: its decoder looks at them, but does not tell."""

from __future__ import annotations

import zlib
from typing import Final

_FOOTER: Final = 8  # bytes of a slice's end: its size in three, a state in one, its checksum
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# What zlib's checksum, of each byte's bits the other way round, begins and ends with: of level 3
# (RFC 9043), and of level 4 as FFmpeg writes it.
_STARTS: Final = (0xFFFFFFFF, 0xA1CEFD61)


def has_damage(packet: bytes) -> bool:
    """Whether a slice of a picture has another checksum than it states, where they state any."""
    damaged, end = False, len(packet)
    while end >= _FOOTER:
        size = int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big") + _FOOTER
        damaged = damaged or not _is_whole(packet[max(0, end - size) : end])
        end -= size
    return damaged and end == 0  # else these were no sizes, and so no checksums


def _is_whole(piece: bytes) -> bool:
    mirrored = piece.translate(_MIRRORED)
    return any(zlib.crc32(mirrored, start) == start for start in _STARTS)

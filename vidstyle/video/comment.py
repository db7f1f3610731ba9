"""A comment in finished GIF and PNG files, which FFmpeg writes without any."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

_PNG_END: Final = bytes.fromhex("0000000049454e44ae426082")
_GIF_HEADER: Final = 13  # bytes before the colours that all pictures share
_GIF_PIECE: Final = 255  # bytes in a sub-block, at most


def add_comment(path: Path, text: str) -> None:
    """Other kinds of files stay as they are."""
    if path.suffix.lower() == ".gif":
        _add_to_gif(path, text)
    elif path.suffix.lower() == ".png":
        _add_to_png(path, text)


def _add_to_gif(path: Path, text: str) -> None:
    """GIF89a's comment extension, in ASCII, before the first picture: many look only there."""
    data, comment = path.read_bytes(), text.encode("ascii", "replace")
    shared = 3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0
    pieces = [comment[at : at + _GIF_PIECE] for at in range(0, len(comment), _GIF_PIECE)]
    block = b"\x21\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"
    at = _GIF_HEADER + shared
    path.write_bytes(data[:at] + block + data[at:])


def _add_to_png(path: Path, text: str) -> None:
    """An iTXt chunk before the last one: UTF-8, not compressed, in no stated language."""
    data = b"iTXt" + b"Comment\0" + b"\0\0" + b"\0\0" + text.encode()
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    with path.open("r+b") as file:
        file.seek(-len(_PNG_END), os.SEEK_END)
        file.write(chunk + _PNG_END)

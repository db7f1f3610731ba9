"""A comment in finished GIF, PNG, TIFF and EXR files, which FFmpeg writes without any."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PNG_END: Final = bytes.fromhex("0000000049454e44ae426082")
_GIF_HEADER: Final = 13  # bytes before the colours that all pictures share
_GIF_PIECE: Final = 255  # bytes in a sub-block, at most
_TIFF_DESCRIPTION, _TIFF_ASCII = 270, 2
_TIFF_ENTRY: Final = 12  # bytes
_EXR_HEADER: Final = 8  # bytes before the first attribute


def add_comment(path: Path, text: str) -> None:
    """`text` is more than three bytes long. Other kinds of files stay as they are."""
    add = _ADD.get(path.suffix.lower())
    if add is not None:
        add(path, text)


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


def _add_to_tiff(path: Path, text: str) -> None:
    """An ImageDescription, and behind it a directory that lists it with the other entries."""
    data = path.read_bytes()
    data += bytes(len(data) % 2)  # whatever is pointed to lies at an even place
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    begin, end = at + 2, at + 2 + count * _TIFF_ENTRY
    entries = [data[place : place + _TIFF_ENTRY] for place in range(begin, end, _TIFF_ENTRY)]
    comment = text.encode("ascii", "replace") + b"\0"
    entries.append(struct.pack("<HHII", _TIFF_DESCRIPTION, _TIFF_ASCII, len(comment), len(data)))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    comment += bytes(len(comment) % 2)
    head = data[:4] + struct.pack("<I", len(data) + len(comment))
    listed = struct.pack("<H", count + 1) + b"".join(entries) + data[end : end + 4]
    path.write_bytes(head + data[8:] + comment + listed)


def _add_to_exr(path: Path, text: str) -> None:
    """The standard attribute `comments`, the last of the header; what follows moves on."""
    data, comment = path.read_bytes(), text.encode()
    attribute = b"comments\0string\0" + struct.pack("<i", len(comment)) + comment
    at = _EXR_HEADER
    while data[at]:
        size_at = data.index(0, data.index(0, at) + 1) + 1
        at = size_at + 4 + struct.unpack_from("<i", data, size_at)[0]
    (first,) = struct.unpack_from("<Q", data, at + 1)
    # Where each block of rows begins; the first follows the last of these numbers.
    places = struct.unpack(f"<{(first - at - 1) // 8}Q", data[at + 1 : first])
    moved = struct.pack(f"<{len(places)}Q", *(place + len(attribute) for place in places))
    path.write_bytes(data[:at] + attribute + b"\0" + moved + data[first:])


_ADD: Final[dict[str, Callable[[Path, str], None]]] = {
    ".gif": _add_to_gif,
    ".png": _add_to_png,
    ".tif": _add_to_tiff,
    ".tiff": _add_to_tiff,
    ".exr": _add_to_exr,
}

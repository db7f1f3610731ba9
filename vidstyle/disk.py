"""Files that survive a crash once they are written, and that are known by what they hold."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vidstyle.errors import EncodeError, InputError, OutputError

FRAME_BYTES: Final = 6  # a pixel: of finished frames that wait for the result to be complete
SEAL: Final = "sha256"  # among facts: of all others


def sync_file(path: Path) -> None:
    """Bring a file's bytes to disk."""
    _sync(path, os.O_RDWR)


def sync_folder(path: Path) -> None:
    """Bring a folder's list of names to disk."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """With those it lies in, each brought to disk: what is synced inside is else lost with them."""
    if path.is_dir():
        return
    if path.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def write_synced(path: Path, text: str) -> None:
    """A small file, whole or not at all whatever happens; what was there is replaced.

    `text` may hold a file's name that is no text.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8", errors="surrogateescape")
    sync_file(partial)
    os.replace(partial, path)
    sync_folder(path.parent)


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """With a checksum, by which `unsealed` tells whether they are whole."""
    return {**facts, SEAL: _checksum(facts)}


def unsealed(text: str | bytes) -> dict[str, Any] | None:
    """What `sealed` was given, from JSON; `None` where any of it is damaged."""
    with suppress(ValueError, AttributeError, KeyError, TypeError):
        facts: dict[str, Any] = json.loads(text)
        if facts.pop(SEAL) == _checksum(facts):
            return facts
    return None


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check_regular(path: Path, kind: str) -> None:
    """Refuse what may keep a reader waiting for ever, as a pipe that nobody writes into."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: not a regular file; name {kind} on disk")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of an image sequence (`shot.%04d.png`)."""
    pattern = re.sub(r"%\d*d", "*", glob.escape(path.name))
    digest = hashlib.sha256()
    found = [path] if path.is_file() else sorted(path.parent.glob(pattern))
    for file in filter(Path.is_file, found):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def user_cache() -> Path:
    """Where this user's programs keep what they can do without; perhaps it cannot be made."""
    try:
        home = Path.home()
    except RuntimeError:  # a user that the system does not know, as in containers
        home = Path(os.devnull)
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache", "vidstyle")


def identity(value: object) -> str:
    """What JSON does not know, among settings: a file is what it holds."""
    return file_digest(value) if isinstance(value, Path) else str(value)


def check_space(folder: Path, needed: int, advice: str) -> None:
    """Raises `OutputError` where so many bytes of finished frames will not fit."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder}: finished frames will take {_gigabytes(needed)} more, {_gigabytes(free)} "
            f"are free; {advice}"
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


@contextmanager
def disk_errors(folder: Path, elsewhere: str = "--work-dir") -> Iterator[None]:
    """A failure to write finished work into `folder`, as an `EncodeError`.

    `elsewhere` is the option that would put it on another disk.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else f"could not be written ({error.strerror})"
        raise EncodeError(
            f"{folder}: {reason}; free some space, or name another folder with {elsewhere}"
        ) from error

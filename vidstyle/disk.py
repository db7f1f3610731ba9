"""Files that survive a crash once they are written."""

from __future__ import annotations

import os
from pathlib import Path


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

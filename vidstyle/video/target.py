"""A file that appears under its name only when it is finished."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from vidstyle.disk import sync_file, sync_folder
from vidstyle.errors import OutputError
from vidstyle.video.sequence import ImageSequence

_LONGEST_NAME = 100  # characters kept of the target's name: file systems allow 255 bytes


def check_not_source(target: Path, sources: Iterable[Path]) -> None:
    """Refuse, even with overwrite, a target that is a file the work reads from."""
    for source in sources:
        same_files = target.exists() and source.exists() and target.samefile(source)
        if same_files or target.resolve() == source.resolve():
            raise OutputError(f"{target}: is the source itself; name another file with -o")


def check_target(path: Path, overwrite: bool, option: str = "-o") -> None:
    """Refuse, before any work, a target that exists or a folder that cannot be written."""
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; create it (mkdir -p {folder})")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OutputError(f"{path}: not a regular file; name a file to write")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; pass --overwrite or another name with {option}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: the folder {folder} cannot be written; choose another with {option}"
        )


def check_sequence_target(path: Path, overwrite: bool) -> None:
    """The same for an image sequence: none of its files may exist."""
    numbers = ImageSequence(path).numbers()
    if numbers and not overwrite:
        first = ImageSequence(path).file(numbers[0])
        raise OutputError(f"{first}: exists already; pass --overwrite or another name with -o")
    check_target(ImageSequence(path).file(0), overwrite=True)


class PartialFile:
    """A hidden file beside `target`, to be written, then either `commit`ted or `discard`ed.

    `hidden` is what lies on the disk meanwhile: here `path` itself, which ends as the target
    does, since encoders choose their format by it.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        check_target(target, overwrite)
        self.target = target
        self.overwrite = overwrite
        # Through a link the file it points to is replaced, not the link.
        self._final = Path(os.path.realpath(target))
        hidden = f".{target.stem[:_LONGEST_NAME]}.partial-{secrets.token_hex(4)}{target.suffix}"
        self.path = self.hidden = self._final.with_name(hidden)

    def files(self) -> list[Path]:
        """What has been written."""
        return [self.path]

    def commit(self) -> None:
        """Bring the finished bytes to disk, then give them their name in one step."""
        sync_file(self.path)
        check_target(self.target, self.overwrite)
        os.replace(self.path, self._final)
        sync_folder(self._final.parent)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


def write_text(path: Path, text: str, overwrite: bool) -> None:
    """A whole text file or none; raises `OutputError` as `check_target`, `OSError` if it fails."""
    partial = PartialFile(path, overwrite)
    try:
        partial.path.write_text(text, encoding="utf-8")
        partial.commit()
    finally:
        partial.discard()


class PartialSequence:
    """A `hidden` folder beside `target`'s files, to be filled, then `commit`ted or `discard`ed.

    `path` is the numbered name inside it. Older files of the same name stay where no new one
    takes their place.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        check_sequence_target(target, overwrite)
        self.target = target
        self.overwrite = overwrite
        hidden = f".{target.stem[:_LONGEST_NAME].partition('%')[0]}partial-{secrets.token_hex(4)}"
        self.hidden = target.with_name(hidden)
        self.hidden.mkdir()
        self.path = self.hidden / target.name

    def files(self) -> list[Path]:
        """What has been written, in order."""
        made = ImageSequence(self.path)
        return [made.file(number) for number in made.numbers()]

    def commit(self) -> None:
        """Bring the finished files to disk, then give each its name."""
        made, final = ImageSequence(self.path), ImageSequence(self.target)
        numbers = made.numbers()
        for path in self.files():
            sync_file(path)
        check_sequence_target(self.target, self.overwrite)
        try:
            for number in numbers:
                os.replace(made.file(number), final.file(number))
        except BaseException:
            self._take_back(final.file(number) for number in numbers)
            raise
        self.hidden.rmdir()
        sync_folder(self.target.parent)

    def _take_back(self, named: Iterable[Path]) -> None:
        if not self.overwrite:  # else some may be older ones
            for path in named:
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        shutil.rmtree(self.hidden, ignore_errors=True)

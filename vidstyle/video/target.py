"""A file that appears under its name only when it is finished."""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from vidstyle.disk import sealed, sync_file, sync_folder, unsealed, write_synced
from vidstyle.errors import OutputError
from vidstyle.video.sequence import ImageSequence

_LONGEST_NAME: Final = 100  # characters kept of the target's name: file systems allow 255 bytes
_NOTE: Final = "names.json"  # of a sequence's files, while they get them
_LOCK: Final = "lock"  # held meanwhile

Announce = Callable[[Path], None]


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
    does, since encoders choose their format by it. `announce` is told of it before it is there.
    """

    def __init__(
        self, target: Path, overwrite: bool, announce: Announce = lambda hidden: None
    ) -> None:
        check_target(target, overwrite)
        self.target = target
        self.overwrite = overwrite
        # Through a link the file it points to is replaced, not the link.
        self._final = Path(os.path.realpath(target))
        hidden = f".{target.stem[:_LONGEST_NAME]}.partial-{secrets.token_hex(4)}{target.suffix}"
        self.path = self.hidden = self._final.with_name(hidden)
        announce(self.hidden)

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

    def __init__(
        self, target: Path, overwrite: bool, announce: Announce = lambda hidden: None
    ) -> None:
        check_sequence_target(target, overwrite)
        self.target = target
        self.overwrite = overwrite
        self.hidden = target.with_name(f"{_hidden_stem(target)}{secrets.token_hex(4)}")
        announce(self.hidden)
        self.hidden.mkdir()
        self.path = self.hidden / target.name

    def files(self) -> list[Path]:
        """What has been written, in order."""
        made = ImageSequence(self.path)
        return [made.file(number) for number in made.numbers()]

    def commit(self) -> None:
        """Bring the finished files to disk, then give each its name.

        Many names cannot be given in one step: should this be killed in between, `take_back` can
        tell which files are the result's, but for those that were to replace others.
        """
        files = self.files()
        for file in files:
            sync_file(file)
        with FileLock(self.hidden / _LOCK):
            check_sequence_target(self.target, self.overwrite)
            if not self.overwrite:
                marks = {file.name: _mark(file) for file in files}
                note = {"target": self.target.name, "files": marks}
                write_synced(self.hidden / _NOTE, json.dumps(sealed(note)))
            self._name(files)
        self.discard()

    def _name(self, files: Iterable[Path]) -> None:
        try:
            for file in files:
                os.replace(file, self.target.with_name(file.name))
        except BaseException:
            if not self.overwrite:
                _collect(self.hidden)
            raise
        sync_folder(self.target.parent)

    def discard(self) -> None:
        shutil.rmtree(self.hidden, ignore_errors=True)


def take_back(target: Path) -> list[str]:
    """Undo the naming of an image sequence's files that a kill has cut off.

    They go back to the hidden folder they came from, where the others are; what anybody has put
    or changed there since stays. Gives a line for each such folder.
    """
    notes = target.parent.glob(f"{glob.escape(_hidden_stem(target))}*/{_NOTE}")
    said = []
    for hidden in [note.parent for note in notes]:
        try:
            count = _taken_back(hidden, target.name)
        except (OSError, ValueError) as error:
            said.append(f"{hidden}: left as it is, and what has got its name of it ({error})")
            continue
        if count:
            said.append(
                f"{target}: a run was killed while its files got their names; the {count} that "
                f"had theirs are back in {hidden}"
            )
    return said


def _taken_back(hidden: Path, target: str) -> int:
    if _read(hidden / _NOTE)["target"] != target:
        return 0
    with suppress(Timeout), FileLock(hidden / _LOCK).acquire(blocking=False):
        if not _is_complete(hidden):
            return _collect(hidden)
        shutil.rmtree(hidden, ignore_errors=True)  # that run was killed before it could
    return 0  # or it is alive


def _is_complete(hidden: Path) -> bool:
    """Whether all of its files have got their names."""
    return not any((hidden / name).exists() for name in _read(hidden / _NOTE)["files"])


def _collect(hidden: Path) -> int:
    """How many named files of the folder's note were brought back."""
    marks = _read(hidden / _NOTE)["files"]
    named = [hidden.with_name(name) for name in marks if not (hidden / name).exists()]
    own = [file for file in named if file.exists() and _mark(file) == marks[file.name]]
    for file in own:
        os.replace(file, hidden / file.name)
    return len(own)


def _read(note: Path) -> dict[str, Any]:
    found = unsealed(note.read_bytes())
    if found is None:
        raise ValueError(f"{note.name} is damaged")
    return found


def _mark(file: Path) -> list[int]:
    """What a file keeps under another name, and nobody else's has."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _hidden_stem(target: Path) -> str:
    return f".{target.stem[:_LONGEST_NAME].partition('%')[0]}partial-"

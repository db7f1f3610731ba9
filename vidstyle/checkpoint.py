"""Finished work on disk, from which a stopped render goes on to the same bytes.

A *piece* is a run of finished frames, in 16 bits, and the state to go on from. It is one .npz
file: a zip, whose checksums tell a damaged one. Pieces follow one another from frame 0 on.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from vidstyle.disk import (
    FRAME_BYTES,
    check_space,
    disk_errors,
    identity,
    sync_file,
    sync_folder,
    write_synced,
)
from vidstyle.errors import EncodeError, OutputError
from vidstyle.images import from_levels, to_levels

FORMAT: Final = 1  # of pieces; other numbers are other work
PIECE_SECONDS: Final = 60.0  # of work, the most that is lost
PIECE_BYTES: Final = 2**28  # of frames: fast renders close pieces sooner
STATE_BYTES: Final = 140  # a pixel, at a piece's end: two of source, result, moments and maps
_END: Final = "end"
_STATE: Final = "state "  # before the names of the state's tensors
_RECORD: Final = "settings.json"
_UNFINISHED: Final = "unfinished"  # holds the name of the encoder's hidden file
_LONGEST_NAME: Final = 100  # characters kept of the result's name: file systems allow 255 bytes

State = Mapping[str, Tensor]
Facts = Mapping[str, Any]  # as JSON holds them


class Resumable(Protocol):
    """A `FrameStyler` that can say all it remembers of the frames before, and be told it."""

    def start_shot(self) -> None: ...

    def next_frame(self, image: np.ndarray) -> np.ndarray: ...

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None: ...

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray: ...

    def state(self) -> State:
        """Called after every frame: cheap, and not changed by the frames to come."""
        ...

    def restore(self, state: State) -> None: ...


class Checkpointed:
    """A `FrameStyler` that gives `work`'s finished frames first, and stores those it makes."""

    def __init__(self, styler: Resumable, work: Work) -> None:
        self.styler, self.work = styler, work
        self._finished, self._left = work.images(), work.frames

    def start_shot(self) -> None:
        self.styler.start_shot()

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        return self._once(lambda: self.styler.next_frame(image))

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
        self.styler.start_pass(image, result, backwards)

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        return self._once(lambda: self.styler.refine(image, earlier))

    def _once(self, make: Callable[[], np.ndarray]) -> np.ndarray:
        if not self._left:
            result = make()
            self.work.add(result, self.styler.state())
            return result
        self._left -= 1
        if not self._left:
            self.styler.restore(self.work.pieces[-1].state())
        return next(self._finished)


@dataclass(frozen=True)
class Piece:
    """Frames `first` to `end` - 1 of those that are rendered."""

    path: Path
    first: int
    end: int

    @classmethod
    def at(cls, path: Path, first: int) -> Piece | None:
        """`None` where there is none, or a damaged one."""
        try:
            with zipfile.ZipFile(path) as archive:
                sound = archive.testzip() is None
            with np.load(path) as arrays:
                end = int(arrays[_END])
                return cls(path, first, end) if sound and end > first else None
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, RuntimeError):
            return None

    def images(self) -> Iterator[np.ndarray]:
        """(H, W, 3) float32 in [0, 1]."""
        with np.load(self.path) as arrays:
            for index in range(self.first, self.end):
                yield from_levels(arrays[str(index)])

    def state(self) -> State:
        with np.load(self.path) as arrays:
            names = [name for name in arrays.files if name.startswith(_STATE)]
            return {name.removeprefix(_STATE): torch.from_numpy(arrays[name]) for name in names}


class _OpenPiece:
    """A piece that is being written, under another name."""

    def __init__(self, folder: Path, first: int) -> None:
        self.first, self.bytes = first, 0
        self._folder, self._partial = folder, folder / "piece.partial"
        self._archive = zipfile.ZipFile(self._partial, "w")
        # In one: a signal may come between any two statements, and they belong together.
        self._reached: tuple[int, State] = (first, {})

    def add(self, image: np.ndarray, state: State) -> None:
        end, levels = self._reached[0], to_levels(image)
        self._write(str(end), levels)
        self._reached = (end + 1, state)
        self.bytes += levels.nbytes

    def commit(self) -> list[Piece]:
        """None where not even the first frame was written."""
        end, state = self._reached
        if end == self.first:
            return []
        for name, tensor in state.items():
            self._write(_STATE + name, tensor.cpu().numpy())
        self._write(_END, np.array(end))
        self._archive.close()
        sync_file(self._partial)
        path = _piece_path(self._folder, self.first)
        os.replace(self._partial, path)
        sync_folder(self._folder)
        return [Piece(path, self.first, end)]

    def discard(self) -> None:
        """What was not committed."""
        with suppress(OSError, ValueError):  # the disk is full, or an array was cut off
            self._archive.close()
        self._partial.unlink(missing_ok=True)

    def _write(self, name: str, array: np.ndarray) -> None:
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)


def _piece_path(folder: Path, first: int) -> Path:
    return folder / f"{first:08}.npz"


class Work:
    """The finished pieces of one render, in a hidden folder of `parent`.

    It is named after `name` and `picture`, which is all that the frames depend on: plain values,
    and files by what they hold. `choices` are what the first run settled, for the next to keep to;
    `None` before it. Frames are read and stored inside `held` only, for which another run is waited
    for `patience` seconds. Any failure of the disk is an `EncodeError`.
    """

    def __init__(
        self,
        parent: Path,
        name: str,
        picture: Facts,
        keep: bool = False,
        passes: int = 1,
        patience: float = 0.0,
    ) -> None:
        text = json.dumps({"format": FORMAT, **picture}, sort_keys=True, default=identity)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._stem = f".{name[:_LONGEST_NAME]}.work-"
        self.folder = parent / (self._stem + digest)
        self.picture, self.keep = json.loads(text), keep
        self.passes, self.patience = passes, patience
        self.pieces: list[Piece] = []
        self._record = _read_record(self.folder)
        self._open: _OpenPiece | None = None
        self._closed = self._added = 0.0  # moments of time.monotonic

    @property
    def choices(self) -> Facts | None:
        return self._record["choices"] if self._record else None

    @property
    def frames(self) -> int:
        """Finished ones on disk: each counts once for every pass that it has been through."""
        return self.pieces[-1].end if self.pieces else 0

    @property
    def whole_frames(self) -> int:
        """About so many have been through all passes."""
        return self.frames // self.passes

    @contextmanager
    def held(self, choices: Facts, environment: Facts) -> Iterator[list[str]]:
        """Finds the finished pieces; gives what the user should know of them, a line each.

        On the way out an open piece is stored too; the folder is removed where it holds none, and
        after success unless it is kept. Raises `OutputError` where the folder cannot be made or
        another run is at work in it.
        """
        with self._locked():
            try:
                yield self._begin(choices, environment)
            except BaseException as error:
                with suppress(EncodeError, ValueError):  # as far as it can be
                    self._close_piece()
                if self.frames:
                    error.add_note(f"the same command goes on after frame {self.whole_frames}")
                raise
            if self.keep:
                self._close_piece()
            else:
                self._discard()

    def check_space(self, frames: int, pixels: int, beside: int = 0) -> None:
        """Raises `OutputError` where so many frames of so many pixels will not fit.

        `beside` are bytes that something else will need on the same disk.
        """
        total = frames * pixels * FRAME_BYTES
        states = (1 + total // PIECE_BYTES) * pixels * STATE_BYTES
        stored = sum(piece.path.stat().st_size for piece in self.pieces)
        advice = (
            "name a larger disk's folder with --work-dir, or use a smaller --size or --no-resume"
        )
        check_space(self.folder, total + states - stored + beside, advice)

    def images(self) -> Iterator[np.ndarray]:
        """The finished frames, in order."""
        return (image for piece in self.pieces for image in piece.images())

    def add(self, image: np.ndarray, state: State) -> None:
        """The next frame, (H, W, 3) in [0, 1], and the styler's state after it."""
        with disk_errors(self.folder):
            self._open = self._open or _OpenPiece(self.folder, self.frames)
            self._open.add(image, state)
        now = time.monotonic()
        # After one more frame, which takes as long as this one, it would be too late.
        late = now + (now - self._added) > self._closed + PIECE_SECONDS
        self._added = now
        if late or self._open.bytes >= PIECE_BYTES:
            self._close_piece()

    def mark_unfinished(self, path: Path) -> None:
        """Has the next run remove the file or folder `path`, should this one be killed."""
        with disk_errors(self.folder):
            (self.folder / _UNFINISHED).write_bytes(os.fsencode(path.absolute()))

    def _close_piece(self) -> None:
        piece, self._open = self._open, None
        if piece is None:
            return
        try:
            with disk_errors(self.folder):
                self.pieces += piece.commit()
        finally:
            piece.discard()
        self._closed = time.monotonic()

    def _discard(self) -> None:
        if self._open is not None:
            self._open.discard()
        for piece in self.pieces:
            piece.path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            lock.acquire(timeout=self.patience)
        except Timeout:
            raise OutputError(
                f"{self.folder}: another run is at work on this; wait for it, or use --no-resume"
            ) from None
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be made ({error.strerror}); name another folder with "
                "--work-dir, or use --no-resume"
            ) from error
        try:
            yield
        finally:
            lock.release()
            # Asked of the disk: the pieces may not all have been found yet.
            if not any(self.folder.glob("*.npz")):
                shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, choices: Facts, environment: Facts) -> list[str]:
        with disk_errors(self.folder):
            self._remove_unfinished()
            if self._record is None:
                sync_folder(self.folder.parent)
                settled = {"choices": choices, "environment": environment}
                self._record = {"picture": self.picture, **settled}
                write_synced(self.folder / _RECORD, json.dumps(self._record, indent=2))
            damaged = self._find_pieces()
        self._closed = self._added = time.monotonic()
        changed = _differing(self._record["environment"], environment)
        moved = f"{self.folder}: made with another {', '.join(changed)}: last bits may differ"
        return [*self._other_work(), *damaged, *[moved] * bool(changed and self.pieces)]

    def _find_pieces(self) -> list[str]:
        while piece := Piece.at(_piece_path(self.folder, self.frames), self.frames):
            self.pieces.append(piece)
        found = [piece.path for piece in self.pieces]
        useless = [path for path in self.folder.glob("*.npz") if path not in found]
        for path in useless:
            path.replace(path.with_suffix(".damaged"))
        said = (
            f"{self.folder}: a damaged piece is set aside; going on after frame {self.whole_frames}"
        )
        return [said] if useless else []

    def _remove_unfinished(self) -> None:
        (self.folder / "piece.partial").unlink(missing_ok=True)
        note = self.folder / _UNFINISHED
        if note.exists():
            path = Path(os.fsdecode(note.read_bytes()))
            if "partial-" in path.name:  # and not what is left of a note cut off
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            note.unlink()

    def _other_work(self) -> list[str]:
        """What else there is of the same result."""
        found = self.folder.parent.glob(f"{glob.escape(self._stem)}*/{_RECORD}")
        others = [path.parent for path in found if path.parent != self.folder]
        return [
            f"{folder}: unfinished work with another {', '.join(differing)} stays there; "
            "remove it if it is no longer wanted"
            for folder in others
            if (record := _read_record(folder))
            and (differing := _differing(record["picture"], self.picture))
        ]


def _read_record(folder: Path) -> Facts | None:
    path = folder / _RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: damaged; remove {folder} to start over") from error


def _differing(one: Facts, other: Facts) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))

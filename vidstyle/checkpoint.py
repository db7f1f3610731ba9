"""Finished work on disk, from which a stopped render goes on to the same bytes.

A *piece* is a run of finished frames of one shot, in 16 bits, and the state to go on from, which a
shot's end needs no more. It is one .npz file, whose name has its checksum: a zip's own do not cover
what the arrays are called and where they begin. A *sketch* is such a file with a frame while that
is being made: a large one takes longer than a piece may. Shots do not depend on one another, so
that each may be another process's, in the same folder.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.lib.npyio import NpzFile
from torch import Tensor

from vidstyle.disk import (
    FRAME_BYTES,
    check_space,
    disk_errors,
    file_digest,
    identity,
    make_folder,
    sealed,
    sync_file,
    sync_folder,
    unsealed,
    write_synced,
)
from vidstyle.errors import EncodeError, OutputError
from vidstyle.images import from_levels, to_levels
from vidstyle.pipeline import behind

FORMAT: Final = 9  # of pieces; other numbers are other work
PIECE_SECONDS: Final = 60.0  # of work, the most that is lost
PIECE_BYTES: Final = 2**28  # of frames: fast renders close pieces sooner
WAITING: Final = 8  # frames that are not written yet: a piece's checksum takes as long as some
WAITING_BYTES: Final = 100_000_000  # of them, as many as fit, and one: a card holds their states
STATE_BYTES: Final = 110  # a pixel, at a piece's end: two of source, result and maps
SKETCH_BYTES: Final = 120  # a pixel, of two sketches after a first step at full size
_STATE: Final = "state "  # before the names of the state's tensors
_RECORD: Final = "settings.json"
_LOCK: Final = "lock"  # held by who works on all of it
_UNFINISHED: Final = "unfinished"  # holds the name of the encoder's hidden file
_HIDDEN: Final = re.compile(r"\..*partial-[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)  # such a name
_SKETCH: Final = r"\d{8,}-\d{8,}-[0-9a-f]{16}"  # its shot, its work, its checksum
_PIECE: Final = r"\d{8,}-\d{8,}-\d{8,}-[0-9a-f]{16}"  # its shot, its works, its checksum
_OWN: Final = re.compile(
    rf"{_PIECE}\.(npz|damaged)|{_SKETCH}\.(sketch|damaged)|\d{{8,}}\.(partial|lock)|lock|"
    r"(settings\.json|unfinished)(\.partial)?"
)  # what is removed in the end: all else in the folder is somebody's
_LONGEST_NAME: Final = 100  # characters kept of the result's name: file systems allow 255 bytes

State = Mapping[str, Tensor]
Facts = Mapping[str, Any]  # as JSON holds them
OnWarning = Callable[[str], None]


class Resumable(Protocol):
    """A `FrameStyler` that can say all it remembers of the frames before, and be told it."""

    sketch: Sketch | None  # where it may keep a frame while it makes it

    def start_shot(self) -> None: ...

    def next_frame(self, image: np.ndarray) -> np.ndarray: ...

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None: ...

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray: ...

    def state(self) -> State:
        """Called after every frame: cheap, and not changed by the frames to come."""
        ...

    def restore(self, state: State) -> None: ...


class Checkpointed:
    """A `FrameStyler` that gives `work`'s finished frames first, and stores those it makes.

    `first` is the index of the first frame that it will be given. A context manager: it holds the
    shot at hand, and stores what it has made of it on any exception. `given` counts the frames, in
    every pass, that were finished before. Raises `OutputError` where a finished shot had another
    length.
    """

    def __init__(self, styler: Resumable, work: Work, first: int = 0) -> None:
        self.styler, self.work = styler, work
        self.given = 0
        self._index, self._left, self._ended = first, 0, False
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._held.__exit__(*raised)

    def start_shot(self) -> None:
        self._held.close()
        self.styler.start_shot()
        self._shot = self._held.enter_context(self._at(self._index))
        self.styler.sketch = self._shot.sketch
        self._finished, self._left = self._shot.images(), self._shot.frames
        self._ended = False

    @contextmanager
    def _at(self, first: int) -> Iterator[StoredShot]:
        with self.work.shot(first) as shot:
            yield shot
            if self._left:
                raise self._other_cuts()

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        self._index += 1
        return self._once(lambda: self.styler.next_frame(image))

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
        self.styler.start_pass(image, result, backwards)

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        return self._once(lambda: self.styler.refine(image, earlier))

    def _once(self, make: Callable[[], np.ndarray]) -> np.ndarray:
        if not self._left:
            if self._ended:
                raise self._other_cuts()
            result = make()
            self._shot.add(result, self.styler.state())
            return result
        self._left -= 1
        self.given += 1
        if not self._left:
            self._go_on()
        return next(self._finished)

    def _go_on(self) -> None:
        state = self._shot.state()
        self._ended = not state
        if state:
            self.styler.restore(state)

    def _other_cuts(self) -> OutputError:
        return OutputError(
            f"{self.work.folder}: holds a shot of another length than is found now; "
            "remove it to start over"
        )


@dataclass(frozen=True)
class Piece:
    """Works `first` to `end` - 1 on the shot that begins with frame `shot`.

    A frame is worked on once in every pass.
    """

    path: Path
    shot: int
    first: int
    end: int

    @classmethod
    def named(cls, path: Path) -> Piece:
        shot, first, end = map(int, path.stem.split("-")[:-1])
        return cls(path, shot, first, end)

    def images(self) -> Iterator[np.ndarray]:
        """(H, W, 3) float32 in [0, 1]."""
        with _arrays(self.path) as arrays:
            for index in range(self.first, self.end):
                yield from_levels(arrays[str(index)])

    def state(self) -> State:
        """Empty at a shot's end."""
        with _arrays(self.path) as arrays:
            names = [name for name in arrays.files if name.startswith(_STATE)]
            return {name.removeprefix(_STATE): torch.from_numpy(arrays[name]) for name in names}


class _OpenPiece:
    """A piece that is being written, under another name."""

    def __init__(self, folder: Path, shot: int, first: int) -> None:
        self.shot, self.first, self.bytes = shot, first, 0
        self._folder, self._partial = folder, _partial_path(folder, shot)
        self._archive = zipfile.ZipFile(self._partial, "w")
        # In one: a signal may come between any two statements, and they belong together.
        self._reached: tuple[int, State] = (first, {})

    def add(self, image: np.ndarray, state: State) -> None:
        end, levels = self._reached[0], to_levels(image)
        _write_array(self._archive, str(end), levels)
        self._reached = (end + 1, state)
        self.bytes += levels.nbytes

    def commit(self, ends_shot: bool) -> list[Piece]:
        """Nothing where not even the first frame was written."""
        end, state = self._reached
        if end == self.first:
            return []
        for name, tensor in ({} if ends_shot else state).items():
            _write_array(self._archive, _STATE + name, tensor.cpu().numpy())
        self._archive.close()
        name = f"{self.shot:08}-{self.first:08}-{end:08}"
        return [Piece.named(_finish(self._partial, name, ".npz"))]

    def discard(self) -> None:
        """What was not committed."""
        with suppress(OSError, ValueError):  # the disk is full, or an array was cut off
            self._archive.close()
        self._partial.unlink(missing_ok=True)


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _finish(partial: Path, name: str, suffix: str) -> Path:
    """Gives what is written a name that has its checksum: what a power loss takes of it is seen."""
    path = partial.with_name(f"{name}-{_checksum(partial)}{suffix}")
    os.replace(partial, path)
    return path


def _bring_to_disk(folder: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        sync_file(path)
    sync_folder(folder)


def _is_sound(path: Path) -> bool:
    """By the checksum that ends its name."""
    try:
        return _checksum(path) == path.stem.split("-")[-1]
    except OSError:
        return False


def _set_aside(path: Path) -> None:
    path.replace(path.with_suffix(".damaged"))


@contextmanager
def _arrays(path: Path) -> Iterator[NpzFile]:
    """Raises `EncodeError` where what was sound when it was found can no longer be read."""
    try:
        with np.load(path) as arrays:
            yield arrays
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise EncodeError(
            f"{path}: was sound and can no longer be read ({error}); check the disk"
        ) from error


class _Pace:
    """Tells when to bring to disk what has come since the last time: before a minute is over.

    Asked after everything that is done, be it a frame or a step within one: another, as long as
    this one, would be late.
    """

    def __init__(self) -> None:
        self._frame_began = time.monotonic()
        self.restart()

    def restart(self) -> None:
        self._began = self._step_began = time.monotonic()

    def is_due_after_frame(self) -> bool:
        now = time.monotonic()
        took, self._frame_began = now - self._frame_began, now
        return self._would_be_late(now + took)

    def is_due_after_step(self) -> bool:
        now = time.monotonic()
        took, self._step_began = now - self._step_began, now
        return self._would_be_late(now + took)

    def _would_be_late(self, moment: float) -> bool:
        return moment > self._began + PIECE_SECONDS


class Sketch:
    """A frame of the shot that begins with frame `shot`, while it is being made.

    `work` is its number among the works on the shot. What was finished before is stored by `settle`
    first: a sketch is of use to who has come as far as that.
    """

    def __init__(
        self,
        folder: Path,
        shot: int,
        work: int,
        pace: _Pace,
        settle: Callable[[], None],
        on_warning: OnWarning,
    ) -> None:
        self.work = work
        self._folder, self._shot, self._on_warning = folder, shot, on_warning
        self._pace, self._settle = pace, settle
        own = [path for path in _sketches(folder) if int(path.stem.split("-")[0]) == shot]
        # The newest first: a kill may leave the one before.
        self._files = sorted(own, key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def read(self) -> State:
        """What was kept last of this work; empty where there is nothing, or nothing sound."""
        for path in [path for path in self._files if _work_of(path) == self.work]:
            if _is_sound(path):
                with _arrays(path) as arrays:
                    return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            _set_aside(path)
            self._files.remove(path)
            self._on_warning(
                f"{path}: damaged, and set aside; the frame is made from its beginning"
            )
        return {}

    def offer(self, make: Callable[[], State]) -> None:
        """Keeps what `make` gives after a step, where the next would come too late for that."""
        if self._pace.is_due_after_step():
            self._settle()
            with disk_errors(self._folder):
                self._store(make())
            self._pace.restart()

    def remove_others(self) -> None:
        """Those of works that are finished; of what is not reached, what led there has changed."""
        with disk_errors(self._folder):
            for path in [path for path in self._files if _work_of(path) != self.work]:
                path.unlink(missing_ok=True)
                self._files.remove(path)

    @property
    def is_kept(self) -> bool:
        """Whether there is one, perhaps of a work that has been finished since."""
        return bool(self._files)

    def _store(self, state: State) -> None:
        partial, old = _partial_path(self._folder, self._shot), self._files
        with zipfile.ZipFile(partial, "w") as archive:
            for name, tensor in state.items():
                _write_array(archive, name, tensor.cpu().numpy())
        kept = _finish(partial, f"{self._shot:08}-{self.work:08}", ".sketch")
        _bring_to_disk(self._folder, [kept])
        self._files = [kept]
        for path in old:
            if path != kept:
                path.unlink()


def _work_of(sketch: Path) -> int:
    return int(sketch.stem.split("-")[1])


def _sketches(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.sketch") if re.fullmatch(_SKETCH, path.stem)]


def _checksum(path: Path) -> str:
    return file_digest(path)[:16]


def _partial_path(folder: Path, shot: int) -> Path:
    return folder / f"{shot:08}.partial"


class StoredShot:
    """The finished pieces of the shot that begins with frame `first`, in `folder`.

    A context manager for whoever adds some: a thread writes them. On the way out all is stored that
    was added; without an exception it ends the shot. `pace` is the render's, and so are `unsynced`,
    pieces that a crash of the machine may take, though none of the process does: a fast render
    would wait for its disk otherwise, at 475 MB a second for 30 frames of 1280×720.
    """

    def __init__(
        self,
        folder: Path,
        first: int,
        on_warning: OnWarning,
        pace: _Pace | None = None,
        unsynced: list[Path] | None = None,
    ) -> None:
        self.folder, self.first = folder, first
        self.pieces: list[Piece] = []
        self._open: _OpenPiece | None = None
        self._unsynced = [] if unsynced is None else unsynced
        self._pace = pace or _Pace()
        self._closed = False  # a piece, since the last frame was added
        self._thread = behind(lambda call: call(), WAITING)
        with disk_errors(folder):
            partial = _partial_path(folder, first)
            _make_way(partial, on_warning)
            partial.unlink(missing_ok=True)
            self._find(on_warning)
            self.sketch = Sketch(
                folder, first, self.frames, self._pace, self.close_piece, on_warning
            )
            self.sketch.remove_others()

    def __enter__(self) -> Self:
        self._later = self._thread.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is None:
                self.close_piece(ends_shot=True, at_once=False)
            else:
                with suppress(EncodeError, ValueError):  # as far as it can be
                    self.close_piece(at_once=False)
        finally:
            self._thread.__exit__(None, None, None)

    @property
    def frames(self) -> int:
        """Finished ones: each counts once for every pass that it has been through."""
        return self.pieces[-1].end if self.pieces else 0

    def images(self) -> Iterator[np.ndarray]:
        """The finished frames, in order."""
        return (image for piece in self.pieces for image in piece.images())

    def state(self) -> State:
        """After the last of them; empty where they are all of the shot."""
        return self.pieces[-1].state()

    def add(self, image: np.ndarray, state: State) -> None:
        """The next frame, (H, W, 3) in [0, 1], and the styler's state after it.

        What writing one of those before it has raised is raised.
        """
        if self._closed:
            self._closed = False
            self.sketch.remove_others()
        is_due = self._pace.is_due_after_frame()
        if is_due:
            self._pace.restart()
        self._later.room = max(1, min(WAITING, WAITING_BYTES // image.nbytes))
        self._later(partial(self._write, image, state, is_due))
        self.sketch.work += 1

    def close_piece(self, ends_shot: bool = False, at_once: bool = True) -> None:
        """Stores what has been added since the last one, and `at_once` brings all to disk."""
        # By the thread: a signal that comes meanwhile must not find two at one file. With room for
        # that, or one that comes while it is waited for would have it left out.
        self._later.room += 1
        self._later(partial(self._close, ends_shot, at_once))
        self._later.wait()
        self.sketch.remove_others()
        if at_once:
            self._pace.restart()

    def _write(self, image: np.ndarray, state: State, is_due: bool) -> None:
        try:
            with disk_errors(self.folder):
                self._open = self._open or _OpenPiece(self.folder, self.first, self.frames)
                self._open.add(image, state)
        except BaseException:
            self._close(ends_shot=False, at_once=False)  # what came before is whole
            raise
        if is_due or self._open.bytes >= PIECE_BYTES:
            self._close(ends_shot=False, at_once=is_due)

    def _close(self, ends_shot: bool, at_once: bool) -> None:
        piece, self._open = self._open, None
        at_once = at_once or self.sketch.is_kept  # which goes when its frame is safe
        try:
            with disk_errors(self.folder):
                closed = piece.commit(ends_shot) if piece else []
                self.pieces += closed
                self._unsynced += [piece.path for piece in closed]
                if at_once and self._unsynced:
                    _bring_to_disk(self.folder, self._unsynced)
                    self._unsynced.clear()
        finally:
            if piece:
                piece.discard()
        self._closed = True

    def _find(self, on_warning: OnWarning) -> None:
        found = _pieces(self.folder, self.first)
        for piece in found:
            if piece.first == self.frames and _is_sound(piece.path):
                self.pieces.append(piece)
            else:
                _set_aside(piece.path)
        if len(self.pieces) < len(found):
            on_warning(f"{self.folder}: a damaged piece is set aside; its frames are made again")


def _pieces(folder: Path, shot: int | None = None) -> list[Piece]:
    """Of one shot, or of all, in order."""
    begin = "*" if shot is None else f"{shot:08}-*"
    found = sorted(folder.glob(f"{begin}.npz"))
    return [Piece.named(path) for path in found if re.fullmatch(_PIECE, path.stem)]


def _make_way(path: Path, on_warning: OnWarning) -> None:
    """Sets aside what is no file where one of ours has to be."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.damaged")
        path.replace(aside)
        on_warning(f"{path}: no file, as it should be; set aside as {aside.name}")


class Work:
    """The finished pieces of one render, in a hidden folder of `parent`.

    It is named after `name` and `picture`, which is all that the frames depend on: plain values,
    and files by what they hold. `choices` are what the first run settled, for the next to keep to;
    `None` before it. Another run is waited for `patience` seconds. `on_warning` is told what the
    user should know, a line each. Any failure of the disk is an `EncodeError`.
    """

    def __init__(
        self,
        parent: Path,
        name: str,
        picture: Facts,
        keep: bool = False,
        passes: int = 1,
        patience: float = 0.0,
        on_warning: OnWarning = lambda message: None,
    ) -> None:
        text = json.dumps({"format": FORMAT, **picture}, sort_keys=True, default=identity)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._name = name
        self.folder = parent / (_stem(name) + digest)
        self.picture, self.keep = json.loads(text), keep
        self.passes, self.patience, self._on_warning = passes, patience, on_warning
        self._pace: _Pace | None = None
        self._unsynced: list[Path] = []
        self._record = _read_record(self.folder)

    @property
    def choices(self) -> Facts | None:
        return self._record["choices"] if self._record else None

    @property
    def frames(self) -> int:
        """Finished ones on disk: each counts once for every pass that it has been through."""
        return sum(piece.end - piece.first for piece in _pieces(self.folder))

    def works(self, first: int) -> int:
        """Of those, the ones on the shot that begins with frame `first`."""
        return max((piece.end for piece in _pieces(self.folder, first)), default=0)

    @property
    def whole_frames(self) -> int:
        """About so many have been through all passes."""
        return self.frames // self.passes

    @property
    def _running_pace(self) -> _Pace:
        """Since the first shot was asked for."""
        self._pace = self._pace or _Pace()
        return self._pace

    @contextmanager
    def shot(self, first: int) -> Iterator[StoredShot]:
        """The shot that begins with frame `first`, which is this process's meanwhile."""
        with (
            self._locked(f"{first:08}.lock"),
            StoredShot(
                self.folder, first, self._on_warning, self._running_pace, self._unsynced
            ) as shot,
        ):
            yield shot

    def settle(self, choices: Facts, environment: Facts) -> None:
        """Has the folder made and the choices kept to by all who will work on its shots."""
        if self._record is None:
            with self._locked(_LOCK):
                self._write_record(choices, environment)
        self._tell_of_changes(environment)

    @contextmanager
    def held(self, choices: Facts, environment: Facts) -> Iterator[None]:
        """All of the render is this process's.

        On the way out the folder is removed where it holds no piece, and after success unless it
        is kept. Raises `OutputError` where the folder cannot be made or another run is at work.
        """
        with self._locked(_LOCK):
            try:
                self._remove_unfinished()
                self._write_record(choices, environment)
                self._tell_of_changes(environment)
                self._tell_of_other_work()
                yield
            except BaseException as error:
                if self.frames:
                    error.add_note(f"the same command goes on after frame {self.whole_frames}")
                elif _sketches(self.folder):
                    error.add_note("the same command goes on within the first frame")
                else:
                    self._remove_own()
                raise
            if not self.keep or not self.frames:
                self._remove_own()

    def remove(self) -> None:
        """As after success."""
        if self.folder.is_dir() and not self.keep:
            with self._locked(_LOCK):
                self._remove_unfinished()
                self._remove_own()

    def check_space(self, frames: int, pixels: int, beside: int = 0) -> None:
        """Raises `OutputError` where so many frames of so many pixels will not fit.

        `beside` are bytes that something else will need on the same disk.
        """
        total = frames * pixels * FRAME_BYTES
        states = (1 + total // PIECE_BYTES) * pixels * STATE_BYTES + pixels * SKETCH_BYTES
        stored = sum(piece.path.lstat().st_size for piece in _pieces(self.folder))
        advice = (
            "name a larger disk's folder with --work-dir, or use a smaller --size or --no-resume"
        )
        check_space(self.folder, total + states - stored + beside, advice)

    def mark_unfinished(self, path: Path) -> None:
        """Has the next run remove the file or folder `path`, should this one be killed."""
        note = self.folder / _UNFINISHED
        with disk_errors(self.folder):
            _make_way(note, self._on_warning)
            write_synced(note, str(path.absolute()))

    def _remove_own(self) -> None:
        """Also the lock, while it is held: once it is not, it is another run's.

        Nothing where others are at work on shots: they hold those alone.
        """
        if self._is_shared():
            return
        own = [path for path in sorted(self.folder.iterdir()) if _OWN.fullmatch(path.name)]
        # By name the pieces come first: what a kill leaves of them has its settings.
        for path in sorted(own, key=lambda path: path.name == _LOCK):
            with suppress(OSError):  # nothing in it is needed any more
                path.unlink()

    def _is_shared(self) -> bool:
        for path in self.folder.iterdir():
            if re.fullmatch(r"\d{8,}\.lock", path.name):
                try:
                    with FileLock(path).acquire(blocking=False):
                        pass
                except (OSError, Timeout):
                    return True
        return False

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        try:
            lock = self._lock(name)
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
            with suppress(OSError):  # unless something is left in it
                self.folder.rmdir()

    def _lock(self, name: str) -> FileLock:
        """Held, and not in a folder that another run has just removed."""
        path = self.folder / name
        while True:
            make_folder(self.folder)
            _make_way(path, self._on_warning)
            lock = FileLock(path)
            with suppress(FileNotFoundError):
                lock.acquire(timeout=self.patience)
                if path.exists():
                    return lock
                lock.release()

    def _write_record(self, choices: Facts, environment: Facts) -> None:
        """Unless there is one."""
        self._record = self._record or _read_record(self.folder)
        if self._record is None:
            settled = {"choices": choices, "environment": environment}
            self._record = {"picture": self.picture, **settled}
            with disk_errors(self.folder):
                _make_way(self.folder / _RECORD, self._on_warning)
                self._set_aside_all()
                sync_folder(self.folder.parent)
                write_synced(self.folder / _RECORD, json.dumps(sealed(self._record), indent=2))
        if changed := _differing(self._record["choices"], choices):
            raise OutputError(
                f"{self.folder}: another run has just settled on another {', '.join(changed)}; the "
                "same command goes on as that one"
            )

    def _set_aside_all(self) -> None:
        """Made by choices that nobody knows any more: others would go on to other bytes."""
        made = [*(piece.path for piece in _pieces(self.folder)), *_sketches(self.folder)]
        for path in made:
            _set_aside(path)
        if made:
            self._on_warning(
                f"{self.folder}: {_RECORD} is damaged or gone; what was finished is set aside and "
                "made again"
            )

    def _remove_unfinished(self) -> None:
        note = self.folder / _UNFINISHED
        if not note.is_file():
            return
        with disk_errors(self.folder):
            path = Path(os.fsdecode(note.read_bytes()))
            # A damaged note may name anything.
            if _HIDDEN.fullmatch(path.name) and "\0" not in str(path):
                is_folder = path.is_dir() and not path.is_symlink()
                shutil.rmtree(path) if is_folder else path.unlink(missing_ok=True)
            note.unlink()

    def _tell_of_changes(self, environment: Facts) -> None:
        assert self._record is not None
        changed = _differing(self._record["environment"], environment)
        if changed and _pieces(self.folder):
            self._on_warning(
                f"{self.folder}: made with another {', '.join(changed)}: last bits may differ"
            )

    def _tell_of_other_work(self) -> None:
        """What else there is of the same result."""
        for folder in _folders(self.folder.parent, self._name):
            if folder == self.folder:
                continue
            record = None
            with suppress(OutputError):  # it is not needed here
                record = _read_record(folder)
            if record and (differing := _differing(record["picture"], self.picture)):
                self._on_warning(
                    f"{folder}: unfinished work with another {', '.join(differing)} stays there; "
                    "remove it if it is no longer wanted"
                )


def _stem(name: str) -> str:
    """What the folders of all work on results of this name begin with."""
    return f".{name[:_LONGEST_NAME]}.work-"


def _folders(parent: Path, name: str) -> list[Path]:
    return sorted(filter(Path.is_dir, parent.glob(f"{glob.escape(_stem(name))}*")))


@contextmanager
def naming_work(parent: Path, name: str) -> Iterator[None]:
    """What is raised also tells of finished work in `parent` on results of this `name`.

    Where a result is there already, a run was killed while it removed that, or it was kept.
    """
    try:
        yield
    except OutputError as error:
        for folder in filter(_pieces, _folders(parent, name)):
            error.add_note(
                f"{folder} holds finished frames for that name: --overwrite goes on from them "
                "where the settings are the same; remove it if it is no longer wanted"
            )
        raise


def _read_record(folder: Path) -> Facts | None:
    """`None` where there is none, or none that can be relied on.

    Raises `OutputError` where nobody knows: what was finished is not given up for that.
    """
    path = folder / _RECORD
    try:
        return unsealed(path.read_bytes()) if path.is_file() else None
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be read ({error.strerror}); make it readable, or remove it to have "
            "what was finished made again"
        ) from error


def _differing(one: Facts, other: Facts) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))

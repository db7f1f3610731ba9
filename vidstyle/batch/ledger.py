"""What became of every job: remembered in the folder of the results, from run to run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from vidstyle import __version__
from vidstyle.batch.jobs import Job
from vidstyle.disk import (
    SEAL,
    disk_errors,
    file_digest,
    identity,
    make_folder,
    sealed,
    sync_folder,
    unsealed,
)
from vidstyle.errors import OutputError
from vidstyle.video.sequence import ImageSequence

BEGUN: Final = "begun"
FINISHED: Final = "finished"
FAILED: Final = "failed"
_FOLDER: Final = ".vidstyle-batch"


@dataclass(frozen=True)
class Outcome:
    """How far a job came: `state` is one of the above.

    A finished one has the `key` of all that it was made from, the `digest` of its result, the
    render's `report` and, where they could be taken, `stills` (JPEG): source above result.
    """

    state: str
    reason: str = ""
    attempts: int = 1
    key: str = ""
    digest: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    stills: str = ""  # base64

    @classmethod
    def finished(cls, key: str, digest: str, report: dict[str, Any]) -> Outcome:
        return cls(FINISHED, key=key, digest=digest, report=report)


def result_key(job: Job) -> str:
    """Of the content of clip and paintings, the settings and the version: the same picture."""
    settings = asdict(job.settings)
    del settings["work"], settings["output"]["overwrite"]
    made_from = {"clip": job.clip, "styles": job.styles, "vidstyle": __version__, **settings}
    text = json.dumps(made_from, sort_keys=True, default=identity)
    return hashlib.sha256(text.encode()).hexdigest()


class Ledger:
    """A line for everything that happens to a job; the last one counts. Survives a crash."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out / _FOLDER
        self._path = self._folder / "jobs.jsonl"
        self._outcomes = dict(self._read())

    def __getitem__(self, job: Job) -> Outcome | None:
        return self._outcomes.get(self.name(job))

    def outcomes(self) -> Collection[Outcome]:
        return self._outcomes.values()

    def name(self, job: Job) -> str:
        """Tells it from the others: where in the output folder its result lies."""
        return str(job.target.relative_to(self._out))

    def is_finished(self, job: Job) -> bool:
        """Whether the very same result is there already."""
        last = self[job]
        try:
            return last is not None and self.is_own(job) and last.key == result_key(job)
        except OSError:  # a clip that cannot be read any more: its worker will say so
            return False

    def is_own(self, job: Job) -> bool:
        """Whether what lies under the result's name is an earlier run's."""
        last = self[job]
        if last is None or not is_there(job.target):
            return False
        # A run cut off between the result and the line for it has left a BEGUN.
        return last.state == BEGUN or last.digest == file_digest(job.target)

    def begin(self, job: Job) -> None:
        if not is_there(job.target) or self.is_own(job):
            self.add(job, Outcome(BEGUN))

    def add(self, job: Job, outcome: Outcome) -> None:
        earlier = self[job]
        if outcome.state != FINISHED and earlier is not None:
            outcome = replace(outcome, digest=earlier.digest)  # the older result is still ours
        self._outcomes[self.name(job)] = outcome
        line = json.dumps(sealed({"result": self.name(job), **asdict(outcome)}))
        with (
            disk_errors(self._folder, elsewhere="out"),
            self._path.open("a", encoding="utf-8") as file,
        ):
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())  # a result without its line would be somebody else's

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone in the folder, which is made. Raises `OutputError` where that cannot be."""
        try:
            self._make_folder()
            with FileLock(self._folder / "lock").acquire(blocking=False):
                self._end_line()
                self._outcomes = dict(self._read())
                yield
        except Timeout:
            raise OutputError(
                f"{self._out}: another batch is at work there; wait for it, or name another out"
            ) from None

    def _make_folder(self) -> None:
        try:
            make_folder(self._folder)
        except OSError as error:
            raise OutputError(
                f"{self._out}: cannot be made ({error.strerror}); name another folder with out"
            ) from error

    def _read(self) -> Iterator[tuple[str, Outcome]]:
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                # What a crash has cut off or overwritten is left out.
                with suppress(ValueError, AttributeError, KeyError, TypeError):
                    # Up to 0.6.0 they had no seal.
                    entry: Any = unsealed(line) if f'"{SEAL}"' in line else json.loads(line)
                    yield entry.pop("result"), Outcome(**entry)

    def _end_line(self) -> None:
        """What a crash has cut off shall not spoil the next line."""
        with self._path.open("ab+") as file:
            file.write(b"\n" if file.tell() else b"")
        sync_folder(self._folder)


def is_there(target: Path) -> bool:
    """A file, or any of an image sequence."""
    sequence = ImageSequence.of(target)
    return target.exists() or (sequence is not None and bool(sequence.numbers()))

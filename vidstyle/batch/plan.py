"""What a batch would do and take, from headers and from what was rendered before."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from vidstyle.batch.jobs import Job, JobFile
from vidstyle.batch.ledger import FAILED, FINISHED, Ledger, is_there
from vidstyle.batch.sharing import PART
from vidstyle.batch.work import can_be_cut, open_clip
from vidstyle.disk import FRAME_BYTES
from vidstyle.errors import VidstyleError
from vidstyle.options import RenderSettings

NEW: Final = "new"
CHANGED: Final = "changed"
_STATES: Final = (NEW, CHANGED, FINISHED)
_EFFORT: Final = ("features", "flow", "steps", "first_steps", "passes", "brush")  # of a report


@dataclass(frozen=True)
class Planned:
    """A job before it is begun; `None` is what the headers do not say.

    `state` is new, changed (an earlier result would be replaced), finished, or why it would fail.
    `seconds` is one worker's, by the median pace of the results of the same folder that were made
    with the same effort.
    """

    job: Job
    state: str
    width: int = 0
    height: int = 0
    frames: int | None = None
    seconds: float | None = None

    @property
    def is_shared(self) -> bool:
        """By several workers, if it has cuts."""
        return can_be_cut(self.job.settings) and (self.frames or 0) > 2 * PART

    @property
    def work_bytes(self) -> int:
        """Of finished frames, at most, until the result is complete."""
        look, frames = self.job.settings.look, self.frames or 0
        works = look.works(frames) if self.job.settings.work.resume else 0
        return (works + look.spooled(frames)) * self.width * self.height * FRAME_BYTES


@dataclass
class Totals:
    """Of a plan, job by job."""

    workers: int
    states: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    timed: int = 0  # jobs
    seconds: float = 0.0
    longest: float = 0.0  # that is one worker's
    any_shared: bool = False
    largest: list[int] = field(default_factory=list)  # work folders that may be there at once

    def add(self, planned: Planned) -> None:
        self.states[planned.state if planned.state in _STATES else FAILED] += 1
        self.frames += planned.frames or 0
        self.timed += planned.seconds is not None
        self.seconds += planned.seconds or 0.0
        if planned.is_shared and self.workers > 1:
            self.any_shared = True
        else:
            self.longest = max(self.longest, planned.seconds or 0.0)
        self.largest = heapq.nlargest(self.workers, [*self.largest, planned.work_bytes])

    @property
    def work_seconds(self) -> float | None:
        """Until the last worker is done; `None` where that of a job is not known."""
        if self.timed < self.states[NEW] + self.states[CHANGED]:
            return None
        return max(self.longest, self.seconds / self.workers)


def plan(job_file: JobFile) -> Iterator[Planned]:
    """One job after another: nothing is held."""
    ledger = Ledger(job_file.out)
    paces = _paces(ledger)
    for job in job_file.jobs:
        try:
            yield _planned(job, ledger, paces)
        except VidstyleError as error:
            yield Planned(job, str(error))


def _planned(job: Job, ledger: Ledger, paces: dict[tuple[object, ...], float]) -> Planned:
    if ledger.is_finished(job):
        return Planned(job, FINISHED)
    state = NEW
    if is_there(job.target):
        replaced = ledger.is_own(job) or job.settings.output.overwrite
        state = CHANGED if replaced else "exists already, and is not this batch's"
    with open_clip(job) as reader:
        info, frames = reader.info, reader.expected_frames
    pace = paces.get(_effort(job.settings))
    seconds = pace * frames * info.width * info.height if pace and frames else None
    return Planned(job, state, info.width, info.height, frames, seconds)


def _effort(settings: RenderSettings) -> tuple[object, ...]:
    """What a frame's time depends on, its size apart: as a report's `_EFFORT`."""
    look = settings.look
    effort = look.flow, look.steps, look.first_steps, look.rounds, look.brush
    return settings.features.name, *effort


def _paces(ledger: Ledger) -> dict[tuple[object, ...], float]:
    """Seconds a pixel of a frame."""
    found: dict[tuple[object, ...], list[float]] = {}
    for outcome in ledger.outcomes():
        if outcome.state == FINISHED:
            facts = outcome.report
            effort = tuple(facts.get(name) for name in _EFFORT)  # older ones lack some
            pixels = facts["frames"] * facts["width"] * facts["height"]
            found.setdefault(effort, []).append(facts["seconds"] / pixels)
    return {effort: median(paces) for effort, paces in found.items()}

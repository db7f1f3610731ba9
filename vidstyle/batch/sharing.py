"""A batch's tasks: a long clip is cut at its scene cuts into parts, which any worker may take."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final, Protocol

from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import FINISHED, Outcome
from vidstyle.batch.work import Begun, Cut, Made, Message, Task, open_clip
from vidstyle.errors import VidstyleError
from vidstyle.frame import Shot

PART: Final = 48  # frames, at least: beside them a task's own start is little
LONG: Final = 1000  # frames: all others would wait for who begins so long a clip late
SHARES: Final = 8  # parts of a clip for each worker, at most: enough that all end together

Part = tuple[Shot, ...]


class Todo:
    """The tasks that are not begun: executors take from it, and it grows as clips are cut.

    One worker takes the jobs as they come, several the largest first: they end together then.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque((0, job) for job in jobs)  # with their sizes, once those are asked
        self._sorted = False
        self._first = deque[Task]()
        self._ended: set[Job] = set()
        self._workers = 1

    def __bool__(self) -> bool:
        return bool(self._jobs or self._first)

    def take(self, workers: int) -> Task:
        """The next for one of so many; parts first, so that few clips lie about half finished.

        Cutting costs a little, and is of use where workers would else be idle.
        """
        self._workers = workers
        if self._first:
            return self._first.popleft()
        if workers > 1 and not self._sorted:
            self._jobs, self._sorted = deque(_largest_first(job for _, job in self._jobs)), True
        size, job = self._jobs.popleft()
        if workers == 1:
            return Task(job)
        others = sum(other for other, _ in self._jobs)
        is_idle_soon = size * (workers - 1) >= others
        return Task(job, cut_above=2 * PART if is_idle_soon else LONG)

    def put_first(self, *tasks: Task) -> None:
        self._first.extendleft(reversed(tasks))

    def cut(self, job: Job, shots: Sequence[Shot]) -> int:
        """Has it rendered in parts: so many, or none where it is one."""
        parts = share_out(shots, self._workers)
        if len(parts) == 1:
            self.put_first(Task(job))
            return 0
        self.put_first(*(Task(job, part) for part in parts))
        return len(parts)

    def end(self, job: Job) -> None:
        self._ended.add(job)
        self._first = deque(task for task in self._first if task.job != job)

    def wants(self, task: Task) -> bool:
        """Or its job has ended, another part having failed."""
        return task.job not in self._ended


def _largest_first(jobs: Iterable[Job]) -> list[tuple[int, Job]]:
    """With their sizes; one whose header does not tell may be the largest. Equals stay in order."""
    pixels = [(_pixels(job), job) for job in jobs]
    most = max((known for known, _ in pixels if known is not None), default=0)
    sizes = [(most if known is None else known, job) for known, job in pixels]
    return sorted(sizes, key=itemgetter(0), reverse=True)


def _pixels(job: Job) -> int | None:
    """To render, by the clip's header; 0 where it is no clip, for then the job fails at once."""
    try:
        with open_clip(job) as reader:
            frames = reader.expected_frames
            return frames and frames * reader.info.width * reader.info.height
    except VidstyleError:
        return 0


def share_out(shots: Sequence[Shot], workers: int) -> list[Part]:
    """Parts for so many workers: long enough to be worth it, enough that all end together."""
    return in_parts(shots, max(PART, _frames(tuple(shots)) // (SHARES * workers)))


def in_parts(shots: Sequence[Shot], least: int) -> list[Part]:
    """Neighbours together until they have `least` frames; the longest first, to end together."""
    parts: list[Part] = []
    for shot in shots:
        if parts and _frames(parts[-1]) < least:
            parts[-1] = (*parts[-1], shot)
        else:
            parts.append((shot,))
    if len(parts) > 1 and _frames(parts[-1]) < least:
        parts[-2:] = [parts[-2] + parts[-1]]
    return sorted(parts, key=_frames, reverse=True)


def _frames(part: Part) -> int:
    return sum(shot.frames for shot in part)


class Executor(Protocol):
    """Where tasks are carried out; a lost worker's task is begun `ATTEMPTS` times in all."""

    def run(self, todo: Todo) -> Generator[tuple[Task, Message]]:
        """Of every task in `todo`: `Begun`, then what happens, at last one of `Ended`.

        A task that `todo` does not want any more is ended. Closing the generator ends the workers.
        Either leaves a state to go on from.
        """
        ...


def carry_out(jobs: Sequence[Job], executor: Executor) -> Generator[tuple[Task, Message]]:
    """What is heard of their tasks, until every job has had its one `Outcome`.

    That of a job that was cut comes when its parts are joined, or when one has failed.
    """
    todo, attempts, shared = Todo(jobs), Counter[Job](), dict[Job, _Shared]()
    with closing(executor.run(todo)) as messages:
        for task, message in messages:
            job = task.job
            if not todo.wants(task):
                continue
            match message:
                case Begun():
                    attempts[job] = max(attempts[job], message.attempt)
                case Cut():
                    if parts := todo.cut(job, message.shots):
                        shared[job] = _Shared(parts, message.seconds)
                case Made():
                    shared[job].add(message)
                    if not shared[job].parts:
                        todo.put_first(Task(job))
                case Outcome():
                    todo.end(job)
                    whole = shared[job].joined(message) if job in shared else message
                    message = replace(whole, attempts=attempts[job])
            yield task, message


@dataclass
class _Shared:
    """A job that was cut: the parts still to be made, and what was spent on the others."""

    parts: int
    seconds: float
    resumed: int = 0

    def add(self, made: Made) -> None:
        self.parts -= 1
        self.seconds += made.seconds
        self.resumed += made.frames_resumed

    def joined(self, outcome: Outcome) -> Outcome:
        """The joining task's, as if one worker had done all."""
        if outcome.state != FINISHED:
            return outcome
        seconds = self.seconds + outcome.report["seconds"]
        resumed = min(self.resumed, outcome.report["frames"])  # what overlaps counts more often
        made = outcome.report["frames"] - resumed
        whole = {
            "seconds": round(seconds, 3),
            "frames_resumed": resumed,
            "frames_per_second": round(made / seconds, 3),
        }
        return replace(outcome, report=outcome.report | whole)

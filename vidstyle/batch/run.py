"""A job file's jobs through an executor: those that are not finished yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from vidstyle.batch.jobs import Job, JobFile
from vidstyle.batch.ledger import FAILED, FINISHED, Ledger, Outcome, is_there
from vidstyle.batch.report import write_report
from vidstyle.batch.sharing import Executor, carry_out
from vidstyle.batch.work import Begun, Message, Task
from vidstyle.errors import RequestError

OnMessage = Callable[[Task, Message], None]


@dataclass(frozen=True)
class Summary:
    """Counts of jobs. `earlier` are those of `finished` that needed no work this time."""

    finished: int
    earlier: int
    failed: int
    seconds: float
    report: Path


def run_batch(
    job_file: JobFile,
    executor: Executor,
    retry_failed: bool = False,
    on_begin: Callable[[int, int], None] = lambda wanted, finished: None,
    on_message: OnMessage = lambda task, message: None,
) -> Summary:
    """Renders what is missing, writes the report.

    `retry_failed` leaves all but those alone that failed last time. `on_begin` is told how many
    jobs are wanted and how many need none. Raises `OutputError` where the output folder cannot be
    had for itself.
    """
    begun = time.monotonic()
    ledger = Ledger(job_file.out)
    with ledger.held():
        wanted = [job for job in job_file.jobs if not retry_failed or _has_failed(ledger, job)]
        missing = [_permitted(ledger, job) for job in wanted if not ledger.is_finished(job)]
        on_begin(len(missing), len(wanted) - len(missing))
        try:
            with closing(carry_out(missing, executor)) as messages:
                for task, message in messages:
                    _note(ledger, task.job, message)
                    on_message(task, message)
        except BaseException as error:
            if not isinstance(error, RequestError):
                error.add_note("the same command goes on")
            raise
        seconds = time.monotonic() - begun
        report = write_report(job_file, ledger, seconds)
    states = [outcome.state for job in job_file.jobs if (outcome := ledger[job])]
    finished, earlier = states.count(FINISHED), len(wanted) - len(missing)
    return Summary(finished, earlier, states.count(FAILED), seconds, report)


def _has_failed(ledger: Ledger, job: Job) -> bool:
    last = ledger[job]
    return last is not None and last.state == FAILED


def _permitted(ledger: Ledger, job: Job) -> Job:
    """May replace what is its own, and what it has made when its worker was lost."""
    if is_there(job.target) and not ledger.is_own(job):
        return job
    output = replace(job.settings.output, overwrite=True)
    return replace(job, settings=replace(job.settings, output=output))


def _note(ledger: Ledger, job: Job, message: Message) -> None:
    match message:
        case Begun():
            ledger.begin(job)
        case Outcome():
            ledger.add(job, message)

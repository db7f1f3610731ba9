"""This machine's workers: processes that each take one clip after another.

`concurrent.futures` gives up on all that is queued when one of its processes dies. Here each
worker has a pipe of its own, whose end tells of its death and of nobody else's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, cast

from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import Outcome
from vidstyle.batch.work import ATTEMPTS, Begun, Message, lost_worker, render_job

GRACE: Final = 2.5  # seconds for workers to store what is finished, before they are killed


def cores() -> int:
    """Those that this process may use: a container or a scheduler gives fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def default_workers() -> int:
    """One a CUDA device, else one for every two cores."""
    import torch

    return torch.cuda.device_count() or max(1, cores() // 2)


class LocalExecutor:
    """`workers` processes, a CUDA device each in turn, or an equal share of the cores."""

    def __init__(self, workers: int) -> None:
        self.workers, self.threads = workers, max(1, cores() // workers)

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Message]]:
        crew: list[_Worker] = []
        try:
            for slot in range(min(self.workers, len(jobs))):
                crew.append(_Worker(slot, self.threads))
            yield from _direct(crew, deque((job, 1) for job in jobs))
        finally:
            _dismiss(crew)


def _direct(crew: list[_Worker], waiting: deque[tuple[Job, int]]) -> Generator[tuple[Job, Message]]:
    while True:
        for worker in crew:
            if worker.task is None and waiting:
                job, attempt = waiting.popleft()
                yield job, Begun(attempt)
                worker.begin(job, attempt)
        busy = {worker.connection: worker for worker in crew if worker.task}
        if not busy:
            return
        for connection in wait(list(busy)):
            worker = busy[cast(Connection, connection)]
            job, attempt = cast(tuple[Job, int], worker.task)
            try:
                message = worker.hear()
            except (EOFError, OSError):
                crew[crew.index(worker)] = _Worker(worker.slot, worker.threads)
                message = lost_worker(worker.last_word(), attempt)
                if attempt < ATTEMPTS:
                    waiting.appendleft((job, attempt + 1))
            yield job, message


class _Worker:
    """A process and the job it is at."""

    def __init__(self, slot: int, threads: int) -> None:
        self.slot, self.threads = slot, threads
        self.task: tuple[Job, int] | None = None
        # Not a fork: torch's threads and CUDA do not survive one.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, slot, threads), daemon=True)
        with _terminal_blocked():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def begin(self, job: Job, attempt: int) -> None:
        self.task = job, attempt
        with suppress(ConnectionError):  # it died idle: hearing it will tell
            self.connection.send(job)

    def hear(self) -> Message:
        """Raises `EOFError` or `OSError` where the process has died."""
        message: Message = self.connection.recv()
        if isinstance(message, Outcome) and self.task:
            message, self.task = replace(message, attempts=self.task[1]), None
        return message

    def last_word(self) -> str:
        _end_by(time.monotonic() + GRACE, self.process)
        status = self.process.exitcode or 0
        if status >= 0:
            return f"its worker ended with status {status}"
        name = signal.Signals(-status).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker was ended by {name}{hint}"


def _dismiss(crew: list[_Worker]) -> None:
    for worker in crew:
        worker.process.terminate()
    end = time.monotonic() + GRACE
    for worker in crew:
        _end_by(end, worker.process)


def _end_by(moment: float, process: BaseProcess) -> None:
    process.join(max(0.0, moment - time.monotonic()))
    process.kill()
    process.join()


@contextmanager
def _terminal_blocked() -> Iterator[None]:
    """A process started meanwhile never hears Ctrl-C, which the terminal sends to all at once."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # its start would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, slot: int, threads: int) -> None:
    """A worker: takes jobs, tells of them, until it is terminated or nobody listens."""
    import torch  # first: an exception in its midst would be an abort

    signal.signal(signal.SIGTERM, _end)
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())  # what `--device auto` takes
    with suppress(EOFError, ConnectionError):
        while True:
            job = connection.recv()
            torch.set_num_threads(threads)  # the job before may have had its own
            connection.send(render_job(job, connection.send))


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would disturb the tidying up
    sys.exit(128 + number)

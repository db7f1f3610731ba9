"""This machine's workers: processes that each take one task after another.

`concurrent.futures` gives up on all that is queued when one of its processes dies. Here each
worker has a pipe of its own, whose end tells of its death and of nobody else's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Final, cast

from vidstyle.batch.sharing import Todo
from vidstyle.batch.work import (
    ATTEMPTS,
    Begun,
    Ended,
    Message,
    Task,
    lost_worker,
    patient,
    work_on,
)

GRACE: Final = 2.5  # seconds for workers to store what is finished, before they are killed
_PATIENCE: Final = 4 * GRACE  # seconds with those that a killed command has left, on a busy machine


def cores() -> int:
    """Those that this process may use: a container or a scheduler gives fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def default_workers() -> int:
    """One a CUDA device, else one for every two cores."""
    import torch

    return torch.cuda.device_count() or max(1, cores() // 2)


class LocalExecutor:
    """`workers` processes, one of `devices` each in turn, or an equal share of the cores.

    Without `devices` they are all the CUDA devices there are.
    """

    def __init__(self, workers: int, devices: Sequence[str] = ()) -> None:
        self.workers, self.threads = workers, max(1, cores() // workers)
        self.devices = devices

    def run(self, todo: Todo) -> Generator[tuple[Task, Message]]:
        crew = _Crew(self.workers, self.threads, self.devices)
        try:
            yield from _direct(crew, todo)
        finally:
            crew.dismiss()


def _direct(crew: _Crew, todo: Todo) -> Generator[tuple[Task, Message]]:
    begun = Counter[Task]()
    while True:
        while todo and (free := crew.free()):
            task = todo.take(crew.most)
            begun[task] += 1
            yield task, Begun(begun[task])
            free.begin(task)
        busy = {worker.connection: worker for worker in crew.workers if worker.task}
        if not busy:
            return
        for connection in wait(list(busy)):
            worker = busy[cast(Connection, connection)]
            task = cast(Task, worker.task)
            try:
                message = worker.hear()
            except (EOFError, OSError):
                crew.workers.remove(worker)
                message = lost_worker(worker.last_word(), begun[task])
                if begun[task] < ATTEMPTS and todo.wants(task):
                    todo.put_first(task)
            yield task, message
        crew.end_unwanted(todo)


class _Crew:
    """At most so many workers, each begun when there is something for it to do."""

    def __init__(self, most: int, threads: int, devices: Sequence[str]) -> None:
        self.most, self.threads, self.devices = most, threads, devices
        self.workers: list[_Worker] = []

    def free(self) -> _Worker | None:
        # One that has died idle is no task's loss.
        self.workers = [w for w in self.workers if w.task or w.process.is_alive()]
        for worker in self.workers:
            if worker.task is None:
                return worker
        slots = set(range(self.most)) - {worker.slot for worker in self.workers}
        if slots:
            self.workers.append(_Worker(min(slots), self.threads, self.devices))
            return self.workers[-1]
        return None

    def end_unwanted(self, todo: Todo) -> None:
        for worker in self.workers:
            if worker.task and not todo.wants(worker.task):
                worker.process.terminate()

    def dismiss(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        end = time.monotonic() + GRACE
        for worker in self.workers:
            _end_by(end, worker.process)


class _Worker:
    """A process and the task it is at."""

    def __init__(self, slot: int, threads: int, devices: Sequence[str]) -> None:
        self.slot = slot
        self.task: Task | None = None
        # Not a fork: torch's threads and CUDA do not survive one.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        given = theirs, slot, threads, devices
        self.process = context.Process(target=_serve, args=given, daemon=True)
        with _terminal_blocked():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def begin(self, task: Task) -> None:
        self.task = task
        with suppress(ConnectionError):  # it has just died: hearing it will tell
            self.connection.send(task)

    def hear(self) -> Message:
        """Raises `EOFError` or `OSError` where the process has died."""
        message: Message = self.connection.recv()
        if isinstance(message, Ended):
            self.task = None
        return message

    def last_word(self) -> str:
        _end_by(time.monotonic() + GRACE, self.process)
        status = self.process.exitcode or 0
        if status >= 0:
            return f"its worker ended with status {status}"
        name = signal.Signals(-status).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker was ended by {name}{hint}"


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


def _serve(connection: Connection, slot: int, threads: int, devices: Sequence[str]) -> None:
    """A worker: takes tasks, tells of them, until it is terminated or nobody listens."""
    Thread(target=_end_alone, daemon=True).start()
    import torch  # first: an exception in its midst would be an abort

    signal.signal(signal.SIGTERM, _end)
    if torch.cuda.is_available():
        own = devices or [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        if (device := torch.device(own[slot % len(own)])).type == "cuda":
            torch.cuda.set_device(device)  # what `--device auto` takes, and `cuda`
    try:
        while True:
            task = patient(connection.recv(), _PATIENCE)
            torch.set_num_threads(threads)  # the job before may have had its own
            connection.send(work_on(task, connection.send))
    except SystemExit as stop:  # all is tidied up; taking torch apart is a second of computing
        os._exit(int(stop.code or 0))
    except (EOFError, ConnectionError):
        return


def _end_alone() -> None:
    """As if terminated, once the command is killed: the same command will want what this holds."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would disturb the tidying up
    sys.exit(128 + number)

"""A Ray cluster's workers: Ray places the jobs, and begins those of lost workers again."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import signal
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from vidstyle import __version__
from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import FAILED, Outcome
from vidstyle.batch.work import ATTEMPTS, Begun, Message, lost_worker, render_job
from vidstyle.errors import InputError, SettingsError

_POLL: Final = 0.2  # seconds between looks at what the workers say
_GRACE: Final = 2.0  # seconds for them to store what is finished: Ray needs the next two itself
_LOST: Final = "its worker was lost"
# NFS 4 keeps a dead machine's locks for 90 s, in which its jobs are begun elsewhere.
_PATIENCE: Final = 120.0
# Read by Ray when it is imported. Else it begins what needs too much memory again for ever, and
# reports to its makers.
_ENVIRONMENT: Final = {"RAY_task_oom_retries": str(ATTEMPTS - 1), "RAY_USAGE_STATS_ENABLED": "0"}

Resources = Mapping[str, float]  # of a node, by Ray's names


class RayExecutor:
    """A task a job, with a GPU each where the cluster has some, and as many cores as threads.

    `address` is as Ray has it: "auto" is the cluster that this machine is in, `None` the same or
    else a new one of this machine alone. `workers` is the most jobs at a time; without it all that
    find room. Files must have the same names on every node. Raises `SettingsError` without Ray.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.address, self.workers = address, workers
        self._ray = _load_ray()

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Message]]:
        """Raises `InputError` where there is no such cluster."""
        if not jobs:
            return
        with _connected(self._ray, self.address):
            try:
                yield from _Cluster(self._ray, jobs, self.workers).direct()
            except SystemError as error:  # what a signal raised while Ray was waiting
                raise error.__cause__ or error from None


def shared_cores(nodes: Sequence[Resources], workers: int | None) -> int:
    """How many each of `workers` can have, all at once; of one a GPU, or one for two cores."""
    hosts = [node for node in nodes if node.get("GPU")] or nodes
    cores = [int(node.get("CPU", 0)) for node in hosts]
    gpus = [int(node.get("GPU", 0)) for node in hosts]
    places = [gpu or count for gpu, count in zip(gpus, cores, strict=True)]
    wanted = workers or sum(gpus) or sum(max(min(count, 1), count // 2) for count in cores)
    for share in range(max(cores), 1, -1):
        if sum(map(min, places, (count // share for count in cores))) >= wanted:
            return share
    return 1


def place(nodes: Sequence[Resources], threads: int, device: str) -> dict[str, int]:
    """What a task asks of a node: not more than one has, or it would wait for ever."""
    gpus = int(device != "cpu" and any(node.get("GPU") for node in nodes))
    most = max(int(node.get("CPU", 0)) for node in nodes if node.get("GPU", 0) >= gpus)
    return {"num_cpus": min(threads, max(1, most)), "num_gpus": gpus}


class _Cluster:
    """The tasks of a batch, and what their workers say."""

    def __init__(self, ray: ModuleType, jobs: Sequence[Job], workers: int | None) -> None:
        self._ray, self._jobs = ray, jobs
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._share = shared_cores(self._nodes, workers)
        self._serve = ray.remote(max_retries=ATTEMPTS - 1)(_serve)
        self._room = workers or len(jobs)
        self._waiting = deque(range(len(jobs)))
        self._tasks: dict[Any, int] = {}
        self._begun: Counter[int] = Counter()
        self._heard = _mailbox(ray)

    def direct(self) -> Generator[tuple[Job, Message]]:
        try:
            while self._waiting or self._tasks:
                while self._waiting and len(self._tasks) < self._room:
                    number = self._waiting.popleft()
                    self._tasks[self._submit(number)] = number
                ended, _ = self._ray.wait(list(self._tasks), timeout=_POLL)
                yield from self._messages()
                for task in ended:
                    yield from self._last_words(task)
        finally:
            self._cancel()

    def _submit(self, number: int) -> Any:
        job = self._jobs[number]
        threads = job.settings.compute.threads or self._share
        task = self._serve.options(**place(self._nodes, threads, job.settings.compute.device))
        return task.remote(job, number, self._heard, threads, __version__)

    def _messages(self) -> Iterator[tuple[Job, Message]]:
        running = set(self._tasks.values())
        for number, message in self._heard.get_nowait_batch(self._heard.qsize()):
            job = self._jobs[number]
            if isinstance(message, Begun):
                self._begun[number] += 1
                if self._begun[number] > 1:
                    yield job, lost_worker(_LOST, 1)
                yield job, Begun(self._begun[number])
            elif number in running:  # and not a worker that was given up, but lives
                yield job, message

    def _last_words(self, task: Any) -> Iterator[tuple[Job, Message]]:
        number = self._tasks.pop(task)
        if not self._begun[number]:  # its worker was lost, or no good, before it could say so
            yield self._jobs[number], Begun(1)
        outcome = _outcome(self._ray, task)
        yield self._jobs[number], replace(outcome, attempts=max(1, self._begun[number]))

    def _cancel(self) -> None:
        """As Ctrl-C would, so that what is finished is stored; then by force."""
        with suppress(self._ray.exceptions.RayError):
            left = list(self._tasks)
            for task in left:
                self._ray.cancel(task)
            if left:
                _, left = self._ray.wait(left, num_returns=len(left), timeout=_GRACE)
            for task in left:
                self._ray.cancel(task, force=True)


def _outcome(ray: ModuleType, task: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return Outcome(FAILED, f"its worker: {str(error).splitlines()[-1]}")
    except ray.exceptions.RayError as error:
        return Outcome(FAILED, f"{_LOST}: {str(error).splitlines()[0]}")
    return outcome


def _mailbox(ray: ModuleType) -> Any:
    """A queue on this very node: another node may be lost."""
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _serve(job: Job, number: int, heard: Any, threads: int, version: str) -> Outcome:
    """On a worker: renders, and tells of it by the job's number."""
    import torch

    if version != __version__:
        rule = f"has vidstyle {__version__}, this batch is of {version}; install the same"
        return Outcome(FAILED, f"{platform.node()}: {rule}")
    torch.set_num_threads(threads)
    heard.put((number, Begun(1)))
    work = replace(job.settings.work, patience=_PATIENCE)
    job = replace(job, settings=replace(job.settings, work=work))
    return render_job(job, lambda message: heard.put((number, message)))


@contextmanager
def _connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    try:
        # On stdout Ray prints whatever happens in the cluster.
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            _connect(ray, address)
            yield
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, address: str | None) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with _own_sigterm():
            ray.init(address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--address {address}: no Ray cluster there ({error})") from error


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray takes the signal for itself when it connects."""
    handler, heard = signal.getsignal(signal.SIGTERM), False
    try:
        yield
    except SystemExit:
        heard = True
    finally:
        signal.signal(signal.SIGTERM, handler)
    if heard:
        signal.raise_signal(signal.SIGTERM)


def _load_ray() -> ModuleType:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise SettingsError("--engine ray: needs Ray; pip install 'vidstyle[ray]'") from error

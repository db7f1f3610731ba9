"""A Ray cluster's workers: Ray places the tasks, and begins those of lost workers again."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from types import ModuleType
from typing import Any, Final

from vidstyle import __version__
from vidstyle.batch.ledger import FAILED, Outcome
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
    """Each task with a GPU where the cluster has some, and with as many cores as threads.

    `address` is as Ray has it: "auto" is the cluster that this machine is in, `None` the same or
    else a new one of this machine alone. `workers` is the most tasks at a time; without it all that
    find room. Files must have the same names on every node. Raises `SettingsError` without Ray.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.address, self.workers = address, workers
        self._ray = _load_ray()

    def run(self, todo: Todo) -> Generator[tuple[Task, Message]]:
        """Raises `InputError` where there is no such cluster."""
        if not todo:
            return
        with _connected(self._ray, self.address):
            try:
                yield from _Cluster(self._ray, todo, self.workers).direct()
            except SystemError as error:  # what a signal raised while Ray was waiting
                raise error.__cause__ or error from None


def shared_cores(nodes: Sequence[Resources], workers: int | None) -> int:
    """How many each of `workers` can have, all at once; of one a GPU, or one for two cores."""
    hosts = _hosts(nodes)
    gpus = sum(gpu for gpu, _ in hosts)
    wanted = workers or gpus or sum(max(min(cores, 1), cores // 2) for _, cores in hosts)
    for share in range(max(cores for _, cores in hosts), 1, -1):
        if room(nodes, share) >= wanted:
            return share
    return 1


def room(nodes: Sequence[Resources], share: int) -> int:
    """Tasks that find a place at once, each with a GPU where there are some, and `share` cores."""
    return sum(min(gpus or cores, cores // share) for gpus, cores in _hosts(nodes))


def _hosts(nodes: Sequence[Resources]) -> list[tuple[int, int]]:
    """GPUs and cores of each node that gets tasks."""
    hosts = [node for node in nodes if node.get("GPU")] or nodes
    return [(int(node.get("GPU", 0)), int(node.get("CPU", 0))) for node in hosts]


def place(nodes: Sequence[Resources], threads: int, device: str) -> dict[str, int]:
    """What a task asks of a node: not more than one has, or it would wait for ever."""
    gpus = int(device != "cpu" and any(node.get("GPU") for node in nodes))
    most = max(int(node.get("CPU", 0)) for node in nodes if node.get("GPU", 0) >= gpus)
    return {"num_cpus": min(threads, max(1, most)), "num_gpus": gpus}


class _Cluster:
    """What Ray is asked for, and what its workers say."""

    def __init__(self, ray: ModuleType, todo: Todo, workers: int | None) -> None:
        self._ray, self._todo, self._workers = ray, todo, workers
        self._share = shared_cores(self._nodes(), workers)
        self._serve = ray.remote(max_retries=ATTEMPTS - 1)(_serve)
        self._tasks: list[Task] = []
        self._running: dict[Any, int] = {}  # numbers in that list, by what Ray gave for them
        self._begun: Counter[int] = Counter()
        self._unwanted: set[int] = set()
        self._heard = _mailbox(ray)

    def direct(self) -> Generator[tuple[Task, Message]]:
        try:
            while self._todo or self._running:
                self._submit()
                ended, _ = self._ray.wait(list(self._running), timeout=_POLL)
                yield from self._messages()
                for reference in ended:
                    yield from self._last_words(reference)
                self._cancel_unwanted()
        finally:
            self._cancel()

    def _nodes(self) -> list[Resources]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _submit(self) -> None:
        """As many again wait as find room: for nodes that join, and what starts some if any do."""
        if not self._todo:
            return  # and the cluster is not asked for its nodes at every turn
        nodes = self._nodes()
        places = self._workers or max(1, room(nodes, self._share))
        while self._todo and len(self._running) < (self._workers or 2 * places):
            task, number = self._todo.take(places), len(self._tasks)
            compute = task.job.settings.compute
            threads = compute.threads or self._share
            serve = self._serve.options(**place(nodes, threads, compute.device))
            reference = serve.remote(task, number, self._heard, threads, __version__)
            self._tasks.append(task)
            self._running[reference] = number

    def _messages(self) -> Iterator[tuple[Task, Message]]:
        running = set(self._running.values())
        for number, message in self._heard.get_nowait_batch(self._heard.qsize()):
            task = self._tasks[number]
            if isinstance(message, Begun):
                self._begun[number] += 1
                if self._begun[number] > 1:
                    yield task, lost_worker(_LOST, 1)
                yield task, Begun(self._begun[number])
            elif number in running:  # and not a worker that was given up, but lives
                yield task, message

    def _last_words(self, reference: Any) -> Iterator[tuple[Task, Message]]:
        number = self._running.pop(reference)
        if not self._begun[number]:  # its worker was lost, or no good, before it could say so
            yield self._tasks[number], Begun(1)
        yield self._tasks[number], _ended(self._ray, reference)

    def _cancel_unwanted(self) -> None:
        for reference, number in self._running.items():
            if number not in self._unwanted and not self._todo.wants(self._tasks[number]):
                self._unwanted.add(number)  # once: a second one would disturb the tidying up
                self._ray.cancel(reference)

    def _cancel(self) -> None:
        """As Ctrl-C would, so that what is finished is stored; then by force."""
        with suppress(self._ray.exceptions.RayError):
            left = list(self._running)
            for reference in left:
                self._ray.cancel(reference)
            if left:
                _, left = self._ray.wait(left, num_returns=len(left), timeout=_GRACE)
            for reference in left:
                self._ray.cancel(reference, force=True)


def _ended(ray: ModuleType, reference: Any) -> Ended:
    try:
        ended: Ended = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return Outcome(FAILED, f"its worker: {str(error).splitlines()[-1]}")
    except ray.exceptions.RayError as error:
        return Outcome(FAILED, f"{_LOST}: {str(error).splitlines()[0]}")
    return ended


def _mailbox(ray: ModuleType) -> Any:
    """A queue on this very node: another node may be lost."""
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _serve(task: Task, number: int, heard: Any, threads: int, version: str) -> Ended:
    """On a worker: does it, and tells of it by the task's number."""
    import torch

    if version != __version__:
        rule = f"has vidstyle {__version__}, this batch is of {version}; install the same"
        return Outcome(FAILED, f"{platform.node()}: {rule}")
    torch.set_num_threads(threads)
    heard.put((number, Begun(1)))
    return work_on(patient(task, _PATIENCE), lambda message: heard.put((number, message)))


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

"""One clip on several devices: its shots side by side, joined to what one device would give."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import Outcome
from vidstyle.batch.local import LocalExecutor, cores
from vidstyle.batch.sharing import Part, Todo, share_out
from vidstyle.batch.work import Made, Message, Progress, Said, Task, can_be_cut
from vidstyle.device import choose_device
from vidstyle.errors import SettingsError, VidstyleError
from vidstyle.options import RenderSettings
from vidstyle.render import (
    Event,
    FrameDone,
    OnEvent,
    Report,
    Resumed,
    Started,
    Warned,
    find_shots,
    noting,
    stylize_clip,
)


def stylize_on_devices(
    clip: Path,
    paintings: Sequence[Path],
    target: Path,
    settings: RenderSettings,
    on_event: OnEvent = lambda event: None,
) -> Report:
    """As `stylize_clip`; `settings.compute.device` names several, such as `cuda:0,cuda:1`.

    Each has a process of its own, which renders shots; this one finds and joins them. A clip of one
    shot, or a short one, is rendered on the first. Raises what a worker failed of as a
    `VidstyleError`, and `SettingsError` where shots cannot be made apart.
    """
    begun = time.perf_counter()
    devices = _devices(settings)
    settings = _of_one(settings, devices)
    _prefer(devices[0])
    crew = _Crew(on_event, begun)
    shots = find_shots(clip, paintings, target, settings, crew.on_event)
    parts = share_out(shots, len(devices))
    job = Job(clip, tuple(paintings), target, settings, 0)
    if len(parts) > 1:
        with _going_on(), closing(_rendered(job, parts, devices)) as messages:
            for task, message in messages:
                crew.hear(task, message)
    heard = crew.joining if len(parts) > 1 else crew.going_on
    report = stylize_clip(clip, paintings, target, settings, heard)
    if len(parts) == 1:
        return report
    return _as_one_render(report, crew, time.perf_counter() - begun, len(devices))


def _devices(settings: RenderSettings) -> list[str]:
    """Each by a name of its own: `cpu`, or a card's with its number."""
    asked = settings.compute.device
    devices = [choose_device(name.strip()) for name in asked.split(",")]
    if len({device.type for device in devices}) > 1:
        raise SettingsError(f"--device {asked}: all must be of one kind, as cuda:0,cuda:1 are")
    if not can_be_cut(settings):
        raise SettingsError(
            f"--device {asked}: shots made side by side are joined from finished work, and a loop "
            "has none; leave out --no-resume and --loop, or name one device"
        )
    return ["cpu" if device.type == "cpu" else f"cuda:{device.index or 0}" for device in devices]


def _prefer(device: str) -> None:
    """Whose name in the settings would make other work of it."""
    if device != "cpu":
        torch.cuda.set_device(device)


def _of_one(settings: RenderSettings, devices: Sequence[str]) -> RenderSettings:
    """What each worker is asked for, and the joining: nothing that tells one from another."""
    kind, threads = choose_device(devices[0]).type, settings.compute.threads
    if kind == "cpu":
        threads = threads or max(1, cores() // len(devices))
    return replace(settings, compute=replace(settings.compute, device=kind, threads=threads))


def _rendered(
    job: Job, parts: Sequence[Part], devices: Sequence[str]
) -> Generator[tuple[Task, Message]]:
    todo = Todo([])
    todo.put_first(*(Task(job, part) for part in parts))
    yield from LocalExecutor(len(devices), devices).run(todo)


@contextmanager
def _going_on() -> Iterator[None]:
    """Whatever ends it: how far each worker has come is known when they are asked again."""
    try:
        yield
    except BaseException as error:
        error.add_note("the same command goes on")
        raise


class _Crew:
    """What the workers say, as the events of one render."""

    def __init__(self, on_event: OnEvent, begun: float) -> None:
        self.warnings: list[str] = []
        self.on_event, self._begun = noting(self.warnings, on_event), begun
        self._done: dict[Task, int] = {}
        self.resumed = 0

    def hear(self, task: Task, message: Message) -> None:
        match message:
            case Progress():
                self._done[task] = message.frame
                done = sum(self._done.values())
                seconds = time.perf_counter() - self._begun
                self.on_event(FrameDone(done - 1, message.shot - 1, seconds, done))
            case Said():
                self.on_event(Warned(message.message.removeprefix("warning: ")))
            case Made():
                self.resumed += message.frames_resumed
            case Outcome():
                raise VidstyleError(message.reason)

    def going_on(self, event: Event) -> None:
        """Of what begins a second time, what has not been told."""
        if not isinstance(event, Started | Resumed):
            self.on_event(event)

    def joining(self, event: Event) -> None:
        """Of the joining, which renders nothing, only what it warns of."""
        if isinstance(event, Warned):
            self.on_event(event)


def _as_one_render(report: Report, crew: _Crew, seconds: float, devices: int) -> Report:
    """The joining's report knows only its own time, and what it warned of itself."""
    resumed = min(crew.resumed, report.frames)  # what overlaps counts more often
    return replace(
        report,
        frames_resumed=resumed,
        seconds=round(seconds, 3),
        frames_per_second=round((report.frames - resumed) / seconds, 3),
        device=f"{devices} x {report.device}",
        peak_memory_mb=None,  # it is the workers'
        warnings=tuple(crew.warnings),
    )

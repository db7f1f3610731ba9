"""What a person sees of a batch: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import FINISHED, Outcome
from vidstyle.batch.plan import Planned, Totals
from vidstyle.batch.run import Summary
from vidstyle.batch.work import Begun, Cut, Made, Message, Progress, Said, Task
from vidstyle.progress import LINE_EVERY, LINE_SHARE, PACE, counted, duration

_COLUMNS: Final = ("job", "shot", "frame", "frames/s", "left")


class BatchProgress:
    """Takes the messages of a batch."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        self.on_terminal = self.console.is_terminal and not self.console.is_dumb_terminal
        self.running: dict[Task, list[Progress]] = {}  # the last of each
        self.wanted = self.done = self.failed = 0
        self.begun = self.last_line = time.monotonic()
        self.live = Live(console=self.console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        if self.on_terminal and not self.quiet:
            self.live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.live.stop()

    def begin(self, wanted: int, finished: int) -> None:
        self.wanted = wanted
        earlier = f", {finished} finished earlier" if finished else ""
        self._say(f"{counted(wanted, 'job')} to do{earlier}")

    def __call__(self, task: Task, message: Message) -> None:
        name = task.job.target.name
        match message:
            case Begun():
                self.running[task] = []
            case Progress():
                self.running[task] = [*self.running[task][-PACE:], message]
            case Said(text):
                self._say(f"{name}: {text}", always=True)
            case Cut(shots):
                del self.running[task]
                self._say(f"{name}: {counted(len(shots), 'shot')}, for all workers")
            case Made():
                del self.running[task]
            case Outcome():
                self._ended(task.job, message)
        self._show()

    def _ended(self, job: Job, outcome: Outcome) -> None:
        name = job.target.name
        self.running = {task: pace for task, pace in self.running.items() if task.job != job}
        self.done += 1
        if outcome.state == FINISHED:
            frames, seconds = outcome.report["frames"], outcome.report["seconds"]
            self._say(f"{name}: {counted(frames, 'frame')} in {duration(seconds)}")
        else:
            self.failed += 1
            self._say(f"{name}: failed: {outcome.reason}", always=True)

    def _show(self) -> None:
        if self.live.is_started:
            self.live.update(self._table(), refresh=True)
            return
        now = time.monotonic()
        if now - self.last_line >= max(LINE_EVERY, LINE_SHARE * (now - self.begun)):
            self.last_line = now
            self._say(self._title())
            for task, pace in self.running.items():
                name, (shot, frame, rate, left) = task.job.target.name, _cells(pace)
                self._say(f"  {name}: shot {shot}, frame {frame}, {rate} frames/s, {left} left")

    def _title(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {counted(self.wanted, 'job')} done{failed}"

    def _table(self) -> Table:
        table = Table(*_COLUMNS, box=None, title=self._title(), title_justify="left")
        for task, pace in self.running.items():
            table.add_row(task.job.target.name, *_cells(pace))
        return table

    def close_with(self, summary: Summary) -> None:
        earlier = f" ({summary.earlier} of them earlier)" if summary.earlier else ""
        self._say(
            f"{summary.finished} finished{earlier}, {summary.failed} failed, in "
            f"{duration(summary.seconds)}; {summary.report}"
        )

    def _say(self, message: str, *, always: bool = False) -> None:
        if always or not self.quiet:
            self.console.print(message, soft_wrap=True, markup=False, emoji=False)


def print_plan(plans: Iterable[Planned], workers: int) -> Totals:
    """A line a job, as the plan is made, and a closing one."""
    totals = Totals(workers)
    for planned in plans:
        totals.add(planned)
        print(f"{planned.job.target.name}: {_planned(planned)}")
    print(_totals(totals))
    return totals


def _planned(planned: Planned) -> str:
    if not planned.width:
        return planned.state
    frames = counted(planned.frames, "frame") if planned.frames else "frames not counted"
    parts = [f"{planned.state}, {frames} of {planned.width}x{planned.height}"]
    parts += [f"{_size(planned.work_bytes)} of finished frames"] * bool(planned.frames)
    parts += [duration(planned.seconds)] if planned.seconds is not None else []
    return ", ".join(parts)


def _totals(totals: Totals) -> str:
    states = ", ".join(f"{count} {state}" for state, count in totals.states.items())
    disk = f"at most {_size(sum(totals.largest))} of finished frames on disk at a time"
    seconds, workers = totals.work_seconds, counted(totals.workers, "worker")
    if seconds is None:
        estimate = "no time estimate before a result of the same --steps is there"
    else:
        estimate = f"about {duration(seconds)} for {workers}, at the pace of the results there are"
        estimate += ", if long clips have cuts to be shared at" * totals.any_shared
    return f"{states}; {counted(totals.frames, 'frame')}, {disk}; {estimate}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _cells(pace: list[Progress]) -> tuple[str, str, str, str]:
    """Shot, frame, frames a second, time left, as far as they are known."""
    if not pace:
        return "-", "-", "-", "-"
    first, last = pace[0], pace[-1]
    total = max(last.frames, last.frame) if last.frames else None
    frame = f"{last.frame}/{total}" if total else str(last.frame)
    if first is last:
        return str(last.shot), frame, "-", "-"
    rate = (last.frame - first.frame) / max(last.seconds - first.seconds, 1e-9)
    left = duration((total - last.frame) / rate) if total else "-"
    return str(last.shot), frame, f"{rate:.2f}", left

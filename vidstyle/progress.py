"""What a person sees while work goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vidstyle.optimize import Step
from vidstyle.render import Event, FrameDone, Report, Started, Warned

LINE_EVERY = 10.0  # seconds between lines where there is no terminal
LONG = 300.0  # seconds: a render of more says so, and what is cheaper
JUDGED_FRAMES = 4  # frames after the costly first, from which the rest is estimated


class _Bar:
    """A rich bar on stderr; nothing where it is quiet or no terminal."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal and not quiet
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def say(self, message: str) -> None:
        if not self.quiet:
            self.console.print(message, soft_wrap=True, markup=False)


class ClipProgress(_Bar):
    """Takes a render's events."""

    def __init__(self, quiet: bool, verbose: bool) -> None:
        super().__init__(quiet)
        self.verbose = verbose
        self.frames: int | None = None
        self.task = self.progress.add_task("opening", total=None, note="", visible=False)
        self.last_line = time.monotonic()
        self.pace: list[float] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._started(event)
            case FrameDone():
                self._frame_done(event)
            case Warned(message):
                print(f"warning: {message}", file=sys.stderr)
            case Step() if self.verbose and event.step == event.steps - 1:
                self.say(f"  level {event.level}: {event.steps} steps, loss {float(event.loss):.4f}")

    def _started(self, event: Started) -> None:
        self.frames = event.frames
        info, compute = event.info, event.compute
        self.say(
            f"{info.path.name}: {info.width}x{info.height}, {event.frames or 'unknown'} frames "
            f"at {float(info.rate):.4g} a second, on {compute.device} in {compute.precision}"
        )
        self.progress.update(
            self.task, total=event.frames, description="shot 1", visible=True
        )

    def _frame_done(self, event: FrameDone) -> None:
        done = event.index + 1
        self.pace.append(event.seconds)
        del self.pace[:-20]
        rate = self._rate()
        note = f"{rate:.2f} frames/s" if rate else ""
        # Headers can promise too few frames: the bar follows what has come.
        total = max(self.frames, done) if self.frames else None
        self.progress.update(
            self.task, completed=done, total=total, description=f"shot {event.shot + 1}", note=note
        )
        if done == 1 + JUDGED_FRAMES:
            self._warn_if_long(done, rate)
        if not self.live and time.monotonic() - self.last_line > LINE_EVERY:
            self.last_line = time.monotonic()
            self.say(f"frame {done}/{self.frames or '?'}, shot {event.shot + 1}, {note}{self._left(done, rate)}")

    def _rate(self) -> float:
        if len(self.pace) < 2:
            return 0.0
        return (len(self.pace) - 1) / max(self.pace[-1] - self.pace[0], 1e-9)

    def _left(self, done: int, rate: float) -> str:
        if not self.frames or not rate:
            return ""
        return f", {_duration((self.frames - done) / rate)} left"

    def _warn_if_long(self, done: int, rate: float) -> None:
        if not self.frames or not rate:
            return
        seconds = (self.frames - done) / rate
        if seconds > LONG:
            self.say(
                f"this will take about {_duration(seconds)}; cheaper: a smaller --size (half is a "
                "quarter of the time), --steps 2, a part with --duration, or a GPU"
            )

    def close_with(self, report: Report) -> None:
        steady = ""
        if report.warp_error_ratio is not None:
            steady = (
                f"; warp error {report.warp_error:.1e}, "
                f"{report.warp_error_ratio:.2f} x the source's own"
            )
        self.say(
            f"{report.result}: {report.frames} frames in {report.shots} "
            f"shot{'s' if report.shots != 1 else ''}, {_duration(report.seconds)} "
            f"({report.frames_per_second:.2f} frames/s){steady}"
        )


class StepProgress(_Bar):
    """Takes the optimiser's steps, where one picture or a few are the whole work."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(quiet)
        self.task = self.progress.add_task("painting", total=None, note="")
        self.begun = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            self.progress.update(
                self.task,
                completed=event.step + 1,
                total=event.steps,
                note=f"scale {event.level + 1}",
            )

    def close_with(self, target: str) -> None:
        self.say(f"{target}: written in {_duration(time.monotonic() - self.begun)}")


def _duration(seconds: float) -> str:
    """3.2 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"

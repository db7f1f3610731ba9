"""What a person sees while work goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:  # the bar is up before torch is
    from vidstyle.measure import FrameMeasured
    from vidstyle.optimize import Step
    from vidstyle.render import Event, FrameDone, Report, Started
    from vidstyle.settings import StyleSettings

LINE_EVERY = 10.0  # seconds between lines where there is no terminal, at least
LINE_SHARE = 0.02  # of the time gone by: a night's render writes hundreds of lines, not thousands
LONG = 300.0  # seconds: a render of more says so, and what is cheaper
JUDGED_FRAMES = 4  # frames after the costly first, from which the rest is estimated
JUDGED_SECONDS = 60.0  # or so long, where frames are slow
PACE = 20  # frames whose mean gives the rate
# Warp error over the source's own. Each frame painted alone measures about 18.
STEADY, FLICKERING = 1.5, 4.0
DRIFTING = 4.0  # 8-bit levels where nothing moves: more than a source taken as unchanged may do
SMALL = 320  # pixels: below it a cheaper size is no longer worth showing


class _Bar:
    """A rich bar on stderr; nothing where it is quiet or no terminal."""

    def __init__(self, quiet: bool, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.console = Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal and not quiet
        self.begun = self.last_line = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.live,
            transient=True,  # the closing line says it all
            refresh_per_second=4,
            expand=True,
        )
        self.task = self.progress.add_task("loading", total=None, note="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.progress.stop()

    def show(self, description: str, note: str, done: float, total: int | None) -> None:
        """On the bar, or from time to time as a line."""
        self.progress.update(
            self.task, description=description, note=note, completed=done, total=total
        )
        now = time.monotonic()
        due = max(LINE_EVERY, LINE_SHARE * (now - self.begun))
        if not self.live and now - self.last_line >= due:
            self.last_line = now
            self.say(f"{description}, {note}")

    def step(self, event: Step, picture: str) -> None:
        note = f"scale {event.level + 1}, step {event.step + 1}/{event.steps}"
        self.show(picture, note, event.step + 1, event.steps)

    def say(self, message: str, *, always: bool = False) -> None:
        if always or not self.quiet:
            self.console.print(message, soft_wrap=True, markup=False, emoji=False)

    def say_loss(self, event: Step) -> None:
        if self.verbose and event.step == event.steps - 1:
            loss = float(event.loss)
            self.say(f"  scale {event.level + 1}: {event.steps} steps, loss {loss:.4f}")


class ClipProgress(_Bar):
    """Takes a render's events."""

    def __init__(self, quiet: bool, verbose: bool, look: StyleSettings) -> None:
        super().__init__(quiet, verbose)
        self.look = look
        self.frames: int | None = None
        self.done = 0.0
        self.started: Started | None = None
        self.judged = False
        self.pace: list[FrameDone] = []

    def __call__(self, event: Event) -> None:
        from vidstyle.optimize import Step
        from vidstyle.render import FrameDone, Resumed, Started, Warned

        match event:
            case Started():
                self._started(event)
            case Resumed(frames, folder):
                self.say(f"going on after {counted(frames, 'finished frame')} in {folder}")
            case FrameDone():
                self._frame_done(event)
            case Warned(message):
                self.say(f"warning: {message}", always=True)
            case Step():
                self.say_loss(event)
                if self.done == 0:  # it takes far longer than those to come
                    self.step(event, "first frame")

    def _started(self, event: Started) -> None:
        self.frames = event.frames
        self.started = event
        info, compute = event.info, event.compute
        frames = counted(event.frames, "frame") if event.frames else "frames not counted"
        self.say(
            f"{info.path.name}: {info.width}x{info.height}, {frames} at "
            f"{float(info.rate):.4g} a second, on {compute.device} in {compute.precision}"
        )

    def _frame_done(self, event: FrameDone) -> None:
        self.done = event.done
        self.pace = [*self.pace[-PACE:], event]
        # Headers can promise too few frames: the bar follows what has come.
        total = max(self.frames, int(self.done)) if self.frames else None
        where = f"frame {int(self.done)}/{total}" if total else f"frame {int(self.done)}"
        rate, left = self._rate(), self._left()
        parts = [where, f"{rate:.2f} frames/s" if rate else "", f"{duration(left)} left"]
        note = ", ".join(part for part in (parts if left else parts[:2]) if part)
        self.show(f"shot {event.shot + 1}", note, self.done, total)
        self._warn_if_long(left)

    def _rate(self) -> float:
        if len(self.pace) < 2:
            return 0.0
        first, last = self.pace[0], self.pace[-1]
        return (last.done - first.done) / max(last.seconds - first.seconds, 1e-9)

    def _left(self) -> float:
        """Seconds, 0 where nothing is left or known."""
        rate = self._rate()
        return max(0, self.frames - self.done) / rate if self.frames and rate else 0.0

    def _warn_if_long(self, left: float) -> None:
        slow = self.pace[-1].seconds - self.pace[0].seconds > JUDGED_SECONDS
        if self.judged or not (slow or self.done > JUDGED_FRAMES):
            return
        self.judged = True
        if left > LONG:
            self.say(f"about {duration(left)} to go; cheaper: {', '.join(self._cheaper())}")

    def _cheaper(self) -> list[str]:
        assert self.started is not None
        info, ways = self.started.info, []
        half = max(info.width, info.height) // 2
        if half >= SMALL:
            ways.append(f"--size {half}")
        if self.look.rounds > 1:
            ways.append("a single pass")
        if self.look.steps > 1:
            ways.append(f"--steps {self.look.steps // 2}")
        ways.append("--duration 5 for a part")
        if self.started.compute.device.type == "cpu":
            ways.append("a machine with a GPU")
        return [*ways, "or vidstyle preview for stills only"]

    def close_with(self, report: Report) -> None:
        what = f"{counted(report.frames, 'frame')} in {counted(report.shots, 'shot')}"
        rate, pace = report.frames_per_second, duration(report.seconds)
        pace += f" ({rate:.2f} frames/s)" if rate else ""  # all were finished before
        size = f"{report.width}x{report.height}"
        self.say(f"{report.result}: {size}, {what}, {pace}{_steady(report)}")


class StepProgress(_Bar):
    """Takes the optimiser's steps, where one picture or a few are the whole work."""

    def __init__(self, quiet: bool, verbose: bool = False) -> None:
        super().__init__(quiet, verbose)
        self.picture = 0

    def __call__(self, event: Event) -> None:
        from vidstyle.optimize import Step
        from vidstyle.render import Warned

        match event:
            case Warned(message):
                self.say(f"warning: {message}", always=True)
            case Step():
                self.picture += event.level == event.step == 0
                self.say_loss(event)
                self.step(event, f"picture {self.picture}")

    def close_with(self, target: str) -> None:
        self.say(f"{target}: written in {duration(time.monotonic() - self.begun)}")


class MeasureProgress(_Bar):
    """Takes the events of measuring."""

    def __call__(self, event: FrameMeasured) -> None:
        done = event.index + 1
        total = max(event.frames, done) if event.frames else None
        self.show("measuring", f"frame {done}/{total}" if total else f"frame {done}", done, total)


def _steady(report: Report) -> str:
    """How steady it is, in plain words and with the figure behind them."""
    ratio = report.warp_error_ratio
    if ratio is None:
        return ""
    advice = "; try a higher --temporal-weight or --steps" if ratio > FLICKERING else ""
    return f"; {verdict(ratio)}, before encoding{advice}"


def drift_warning(levels: float) -> str:
    """What the warp error hardly sees: a change too slow to flicker."""
    return f"; drifts by {levels:+.0f} levels" if abs(levels) > DRIFTING else ""


def verdict(ratio: float) -> str:
    """A warp error ratio in plain words."""
    if ratio <= STEADY:
        return f"steady: {ratio:.1f} x the source's own flicker"
    word = "slight flicker" if ratio <= FLICKERING else "flickers"
    return f"{word}: {ratio:.1f} x the source's own"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """3.2 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"

"""One frozen settings class a stage, checked when built; the command line's defaults are here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidstyle.errors import SettingsError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise SettingsError(f"{name} {value}: must be {rule}")


def _require_number(name: str, value: float, low: float, high: float) -> None:
    _require(
        math.isfinite(value) and low <= value <= high,
        name,
        f"{value:.12g}",
        f"between {low:.12g} and {high:.12g}",
    )


@dataclass(frozen=True)
class ClipSettings:
    """Which part of the source, and how large. Times in seconds from the clip's first frame.

    `size` is the long side of the result in pixels; it never enlarges. `threads` are the encoder's;
    0 lets FFmpeg choose. `fps` is an image sequence's frame rate, exactly; clips have their own.
    Black bars around the picture stay as they are unless `paint_bars`.
    """

    start: float = 0.0
    end: float | None = None
    size: int | None = None
    threads: int = 0
    fps: Fraction | None = None
    paint_bars: bool = False

    def __post_init__(self) -> None:
        _require_number("--start", self.start, 0, 1e7)
        if self.end is not None:
            _require_number("--end", self.end, 0, 1e7)
            _require(
                self.end > self.start, "--end", f"{self.end:g}", f"after --start {self.start:g}"
            )
        if self.size is not None:
            _require_number("--size", self.size, 16, 16384)
        if self.fps is not None:
            within = Fraction(1, 100) <= self.fps <= 1000
            _require(within, "--fps", self.fps, "between 0.01 and 1000")
        _require_number("--threads", self.threads, 0, 1024)


@dataclass(frozen=True)
class OutputSettings:
    """How the result is encoded. `None` is the container's usual choice.

    `crf` is on the encoder's own scale; lower is better.
    """

    codec: str | None = None
    crf: float | None = None
    pix_fmt: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.crf is not None:
            _require_number("--crf", self.crf, 0, 63)


@dataclass(frozen=True)
class FeatureSettings:
    """Which network's features are compared, and where. Empty layers mean the network's own."""

    name: str = "lite"
    weights: Path | None = None
    style_layers: tuple[str, ...] = ()
    content_layer: str | None = None


@dataclass(frozen=True)
class ComputeSettings:
    """Where the work runs. `threads` are torch's on a CPU; 0 keeps its choice."""

    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.precision in PRECISIONS, "--precision", self.precision, "/".join(PRECISIONS))
        _require_number("--threads", self.threads, 0, 1024)
        _require_number("--seed", self.seed, 0, 2**63 - 1)


LOOP_PASSES = 3  # the second meets the first one's end, the third what that has become


# Later passes go over so many frames at a time, and begin with some beyond, which by a block's end
# are forgotten: from the table of blocks in tests/bench/results/README.md.
BLOCK, AHEAD = 48, 12


@dataclass(frozen=True)
class StyleSettings:
    """The picture: effort and the weights of the losses.

    `steps` are spent on each frame, and up to four times as many where much of it is new; a shot's
    first frame gets `first_steps` at each of its scales. The frames after that have several times
    as much of `tv_weight`, in the first pass most, and of `temporal_weight` in clips that are
    larger than strokes are made.
    `passes` go over each shot, back and forth; a `loop` meets its own end and takes three at least.
    Without a `flow` every frame is made alone, in one pass.
    `flow_weights` are `raft`'s; without them torchvision fetches some. `strength` blends linearly:
    0 is the source, 1 the painting. Strokes are `brush` times as broad as usual; below 1 finer, as
    far as the clip has pixels. Defaults were chosen from the tables in
    tests/bench/results/README.md.
    """

    steps: int = 2
    first_steps: int = 40
    style_weight: float = 1.0
    content_weight: float = 0.3
    tv_weight: float = 0.3
    temporal_weight: float = 400.0
    flow: str = "dis"
    flow_weights: Path | None = None
    strength: float = 1.0
    passes: int = 2
    loop: bool = False
    brush: float = 1.0

    def __post_init__(self) -> None:
        _require_number("--steps", self.steps, 1, 10000)
        _require_number("--first-steps", self.first_steps, 1, 10000)
        for name in ("style", "content", "tv", "temporal"):
            _require_number(f"--{name}-weight", getattr(self, f"{name}_weight"), 0, 1e9)
        _require(
            self.flow != "none" or self.flow_weights is None,
            "--flow-weights",
            self.flow_weights,
            "left out with --flow none",
        )
        _require_number("--strength", self.strength, 0, 1)
        _require_number("--passes", self.passes, 1, 100)
        _require_number("--brush", self.brush, 0.25, 8)
        alone = self.flow == "none"
        _require(not (alone and self.loop), "--loop", self.loop, "left out with --flow none")

    @property
    def rounds(self) -> int:
        """Passes that will be made."""
        if self.flow == "none":
            return 1
        return max(self.passes, LOOP_PASSES) if self.loop else self.passes

    def works(self, frames: int) -> int:
        """Results that so many frames of one shot take, with what the passes' blocks overlap."""
        overlap = 0 if self.loop else AHEAD / BLOCK
        return math.ceil(frames * (1 + (self.rounds - 1) * (1 + overlap)))

    def spooled(self, frames: int) -> int:
        """Pictures of one shot that wait on disk between passes: frames and latest results."""
        waiting = frames if self.loop else min(frames, BLOCK + AHEAD + 1)
        return 2 * waiting if self.rounds > 1 else 0


@dataclass(frozen=True)
class WorkSettings:
    """Finished work on disk, from which a stopped render goes on.

    `folder` of `None` is a hidden one beside the result. `keep` leaves it there at success. Without
    `resume` nothing is read from it or written to it. Another run at work in it is waited for
    `patience` seconds.
    """

    folder: Path | None = None
    resume: bool = True
    keep: bool = False
    patience: float = 0.0

    def __post_init__(self) -> None:
        if not self.resume and (self.folder is not None or self.keep):
            raise SettingsError(
                "--no-resume stores no finished work: leave out --work-dir and --keep-work"
            )

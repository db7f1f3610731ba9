"""One frozen settings class a stage, checked when built; the command line reads its defaults here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from vidstyle.errors import SettingsError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise SettingsError(f"{name} {value}: must be {rule}")


def _require_number(name: str, value: float, low: float, high: float) -> None:
    _require(
        math.isfinite(value) and low <= value <= high, name, value, f"between {low:g} and {high:g}"
    )


@dataclass(frozen=True)
class ClipSettings:
    """Which part of the source, and how large. Times in seconds from the clip's first frame.

    `size` is the long side of the result in pixels; it never enlarges. `threads` is the decoder's;
    0 lets FFmpeg choose.
    """

    start: float = 0.0
    end: float | None = None
    size: int | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        _require_number("--start", self.start, 0, 1e7)
        if self.end is not None:
            _require_number("--end", self.end, 0, 1e7)
            _require(self.end > self.start, "--end", self.end, f"after --start {self.start:g}")
        if self.size is not None:
            _require_number("--size", self.size, 16, 16384)
        _require_number("--threads", self.threads, 0, 1024)


@dataclass(frozen=True)
class OutputSettings:
    """How the result is encoded. `None` is the container's usual choice.

    `crf` is on the encoder's own scale (lower is better); 16 is visually lossless for x264.
    """

    codec: str | None = None
    crf: float | None = None
    pix_fmt: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.crf is not None:
            _require_number("--crf", self.crf, 0, 63)

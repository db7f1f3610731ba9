"""What reading the paintings and their Gram matrices cost, of a whole render's CPU time.

    python -m tests.bench.style_work clip.mp4 --style scream.jpg --size 160 320

One row a size and painting. CPU time of all threads, so that a busy machine does not matter much.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import vidstyle as v
from vidstyle import render, stylize

HEADER = (
    "| size | painting | reading it, ms | its Gram matrices, ms | the whole render, s | share |\n"
    "|---|---|---|---|---|---|"
)


class Timed:
    """CPU seconds spent in the functions it has wrapped."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*args)
            finally:
                self.seconds += time.process_time() - begun

        return timed


def row(clip: Path, style: Path, size: int, seconds: float) -> str:
    reading, grams = Timed(), Timed()
    plain = render.load_paintings, stylize.StyleTargets.at
    render.load_paintings = reading(plain[0])
    stylize.StyleTargets.at = grams(plain[1])  # type: ignore[method-assign]
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        v.stylize_video(
            clip,
            [style],
            Path(folder) / "a.mp4",
            part=v.ClipSettings(end=seconds, size=size),
            compute=v.ComputeSettings(precision="fp32"),
        )
    whole = time.process_time() - begun
    render.load_paintings, stylize.StyleTargets.at = plain  # type: ignore[method-assign]
    share = (reading.seconds + grams.seconds) / whole
    cells = [size, style.name, f"{reading.seconds * 1e3:.0f}", f"{grams.seconds * 1e3:.0f}"]
    return f"| {' | '.join(map(str, [*cells, f'{whole:.1f}', f'{share:.1%}']))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--style", type=Path, action="append", required=True)
    parser.add_argument("--size", type=int, nargs="+", default=[160, 320])
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    print(HEADER)
    for size in args.size:
        for style in args.style:
            print(row(args.clip, style, size, args.seconds), flush=True)


if __name__ == "__main__":
    main()

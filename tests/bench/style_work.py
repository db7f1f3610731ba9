"""What reading the paintings and their Gram matrices cost, of a whole render's CPU time.

    python -m tests.bench.style_work clip.mp4 --style scream.jpg --size 160 320
    python -m tests.bench.style_work photo.jpg --style scream.jpg --size 1600 --first-steps 4

One row a size and painting: with an empty cache folder, then with what that run has left there. CPU
time of one thread, of the whole render also of what runs beside it, so that a busy machine does not
matter much.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple

import vidstyle as v
from vidstyle import render, stylize

HEADER: Final = (
    "| | size | painting | reading it, ms | its Gram matrices, ms | found again, ms | the whole "
    "render, s | with them found, s | same bytes |\n|---|---|---|---|---|---|---|---|---|"
)
PICTURES: Final = (".jpg", ".jpeg", ".png")
COMPUTE: Final = v.ComputeSettings(precision="fp32", threads=1)


class Timed:
    """CPU seconds spent in the functions it has wrapped, by the threads that called them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any) -> Any:
            begun = time.thread_time()
            try:
                return function(*args)
            finally:
                self.seconds += time.thread_time() - begun

        return timed


class Cost(NamedTuple):
    """CPU seconds, and what was made."""

    reading: float
    grams: float
    whole: float
    result: bytes


def cost(style: Path, size: int, args: argparse.Namespace) -> Cost:
    reading, grams = Timed(), Timed()
    plain = render.load_paintings, stylize.StyleTargets.at
    render.load_paintings = reading(plain[0])
    stylize.StyleTargets.at = grams(plain[1])  # type: ignore[method-assign]
    begun = time.process_time()
    result = make(style, size, args)
    whole = time.process_time() - begun
    render.load_paintings, stylize.StyleTargets.at = plain  # type: ignore[method-assign]
    return Cost(reading.seconds, grams.seconds, whole, result)


def make(style: Path, size: int, args: argparse.Namespace) -> bytes:
    look = v.StyleSettings(first_steps=args.first_steps)
    with tempfile.TemporaryDirectory() as folder:
        if args.source.suffix.lower() in PICTURES:
            target = Path(folder) / "a.png"
            v.stylize_picture(args.source, [style], target, size=size, look=look, compute=COMPUTE)
        else:
            target = Path(folder) / "a.mp4"
            part = v.ClipSettings(end=args.seconds, size=size)
            v.stylize_video(args.source, [style], target, part=part, look=look, compute=COMPUTE)
        return target.read_bytes()


def row(style: Path, size: int, args: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        cold, warm = (cost(style, size, args) for _ in range(2))
    cells = [args.source.name, size, style.name]
    cells += [f"{x * 1e3:.0f}" for x in (cold.reading, cold.grams, warm.grams)]
    cells += [f"{x:.1f}" for x in (cold.whole, warm.whole)]
    return f"| {' | '.join(map(str, [*cells, cold.result == warm.result]))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a clip or a picture")
    parser.add_argument("--style", type=Path, action="append", required=True)
    parser.add_argument("--size", type=int, nargs="+", default=[160, 320])
    parser.add_argument("--seconds", type=float, default=1.0, help="of a clip")
    parser.add_argument("--first-steps", type=int, default=v.StyleSettings().first_steps)
    args = parser.parse_args()
    print(HEADER)
    for size in args.size:
        for style in args.style:
            print(row(style, size, args), flush=True)


if __name__ == "__main__":
    main()

"""Stops renders by Ctrl-C and SIGTERM at every stage, and runs the same command again.

    python -m tests.bench.stops clip.mp4 --style scream.jpg
    python -m tests.bench.stops cuts.mp4 --style scream.jpg --stages devices --options …

One table: how long the end took, what was said, and whether the same command gave the same bytes.
Two devices have something to share where a clip has cuts: only when asked for.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.kills import render, results, start

Ready = Callable[[Path], bool]
NUMBERS = (signal.SIGINT, signal.SIGTERM)
HEADER = (
    "| stage | signal | status | seconds to the end | said | partial files left | frames kept "
    "| bytes equal |\n|---|---|---|---|---|---|---|---|"
)


def frames_stored(frames: int) -> Ready:
    return lambda folder: len(list(folder.glob("**/.*.work-*/*.npz"))) >= frames


def begun(folder: Path) -> bool:
    return bool(list(folder.glob(".*.work-*/unfinished")))


def measured(folder: Path) -> bool:
    there = bool(results(folder)) and not list(folder.glob(".*"))
    time.sleep(there)  # it begins after the render's last words
    return there


def both_at_work(folder: Path) -> bool:
    return len(list(folder.glob("jobs/.*.work-*/[0-9]*.partial"))) == 2


def two_begun(folder: Path) -> bool:
    """Two shots, which each have a piece; a piece is open for a moment only."""
    return len({path.name[:8] for path in folder.glob(".*.work-*/[0-9]*.npz")}) == 2


def wait(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    while process.poll() is None and not ready():
        time.sleep(0.002)


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, float, str]:
    """Exit status, seconds and last line said. All its processes hear it, as from a terminal."""
    begun = time.monotonic()
    os.killpg(process.pid, number)
    _, said = process.communicate()
    return process.returncode, time.monotonic() - begun, (said.splitlines() or ["(nothing)"])[-1]


def row(stage: str, number: signal.Signals, ended: tuple[int, float, str], *more: object) -> str:
    status, seconds, said = ended
    cells = [stage, number.name, status, f"{seconds:.1f}", re.sub(r"/[^ :;]*/", "", said), *more]
    return f"| {' | '.join(map(str, cells))} |"


def partials(folder: Path) -> int:
    return len([path for path in folder.glob("**/*partial*")])


def stop_run(
    stage: str, ready: Ready | float, number: signal.Signals, options: list[str], whole: dict
) -> str:
    """`ready` may be seconds from the start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(ready, float):
            process = start(folder, options, piece=None)
            time.sleep(ready)
        else:
            process = start(folder, options, piece=0)
            wait(process, lambda: ready(folder))
        if process.poll() is not None:  # it was done by then
            return stop_run(stage, ready, number, options, whole)
        ended, left = stop(process, number), partials(folder)
        made, again = results(folder), ""
        if not made:
            made, again, _ = render(folder, options)
            made.pop("report.json", None)
    same = "yes" if made == whole else "NO"
    return row(stage, number, ended, left, kept(again), same)


def kept(said: str) -> str:
    return " and ".join(re.findall(r"going on after (?:frame )?(\d+)", said)) or "0"


def toml(value: str) -> str:
    return value if re.fullmatch(r"[\d.]+", value) else f'"{value}"'


def stop_batch(number: signal.Signals, clip: str, style: str, options: list[str]) -> str:
    """Two jobs on two workers; the bytes are those of a batch that nobody stopped."""
    pairs = zip(options[::2], options[1::2], strict=True)
    own = {key.lstrip("-"): value for key, value in pairs}
    settings = {"style": style, "precision": "fp32"} | own
    lines = [f"{key} = {toml(value)}\n" for key, value in settings.items()]
    text = "".join(["[defaults]\n", *lines])
    text += "".join(f'[[job]]\nclip = "{clip}"\nname = "{name}.mp4"\n' for name in "ab")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        asked = Path(one, "asked.toml")
        asked.write_text(text)
        line, folder = [str(asked), "--workers", "2"], Path(other)
        whole, _, _ = render(folder, line)
        shutil.rmtree(folder)
        folder.mkdir()
        process = start(folder, line, piece=None)
        wait(process, lambda: both_at_work(folder))
        ended, left = stop(process, number), partials(folder)
        made, again, _ = render(folder, line)
    return row("batch", number, ended, left, kept(again), "yes" if made == whole else "NO")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--style", required=True, type=Path)
    parser.add_argument("--options", default="--size 96 --first-steps 20 --steps 2 --duration 0.7")
    parser.add_argument("--stages", nargs="+", help="some of those in the table, else all")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & makes deaf to it
    clip, style = str(asked.clip.resolve()), str(asked.style.resolve())
    own = shlex.split(asked.options)
    options = [clip, "--style", style, *own]
    with tempfile.TemporaryDirectory() as name:
        whole, said, (loading, _) = render(Path(name), options)
    frames = int(re.findall(r"(\d+) frames in", said)[0])  # fewer than a block
    stages: dict[str, Ready | float] = {
        "Python starts": 0.1 * loading,
        "loading": 0.5 * loading,
        "loading, late": 0.9 * loading,
        "first frame": begun,
        "later frames": frames_stored(3),
        "second pass": frames_stored(frames + 3),
        "encoding's end": frames_stored(2 * frames - 1),  # the second leaves the last as it is
        "measuring": measured,
        "devices": two_begun,
    }
    own_options = {"measuring": ["--report", "report.json"], "devices": ["--device", "cpu,cpu"]}
    print(HEADER, flush=True)
    wanted = asked.stages or [*(stage for stage in stages if stage != "devices"), "batch"]
    for stage in [stage for stage in stages if stage in wanted]:
        ready = stages[stage]
        line = [*options, *own_options.get(stage, [])]
        for number in NUMBERS:
            print(stop_run(stage, ready, number, line, whole), flush=True)
    for number in NUMBERS if "batch" in wanted else ():
        print(stop_batch(number, clip, style, own), flush=True)


if __name__ == "__main__":
    main()

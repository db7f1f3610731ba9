r"""Kills renders at random moments and looks whether the same command still makes the same bytes.

    python -m tests.bench.kills --style scream.jpg --kills 5 clip.mp4 "cuts.mp4 --start 1.5" \
        "clip.mp4 --passes 2" "shot.%04d.png --fps 24 -o a.%04d.png"

Each clip may bring options of its own. The first kill of each may come at any time, the others once
the work folder is there. A piece is closed every PIECE seconds here, not 60, so that kills come
before, between and after pieces. One table.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Set
from pathlib import Path

PIECE = 0.5  # seconds
RUN = (
    "import sys, vidstyle.checkpoint as c; c.PIECE_SECONDS = float(sys.argv.pop(1)); "
    "from vidstyle.cli import main; main()"
)
HEADER = "| command | killed while | frames kept | bytes equal | left |\n|---|---|---|---|---|"


def start(
    folder: Path, options: list[str], piece: float | None = PIECE, command: str = "run"
) -> subprocess.Popen[str]:
    """The command as anybody starts it where `piece` is `None`."""
    entry = ["-m", "vidstyle"] if piece is None else ["-c", RUN, str(piece)]
    line = [sys.executable, *entry, command, *options]
    return subprocess.Popen(
        line, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_work(folder: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not list(folder.glob(".*.work-*")):
        time.sleep(0.02)


def results(folder: Path) -> dict[str, bytes]:
    """What lies under final names, several files where it is an image sequence."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def render(folder: Path, options: list[str]) -> tuple[dict[str, bytes], str, tuple[float, float]]:
    """The finished files, what was said, and seconds: to the work folder and from there."""
    begun = time.perf_counter()
    process = start(folder, options)
    wait_for_work(folder, process)
    working = time.perf_counter()
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{shlex.join(options)}: {said}")
    return results(folder), said, (working - begun, time.perf_counter() - working)


def kill_once(
    options: list[str], moment: float, working: bool, names: Set[str]
) -> tuple[dict[str, bytes], int, str] | None:
    """Files of the run after a kill, frames it did not have to make, and what it left behind.

    `None` where the run was done by then: all `names` were there, not some of them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start(folder, options)
        if working:
            wait_for_work(folder, process)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if results(folder).keys() == names:
            return None
        made, said, _ = render(folder, options)
        kept = re.search(r"going on after (\d+)", said)
        left = ", ".join(entry for entry in os.listdir(folder) if entry.startswith("."))
        return made, int(kept[1]) if kept else 0, left


def kill_often(options: list[str], kills: int, chance: random.Random) -> int:
    """Prints a row for each kill; gives how many files were equal."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, _, (loading, working) = render(Path(folder), options)
    what = " ".join(Path(word).name for word in options)
    equal = 0
    for number in range(kills):
        end = working if number else loading
        names = undisturbed.keys()
        while (killed := kill_once(options, chance.uniform(0, end), number > 0, names)) is None:
            end /= 2
        made, kept, left = killed
        equal += made == undisturbed
        when = "loading" if number == 0 else "working"
        same = "yes" if made == undisturbed else "NO"
        print(f"| {what} | {when} | {kept} | {same} | {left or '–'} |", flush=True)
    return equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--style", required=True, type=Path)
    parser.add_argument("--options", default="--size 128 --first-steps 4 --steps 1 --duration 0.8")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(HEADER, flush=True)
    chance, equal = random.Random(asked.seed), 0
    for clip in asked.clips:
        path, *own = shlex.split(clip)
        shared = ["--style", str(asked.style.resolve()), *shlex.split(asked.options)]
        equal += kill_often([str(Path(path).resolve()), *shared, *own], asked.kills, chance)
    print(f"\n{equal} of {asked.kills * len(asked.clips)} files equal")


if __name__ == "__main__":
    main()

"""Fills the disk under running renders, frees it, and runs the same command again.

    python -m tests.bench.full_disk DISK clip.mp4 --style scream.jpg --times 5

DISK is a small, empty file system of its own (mount -t tmpfs -o size=20m tmpfs DISK). One table.
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from tests.bench.kills import render, start, wait_for_work

HEADER = "| disk of | status | said | frames kept | bytes equal |\n|---|---|---|---|---|"


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        size = 2**20
        while size:
            try:
                filler.write(bytes(size))
            except OSError:
                size //= 2


def fill_under(disk: Path, folder: Path, options: list[str], moment: float) -> tuple[int, str]:
    """The exit status, and the last line said, of a run whose disk is full from `moment` on."""
    process = start(folder, options)
    wait_for_work(disk, process)
    time.sleep(moment)
    fill(disk)
    _, said = process.communicate()
    (disk / "filler").unlink()
    return process.returncode, said.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("disk", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--style", required=True, type=Path)
    parser.add_argument("--options", default="--size 128 --first-steps 4 --steps 1 --duration 0.8")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    shared = [asked.clip.resolve(), "--style", asked.style.resolve(), *shlex.split(asked.options)]
    # Where the small disk is: under both, or under finished work only.
    options = [*map(str, shared), "--codec", "ffv1", "-o", "a.mkv"]
    elsewhere = [*options, "--work-dir", str(asked.disk.resolve())]
    with tempfile.TemporaryDirectory() as name:
        whole, _, (_, seconds) = render(Path(name), options)
    print(HEADER, flush=True)
    chance = random.Random(asked.seed)
    for number in range(asked.times):
        with tempfile.TemporaryDirectory() as name:
            both = number % 2 == 0
            folder = asked.disk.resolve() if both else Path(name)
            line = options if both else elsewhere
            moment = chance.uniform(0, 0.9 * seconds)
            while not (ended := fill_under(asked.disk.resolve(), folder, line, moment))[0]:
                (folder / "a.mkv").unlink()  # it was done by then
                moment /= 2
            status, said = ended
            made, again, _ = render(folder, line)
            kept = re.search(r"going on after (\d+)", again)
            said = re.sub(r"/\S*/", "", said)
            print(
                f"| {'both' if both else 'finished work'} | {status} | {said} "
                f"| {kept[1] if kept else 0} | {'yes' if made == whole else 'NO'} |",
                flush=True,
            )
        for entry in asked.disk.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


if __name__ == "__main__":
    main()

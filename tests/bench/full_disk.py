"""Fills the disk under running renders, frees it, and runs the same command again.

    python -m tests.bench.full_disk DISK clip.mp4 --style scream.jpg

DISK is a small, empty file system of its own (mount -t tmpfs -o size=40m tmpfs DISK). On it lie the
result, its finished work, or both; it is full after the first frame, in the second pass or after
it, or leaves room for all but the result's last page. Every frame is a piece of its own here, and
there are fewer than a block's. One table.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.kills import Fork, render, results

PAGE = 4096  # bytes: what the disk is filled and kept free by
TRIES = 5  # to be there before the render is done
HEADER = (
    "| on the disk | full | status | said | left under the final name | frames kept | bytes equal |"
    "\n|---|---|---|---|---|---|---|"
)


def fill(disk: Path, spare: int = 0) -> None:
    """But for `spare` pages."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        size = 2**20
        while size >= PAGE:
            try:
                filler.write(bytes(size))
            except OSError:
                size //= 2
        filler.truncate(max(0, filler.tell() // PAGE - spare) * PAGE)


def pages(file: Path) -> int:
    return file.stat().st_blocks * 512 // PAGE


def wait_for_frames(work: Path, frames: int, process: Fork) -> None:
    while process.poll() is None and len(list(work.glob(".*.work-*/*.npz"))) < frames:
        time.sleep(0.001)


def stop_once(
    disk: Path,
    work: Path,
    folder: Path,
    options: list[str],
    whole: dict[str, bytes],
    frames: int,
    room: int,
) -> tuple[int, str, int] | None:
    """Exit status, last line said, files under final names; `None` where it was done by then.

    `room` is how many pages the result gets, those included that it has by then.
    """
    process = Fork(folder, options, piece=0)
    wait_for_frames(work, frames, process)
    fill(disk, max(0, room - sum(map(pages, folder.glob(".a.partial-*")))))
    _, said = process.communicate()
    (disk / "filler").unlink()
    left = len(results(folder))
    if process.returncode == 0 and results(folder) == whole:
        empty(folder)
        return None
    return process.returncode, said.splitlines()[-1], left


def empty(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("disk", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--style", required=True, type=Path)
    parser.add_argument("--options", default="--size 128 --first-steps 4 --steps 1 --duration 0.8")
    parser.add_argument("--out", default="a.mp4")
    asked = parser.parse_args()
    shared = [asked.clip.resolve(), "--style", asked.style.resolve(), *shlex.split(asked.options)]
    options, disk = [*map(str, shared), "-o", asked.out], asked.disk.resolve()
    with tempfile.TemporaryDirectory() as name:
        whole, said, _ = render(Path(name), options, fork=True)
    counted = re.search(r"(\d+) frames in", said)
    assert counted is not None, said
    frames, size = int(counted[1]), sum(map(len, whole.values()))
    works = 2 * frames - 1  # of two passes: the second leaves the last frame as it is
    moments = [
        ("after the first frame", 1, 0),
        ("in the second pass", works * 3 // 4, 0),
        ("after the last frame", works, 0),
        ("but for the result's last page", works // 2, (size - 1) // PAGE),
    ]
    print(HEADER, flush=True)
    for place in ("both", "finished work", "the result"):
        for moment, after, room in moments:
            if (place == "finished work" and after == works) or (room and place != "the result"):
                continue  # all of it is there; the room would be taken by other files
            with tempfile.TemporaryDirectory() as name:
                other = Path(name)
                folder = other if place == "finished work" else disk
                work = other if place == "the result" else disk
                line = [*options, "--work-dir", str(work)] if folder != work else options
                stop = partial(stop_once, disk, work, folder, line, whole, after, room)
                ended = next(filter(None, (stop() for _ in range(TRIES))), None)
                if ended is None:
                    print(f"| {place} | {moment} | 0 | it was done by then |", flush=True)
                    continue
                made, again, _ = render(folder, line, fork=True)
            status, said, left = ended
            kept = re.search(r"going on after (\d+)", again)
            print(
                f"| {place} | {moment} | {status} | {re.sub(r'/[^ :]*/', '', said)} | {left} "
                f"| {kept[1] if kept else 0} of {frames} | {'yes' if made == whole else 'NO'} |",
                flush=True,
            )
            empty(disk)


if __name__ == "__main__":
    main()

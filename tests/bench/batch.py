"""Twelve mixed jobs, three of them broken, on two workers; with one killed; and on a Ray.

    python -m tests.bench.batch --style scream.jpg clip.mp4 other.mov
    python -m tests.bench.batch --style scream.jpg --whole film.mp4

The second way each clip is one job, all of it: its shots are shared by the workers. Every result is
compared, byte by byte, with a plain `vidstyle run` at the same thread count. The ideal time is what
the renders themselves took, shared evenly by the workers. One table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vidstyle.batch.local import cores

WORKERS = 2
SOUND = 9
HEADER = (
    "| | finished | failed | begun twice | bytes as plain `run` | seconds | of them rendering, a "
    "worker | over the ideal |\n|---|---|---|---|---|---|---|---|"
)
ROWS = (
    ("undisturbed", ("local",), False),
    ("a worker killed", ("local",), True),
    ("on a Ray of this machine", ("ray", "--address", "local"), False),
)


def options(number: int, args: argparse.Namespace) -> dict[str, Any]:
    """Of a sound job: sizes, lengths and containers of several kinds."""
    more: dict[str, Any] = {"size": args.size - 32 * (number % 2), "precision": "fp32"}
    more |= {"steps": args.steps, "first-steps": args.first_steps}
    more["seed"] = number  # or some would be copies of others
    return more | {"start": 0.1 * (number % 3), "duration": args.seconds * (1 + number % 3) / 2}


def ending(number: int) -> str:
    return (".mp4", ".mkv", ".mov")[number % 3]


def wanted(args: argparse.Namespace) -> list[tuple[Path, dict[str, Any]]]:
    """Clips and options of the sound jobs."""
    if args.whole:
        effort = {"steps": args.steps, "first-steps": args.first_steps}
        return [(clip, {"size": args.size, "precision": "fp32", **effort}) for clip in args.clips]
    clips = [args.clips[number % len(args.clips)] for number in range(SOUND)]
    return [(clip, options(number, args)) for number, clip in enumerate(clips)]


def broken(folder: Path, args: argparse.Namespace) -> list[str]:
    (folder / "text.mp4").write_text("no film")
    (folder / "cut.mp4").write_bytes(args.clips[0].read_bytes()[:2000])
    (folder / "text.jpg").write_text("no picture")
    lines = []
    for clip, style in (("text.mp4", "style.jpg"), ("cut.mp4", "style.jpg")):
        lines += ["[[job]]", f'clip = "{clip}"', f'style = "{style}"']
    return [*lines, "[[job]]", f'clip = "{args.clips[0].absolute()}"', 'style = "text.jpg"']


def fill(folder: Path, args: argparse.Namespace) -> list[list[str]]:
    """The job file and what it needs; the options of every sound job."""
    shutil.copy(args.style, folder / "style.jpg")
    lines, commands = ['[defaults]\nstyle = "style.jpg"'], []
    for number, (path, chosen) in enumerate(wanted(args)):
        clip = path.absolute()
        name = f"{number}{ending(number)}"
        lines += ["[[job]]", f'clip = "{clip}"', f'name = "{name}"']
        lines += [f"{key} = {json.dumps(value)}" for key, value in chosen.items()]
        pairs = [word for key, value in chosen.items() for word in (f"--{key}", str(value))]
        commands.append([str(clip), "--style", "style.jpg", "-o", name, *pairs])
    lines += [] if args.whole else broken(folder, args)
    (folder / "jobs.toml").write_text("\n".join(lines))
    return commands


def batch(folder: Path, engine: tuple[str, ...], kill: bool) -> dict[str, Any]:
    """The report."""
    shutil.rmtree(folder / "jobs", ignore_errors=True)
    line = [sys.executable, "-m", "vidstyle", "batch", "jobs.toml", "--workers", str(WORKERS)]
    process = subprocess.Popen([*line, "--engine", *engine], cwd=folder)
    if kill:
        while not list((folder / "jobs").glob(".*.work-*/[0-9]*.partial")):
            time.sleep(0.05)
        os.kill(workers(process.pid)[0], signal.SIGKILL)
    process.wait()
    report: dict[str, Any] = json.loads((folder / "jobs" / "jobs-report.json").read_text())
    return report


def workers(pid: int) -> list[int]:
    """Linux only."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]


def row(label: str, folder: Path, report: dict[str, Any], plain: dict[str, bytes]) -> str:
    states = [job["state"] for job in report["jobs"]]
    results = {path.name: path for path in (folder / "jobs").iterdir()}
    same = sum(results[x].read_bytes() == made for x, made in plain.items() if x in results)
    ideal = sum(job["seconds"] for job in report["jobs"] if job["state"] == "finished") / WORKERS
    twice = sum(job["attempts"] > 1 for job in report["jobs"])
    cells = [label, states.count("finished"), states.count("failed"), twice]
    over = report["seconds"] / ideal - 1
    cells += [f"{same} of {len(plain)}", f"{report['seconds']:.1f}", f"{ideal:.1f}", f"{over:.0%}"]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--first-steps", type=int, default=40)
    args = parser.parse_args()
    threads = str(max(1, cores() // WORKERS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = {}
        for command in fill(folder, args):
            line = [sys.executable, "-m", "vidstyle", "run", "-q", "--threads", threads, *command]
            subprocess.run(line, cwd=folder, check=True)
            plain[command[4]] = (folder / command[4]).read_bytes()
        rows = [row(label, folder, batch(folder, *how), plain) for label, *how in ROWS]
    print(HEADER)
    print("\n".join(rows))


if __name__ == "__main__":
    main()

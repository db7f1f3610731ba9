r"""Kills renders at random moments and looks whether the same command still makes the same bytes.

    python -m tests.bench.kills --style scream.jpg --kills 5 clip.mp4 "cuts.mp4 --start 1.5" \
        "clip.mp4 --passes 2" "shot.%04d.png --fps 24 -o a.%04d.png" "night.toml --workers 2"

Each clip may bring options of its own. The first kill of each comes while a process of its own
loads, the others once the work folder is there. All but the first are of forks of this process,
which has torch loaded already; a fork also goes on. A piece is closed every PIECE seconds here, not
60, so that kills come before, between and after pieces, and devices share parts of PART frames.

Of a batch or several devices the victims take turns: the command alone, whose workers are left to
find that out while the same command is at work again; a worker, whose task the same command has
begun again; and all at once. A job file names files by their whole paths, and its precision: what
one batch has timed or made is not another's here. --options are for single clips. One table.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Set
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

PIECE = 0.5  # seconds
PART = 8  # frames
LOADING = 3.0  # seconds, at least, in which a process of its own has begun nothing
REPOSITORY = Path(__file__).parents[2]
RUN = "from tests.bench.kills import run; run()"
VICTIMS = ("command", "worker", "all")
HEADER = (
    "| command | killed | while | frames kept | bytes equal | left |\n|---|---|---|---|---|---|"
)


def run() -> None:
    """The command with small parts and with pieces of so many seconds, in its workers too."""
    from vidstyle import __main__ as command
    from vidstyle import checkpoint
    from vidstyle.batch import local, sharing

    seconds = float(sys.argv.pop(1))
    checkpoint.PIECE_SECONDS = seconds  # type: ignore[misc]
    sharing.PART = PART  # type: ignore[misc]
    local._serve = partial(serve, seconds)
    command.start()


def serve(seconds: float, *given: Any) -> None:
    from vidstyle import checkpoint
    from vidstyle.batch import local

    checkpoint.PIECE_SECONDS = seconds  # type: ignore[misc]
    local._serve(*given)


def start(folder: Path, options: list[str], piece: float | None = PIECE) -> subprocess.Popen[str]:
    """The command as anybody starts it where `piece` is `None`; `batch` where a job file leads."""
    entry = ["-m", "vidstyle"] if piece is None else ["-c", RUN, str(piece)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = ["run", *options]
    if is_batch(options[0]):
        shutil.copy(options[0], folder / "jobs.toml")
        command = ["batch", "jobs.toml", *options[1:]]
        environment["XDG_CACHE_HOME"] = str(folder / ".cache")  # else results are copied
    return subprocess.Popen(
        [sys.executable, *entry, *command],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


class Fork:
    """The command in a fork of this process: as much of `subprocess.Popen` as is needed here."""

    def __init__(self, folder: Path, options: list[str], piece: float = PIECE) -> None:
        from vidstyle import preview, progress  # noqa: F401  # so that no fork has to

        self.returncode: int | None = None
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read after its end)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.chdir(folder)
                os.dup2(self._said.fileno(), 2)
                sys.argv = ["vidstyle", str(piece), "run", *options]
                run()
            except SystemExit as stop:
                sys.stderr.flush()
                os._exit(int(stop.code or 0))
            finally:
                os._exit(99)

    def poll(self) -> int | None:
        if self.returncode is None:
            self._waited(os.WNOHANG)
        return self.returncode

    def wait(self) -> None:
        if self.returncode is None:
            self._waited(0)

    def _waited(self, options: int) -> None:
        ended, status = os.waitpid(self.pid, options)
        self.returncode = os.waitstatus_to_exitcode(status) if ended else None

    def communicate(self) -> tuple[None, str]:
        self.wait()
        self._said.seek(0)
        return None, self._said.read()


def workers(command: int) -> list[int]:
    """The processes that `command` has begun, but for the one that looks after their semaphores."""
    found = Path(f"/proc/{command}/task/{command}/children").read_text().split()
    return [int(pid) for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill(command: int, victim: str) -> bool:
    """Whether there was somebody to kill."""
    if victim == "all":
        os.killpg(command, signal.SIGKILL)
        return True
    found = workers(command)[-1:] if victim == "worker" else [command]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return bool(found)


def is_batch(clip: str) -> bool:
    return clip.endswith(".toml")


def wait_for_work(folder: Path, process: subprocess.Popen[str] | Fork) -> None:
    while process.poll() is None and not list(folder.glob("**/.*.work-*")):
        time.sleep(0.02)


def results(folder: Path) -> dict[str, bytes]:
    """What lies under final names, several files where it is an image sequence or a batch."""
    paths = [path for path in folder.glob("**/[!.]*") if path.is_file()]
    no_results = ("jobs.toml", "jobs-report.json", "jobs-report.html")
    inside = [path.relative_to(folder) for path in paths if path.name not in no_results]
    seen = [path for path in inside if not any(part[0] == "." for part in path.parts)]
    return {str(path): (folder / path).read_bytes() for path in seen}


def left_behind(folder: Path) -> str:
    """Beside the results, but for what a batch remembers."""
    hidden = [path.name for path in (*folder.glob(".*"), *folder.glob("jobs/.*"))]
    return ", ".join(name for name in hidden if name not in (".cache", ".vidstyle-batch"))


def kept_frames(said: str) -> int:
    return sum(map(int, re.findall(r"going on after (?:frame )?(\d+)", said)))


def render(
    folder: Path, options: list[str], fork: bool = False
) -> tuple[dict[str, bytes], str, tuple[float, float]]:
    """The finished files, what was said, and seconds: to the work folder and from there."""
    begun = time.perf_counter()
    process = Fork(folder, options) if fork else start(folder, options)
    wait_for_work(folder, process)
    working = time.perf_counter()
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{shlex.join(options)}: {said}")
    return results(folder), said, (working - begun, time.perf_counter() - working)


def kill_once(
    options: list[str], moment: float, working: bool, names: Set[str], victim: str
) -> tuple[dict[str, bytes], int, str] | None:
    """Files of the run after a kill, frames it did not have to make, and what it left behind.

    `None` where the run was done by then: all `names` were there, not some of them.
    """
    fork = not is_batch(options[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = Fork(folder, options) if fork and working else start(folder, options)
        if working:
            wait_for_work(folder, process)
        while victim == "worker" and process.poll() is None and not workers(process.pid):
            time.sleep(0.01)
        end = time.perf_counter() + moment
        while process.poll() is None and time.perf_counter() < end:
            time.sleep(0.01)
        if process.poll() is not None or not kill(process.pid, victim):
            process.wait()
            return None
        _, said = process.communicate() if victim == "worker" else (process.wait(), "")
        if results(folder).keys() == names and victim != "worker":
            return None
        if process.returncode:
            _, said, _ = render(folder, options, fork)
        made = results(folder)
        return made, kept_frames(said), left_behind(folder)


def kill_often(options: list[str], kills: int, chance: random.Random) -> int:
    """Prints a row for each kill; gives how many files were equal."""
    with tempfile.TemporaryDirectory() as folder:
        batch = is_batch(options[0])
        undisturbed, _, (loading, working) = render(Path(folder), options, fork=not batch)
    what = " ".join(Path(word).name for word in options)
    shared = batch or any("," in word for word in options)
    equal, victims = 0, cycle(VICTIMS if shared else VICTIMS[:1])
    for number, victim in zip(range(kills), victims, strict=False):
        end = working if number else max(loading, LOADING)
        names = undisturbed.keys()
        while (
            killed := kill_once(options, chance.uniform(0, end), number > 0, names, victim)
        ) is None:
            end *= 0.7
        made, kept, left = killed
        equal += made == undisturbed
        when = "loading" if number == 0 else "working"
        same = "yes" if made == undisturbed else "NO"
        print(f"| {what} | {victim} | {when} | {kept} | {same} | {left or '–'} |", flush=True)
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
        shared = [] if is_batch(path) else shared
        equal += kill_often([str(Path(path).resolve()), *shared, *own], asked.kills, chance)
    print(f"\n{equal} of {asked.kills * len(asked.clips)} files equal")


if __name__ == "__main__":
    main()

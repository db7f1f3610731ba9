"""Gives the command damaged files: no traceback, hang, code run, runaway memory or partial result.

    python -m tests.bench.fuzz --cases 500 --seed 0
    python -m tests.bench.fuzz --cases 100 --kinds jobs

Clips, paintings, weights and job files are made here, then flipped, cut, filled, shuffled or given
another file's head; a job file's values are also exchanged, and it is planned only (--dry-run).
Each case is a fork of this process, which has torch loaded already. A table by kind of file and by
what came of it; the files of cases that failed stay in --out.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.video.made_clips import make_clip, texture
from vidstyle import preview, progress  # noqa: F401  # so that no case has to import them
from vidstyle.cli import main as command
from vidstyle.features import load_features
from vidstyle.video import ShotDetector

SECONDS = 60  # a case may take, on a busy machine
MEMORY = 2**31  # bytes beyond what this process has already
TINY = shlex.split(
    "--size 32 --steps 1 --first-steps 1 --threads 1 --precision fp32 --duration 0.2 -q"
)
CANARY = "code-was-run"
KINDS = ("clip", "clip", "painting", "weights", "jobs")
JOBS = """out = "painted"  # beside the results
[defaults]
style = "sound/p.png"
size = 32
first-steps = 1
threads = 1
[[job]]
clip = "sound/*.mp4"
start = "0:00.04"
duration = 0.1
[[job]]
clip = "sound/a.mkv"
style = ["sound/p.png", "sound/p.jpg"]
weights = "sound/w.pth"
features = "vgg19"
name = "{stem}-{style}.%04d.png"
resume = false
strength = 0.5
"""
ODD_VALUES = (
    *("", "0", "-1", "99999999999999999999", "1e400", "nan", "inf", "true", "1979-05-27", "[]"),
    *("2", "0.5", "false", '"1:00"', '"sound/*.m*"', '"b.mkv"', '"{stem}/{ending}"', '"none"'),
    *("{}", "[[]]", '""', '"0"', '"{"', '"{stem.__class__}"', '"%d"', '"%s"', '"%99999d"', '"."'),
    *('".."', '"*"', '"[a"', r'"\u0000"', r'"a\nb"', f'"{"x" * 300}"', "{ a = 1 }", '["%04d"]'),
)


def make_files(folder: Path) -> dict[str, list[Path]]:
    """Sound files of each kind, small."""
    folder.mkdir(exist_ok=True)
    return {
        "clip": _clips(folder),
        "painting": _paintings(folder),
        "weights": _weights(folder),
        "jobs": _jobs(folder),
    }


def _clips(folder: Path) -> list[Path]:
    kinds: dict[str, dict] = {
        "a.mp4": {"sound": ("aac",)},
        "a.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
        "a.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "rotation": 90},
        "a.webm": {"codec": "libvpx-vp9", "sound": ("libopus",)},
        "a.avi": {"codec": "mpeg4"},
    }
    return [make_clip(folder / name, 6, click=0.1, **more) for name, more in kinds.items()]


def _paintings(folder: Path) -> list[Path]:
    picture = Image.fromarray(np.uint8(texture(1, 60, 40) * 255))
    endings = (".png", ".jpg", ".tif", ".webp", ".gif", ".bmp")
    for ending in endings:
        picture.save(folder / f"p{ending}")
    return [folder / f"p{ending}" for ending in endings]


def _weights(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    state = {name: value.half() for name, value in load_features().state_dict().items()}
    torch.save(state, folder / "w.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "w.safetensors")
    (folder / "evil.pth").write_bytes(_pickle_that_runs_code())
    return [folder / name for name in ("w.pth", "old.pth", "w.safetensors", "evil.pth")]


def _jobs(folder: Path) -> list[Path]:
    (folder / "jobs.toml").write_text(JOBS)
    return [folder / "jobs.toml"]


def _pickle_that_runs_code() -> bytes:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (CANARY,)

    return pickle.dumps(Evil(), protocol=2)


def flipped(data: bytes, other: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    # Heads say what follows: half of the flips go there.
    reach = len(data) if chance.random() < 0.5 else min(len(data), 400)
    for _ in range(chance.choice((1, 3, 30))):
        damaged[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def holed(data: bytes, other: bytes, chance: random.Random) -> bytes:
    begin, length = chance.randrange(len(data)), chance.choice((4, 64, 1000))
    filling = bytes([chance.choice((0, 255))]) * length
    return (data[:begin] + filling + data[begin + length :])[: len(data)]


def swapped(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Another file's head."""
    length = chance.choice((4, 16, 64, 300))
    return other[:length] + data[length:]


def shuffled(data: bytes, other: bytes, chance: random.Random) -> bytes:
    one, two, three = sorted(chance.randrange(len(data)) for _ in range(3))
    return data[:one] + data[two:three] + data[one:two] + data[three:]


def exchanged(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Some values of a job file, and a key now and then, by odd ones."""
    lines = data.decode().splitlines()
    settings = [number for number, line in enumerate(lines) if " = " in line]
    for number in chance.sample(settings, chance.choice((1, 1, 2, 5))):
        key = lines[chance.choice((number, chance.choice(settings)))].partition(" = ")[0]
        lines[number] = f"{key} = {chance.choice(ODD_VALUES)}"
    return "\n".join(lines).encode()


DAMAGES = {"bit flips": flipped, "cut": cut, "holes": holed, "heads": swapped, "order": shuffled}
EXCHANGE = {"values": exchanged}  # for job files: others seldom come past the parser


@dataclass(frozen=True)
class Case:
    kind: str
    damage: str
    file: Path
    outcome: str
    fault: str = ""


def run_case(kind: str, file: Path, sound: dict[str, list[Path]], folder: Path) -> tuple[str, str]:
    """What came of it, and what was wrong with that, if anything."""
    given = {name: files[0] for name, files in sound.items()} | {kind: file}
    line = ["run", given["clip"], "--style", given["painting"], "-o", "out.mp4", *TINY]
    if kind == "weights":
        line += ["--weights", file]
    if kind == "jobs":
        line = ["batch", file, "--dry-run"]
    said = folder.with_suffix(".txt")
    child = os.fork()
    if child == 0:
        _become_the_command(list(map(str, line)), folder, said)
    status, peak = _wait(child)
    return _judge(kind, status, peak, folder, said.read_text(errors="replace"))


def _become_the_command(line: list[str], folder: Path, said: Path) -> None:
    try:
        os.chdir(folder)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["vidstyle", *line]
        command()
    except SystemExit as stop:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(stop.code or 0))
    finally:
        os._exit(99)


def _wait(child: int) -> tuple[int | str, int]:
    """The exit status, or why there is none; and the most memory held, in bytes."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            ended = os.waitstatus_to_exitcode(status)
            return ended if ended >= 0 else signal.Signals(-ended).name, usage.ru_maxrss * 1024
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang", 0


def _judge(kind: str, status: int | str, peak: int, folder: Path, said: str) -> tuple[str, str]:
    done = "planned" if kind == "jobs" else "rendered"
    outcome = {0: done, 1: "failed, said", 2: "refused, said"}.get(status, str(status))
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    left = sorted(os.listdir(folder))
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    faults = {
        "traceback": "Traceback" in said,
        "unexpected error": any(line.startswith("error: unexpected") for line in errors),
        "no status of ours": status not in (0, 1, 2),
        "memory": peak - here > MEMORY,
        "code was run": CANARY in left,
        "partial result": status != 0 and "out.mp4" in left,
        "left behind": any("partial" in name for name in left),
        "made by a plan": kind == "jobs" and bool(left or (folder.parent / "painted").exists()),
        # A plan lists the jobs that cannot be done, and ends with 1.
        "no single error line": len(errors) != (status == 2 or (status == 1 and kind != "jobs")),
    }
    return outcome, ", ".join(name for name, holds in faults.items() if holds)


def fuzz(cases: int, seed: int, out: Path, kinds: Sequence[str] = KINDS) -> list[Case]:
    """Damaged files one after the other; those at fault are kept in `out`."""
    sound, chance = make_files(out / "sound"), random.Random(seed)
    ShotDetector()  # imports the rest
    everything = [path for files in sound.values() for path in files]
    done = []
    for number in range(cases):
        kind = chance.choice(kinds)
        damages = EXCHANGE if kind == "jobs" and chance.random() < 0.5 else DAMAGES
        damage = chance.choice(list(damages))
        whole = chance.choice(sound[kind])
        other = chance.choice(everything).read_bytes()
        file = out / f"{number:04}{whole.suffix}"
        file.write_bytes(damages[damage](whole.read_bytes(), other, chance))
        folder = out / f"{number:04}"
        folder.mkdir()
        case = Case(kind, damage, file, *run_case(kind, file, sound, folder))
        done.append(case)
        if case.fault:
            print(f"{file}: {case.outcome}: {case.fault}", flush=True)
            print(folder.with_suffix(".txt").read_text(errors="replace")[-600:], flush=True)
        else:
            file.unlink()
            folder.with_suffix(".txt").unlink()
            shutil.rmtree(folder)
    return done


def table(cases: list[Case]) -> str:
    outcomes = sorted({case.outcome for case in cases})
    counts = collections.Counter((case.kind, case.damage, case.outcome) for case in cases)
    faults = collections.Counter((case.kind, case.damage) for case in cases if case.fault)
    head = ["file", "damage", *outcomes, "at fault"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for kind, damage in sorted({(case.kind, case.damage) for case in cases}):
        row = [str(counts[kind, damage, outcome]) for outcome in outcomes]
        lines.append(f"| {kind} | {damage} | {' | '.join(row)} | {faults[kind, damage]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=set(KINDS), default=KINDS)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir(), "vidstyle-fuzz"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    done = fuzz(asked.cases, asked.seed, asked.out, asked.kinds)
    at_fault = sum(bool(case.fault) for case in done)
    print(f"\n{table(done)}\n\n{len(done)} cases, {at_fault} at fault")
    sys.exit(at_fault > 0)


if __name__ == "__main__":
    main()

"""Real worker processes: what they make, and what is left when they die."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from filelock import FileLock

import vidstyle as v
from tests.batch.made_jobs import Here, outcomes, render_job, write_jobs
from tests.conftest import Vidstyle
from tests.video.made_clips import make_clip
from vidstyle.batch import local
from vidstyle.batch.jobs import read_jobs
from vidstyle.batch.ledger import FAILED, FINISHED, Outcome
from vidstyle.batch.local import LocalExecutor
from vidstyle.batch.run import run_batch
from vidstyle.batch.sharing import carry_out
from vidstyle.batch.work import Begun, Progress, Said, Task, patient, work_on

LOOK = v.StyleSettings(steps=1, first_steps=1)
FREE = '[defaults]\nstyle = "wave.png"\nsteps = 1\nfirst_steps = 1\nprecision = "fp32"\n'
serve = local._serve


def hasty(connection: Connection, *given: Any) -> None:
    """A worker that stores every frame."""
    from vidstyle import checkpoint

    checkpoint.PIECE_SECONDS = 0  # type: ignore[misc]
    serve(connection, *given)


def test_mixed_jobs_on_two_workers(vidstyle: Vidstyle, folder: Path) -> None:
    """The bytes of a plain run with as many threads; reasons for what cannot be."""
    (folder / "shots" / "bad.mp4").write_text("no film")
    path = write_jobs(folder, '[[job]]\nclip = "shots/*.mp4"\n', FREE)
    done = vidstyle("batch", path, "--workers", "2")
    assert done.status == 1 and done.out == ""
    lines = done.err.splitlines()
    assert lines[0] == "3 jobs to do" and lines[-1].startswith("2 finished, 1 failed, in ")
    assert sum("bad-wave.mp4: failed: " in line and "not a video" in line for line in lines) == 1
    assert sum("wave.mp4: 5 frames in " in line for line in lines) == 2
    compute = v.ComputeSettings(precision="fp32", threads=LocalExecutor(2).threads)
    plain = folder / "plain.mp4"
    v.stylize_video(
        folder / "shots" / "a.mp4", [folder / "wave.png"], plain, look=LOOK, compute=compute
    )
    for name in ("a", "b"):
        assert (folder / "night" / f"{name}-wave.mp4").read_bytes() == plain.read_bytes()
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_worker_costs_its_piece_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_serve", hasty)
    job_file = read_jobs(write_jobs(folder, '[[job]]\nclip = "shots/*.mp4"\n'))
    make_clip(folder / "shots" / "b.mp4", 3)  # else its result would be a copy of the first
    (folder / "night").mkdir()
    plain = folder / "plain.mp4"
    compute = v.ComputeSettings(precision="fp32", threads=1)
    v.stylize_video(job_file.jobs[0].clip, [folder / "wave.png"], plain, look=LOOK, compute=compute)
    heard: dict[str, list[object]] = {"a-wave.mp4": [], "b-wave.mp4": []}
    for task, message in carry_out(job_file.jobs, LocalExecutor(1)):
        events = heard[task.job.target.name]
        events.append(message)
        third = isinstance(message, Progress) and message.frame == 3
        if third and task.job is job_file.jobs[0] and Begun(2) not in events:
            (worker,) = multiprocessing.active_children()
            os.kill(worker.pid or 0, signal.SIGKILL)
    first = heard["a-wave.mp4"]
    said = [event.message for event in first if isinstance(event, Said)]
    assert said[0].startswith("its worker was ended by SIGKILL (out of memory?); begun again")
    assert said[1].startswith("going on after frame ")
    assert int(said[1].split()[-1]) >= 2
    ends = {name: events[-1] for name, events in heard.items()}
    made = {name: (x.state, x.attempts) for name, x in ends.items() if isinstance(x, Outcome)}
    assert made == {"a-wave.mp4": (FINISHED, 2), "b-wave.mp4": (FINISHED, 1)}
    assert job_file.jobs[0].target.read_bytes() == plain.read_bytes()
    assert sorted(os.listdir(folder / "night")) == ["a-wave.mp4", "b-wave.mp4"]


def deadly(connection: Connection, *given: Any) -> None:
    """A worker that its first job kills."""
    connection.recv()
    os._exit(9)


def test_a_job_that_kills_its_workers_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_serve", deadly)
    job_file = read_jobs(write_jobs(folder, '[[job]]\nclip = "shots/a.mp4"\n'))
    assert outcomes(job_file.jobs, LocalExecutor(1)) == [
        Outcome(FAILED, "its worker ended with status 9, 2 times", attempts=2)
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_workers_end_with_a_killed_command(folder: Path) -> None:
    """In the midst of a frame: what they hold is wanted by the same command, begun again."""
    path = write_jobs(folder, '[[job]]\nclip = "shots/a.mp4"\n', FREE.replace("= 1", "= 10000"))
    batch = subprocess.Popen(
        [sys.executable, "-m", "vidstyle", "batch", path, "--workers", "1"],
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    waited = time.monotonic() + 60
    while not list((folder / "night").glob(".a*.work-*/unfinished")) and time.monotonic() < waited:
        time.sleep(0.02)
    batch.kill()
    try:
        batch.communicate(timeout=20)  # which lasts until the worker, too, has ended
    finally:
        with suppress(ProcessLookupError):
            os.killpg(batch.pid, signal.SIGKILL)


def test_what_a_dying_worker_holds_is_waited_for(folder: Path) -> None:
    text = '[[job]]\nclip = "shots/a.mp4"\nkeep_work = true\n'
    (job,) = read_jobs(write_jobs(folder, text)).jobs
    assert render_job(job).state == FINISHED
    job.target.unlink()
    (work,) = (folder / "night").glob(".a*.work-*")
    lock = FileLock(work / "lock", thread_local=False)
    lock.acquire()
    taken = work_on(Task(job), lambda message: None)
    assert isinstance(taken, Outcome) and "another run is at work" in taken.reason
    Timer(0.5, lock.release).start()
    ended = work_on(patient(Task(job), 60), lambda message: None)
    assert isinstance(ended, Outcome) and ended.state == FINISHED, ended


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_ends_all_and_the_same_jobs_go_on(folder: Path, number: signal.Signals) -> None:
    make_clip(folder / "shots" / "a.mp4", 60)  # some seconds of work
    (folder / "shots" / "b.mp4").unlink()
    path = write_jobs(folder, '[[job]]\nclip = "shots/a.mp4"\ncodec = "ffv1"\nname = "a.mkv"\n')
    batch = subprocess.Popen(
        [sys.executable, "-m", "vidstyle", "batch", path, "--workers", "1"],
        stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_hear_signals,
    )  # fmt: skip
    waited = time.monotonic() + 60
    while not list((folder / "night").glob(".a.partial-*")) and time.monotonic() < waited:
        time.sleep(0.02)
    # As a terminal sends Ctrl-C and some schedulers their SIGTERM: to all processes.
    os.killpg(batch.pid, number)
    _, said = batch.communicate(timeout=60)  # which lasts until the workers, too, have ended
    assert batch.returncode == 128 + number, said
    assert "Traceback" not in said and "the same command goes on" in said.splitlines()[-1]
    assert not list((folder / "night").glob(".a.partial-*"))
    assert run_batch(read_jobs(path), Here()).failed == 0
    (job,) = json.loads((folder / "night" / "night-report.json").read_text())["jobs"]
    assert (job["state"], job["frames"]) == ("finished", 60)


def _hear_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)

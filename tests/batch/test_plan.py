"""What is said before any work, and that it is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.made_jobs import Here, write_jobs
from tests.conftest import Vidstyle
from tests.video.made_clips import make_clip
from vidstyle.batch.jobs import JobFile, read_jobs
from vidstyle.batch.ledger import Ledger, Outcome
from vidstyle.batch.plan import Planned, Totals, plan
from vidstyle.batch.run import run_batch
from vidstyle.batch.sharing import PART

ALL = '[[job]]\nclip = "shots/*.mp4"\n'


def planned(folder: Path, text: str) -> dict[str, Planned]:
    return {one.job.clip.stem: one for one in plan(read_jobs(write_jobs(folder, text)))}


def test_frames_and_disk_come_from_the_headers(folder: Path) -> None:
    make_clip(folder / "shots" / "b.mp4", 50, size=(128, 64))
    (folder / "shots" / "c.mp4").write_text("no film")
    plans = planned(folder, ALL + "size = 64\nstart = 0.4\nend = 1.2\nsteps = 2")
    b = plans["b"]
    assert (b.state, b.width, b.height, b.frames) == ("new", 64, 32, 20)
    works, waiting = 45, 40  # two passes, of which the second's blocks overlap; and the spool
    assert b.work_bytes == (works + waiting) * 64 * 32 * 6
    for more, pictures in (("", 175 + 100), ("\nresume = false", 100)):
        several = planned(folder, f"{ALL}size = 64\npasses = 3{more}")["b"]
        assert several.work_bytes == pictures * 64 * 32 * 6
    assert "not a video FFmpeg can read" in plans["c"].state
    assert not (folder / "night").exists()


def test_states_and_pace_come_from_earlier_runs(folder: Path) -> None:
    assert planned(folder, ALL)["a"].seconds is None
    summary = run_batch(read_jobs(write_jobs(folder, ALL.replace("*", "a"))), Here())
    plans = planned(folder, ALL)
    assert (plans["a"].state, plans["b"].state) == ("finished", "new")
    # b is a's twin: it will take as long.
    outcome = Ledger(folder / "night")[plans["a"].job]
    assert isinstance(outcome, Outcome) and summary.finished == 1
    assert plans["b"].seconds == pytest.approx(outcome.report["seconds"])
    assert planned(folder, ALL + "crf = 30")["a"].state == "changed"
    for other in ("steps = 2", "brush = 2"):
        assert planned(folder, ALL + other)["b"].seconds is None
    (folder / "night" / "b-wave.mp4").write_text("mine")
    assert planned(folder, ALL)["b"].state.startswith("exists already")


def test_totals(folder: Path) -> None:
    (job,) = read_jobs(write_jobs(folder, ALL.replace("*", "a"))).jobs
    totals = Totals(workers=2)
    for frames, seconds in ((10, 4.0), (20, 2.0), (30, 8.0)):
        totals.add(Planned(job, "new", 10, 10, frames, seconds))
    assert (totals.frames, totals.largest) == (60, [76800, 51000])
    assert totals.work_seconds == 8.0  # the longest: half of all would be 7
    totals.add(Planned(job, "new", 10, 10, 2 * PART + 1, 10.0))
    assert (totals.work_seconds, totals.any_shared) == (12.0, True)  # a long clip is all workers'
    totals.add(Planned(job, "changed", 10, 10, 1, None))
    assert totals.work_seconds is None
    alone = Totals(workers=1)
    alone.add(Planned(job, "new", 10, 10, 2 * PART + 1, 10.0))
    assert (alone.work_seconds, alone.any_shared) == (10.0, False)


def test_it_is_printed(vidstyle: Vidstyle, folder: Path) -> None:
    path = write_jobs(folder, ALL)
    done = vidstyle("batch", path, "--dry-run", "--workers", "2")
    assert (done.status, done.err) == (0, "")
    first, _, last = done.out.splitlines()
    assert first == "a-wave.mp4: new, 5 frames of 64x48, 0.4 MB of finished frames"
    assert last.startswith("2 new; 10 frames, at most 0.8 MB of finished frames on disk at a time;")
    (folder / "shots" / "a.mp4").write_text("no film")
    done = vidstyle("batch", path, "--dry-run")
    assert done.status == 1 and "1 failed, 1 new" in done.out
    assert vidstyle("batch", path, "--workers", "0").status == 2


def test_a_thousand_jobs_are_planned_one_by_one(folder: Path) -> None:
    """Nothing is opened before it is asked for."""
    job_file = read_jobs(write_jobs(folder, ALL))
    many = JobFile(job_file.path, job_file.out, job_file.jobs * 500)
    plans = plan(many)
    assert next(plans).state == "new"
    (folder / "shots" / "b.mp4").unlink()
    assert "no such file" in next(plans).state

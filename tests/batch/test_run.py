"""Which jobs are rendered, which are not any more, and what is said of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.batch.made_jobs import Here, render_job, write_jobs
from tests.video.made_clips import make_clip, picture_times
from vidstyle.batch.jobs import read_jobs
from vidstyle.batch.ledger import BEGUN, FINISHED, Ledger, Outcome
from vidstyle.batch.run import Summary, run_batch
from vidstyle.batch.work import Begun
from vidstyle.checkpoint import Work
from vidstyle.errors import EncodeError, OutputError

ALL = '[[job]]\nclip = "shots/*.mp4"\nduration = 0.05\n'


def carry_out(folder: Path, text: str = ALL, **more: Any) -> tuple[list[str], Summary]:
    """What was rendered, and the summary."""
    here = Here()
    return here.rendered, run_batch(read_jobs(write_jobs(folder, text)), here, **more)


def test_nothing_is_made_twice(folder: Path) -> None:
    rendered, summary = carry_out(folder)
    assert rendered == ["a-wave.mp4", "b-wave.mp4"]
    assert (summary.finished, summary.earlier, summary.failed) == (2, 0, 0)
    assert len(picture_times(folder / "night" / "a-wave.mp4")) == 2
    rendered, summary = carry_out(folder)
    assert rendered == []
    assert (summary.finished, summary.earlier, summary.failed) == (2, 2, 0)


def test_what_is_changed_is_made_anew(folder: Path) -> None:
    """Content decides, not names, times or the order of options."""
    carry_out(folder)
    (folder / "night" / "a-wave.mp4").touch()
    (folder / "shots" / "b.mp4").touch()
    assert carry_out(folder)[0] == []
    make_clip(folder / "shots" / "b.mp4", 3)
    assert carry_out(folder)[0] == ["b-wave.mp4"]
    rendered, summary = carry_out(folder, ALL + "crf = 30\n")
    assert rendered == ["a-wave.mp4", "b-wave.mp4"] and summary.failed == 0
    (folder / "night" / "b-wave.mp4").unlink()
    assert carry_out(folder, ALL + "crf = 30\n")[0] == ["b-wave.mp4"]


def test_a_stranger_s_file_is_not_replaced(folder: Path) -> None:
    """Nor is what somebody has made of a result, unless the job says so."""
    (folder / "night").mkdir()
    alien = folder / "night" / "a-wave.mp4"
    alien.write_text("mine")
    for _ in range(2):
        _, summary = carry_out(folder)
        assert (summary.finished, summary.failed) == (1, 1)
        assert alien.read_text() == "mine"
    (job, _) = json.loads(summary.report.read_text())["jobs"]
    assert job["state"] == "failed" and "exists already" in job["reason"]
    assert carry_out(folder, ALL + "overwrite = true")[1].failed == 0
    assert alien.read_bytes()[4:8] == b"ftyp"


def test_one_bad_clip_stops_nothing_and_is_tried_again(folder: Path) -> None:
    bad = folder / "shots" / "a.mp4"
    sound = bad.read_bytes()
    bad.write_text("no film")
    rendered, summary = carry_out(folder)
    assert (summary.finished, summary.failed) == (1, 1)
    job, other = json.loads(summary.report.read_text())["jobs"]
    assert job["state"] == "failed" and "not a video FFmpeg can read" in job["reason"]
    assert other["state"] == "finished" and other["frames"] == 2
    assert other["warp_error_ratio"] > 0

    assert carry_out(folder)[0] == ["a-wave.mp4"]
    make_clip(folder / "shots" / "c.mp4", 3)  # missing, but it has not failed
    bad.write_bytes(sound)
    rendered, summary = carry_out(folder, retry_failed=True)
    assert rendered == ["a-wave.mp4"] and (summary.finished, summary.failed) == (2, 0)
    states = [job["state"] for job in json.loads(summary.report.read_text())["jobs"]]
    assert states == ["finished", "finished", "missing"]
    assert carry_out(folder, retry_failed=True)[0] == []


class Stop(Exception):
    pass


@pytest.mark.parametrize("left", [slice(50), bytes(200), b"\xff\xfe", b"3", b'{"result": 3}'])
def test_a_run_cut_off_at_any_moment(folder: Path, left: slice | bytes) -> None:
    """A result whose line was never written, half a line or another's bytes are all got over."""
    job_file = read_jobs(write_jobs(folder, ALL))

    def stop(job: object, message: object) -> None:
        if not isinstance(message, Begun):
            raise Stop

    with pytest.raises(Stop):
        run_batch(job_file, Here(), on_message=stop)
    lines = folder / "night" / ".vidstyle-batch" / "jobs.jsonl"
    begun, finished = lines.read_bytes().splitlines()
    rest = finished[left] if isinstance(left, slice) else left
    lines.write_bytes(begun + b"\n" + rest)
    rendered, summary = carry_out(folder)
    assert rendered == ["a-wave.mp4", "b-wave.mp4"] and summary.failed == 0
    assert carry_out(folder)[0] == []


def test_a_damaged_line_is_left_out_whatever_is_damaged(folder: Path) -> None:
    """A state, a digest or a report of another run's making would be believed."""
    carry_out(folder)
    path = folder / "night" / ".vidstyle-batch" / "jobs.jsonl"
    job_file, lines = read_jobs(write_jobs(folder, ALL)), path.read_bytes()
    written = Ledger(job_file.out)
    for place in range(5, len(lines), len(lines) // 40):
        damaged = bytearray(lines)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        ledger = Ledger(job_file.out)
        for job in job_file.jobs:
            assert ledger[job] in (None, Outcome(BEGUN), written[job])
    assert carry_out(folder)[1].failed == 0


def test_lines_of_earlier_versions_count(folder: Path) -> None:
    """They had no seal."""
    carry_out(folder)
    path = folder / "night" / ".vidstyle-batch" / "jobs.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        del entry["sha256"]
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert carry_out(folder)[0] == []


def test_killed_when_a_result_has_just_been_made_it_is_not_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its finished frames may be gone by then, and its line is not written yet."""

    def kill(work: Work) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Work, "_remove_own", kill)
        carry_out(folder)
    assert list((folder / "night").glob(".*.work-*"))
    made = (folder / "night" / "a-wave.mp4").read_bytes()
    monkeypatch.setattr("vidstyle.render.stylize_clip", None)
    outcome = render_job(read_jobs(write_jobs(folder, ALL)).jobs[0])
    assert outcome.state == FINISHED and outcome.stills and outcome.report["frames"] == 2
    rendered, summary = carry_out(folder)  # the other clip is alike
    assert (rendered, summary.failed) == (["a-wave.mp4", "b-wave.mp4"], 0)
    assert (folder / "night" / "a-wave.mp4").read_bytes() == made
    assert not list((folder / "night").glob(".*.work-*"))


def test_a_result_has_its_line_on_disk_before_it_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power loss it would else be a stranger's file, which is never replaced."""
    job_file, synced = read_jobs(write_jobs(folder, ALL)), list[int]()
    with Ledger(job_file.out).held():
        ledger = Ledger(job_file.out)
        monkeypatch.setattr(
            "os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size)
        )
        ledger.begin(job_file.jobs[0])
    assert synced == [(job_file.out / ".vidstyle-batch" / "jobs.jsonl").stat().st_size] != [0]


def test_one_batch_at_a_time(folder: Path) -> None:
    job_file = read_jobs(write_jobs(folder, ALL))
    with Ledger(job_file.out).held(), pytest.raises(OutputError, match="another batch is at work"):
        run_batch(job_file, Here())
    assert FileLock(job_file.out / ".vidstyle-batch" / "lock").acquire(blocking=False)


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "night").write_text("a file")
    with pytest.raises(OutputError, match=r"night: cannot be made .*name another folder with out"):
        carry_out(folder)


def test_a_full_disk_is_said(folder: Path) -> None:
    """/dev/full takes nothing, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    job = read_jobs(write_jobs(folder, ALL)).jobs[0]
    ledger = Ledger(folder / "night")
    with ledger.held():
        ledger._path = Path("/dev/full")
        with pytest.raises(EncodeError, match=r"the disk is full; free some space.*with out"):
            ledger.begin(job)

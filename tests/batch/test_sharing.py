"""Long clips cut into parts: when, into which, and that nobody can tell it from the result."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.batch.made_jobs import Here, outcomes, render_job, write_jobs
from tests.batch.test_local import hasty
from tests.video.made_clips import make_film
from vidstyle.batch import local, sharing
from vidstyle.batch.jobs import Job, read_jobs
from vidstyle.batch.ledger import FAILED, FINISHED, Outcome
from vidstyle.batch.local import LocalExecutor
from vidstyle.batch.sharing import LONG, PART, Todo, carry_out, in_parts
from vidstyle.batch.work import Begun, Cut, Made, Progress, Said, Task, work_on
from vidstyle.batch_progress import BatchProgress
from vidstyle.frame import Shot

FILM = '[[job]]\nclip = "film.mkv"\nname = "a.mkv"\n'
HASTY = "passes = 1\n"


def shots_of(*lengths: int) -> list[Shot]:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    places = enumerate(zip(ends, lengths, strict=True))
    return [Shot(n, end - length, end, 40 * (end - length), 0) for n, (end, length) in places]


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ([100], [[0]]),
        ([50, 60, 50], [[1], [0], [2]]),  # the longest first
        ([10, 20, 30, 50], [[0, 1, 2], [3]]),  # short neighbours share one
        ([60, 10, 5], [[0, 1, 2]]),  # an end too short goes with the one before
        ([10, 5], [[0, 1]]),
    ],
)
def test_parts(lengths: list[int], parts: list[list[int]]) -> None:
    made = in_parts(shots_of(*lengths), 48)
    assert [[shot.number for shot in part] for part in made] == parts


def jobs_for(folder: Path, text: str = FILM + HASTY) -> list[Job]:
    return read_jobs(write_jobs(folder, text)).jobs


@pytest.fixture
def film(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen frames in three shots, in a place where four are a long clip."""
    monkeypatch.setattr(sharing, "PART", 2)
    return make_film(folder / "film.mkv", 6, 5, 5)


def test_clips_are_cut_where_workers_would_be_idle(folder: Path) -> None:
    (job,) = jobs_for(folder, '[[job]]\nclip = "shots/a.mp4"\n')
    todo = Todo([job] * 4)
    assert [todo.take(2).cut_above for _ in range(4)] == [LONG, LONG, 2 * PART, 2 * PART]
    assert Todo([job]).take(1) == Task(job)


def test_several_workers_take_the_largest_first(folder: Path) -> None:
    """By frames and size; one has the job file's order, and what is broken costs nothing."""
    make_film(folder / "long.mkv", 9)
    make_film(folder / "short.mkv", 3)
    (folder / "text.mkv").write_text("no film")
    clips = {"text.mkv": 64, "short.mkv": 64, "long.mkv": 16, "./long.mkv": 64}
    asked = enumerate(clips.items())
    text = [
        f'[[job]]\nclip = "{clip}"\nsize = {size}\nname = "{n}.mkv"\n' for n, (clip, size) in asked
    ]
    jobs = jobs_for(folder, "".join(text))
    several, one = Todo(jobs), Todo(jobs)
    taken = [several.take(2) for _ in jobs]
    assert [task.job.target.stem for task in taken] == ["3", "1", "2", "0"]
    assert [task.cut_above for task in taken] == [2 * PART] * 4  # each as long as all after it
    assert [one.take(1).job for _ in jobs] == jobs


def test_parts_come_first_and_go_with_their_job(folder: Path) -> None:
    one, other = jobs_for(folder, '[[job]]\nclip = "shots/*.mp4"\n')
    todo = Todo([one, other])
    task = todo.take(2)
    assert todo.cut(one, shots_of(60, 70, 80)) == 3
    assert [todo.take(2).shots[0].number for _ in range(2)] == [2, 1]
    todo.end(one)
    assert todo.take(2).job == other and not todo
    assert not todo.wants(task)


def test_a_film_has_large_parts(folder: Path) -> None:
    """Eight for each worker: a task's own start stays little beside them."""
    (job,) = jobs_for(folder, '[[job]]\nclip = "shots/a.mp4"\n')
    todo = Todo([job])
    todo.take(2)
    assert todo.cut(job, shots_of(*[100] * 160)) == 16


def test_a_job_in_parts_is_as_one_in_whole(
    folder: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = jobs_for(folder, FILM + "passes = 2\n")
    whole = render_job(job)
    expected = job.target.read_bytes()
    job.target.unlink()
    heard = list(carry_out([job], two := Here(workers=2)))
    assert [[shot.number for shot in task.shots] for task in two.begun] == [[], [0], [1], [2], []]
    cut, *made, outcome = [
        message for _, message in heard if isinstance(message, Cut | Made | Outcome)
    ]
    assert isinstance(outcome, Outcome) and outcome.state == FINISHED
    assert job.target.read_bytes() == expected and outcome.digest == whole.digest
    assert os.listdir(folder / "night") == ["a.mkv"]
    report, alone = outcome.report, whole.report
    for name in ("frames", "shots", "frames_resumed", "warp_error_ratio", "width", "passes"):
        assert report[name] == alone[name], name
    assert report["seconds"] > cut.seconds + sum(part.seconds for part in made)
    assert report["frames_per_second"] == pytest.approx(16 / report["seconds"], rel=0.01)
    with BatchProgress(quiet=False) as progress:
        for task, message in heard:
            progress(task, message)
    told, ended = capsys.readouterr().err.splitlines()
    assert told == "a.mkv: 3 shots, for all workers" and ended.startswith("a.mkv: 16 frames in ")
    assert (progress.running, progress.done) == ({}, 1)


@pytest.mark.parametrize("more", ["loop = true", "resume = false"])
def test_what_cannot_be_made_apart_is_one_worker_s(folder: Path, film: Path, more: str) -> None:
    (job,) = jobs_for(folder, f"{FILM}{more}\nend = 0.2\n")
    (outcome,) = outcomes([job], two := Here(workers=2))
    assert outcome.state == FINISHED and len(two.begun) == 1


def test_a_clip_of_one_shot_is_rendered_in_one(folder: Path, film: Path) -> None:
    (job,) = jobs_for(folder, '[[job]]\nclip = "shots/a.mp4"\n')
    (outcome,) = outcomes([job], two := Here(workers=2))
    assert outcome.state == FINISHED and outcome.report["frames"] == 5
    assert two.begun == [Task(job, cut_above=4), Task(job)]


def test_a_broken_clip_has_its_own_reason(folder: Path, film: Path) -> None:
    film.write_text("no film")
    (outcome,) = outcomes(jobs_for(folder), Here(workers=2))
    assert outcome.state == FAILED and "not a video FFmpeg can read" in outcome.reason


def test_a_part_that_fails_ends_its_job_only(
    folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other parts have made stays for another try."""
    jobs = jobs_for(folder, FILM + HASTY + '[[job]]\nclip = "shots/a.mp4"\n')
    work, fail = work_on, [True]

    def fails(task: Task, say: object) -> object:
        if task.shots and task.shots[0].number == 1 and fail:
            return Outcome(FAILED, "no memory")
        return work(task, lambda message: None)

    monkeypatch.setattr("tests.batch.made_jobs.work_on", fails)
    failed, finished = outcomes(jobs, two := Here(workers=3))
    assert (failed.state, failed.reason, finished.state) == (FAILED, "no memory", FINISHED)
    assert [[shot.number for shot in task.shots] for task in two.begun if task.job == jobs[0]] == [
        [], [0], [1],
    ]  # fmt: skip
    fail.clear()
    (outcome,) = outcomes(jobs[:1], Here(workers=2))
    assert outcome.report["frames_resumed"] >= 3


class _Telling:
    """A worker's connection, over which it says first who it is."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self.send = connection, connection.send

    def recv(self) -> Task:
        task = self._connection.recv()
        self.send(Said(str(os.getpid())))
        return task


def telling(connection: Connection, *given: Any) -> None:
    hasty(_Telling(connection), *given)  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_worker_costs_its_piece_only(
    folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts in processes of their own, that of the second shot killed: a plain run's bytes."""
    monkeypatch.setattr(local, "_serve", telling)
    (job,) = jobs_for(folder)
    render_job(job)
    expected = job.target.read_bytes()
    job.target.unlink()
    second, outcome = list[object](), None
    for task, message in carry_out([job], LocalExecutor(2)):
        if [shot.number for shot in task.shots] == [1]:
            second.append(message)
            third = isinstance(message, Progress) and message.frame == 3
            if third and Begun(2) not in second:
                os.kill(int(second[1].message), signal.SIGKILL)  # type: ignore[attr-defined]
        outcome = message
    assert isinstance(outcome, Outcome) and outcome.state == FINISHED, outcome
    assert outcome.attempts == 2 and outcome.report["frames_resumed"] >= 2
    assert [x for x in second if isinstance(x, Begun)] == [Begun(1), Begun(2)]
    assert job.target.read_bytes() == expected
    assert os.listdir(folder / "night") == ["a.mkv"]


def failing(connection: Connection, *given: Any) -> None:
    """A worker that cannot do the first shot, and is for ever at the others."""
    while True:
        task = connection.recv()
        if not task.shots:
            connection.send(Cut(tuple(shots_of(60, 60, 60)), 0.1))
        elif task.shots[0].number == 0:
            time.sleep(0.5)
            connection.send(Outcome(FAILED, "no memory"))
        else:
            time.sleep(600)


def test_a_failed_job_s_other_tasks_are_ended(
    folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_serve", failing)
    begun = time.monotonic()
    (outcome,) = outcomes(jobs_for(folder), LocalExecutor(2))
    assert outcome == Outcome(FAILED, "no memory") and time.monotonic() - begun < 300
    assert not multiprocessing.active_children()

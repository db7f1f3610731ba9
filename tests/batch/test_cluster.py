"""A real Ray, of one node and of two: what it makes, and what is left when they die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.batch.made_jobs import Here, outcomes, write_jobs
from tests.batch.test_local import _hear_signals
from tests.conftest import Vidstyle
from tests.video.made_clips import make_clip, make_film
from vidstyle.batch import cluster as ours
from vidstyle.batch import sharing
from vidstyle.batch.cluster import RayExecutor, place, room, shared_cores
from vidstyle.batch.jobs import Job, read_jobs
from vidstyle.batch.ledger import FAILED, FINISHED, Outcome
from vidstyle.batch.sharing import carry_out
from vidstyle.batch.work import Begun, Ended, Made, Progress, Said, Task

ALL = '[[job]]\nclip = "shots/*.mp4"\n'
LOST = "its worker was lost; begun again, from what is finished"
serve = ours._serve


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # of the nodes
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")  # which else lies in the user's own folder
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
        yield pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster(ray: Any) -> Iterator[Any]:
    """The head, and another node: each has one core to give."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.mark.parametrize(
    ("nodes", "workers", "cores"),
    [
        ([{"CPU": 2}], None, 2),
        ([{"CPU": 16}], None, 2),
        ([{"CPU": 16}], 4, 4),
        ([{"CPU": 1}, {"CPU": 1}], None, 1),
        ([{"CPU": 8}, {"CPU": 8}], 2, 8),
        ([{"CPU": 8}, {"CPU": 8}], 3, 4),  # of 5 only one would fit a node
        ([{}, {"CPU": 8}], None, 2),  # a head that gives no cores
        ([{}], None, 1),  # nodes are yet to come
        ([{"CPU": 2}], 5, 1),
        ([{"CPU": 64}, {"CPU": 16, "GPU": 4}], None, 4),
        ([{"CPU": 4, "GPU": 4}], None, 1),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 64, "GPU": 4}], None, 8),  # with 12 the first is idle
    ],
)
def test_cores_are_shared_so_that_all_workers_find_room(
    nodes: list[dict[str, float]], workers: int | None, cores: int
) -> None:
    assert shared_cores(nodes, workers) == cores


def test_room_is_what_runs_at_once() -> None:
    assert room([{"CPU": 8}, {"CPU": 5}], 2) == 6
    assert room([{"CPU": 64}, {"CPU": 16, "GPU": 4}], 2) == 4  # each needs a GPU
    assert room([{"CPU": 64}, {"CPU": 6, "GPU": 4}], 2) == 3
    assert room([{}], 1) == 0  # nodes are yet to come


def test_a_task_asks_for_no_more_than_a_node_has() -> None:
    nodes: list[dict[str, float]] = [{"CPU": 64}, {"CPU": 8, "GPU": 2}]
    assert place(nodes, 4, "auto") == {"num_cpus": 4, "num_gpus": 1}
    assert place(nodes, 32, "auto") == {"num_cpus": 8, "num_gpus": 1}
    assert place(nodes, 32, "cpu") == {"num_cpus": 32, "num_gpus": 0}
    assert place([{}], 2, "auto") == {"num_cpus": 1, "num_gpus": 0}


def test_a_node_with_another_version_says_so(folder: Path) -> None:
    (job, _) = read_jobs(write_jobs(folder, ALL)).jobs
    outcome = serve(Task(job), 0, None, 1, "0.0.7")
    assert isinstance(outcome, Outcome)
    assert outcome.state == FAILED and "this batch is of 0.0.7; install the same" in outcome.reason


def test_without_ray_the_extra_is_named(
    vidstyle: Vidstyle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = vidstyle("batch", write_jobs(folder, ALL), "--engine", "ray")
    assert done == (2, "", "error: --engine ray: needs Ray; pip install 'vidstyle[ray]'\n")
    assert not (folder / "night").exists()


def test_an_address_needs_ray(vidstyle: Vidstyle, folder: Path) -> None:
    done = vidstyle("batch", write_jobs(folder, ALL), "--address", "auto")
    assert done.status == 2 and "add --engine ray" in done.err


def made_here(jobs: list[Job]) -> list[bytes]:
    """What a plain run makes, removed again."""
    assert len(outcomes(jobs, Here())) == len(jobs)
    results = [job.target.read_bytes() for job in jobs]
    for job in jobs:
        job.target.unlink()
    return results


def hasty(task: Task, number: int, heard: Any, threads: int, version: str) -> Ended:
    """A worker that stores every frame, and says where it is."""
    import ray

    from vidstyle import checkpoint

    checkpoint.PIECE_SECONDS = 0  # type: ignore[misc]
    heard.put((number, Said(f"{ray.get_runtime_context().get_node_id()} {os.getpid()}")))
    return serve(task, number, heard, threads, version)


def test_a_killed_worker_costs_its_piece_only(
    ray: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Ray of this machine alone; and a bad clip stops nothing."""
    make_clip(folder / "shots" / "a.mp4", 60)  # the news of a frame takes as long as ten frames
    jobs = read_jobs(write_jobs(folder, ALL)).jobs
    expected = made_here(jobs[:1])
    jobs[1].clip.write_text("no film")
    monkeypatch.setattr(ours, "_serve", hasty)
    heard: dict[Job, list[Any]] = {job: [] for job in jobs}
    for task, message in carry_out(jobs, RayExecutor("local", workers=1)):
        job = task.job
        heard[job].append(message)
        third = isinstance(message, Progress) and message.frame == 3
        if third and Begun(2) not in heard[job]:
            os.kill(int(heard[job][0].message.split()[1]), signal.SIGKILL)
    check_gone_on(heard[jobs[0]])
    assert [job.target.read_bytes() for job in jobs[:1]] == expected
    failed = heard[jobs[1]][-1]
    assert (failed.state, failed.attempts) == (FAILED, 1) and "not a video" in failed.reason
    assert os.listdir(folder / "night") == ["a-wave.mp4"]


def check_gone_on(messages: list[Any]) -> None:
    """Of a job whose worker was lost after its third frame."""
    said = [message.message for message in messages if isinstance(message, Said)]
    assert LOST in said
    assert int(said[-1].removeprefix("going on after frame ")) >= 2
    assert (messages[-1].state, messages[-1].attempts) == (FINISHED, 2)


@pytest.mark.slow
def test_mixed_jobs_on_a_cluster(cluster: Any, vidstyle: Vidstyle, folder: Path) -> None:
    """The bytes of a plain run, reasons for what cannot be: as the local engine."""
    path = write_jobs(folder, ALL)
    expected = made_here(read_jobs(path).jobs)
    (folder / "shots" / "bad.mp4").write_text("no film")
    done = vidstyle("batch", path, "--engine", "ray", "--address", cluster.address)
    assert done.status == 1 and done.out == ""
    lines = done.err.splitlines()
    assert lines[0] == "3 jobs to do" and lines[-1].startswith("2 finished, 1 failed, in ")
    assert sum("bad-wave.mp4: failed: " in line and "not a video" in line for line in lines) == 1
    assert sum("wave.mp4: 5 frames in " in line for line in lines) == 2
    assert [(folder / "night" / f"{x}-wave.mp4").read_bytes() for x in "ab"] == expected
    jobs = json.loads((folder / "night" / "night-report.json").read_text())["jobs"]
    assert [job["state"] for job in jobs] == ["finished", "finished", "failed"]


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_node_cost_their_pieces_only(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(folder / "shots" / "a.mp4", 12)
    make_clip(folder / "shots" / "b.mp4", 13)
    jobs = read_jobs(write_jobs(folder, ALL)).jobs
    expected = made_here(jobs)
    monkeypatch.setattr(ours, "_serve", hasty)
    (other,) = cluster.worker_nodes
    heard: dict[Job, list[Any]] = {job: [] for job in jobs}
    for task, message in carry_out(jobs, RayExecutor(cluster.address)):
        job = task.job
        heard[job].append(message)
        third = isinstance(message, Progress) and message.frame == 3
        if third and Begun(2) not in heard[job]:
            node, process = heard[job][0].message.split()
            if node != other.node_id:
                os.kill(int(process), signal.SIGKILL)
            elif other in cluster.worker_nodes:  # both jobs may have been there
                cluster.remove_node(other, allow_graceful=False)
    assert cluster.worker_nodes == set()
    for messages in heard.values():
        check_gone_on(messages)
    assert [job.target.read_bytes() for job in jobs] == expected
    assert sorted(os.listdir(folder / "night")) == ["a-wave.mp4", "b-wave.mp4"]


@pytest.mark.slow
def test_a_film_is_shared_by_nodes_of_which_one_is_lost(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PART", 2)
    other = cluster.add_node(num_cpus=1)
    make_film(folder / "film.mkv", 6, 5, 5)
    jobs = read_jobs(write_jobs(folder, '[[job]]\nclip = "film.mkv"\n')).jobs
    expected = made_here(jobs)
    monkeypatch.setattr(ours, "_serve", hasty)
    at, ends = dict[Task, str](), list[Any]()
    for task, message in carry_out(jobs, RayExecutor(cluster.address)):
        if isinstance(message, Said) and message.message.startswith(other.node_id):
            at[task] = other.node_id
        third = isinstance(message, Progress) and message.frame == 3
        if third and task.shots and task in at and other in cluster.worker_nodes:
            cluster.remove_node(other, allow_graceful=False)
        ends += [message] * isinstance(message, Made | Outcome)
    assert other not in cluster.worker_nodes, "the other node never had a part"
    assert [isinstance(end, Made) for end in ends] == [True] * 3 + [False]
    assert (ends[-1].state, ends[-1].attempts) == (FINISHED, 2)
    assert [job.target.read_bytes() for job in jobs] == expected
    assert os.listdir(folder / "night") == ["film-wave.mkv"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
def test_sigterm_ends_all_and_the_same_command_goes_on(
    cluster: Any, vidstyle: Vidstyle, folder: Path
) -> None:
    make_clip(folder / "shots" / "a.mp4", 8)
    path = write_jobs(folder, '[[job]]\nclip = "shots/a.mp4"\ncodec = "ffv1"\nname = "a.mkv"\n')
    line = [sys.executable, "-m", "vidstyle", "batch", path, "--engine", "ray", "--address"]
    batch = subprocess.Popen(
        [*line, cluster.address], stderr=subprocess.PIPE, text=True, preexec_fn=_hear_signals
    )
    waited = time.monotonic() + 300
    while not list((folder / "night").glob(".a.partial-*")) and time.monotonic() < waited:
        time.sleep(0.02)
    batch.terminate()
    _, said = batch.communicate(timeout=60)
    assert batch.returncode == 143, said
    assert "Traceback" not in said and "the same command goes on" in said.splitlines()[-1]
    done = vidstyle("batch", path, "--workers", "1")
    assert done.status == 0, done.err
    (job,) = json.loads((folder / "night" / "night-report.json").read_text())["jobs"]
    assert (job["state"], job["frames"]) == ("finished", 8)
    assert not list((folder / "night").glob(".a.*"))

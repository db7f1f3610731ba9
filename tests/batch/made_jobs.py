"""Job files made for a test, and the shortest way to carry one out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import Outcome
from vidstyle.batch.sharing import Executor, Todo, carry_out
from vidstyle.batch.work import Begun, Message, Say, Task, work_on

QUICK = """
[defaults]
style = "wave.png"
steps = 1
first-steps = 1
threads = 1
precision = "fp32"
"""


def write_jobs(folder: Path, text: str, defaults: str = QUICK) -> Path:
    path = folder / "night.toml"
    path.write_text(defaults + text)
    return path


class Here:
    """An executor in this process, as if one of `workers`: what is rendered, in order."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.begun: list[Task] = []
        self.rendered: list[str] = []

    def run(self, todo: Todo) -> Generator[tuple[Task, Message]]:
        while todo:
            task = todo.take(self.workers)
            self.begun.append(task)
            yield task, Begun(1)
            ended = work_on(task, lambda message: None)
            if isinstance(ended, Outcome):
                self.rendered.append(task.job.target.name)
            yield task, ended


def outcomes(jobs: Sequence[Job], executor: Executor) -> list[Outcome]:
    """In the order of their ends."""
    return [x for _, x in carry_out(jobs, executor) if isinstance(x, Outcome)]


def render_job(job: Job, say: Say = lambda message: None) -> Outcome:
    """By this process, in one."""
    outcome = work_on(Task(job), say)
    assert isinstance(outcome, Outcome)
    return outcome

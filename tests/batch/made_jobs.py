"""Job files made for a test, and the shortest way to carry one out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from vidstyle.batch.jobs import Job
from vidstyle.batch.work import Begun, Message, render_job

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
    """An executor in this process: what is rendered, in order."""

    def __init__(self) -> None:
        self.rendered: list[str] = []

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Message]]:
        for job in jobs:
            yield job, Begun(1)
            self.rendered.append(job.target.name)
            yield job, render_job(job, lambda message: None)

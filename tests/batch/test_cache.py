"""The same clip, style and settings again, in whatever job file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.batch.made_jobs import Here, outcomes, render_job, write_jobs
from vidstyle.batch.jobs import Job, read_jobs
from vidstyle.batch.ledger import FAILED, FINISHED
from vidstyle.batch.work import Said
from vidstyle.errors import VidstyleError
from vidstyle.optimize import Optimizer

FIRST = '[[job]]\nclip = "shots/a.mp4"\nduration = 0.05\n'
ELSEWHERE = 'name = "sub/{stem}-2{ending}"\n'


def jobs(folder: Path, text: str) -> list[Job]:
    return read_jobs(write_jobs(folder, text)).jobs


@pytest.fixture
def made(folder: Path) -> Path:
    """A finished result."""
    (job,) = jobs(folder, FIRST)
    assert [outcome.state for outcome in outcomes([job], Here())] == [FINISHED]
    return job.target


@pytest.fixture
def no_render(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: object) -> None:
        raise VidstyleError("rendered")

    monkeypatch.setattr("vidstyle.render.stylize_clip", refuse)


@pytest.mark.usefixtures("no_render")
def test_a_result_is_copied_whatever_it_and_its_clip_are_called(folder: Path, made: Path) -> None:
    shutil.copy(folder / "shots" / "a.mp4", folder / "shots" / "c.mp4")
    again = FIRST.replace("a.mp4", "c.mp4")
    (job,) = jobs(folder, again + ELSEWHERE + 'work-dir = "other"\n')
    said: list[Any] = []
    outcome = render_job(job, said.append)
    assert said == [Said(f"the same as {made}, and copied from there")]
    assert outcome.state == FINISHED and job.target.read_bytes() == made.read_bytes()
    assert outcome.report["frames"] == 2 and outcome.stills
    assert outcome.report["result"] == str(job.target)
    assert outcome.report["source"] == str(job.clip)
    job.target.write_text("mine")
    refused = render_job(job, said.append)
    assert refused.state == FAILED and "exists already" in refused.reason
    assert [path.name for path in job.target.parent.iterdir()] == ["c-2.mp4"]


@pytest.mark.usefixtures("no_render")
@pytest.mark.parametrize(
    "more", ["steps = 2", "crf = 30", 'name = "b.mkv"', "end = 0.1", "gone", "edited"]
)
def test_another_picture_is_rendered(folder: Path, made: Path, more: str) -> None:
    """And one that is not there any more, or was changed since."""
    text = FIRST
    if more == "gone":
        made.unlink()
    elif more == "edited":
        made.write_bytes(made.read_bytes()[:-1])
    elif more == "end = 0.1":
        text = text.replace("duration = 0.05", more)
    else:
        text += more + "\n"
    (job,) = jobs(folder, text if "name" in more else text + ELSEWHERE)
    assert render_job(job).reason == "rendered"


def test_a_sequence_is_copied_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = jobs(folder, FIRST + 'name = "a.%04d.png"\n')
    assert render_job(first).state == FINISHED
    monkeypatch.setattr("vidstyle.render.stylize_clip", None)
    (second,) = jobs(folder, FIRST + 'name = "b/%03d.png"\n')
    outcome = render_job(second)
    assert outcome.state == FINISHED, outcome.reason
    pairs = zip(
        sorted(first.target.parent.glob("*.png")),
        sorted(second.target.parent.iterdir()),
        strict=True,
    )
    assert [a.read_bytes() == b.read_bytes() for a, b in pairs] == [True, True]


def test_no_gram_matrix_is_made_for_two_jobs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[torch.Size] = []
    make = Optimizer.grams
    monkeypatch.setattr(
        Optimizer, "grams", lambda self, x: (sizes.append(x.shape), make(self, x))[1]
    )
    each = '[[job]]\nclip = "shots/a.mp4"\nduration = 0.05\nsteps = {0}\nname = "{0}.mp4"\n'
    both = jobs(folder, each.format(1) + each.format(2))
    assert [outcome.state for outcome in outcomes(both, Here())] == [FINISHED] * 2
    assert sizes and len(sizes) == len(set(sizes))

"""What a job file asks for, and where it is wrong."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.batch.made_jobs import write_jobs
from tests.conftest import Vidstyle
from vidstyle.batch.jobs import Job, read_jobs
from vidstyle.errors import RequestError
from vidstyle.options import OPTIONS, RenderSettings, render_settings
from vidstyle.render import Report


def jobs_of(folder: Path, text: str) -> list[Job]:
    return read_jobs(write_jobs(folder, text, "")).jobs


def test_defaults_globs_and_names(folder: Path) -> None:
    Image.new("RGB", (16, 16)).save(folder / "night sky.jpg")
    text = """
        out = "painted"
        [defaults]
        style = "wave.png"
        first-steps = 7
        size = 100
        [[job]]
        clip = "shots/*.mp4"
        [[job]]
        clip = "shots/b.mp4"
        style = ["night sky.jpg", "wave.png"]
        name = "sub/{style}-of-{stem}.mov"
        size = 200
        start = "1:02.5"
        duration = 8
        weights = "nets/w.pth"
        features = "vgg19"
    """
    first, second, third = jobs_of(folder, text)
    assert [job.clip.name for job in (first, second, third)] == ["a.mp4", "b.mp4", "b.mp4"]
    assert first.target == folder / "painted" / "a-wave.mp4"
    assert third.target == folder / "painted" / "sub" / "night sky-of-b.mov"
    assert first.styles == (folder / "wave.png",)
    assert third.styles == (folder / "night sky.jpg", folder / "wave.png")
    assert first.settings == second.settings == render_settings({"first_steps": 7, "size": 100})
    assert (third.settings.part.start, third.settings.part.end) == (62.5, 70.5)
    assert (third.settings.part.size, third.settings.look.first_steps) == (200, 7)
    assert third.settings.features.weights == folder / "nets" / "w.pth"
    assert [job.line for job in (first, second, third)] == [8, 8, 10]


def test_without_a_folder_results_go_beside_the_job_file(folder: Path) -> None:
    (job,) = jobs_of(folder, '[[job]]\nclip = "shots/a.mp4"\nstyle = "wave.png"')
    assert job.target == folder / "night" / "a-wave.mp4"


def test_an_image_sequence_is_one_clip(folder: Path) -> None:
    for number in (8, 9):
        Image.new("RGB", (16, 16)).save(folder / f"shot.{number:04}.png")
    text = '[[job]]\nclip = "shot.%04d.png"\nstyle = "wave.png"\nfps = 23.976\n'
    (job,) = jobs_of(folder, text)
    assert job.target.name == "shot-wave.mp4"
    assert job.settings.part.fps == Fraction(24000, 1001)
    (job,) = jobs_of(folder, text + 'name = "{stem}.%04d.exr"')
    assert job.target.name == "shot.%04d.exr"


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ('[[job]]\nclip = "shots/*.mp4"\nstile = "x"', 3, "stile: unknown; known are clip, style"),
        ('color = 1\n[[job]]\nclip = "shots/a.mp4"', 1, "color: unknown; known are out, defaults"),
        ('[[job]]\nclip = "shots/a.mp4"\n\nsteps = 0', 4, "steps: --steps 0: must be between 1 "),
        ('[[job]]\nclip = "shots/a.mp4"\nsteps = 2.5', 3, "steps: 2.5 must be a whole number"),
        ('[[job]]\nclip = "shots/a.mp4"\nsteps = true', 3, "steps: True must be a whole number"),
        ('[[job]]\nclip = "shots/a.mp4"\nresume = 1', 3, "resume: 1 must be true or false"),
        ('[[job]]\nclip = "shots/a.mp4"\ncrf = "low"', 3, "crf: 'low' must be a number"),
        ('[[job]]\nclip = "shots/a.mp4"\nstart = [1]', 3, "start: [1] must be text or a number"),
        ('[[job]]\nclip = "shots/a.mp4"\nflow = "up"', 3, "flow: --flow up: must be one of dis"),
        ('[[job]]\nclip = "shots/a.mp4"\nstart = 2\nend = 1', 4, "end: --end 1: must be after"),
        ('[[job]]\nfirst-steps = 1\nfirst_steps = 2', 2, "first-steps: given twice"),
        ('[[job]]\nclip = "shots/*.mkv"', 2, "clip: {folder}/shots/*.mkv: no such file"),
        ('[[job]]\nsize = 64', 1, "clip: missing"),
        ('[[job]]\nclip = "shots/a.mp4"\nstyle = "no.jpg"', 3, "style: {folder}/no.jpg: no such"),
        (f'[[job]]\nclip = "{"x" * 300}"', 2, "clip: {folder}/xxx"),
        (f'[[job]]\nclip = "shots/a.mp4"\nstyle = "{"x" * 300}"', 3, "style: {folder}/xxx"),
        ('[[job]]\nclip = "shots/a.mp4"\nstyle = []', 3, "style: name a painting's file"),
        ('[[job]]\nclip = "shots/a.mp4"\nname = "{day}"', 3, "name: {{day}}: may hold {{stem}}"),
        ('[[job]]\nclip = "shots/a.mp4"\nname = "../a"', 3, "name: ../a: must lie in the output"),
        ('[[job]]\nclip = "shots/a.mp4"\nname = "a\\u0000"', 3, "name: 'a\\x00' must not hold"),
        ('[[job]]\nclip = "shots/a.mp4"\nwork-dir = "\\u0000"', 3, "work_dir: '\\x00' must not"),
        ('out = "a\\u0000"\n[[job]]\nclip = "shots/a.mp4"', 1, "out: 'a\\x00' must not hold"),
        ('[[job]]\nclip = "shots/*"\nname = "a.mp4"', 2, "name: {folder}/night/a.mp4 is also the"),
        ('out = "shots"\n[[job]]\nclip = "shots/a.mp4"\nname = "b.mp4"\n[[job]]\n'
         'clip = "shots/b.mp4"', 3, "name: {folder}/shots/b.mp4 is a clip or painting"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    vidstyle: Vidstyle, folder: Path, text: str, line: int, rule: str
) -> None:
    defaults = '[defaults]\nstyle = "wave.png"\n'
    out, separate, rest = text.partition("[[job]]")  # what is not in a table comes first
    path = write_jobs(folder, out + defaults + separate + rest, "")
    done = vidstyle("batch", path)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.startswith(f"error: {path}, line {line + 2 * (line > out.count(chr(10)))}, ")
    assert rule.format(folder=folder) in done.err
    assert not (folder / "night").exists()


def test_a_mistake_among_the_defaults_is_found_there(folder: Path) -> None:
    text = '[[job]]\nclip = "shots/a.mp4"\n[defaults]\nstyle = "wave.png"\nfirst_steps = 0\n'
    with pytest.raises(RequestError, match=r"line 5, first_steps: --first-steps 0"):
        jobs_of(folder, text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "asks for nothing"), ("[[job]\n", "not TOML: .*line 1"), ("job = 3", "3 must be a list")],
)
def test_files_that_ask_for_nothing(folder: Path, text: str, rule: str) -> None:
    with pytest.raises(RequestError, match=rule):
        jobs_of(folder, text)


def test_every_option_means_what_it_means_to_run(
    vidstyle: Vidstyle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words on the command line and in a job file make the same settings."""
    asked: dict[str, Any] = {}

    def note(
        clip: Path, styles: object, target: Path, settings: RenderSettings, on_event: object
    ) -> Report:
        asked.update(vars(settings))
        raise RequestError("enough")

    monkeypatch.setattr("vidstyle.render.stylize_clip", note)
    words = {
        "features": "vgg16", "weights": "/w.pth", "style_layers": "relu1_1, relu2_1",
        "content_layer": "relu3_1", "size": 200, "steps": 2, "first_steps": 3, "style_weight": 4,
        "content_weight": 5.5, "tv_weight": 6, "temporal_weight": 7, "flow": "raft",
        "flow_weights": "/f.pth", "strength": 0.5, "start": "1:02.5", "end": 70, "fps": 24,
        "device": "cpu", "precision": "bf16", "threads": 9, "codec": "libx265", "crf": 10,
        "pix_fmt": "yuv420p10le", "seed": 11, "overwrite": True, "work_dir": "/w",
        "keep_work": True, "passes": 2, "loop": True, "paint_bars": True, "brush": 2.5,
    }  # fmt: skip
    assert set(words) == set(OPTIONS) - {"duration", "resume"}
    line = [f"--{name.replace('_', '-')}={value}" for name, value in words.items()]
    line = [re.sub("=True$", "", word) for word in line]
    assert vidstyle("run", "a.mp4", "--style", "b.png", *line).status == 2
    toml = [f"{name} = {str(value).lower() if value is True else repr(value)}"
            for name, value in words.items()]  # fmt: skip
    (job,) = jobs_of(folder, "\n".join(['[[job]]\nclip="shots/a.mp4"\nstyle="wave.png"', *toml]))
    for stage in ("part", "look", "features", "compute", "output", "work"):
        assert getattr(job.settings, stage) == asked[stage]

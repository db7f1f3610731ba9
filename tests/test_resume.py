"""A render that was stopped, by whatever means, and the same command once more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import vidstyle as v
from tests.conftest import Vidstyle
from tests.video.made_clips import make_film
from vidstyle import checkpoint, device, passes, stylize
from vidstyle.checkpoint import Work
from vidstyle.flow.motion import Links, Motion
from vidstyle.optimize import Step
from vidstyle.options import render_settings
from vidstyle.render import find_shots, stylize_part
from vidstyle.video import ClipReader, ClipWriter

LOOK = v.StyleSettings(steps=1, first_steps=2, passes=1)
THREAD = v.ComputeSettings(device="cpu", threads=1, precision="fp32")
HASTY = (
    "import vidstyle.checkpoint as c; c.PIECE_SECONDS = 0; from vidstyle.cli import main; main()"
)

KILLED = """
import os, signal
replace = os.replace
def kill(made, final):
    if os.path.basename(final) == "a.0004.png":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(made, final)
os.replace = kill
"""


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 64×48 with sound and a cut before the sixth."""
    return make_film(tmp_path_factory.mktemp("film") / "f.mkv", 5, 5)


def render(film: Path, painting: Path, target: Path, **more: Any) -> tuple[list[object], v.Report]:
    """What was heard, and the report."""
    heard: list[object] = []
    stop_after = more.pop("stop_after", None)

    def listen(event: object) -> None:
        heard.append(event)
        if isinstance(event, v.FrameDone) and event.index + 1 == stop_after:
            raise Stop

    settings: dict[str, Any] = {"look": LOOK, "compute": THREAD, **more}
    report = v.stylize_video(film, [painting], target, on_event=listen, **settings)
    return heard, report


Whole = Callable[..., tuple[v.Report, bytes]]


@pytest.fixture(scope="module")
def whole(film: Path, painting: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What is made of the film where nothing stops it, and its report: once with each settings."""
    folder = tmp_path_factory.mktemp("whole")
    made: dict[str, tuple[v.Report, bytes]] = {}

    def undisturbed(**more: Any) -> tuple[v.Report, bytes]:
        key = repr(({"look": LOOK} | more, passes.BLOCK, passes.AHEAD))
        if key not in made:
            target = folder / f"{len(made)}.mp4"
            _, report = render(film, painting, target, **more)
            made[key] = report, target.read_bytes()
        return made[key]

    return undisturbed


def test_a_clip_cut_off_is_rendered_as_far_as_it_goes(
    film: Path, painting: Path, tmp_path: Path
) -> None:
    """Two passes read it twice: each time as many frames must come."""
    cut = tmp_path / "cut.mp4"
    with ClipReader(film) as reader, ClipWriter(cut, reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 4 // 5])
    _, report = render(cut, painting, tmp_path / "a.mp4", look=replace(LOOK, passes=2))
    assert 0 < report.frames < 10


def of(kind: type, heard: list[object]) -> list[Any]:
    return [event for event in heard if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("stop_after", "more"),
    [
        (5, {}),  # at the cut
        (7, {"part": v.ClipSettings(start=0.08)}),
        (4, {"look": replace(LOOK, flow="none")}),
    ],
)
def test_it_goes_on_to_the_same_bytes(
    film: Path,
    painting: Path,
    whole: Whole,
    tmp_path: Path,
    stop_after: int,
    more: dict[str, Any],
) -> None:
    undisturbed, expected = whole(**more)
    with pytest.raises(Stop) as stopped:
        render(film, painting, tmp_path / "a.mp4", stop_after=stop_after, **more)
    assert stopped.value.__notes__ == [f"the same command goes on after frame {stop_after}"]
    heard, report = render(film, painting, tmp_path / "a.mp4", **more)
    (resumed,) = of(v.Resumed, heard)
    assert resumed.frames == stop_after
    assert (report.frames, report.shots) == (undisturbed.frames, undisturbed.shots)
    assert (undisturbed.shots, undisturbed.frames_resumed) == (2, 0)
    assert report.frames_resumed == stop_after
    made = (report.frames - stop_after) / report.seconds
    assert report.frames_per_second == pytest.approx(made, rel=0.01)
    assert (tmp_path / "a.mp4").read_bytes() == expected
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    ("stop_after", "blocks"),
    [
        (3, (48, 12)),  # in the first pass
        (9, (48, 12)),  # in the second
        (12, (48, 12)),  # in the third
        (24, (48, 12)),  # in the second shot
        (7, (2, 1)),  # in the first of the first shot's blocks
        (10, (2, 1)),  # in the first pass, after that block
        (13, (2, 1)),  # in the last block
    ],
)
def test_several_passes_go_on_to_the_same_bytes(
    film: Path,
    painting: Path,
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: int,
    blocks: tuple[int, int],
) -> None:
    for name, frames in zip(("BLOCK", "AHEAD"), blocks, strict=True):
        monkeypatch.setattr(passes, name, frames)
    more = {"look": replace(LOOK, passes=3)}
    _, expected = whole(**more)
    heard = 0

    def listen(event: object) -> None:
        nonlocal heard
        heard += isinstance(event, v.FrameDone)
        if heard == stop_after:
            raise Stop

    with pytest.raises(Stop):
        v.stylize_video(
            film, [painting], tmp_path / "a.mp4", compute=THREAD, on_event=listen, **more
        )
    _, report = render(film, painting, tmp_path / "a.mp4", **more)
    assert (report.frames, report.shots, report.passes) == (10, 2, 3)
    assert 0 < report.frames_resumed <= stop_after / 3
    assert (tmp_path / "a.mp4").read_bytes() == expected
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("resume", [True, False])
def test_the_disk_has_room_for_what_passes_leave_on_it(
    film: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    """Of each of the 11 frames that the headers promise: itself and its latest result, and what
    each of two passes, a quarter of the second overlapping, has made of it, with a state and a
    frame that is being made."""
    picture, state, sketch, works = 64 * 48 * 6, 64 * 48 * 110, 64 * 48 * 120, 25
    needed = (works + 11 * 2) * picture + state + sketch if resume else 11 * 2 * picture
    more = {"look": replace(LOOK, passes=2), "work": v.WorkSettings(resume=resume)}

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=size))

    free(needed - 1)
    advice = "--work-dir" if resume else "another folder with -o"
    with pytest.raises(v.OutputError, match=f"finished frames will take 0.0 GB more.*{advice}"):
        render(film, painting, tmp_path / "a.mp4", **more)
    assert list(tmp_path.iterdir()) == []
    free(needed)
    render(film, painting, tmp_path / "a.mp4", **more)


@pytest.mark.parametrize("look", [LOOK, replace(LOOK, passes=2), replace(LOOK, flow="none")])
def test_parts_made_apart_are_joined_to_the_same_bytes(
    film: Path,
    painting: Path,
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    look: v.StyleSettings,
) -> None:
    """The last first, one of them stopped on the way: the join makes no frame itself."""
    undisturbed, expected = whole(look=look)
    settings = render_settings({"device": "cpu", "threads": 1, "precision": "fp32"})
    settings = replace(settings, look=look)
    asked = film, [painting], tmp_path / "a.mp4", settings
    shots = find_shots(*asked)
    assert [(shot.first, shot.end) for shot in shots] == [(0, 5), (5, 10)]

    def stop(event: object) -> None:
        if isinstance(event, v.FrameDone) and event.done >= 3:
            raise Stop

    with pytest.raises(Stop):
        stylize_part(*asked, shots[1:], stop)
    heard: list[Any] = []
    find_shots(*asked, heard.append)
    # A shot's last frame is not made again by a pass that begins with it.
    finished = 3 if look.rounds == 1 else 2
    assert [event.frames for event in of(v.Resumed, heard)] == [finished]
    heard.clear()
    made = [stylize_part(*asked, part, heard.append) for part in (shots[1:], shots[:1])]
    assert [report.frames_resumed for report in made] == [finished, 0]
    assert [event.frames for event in of(v.Started, heard)] == [5, 5]
    assert {(event.shot, event.index) for event in of(v.FrameDone, heard)} == {
        (n // 5, n) for n in range(10)
    }
    monkeypatch.setattr(stylize.OptimizingStyler, "next_frame", None)
    monkeypatch.setattr(stylize.OptimizingStyler, "refine", None)
    _, report = render(film, painting, tmp_path / "a.mp4", look=look)
    assert (report.frames, report.shots) == (10, 2) and report.frames_resumed >= 9
    assert (tmp_path / "a.mp4").read_bytes() == expected
    assert report.warp_error_ratio == undisturbed.warp_error_ratio
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_timed_choice_is_made_once(
    film: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was faster the first time is kept to, though it would lose the second time."""
    seconds = {"fp32": 2.0, "bf16": 1.0}
    monkeypatch.setattr(device, "_step_seconds", lambda net, where, name: seconds[name])
    timed = v.ComputeSettings(device="cpu", threads=1)
    with pytest.raises(Stop):
        render(film, painting, tmp_path / "a.mp4", stop_after=3, compute=timed)
    seconds["bf16"] = 3.0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    heard, report = render(film, painting, tmp_path / "a.mp4", compute=timed)
    assert of(v.Resumed, heard) and report.precision == "bf16"


def test_another_encoding_needs_no_new_render(
    film: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = v.WorkSettings(tmp_path / "work", keep=True)
    render(film, painting, tmp_path / "a.mp4", work=keep)
    monkeypatch.setattr(stylize.OptimizingStyler, "next_frame", None)
    rougher = v.OutputSettings(crf=40, overwrite=True)
    size = (tmp_path / "a.mp4").stat().st_size
    heard, _ = render(film, painting, tmp_path / "a.mp4", work=keep, output=rougher)
    assert of(v.Resumed, heard) == [v.Resumed(10, *(tmp_path / "work").iterdir())]
    assert (tmp_path / "a.mp4").stat().st_size < size
    prores = v.OutputSettings(codec="prores_ks")
    render(
        film, painting, tmp_path / "a.mov", work=v.WorkSettings(tmp_path / "work"), output=prores
    )
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_kill_leaves_beside_a_finished_result_is_named(
    film: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(work: Work) -> None:
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Work, "_remove_own", killed)
        render(film, painting, tmp_path / "a.mp4")
    made, (work,) = (tmp_path / "a.mp4").read_bytes(), tmp_path.glob(".a.work-*")
    with pytest.raises(v.OutputError, match="exists already") as refused:
        render(film, painting, tmp_path / "a.mp4")
    assert refused.value.__notes__[0].startswith(f"{work} holds finished frames for that name")
    monkeypatch.setattr(stylize.OptimizingStyler, "next_frame", None)
    render(film, painting, tmp_path / "a.mp4", output=v.OutputSettings(overwrite=True))
    assert (tmp_path / "a.mp4").read_bytes() == made
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("stop", [2, 5, 6])
def test_a_first_frame_is_not_begun_anew(
    film: Path,
    painting: Path,
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    stop: int,
) -> None:
    """Stopped in a step of the smaller size, and of the larger one; in either shot."""
    monkeypatch.setattr(checkpoint, "PIECE_SECONDS", -1)
    monkeypatch.setattr(stylize, "COARSEST_SIDE", 40)  # two sizes for 64 pixels
    look = replace(LOOK, first_steps=4)
    frames, steps = 0, list[int]()

    def listen(event: object) -> None:
        nonlocal frames
        frames += isinstance(event, v.FrameDone)
        if isinstance(event, Step) and frames == before:
            steps.append(event.level)
            if len(steps) == stop:
                raise Stop

    def run() -> None:
        settings = {"look": look, "compute": THREAD, "on_event": listen}
        v.stylize_video(film, [painting], tmp_path / "a.mp4", **settings)

    with pytest.raises(Stop) as stopped:
        run()
    assert steps == [0, 0, 0, 0, 1, 1][:stop]
    within = f"after frame {before}" if before else "within the first frame"
    assert stopped.value.__notes__ == [f"the same command goes on {within}"]
    made, frames, stop = stop - 1, 0, 99
    steps.clear()
    run()
    assert steps == [0, 0, 0, 0, 1, 1, 1, 1][made:]
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == whole(look=look)[1]


def test_a_later_frame_is_not_begun_anew(
    film: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in steps of both sizes, in either pass, kept after every step."""
    monkeypatch.setattr(checkpoint, "PIECE_SECONDS", -1)
    monkeypatch.setattr(checkpoint._Pace, "is_due_after_step", lambda pace: True)
    monkeypatch.setattr(stylize, "SOLVE_SIDES", (48, 48))  # of 64 pixels
    look, part = replace(LOOK, steps=8, passes=2), v.ClipSettings(end=0.13)

    def run(name: str, stop: int = 9999) -> list[tuple[int, int]]:
        """Its steps: level and number; broken off in the one that is told `stop`th."""
        steps = list[tuple[int, int]]()

        def listen(event: object) -> None:
            if isinstance(event, Step):
                steps.append((event.level, event.step))
                if len(steps) == stop:
                    raise Stop

        with suppress(Stop):
            settings = {"look": look, "part": part, "compute": THREAD, "on_event": listen}
            v.stylize_video(film, [painting], tmp_path / name, **settings)
        return steps

    undisturbed = run("whole.mp4")
    places = {18: (0, 4), 23: (1, 1), 35: (0, 1), 36: (1, 0)}  # the last two in the later pass
    assert len(undisturbed) == 42
    for stop, place in places.items():
        assert run("a.mp4", stop)[-1] == place
        assert run("a.mp4") == undisturbed[stop - 1 :]
        made = tmp_path / "a.mp4"
        assert made.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
        made.unlink()


def test_another_look_starts_over_with_a_word(film: Path, painting: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        render(film, painting, tmp_path / "a.mp4", stop_after=3)
    (work,) = tmp_path.iterdir()
    more = replace(LOOK, content_weight=1)
    heard, _ = render(film, painting, tmp_path / "a.mp4", look=more)
    (warning,) = of(v.Warned, heard)
    assert f"{work}: unfinished work with another content_weight" in warning.message
    assert not of(v.Resumed, heard) and work.exists()


def test_without_resume_nothing_is_stored(film: Path, painting: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        render(film, painting, tmp_path / "a.mp4", stop_after=3, work=v.WorkSettings(resume=False))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_command_goes_on(
    vidstyle: Vidstyle, film: Path, painting: Path, tmp_path: Path
) -> None:
    line = ["run", film, "--style", painting, "--steps", "1", "--first-steps", "2"]
    line += ["--threads", "1", "--precision", "fp32", "--codec", "ffv1", "-o"]
    killed = subprocess.Popen([sys.executable, "-c", HASTY, *map(str, line), "a.mkv"])
    waited = time.monotonic() + 300
    # Eleven: the first shot has been through both passes, and its frames are being encoded.
    while len(list(Path().glob(".a.work-*/*.npz"))) < 11 and time.monotonic() < waited:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not Path("a.mkv").exists() and list(Path().glob(".a.partial-*"))
    done = vidstyle(*line, "a.mkv")
    assert done.status == 0 and "going on after" in done.err
    assert vidstyle(*line, "whole.mkv").status == 0
    assert Path("a.mkv").read_bytes() == Path("whole.mkv").read_bytes()
    assert sorted(os.listdir()) == ["a.mkv", "whole.mkv"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_sequence_killed_between_two_names_goes_on(
    vidstyle: Vidstyle, film: Path, painting: Path
) -> None:
    line = ["run", film, "--style", painting, "--steps", "1", "--first-steps", "2"]
    line += ["--threads", "1", "--precision", "fp32", "-o"]
    subprocess.run([sys.executable, "-c", KILLED + HASTY, *map(str, line), "a.%04d.png"])
    assert sorted(map(str, Path().glob("a.*"))) == ["a.0001.png", "a.0002.png", "a.0003.png"]
    done = vidstyle(*line, "a.%04d.png")
    assert done.status == 0 and "the 3 that had theirs are back" in done.err
    assert "going on after 9 finished frames" in done.err  # of the eighteen works on them
    assert vidstyle(*line, "b.%04d.png").status == 0
    for number in range(1, 11):
        a, b = (Path(f"{name}.{number:04}.png").read_bytes() for name in "ab")
        assert a == b
    assert len(os.listdir()) == 20


@pytest.mark.parametrize("passes", [1, 2])
def test_motion_is_found_beside_the_optimiser_and_only_where_it_is_needed(
    film: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    asked: list[str] = []
    found = Motion._found

    def listen(self: Motion, earlier: np.ndarray, later: np.ndarray) -> Links:
        asked.append(threading.current_thread().name)
        return found(self, earlier, later)

    monkeypatch.setattr(Motion, "_found", listen)
    look = replace(LOOK, passes=passes)
    keep = v.WorkSettings(keep=True)
    render(film, painting, tmp_path / "a.mkv", look=look, work=keep)
    assert asked == ["vidstyle stage"] * 8  # two shots of five frames
    asked.clear()
    overwrite = v.OutputSettings(overwrite=True)
    render(film, painting, tmp_path / "a.mkv", look=look, work=keep, output=overwrite)
    assert asked == []

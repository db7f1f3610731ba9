"""`--device a,b`: shots side by side in processes of their own. CPUs stand in for cards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.batch.test_sharing import telling
from tests.video.made_clips import make_film
from vidstyle.batch import local, sharing
from vidstyle.batch.devices import stylize_on_devices
from vidstyle.errors import SettingsError, VidstyleError
from vidstyle.options import RenderSettings, render_settings
from vidstyle.render import Event, FrameDone, Started, Warned, stylize_video

QUICK = {"steps": 1, "first_steps": 1, "size": 64, "precision": "fp32"}


def settings(device: str, **more: object) -> RenderSettings:
    return render_settings({"device": device, "threads": 1, **QUICK, **more})


@pytest.fixture
def film(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten frames in three shots, each a part of its own."""
    monkeypatch.setattr(sharing, "PART", 2)
    return make_film(folder / "film.mkv", 4, 3, 3)


def alone(film: Path, style: Path, target: Path) -> bytes:
    one = settings("cpu")
    stylize_video(
        film, [style], target, part=one.part, look=one.look, compute=one.compute, output=one.output
    )
    return target.read_bytes()


def test_two_devices_give_what_one_gives(folder: Path, film: Path) -> None:
    style = folder / "wave.png"
    events: list[Event] = []
    asked = settings("cpu,cpu")
    report = stylize_on_devices(film, [style], folder / "a.mkv", asked, events.append)
    assert (folder / "a.mkv").read_bytes() == alone(film, style, folder / "b.mkv")
    assert (report.frames, report.shots, report.frames_resumed) == (10, 3, 0)
    assert report.device == "2 x cpu"
    assert report.frames_per_second == pytest.approx(10 / report.seconds, rel=0.01)
    assert [type(event) for event in events].count(Started) == 1
    done = [event.done for event in events if isinstance(event, FrameDone)]
    assert done == sorted(done) and done[-1] == 10
    assert not list(folder.glob(".a*"))  # nothing is left


def test_what_workers_warn_of_is_in_the_report(
    folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each says who it is, before every part that it is given."""
    monkeypatch.setattr(local, "_serve", telling)
    events: list[Event] = []
    asked, style = settings("cpu,cpu"), folder / "wave.png"
    report = stylize_on_devices(film, [style], folder / "a.mkv", asked, events.append)
    told = [event.message for event in events if isinstance(event, Warned)]
    assert 0 < len(told) <= 2 and report.warnings == tuple(told)


def test_a_short_clip_is_rendered_on_the_first(folder: Path) -> None:
    film = make_film(folder / "film.mkv", 2, 2)
    events: list[Event] = []
    asked = settings("cpu,cpu")
    report = stylize_on_devices(film, [folder / "wave.png"], folder / "a.mkv", asked, events.append)
    assert report.frames == 4 and report.device == "cpu"


def test_a_worker_s_error_ends_the_render(
    folder: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clip is gone when the workers look for it."""
    found = sharing.in_parts

    def lose(*arguments: object) -> object:
        film.rename(folder / "moved.mkv")
        return found(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sharing, "in_parts", lose)
    with pytest.raises(VidstyleError, match=r"film\.mkv") as failed:
        stylize_on_devices(film, [folder / "wave.png"], folder / "a.mkv", settings("cpu,cpu"))
    assert failed.value.__notes__ == ["the same command goes on"]
    assert not (folder / "a.mkv").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"resume": False}, "--device cpu,cpu: .*--no-resume"),
        ({"loop": True}, "--device cpu,cpu: .*--loop"),
    ],
)
def test_what_cannot_be_made_apart_is_refused(
    folder: Path, film: Path, more: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        asked = settings("cpu,cpu", **more)
        stylize_on_devices(film, [folder / "wave.png"], folder / "a.mkv", asked)


@pytest.mark.parametrize("device", ["cpu,tpu", "cpu,", "cpu,cuda:99"])
def test_every_name_is_checked(folder: Path, film: Path, device: str) -> None:
    with pytest.raises(SettingsError, match="--device"):
        asked = settings("cpu")
        asked = replace(asked, compute=replace(asked.compute, device=device))
        stylize_on_devices(film, [folder / "wave.png"], folder / "a.mkv", asked)

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import current_thread, local, main_thread
from typing import Any

import numpy as np
import pytest
import torch

import vidstyle
from tests.video.made_clips import gradient, picture_times, texture
from vidstyle import ComputeSettings, FeatureSettings, StyleSettings, render
from vidstyle.flow.motion import Motion
from vidstyle.images import from_levels, to_levels
from vidstyle.measure import WarpError
from vidstyle.render import FrameDone, Warned

QUICK = StyleSettings(steps=1, first_steps=1)
ONE_THREAD = ComputeSettings(device="cpu", precision="fp32", threads=1)


def test_every_public_name_is_there_and_listed_once() -> None:
    assert sorted(vidstyle.__all__) == vidstyle.__all__ == sorted(set(vidstyle.__all__))
    assert set(vidstyle._HOME_OF) == set(vidstyle.__all__)
    for name in vidstyle.__all__:
        home = import_module(f"vidstyle.{vidstyle._HOME_OF[name]}")
        assert getattr(vidstyle, name) is getattr(home, name)
        assert getattr(home, name).__module__ == home.__name__  # not passed on by another
    assert dir(vidstyle) == vidstyle.__all__
    with pytest.raises(AttributeError, match="no attribute 'stylise_video'"):
        vidstyle.stylise_video  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(vidstyle.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: (node.module or "").removeprefix("vidstyle.")
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == vidstyle._HOME_OF


def test_every_error_of_ours_is_public_and_has_a_status() -> None:
    from vidstyle import errors

    ours = [x for x in vars(errors).values() if isinstance(x, type) and issubclass(x, Exception)]
    assert {x.__name__ for x in ours} <= set(vidstyle.__all__)
    for error in ours:
        assert issubclass(error, vidstyle.VidstyleError)
        assert error.exit_status == (2 if issubclass(error, vidstyle.RequestError) else 1)


class Inverter:
    """A styler of a user's own: inverts, and counts the shots."""

    shots = 0

    def start_shot(self) -> None:
        self.shots += 1

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        return 1 - image


def test_a_styler_of_ones_own() -> None:
    styler: vidstyle.FrameStyler = Inverter()
    images = [gradient(seed=n) for n in range(3)]
    results = list(vidstyle.stylize_frames(iter(images), styler))
    assert styler.shots == 1
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(result, 1 - image)


def test_frames_are_stylised_as_they_are_read() -> None:
    taken = []

    def camera():
        for n in range(3):
            taken.append(n)
            yield gradient(seed=n)

    next(vidstyle.stylize_frames(camera(), Inverter()))
    assert taken == [0]


def test_pictures_of_ones_own_reader() -> None:
    """Two shots: a shot's first frame does not depend on the shot before."""
    styler = vidstyle.make_styler([texture(1, 96, 80)], QUICK, compute=ONE_THREAD)
    image = gradient(seed=3)
    first = list(vidstyle.stylize_frames([image, image], styler))
    again = list(vidstyle.stylize_frames([image], styler))
    for result in first:
        assert result.shape == image.shape and result.dtype == np.float32
        assert result.min() >= 0 and result.max() <= 1
        assert np.abs(result - image).max() > 0.003  # one step of the last, gentlest rate
    assert np.allclose(first[0], again[0], atol=1e-5)


def test_pictures_are_gone_over_in_as_many_passes_as_the_settings_say() -> None:
    image = from_levels(to_levels(gradient(seed=3)))

    def painted(passes: int) -> list[np.ndarray]:
        look = replace(QUICK, passes=passes)
        styler = vidstyle.make_styler([texture(1, 96, 80)], look, compute=ONE_THREAD)
        return list(vidstyle.stylize_frames([image, np.roll(image, 3, axis=1)], styler))

    once, twice = painted(1), painted(2)
    # The second pass begins with the last frame and leaves it as it is, but for 16 bits.
    assert np.allclose(twice[1], once[1], atol=1 / 65535)
    assert np.abs(twice[0] - once[0]).max() > 0.001


def test_stylize_image_comes_nearer_to_the_painting() -> None:
    painting, photo = texture(1, 96, 80), gradient()
    look = StyleSettings(first_steps=15, flow="none")
    result = vidstyle.stylize_image(photo, [painting], look=look, compute=ONE_THREAD)
    assert result.shape == photo.shape

    def roughness(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image, axis=0)).mean())

    assert roughness(result) > 3 * roughness(photo)  # the photograph is smooth, the painting not


def test_stylize_video_tells_what_happens(clip: Path, painting: Path, tmp_path: Path) -> None:
    events: list[object] = []
    report = vidstyle.stylize_video(
        str(clip), [painting], str(tmp_path / "a.mp4"),
        look=QUICK, compute=ONE_THREAD, on_event=events.append,
    )  # fmt: skip
    assert isinstance(events[0], vidstyle.Started) and events[0].frames == 5
    done = [event for event in events if isinstance(event, vidstyle.FrameDone)]
    back_and_forth = [*range(5), *reversed(range(5))]  # in the default's two passes
    assert [(event.index, event.shot) for event in done] == [(n, 0) for n in back_and_forth]
    assert [event.done for event in done] == [works / 2 for works in range(1, 11)]
    assert (report.frames, report.shots, report.width, report.height) == (5, 1, 64, 48)
    assert len(picture_times(tmp_path / "a.mp4")) == report.frames
    assert "peak_memory_mb" in report.as_dict()
    alone = vidstyle.StyleSettings(steps=1, first_steps=1, flow="none")
    report = vidstyle.stylize_video(
        clip, [painting], tmp_path / "b.mp4", look=alone, compute=ONE_THREAD
    )
    assert report.flow == "none" and "warp_error" not in report.as_dict()


def test_motion_and_judging_leave_the_optimisers_stream_alone(
    clip: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In threads of their own: each pair of five frames, and each frame that goes out."""
    inside, seen = local(), list[tuple[str, bool]]()

    @contextmanager
    def apart(device: torch.device) -> Iterator[None]:
        assert device == torch.device("cpu") and current_thread() is not main_thread()
        inside.now = True
        yield
        inside.now = False

    def watched(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            seen.append((name, getattr(inside, "now", False)))
            return own(*given, **named)

        return call

    monkeypatch.setattr(Motion, "_found", watched("found", Motion._found))
    monkeypatch.setattr(WarpError, "add", watched("judged", WarpError.add))
    monkeypatch.setattr(render, "own_stream", apart)
    vidstyle.stylize_video(clip, [painting], tmp_path / "a.mp4", look=QUICK, compute=ONE_THREAD)
    assert sorted(seen) == [("found", True)] * 4 + [("judged", True)] * 5


def test_a_listener_that_fails_leaves_finished_work_only(
    clip: Path, painting: Path, tmp_path: Path
) -> None:
    def stop(event: object) -> None:
        if isinstance(event, vidstyle.FrameDone):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        vidstyle.stylize_video(
            clip, [painting], tmp_path / "a.mp4", look=QUICK, compute=ONE_THREAD, on_event=stop
        )
    (work,) = tmp_path.iterdir()
    assert work.name.startswith(".a.work-")


def test_the_source_is_never_replaced(clip: Path, painting: Path, tmp_path: Path) -> None:
    settings = vidstyle.OutputSettings(overwrite=True)
    (tmp_path / "link.mp4").symlink_to(clip)
    before = clip.read_bytes()
    for target in (clip, tmp_path / "link.mp4"):
        with pytest.raises(vidstyle.OutputError, match="is the source itself"):
            vidstyle.stylize_video(clip, [painting], target, output=settings)
    with pytest.raises(vidstyle.OutputError, match="is the source itself"):
        vidstyle.stylize_picture(painting, [painting], painting, overwrite=True)
    assert clip.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (lambda: StyleSettings(steps=0), "--steps 0: must be between 1 and 10000"),
        (lambda: StyleSettings(content_weight=float("inf")), "--content-weight inf"),
        (lambda: ComputeSettings(precision="half"), "--precision half"),
        (lambda: vidstyle.ClipSettings(start=2, end=1.5), "--end 1.5: must be after --start 2"),
        (lambda: vidstyle.OutputSettings(crf=99), "--crf 99: must be between 0 and 63"),
    ],
)
def test_settings_are_checked_when_made(settings, rule: str) -> None:
    with pytest.raises(vidstyle.SettingsError, match=rule):
        settings()


def test_an_unknown_network_is_named_with_those_there_are() -> None:
    with pytest.raises(vidstyle.SettingsError, match="nope: known are lite, vgg19"):
        vidstyle.make_styler([texture(1)], features=FeatureSettings("nope"))


def test_what_the_work_warns_of_is_told_with_its_first_frame_and_reported(
    monkeypatch: pytest.MonkeyPatch, clip: Path, painting: Path, tmp_path: Path
) -> None:
    planted = property(lambda work: ["planted"])
    monkeypatch.setattr("vidstyle.optimize.Optimizer.warnings", planted)
    events: list[object] = []
    report = vidstyle.stylize_video(
        clip, [painting], tmp_path / "a.mp4", compute=ONE_THREAD, on_event=events.append
    )
    told = [event for event in events if isinstance(event, (Warned, FrameDone))]
    assert told[0] == Warned("planted") and told.count(told[0]) == 1 and len(told) > 5
    assert report.warnings == ("planted",)


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
    clip: Path,
    painting: Path,
    tmp_path: Path,
    failure: Exception,
) -> None:
    def fail(*arguments: object) -> np.ndarray:
        raise failure

    monkeypatch.setattr("vidstyle.stylize.OptimizingStyler.next_frame", fail)
    with pytest.raises(vidstyle.DeviceMemoryError, match=r"out of memory.*--size"):
        vidstyle.stylize_video(clip, [painting], tmp_path / "a.mp4", compute=ONE_THREAD)
    assert list(tmp_path.iterdir()) == []

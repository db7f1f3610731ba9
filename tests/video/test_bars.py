"""Black bars around the picture: found, left out of what is painted, and put back."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY, Vidstyle
from tests.video.made_clips import encoded, flat, real_clip, texture
from tests.video.test_fades import read
from tests.video.test_shots import moving
from vidstyle.frame import Frame
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, find_bars
from vidstyle.video.bars import Window, find_window

WINDOW = Window(16, 104, 0, 160)
PILLARS = Window(0, 120, 20, 140)


def barred(images: list[np.ndarray], window: Window = WINDOW) -> list[np.ndarray]:
    made = []
    for image in images:
        black = np.zeros_like(image)
        window.cut(black)[:] = window.cut(image)
        made.append(black)
    return made


@pytest.mark.parametrize("window", [WINDOW, PILLARS, Window(9, 111, 12, 148)])
def test_planted_bars_are_found(window: Window) -> None:
    assert find_window(barred(moving(1, 4), window)) == window


def test_what_a_codec_leaves_of_them_is_passed_over() -> None:
    noise = np.random.default_rng(0)
    noisy = [
        np.clip(image + noise.normal(0, 2 / 255, image.shape), 0, 1).astype(np.float32)
        for image in barred(moving(1, 6))
    ]
    soft = [np.float32(0.5 * (np.roll(image, 1, 0) + image)) for image in noisy]
    assert find_window(noisy) == WINDOW
    found = find_window(soft)
    assert found is not None and abs(found.top - 16) <= 1 and abs(found.bottom - 104) <= 1


def test_one_lit_frame_tells_where_a_dark_ones_bars_end() -> None:
    dark = np.zeros((120, 160, 3), np.float32)
    assert find_window([dark, *barred(moving(1, 1)), dark]) == WINDOW
    assert find_window([dark, dark]) is None
    assert find_window([]) is None


def night() -> np.ndarray:
    """A lit globe in a black sky."""
    y, x = np.mgrid[:120, :160]
    return np.float32(texture(1) * (np.hypot(y - 60, x - 80) < 45)[..., None])


def test_what_is_dark_by_itself_has_no_bars() -> None:
    ramp = texture(1) * np.float32(np.linspace(0, 1, 120) ** 2)[:, None, None]
    titles = flat((0, 0, 0), 160, 120)
    titles[50:60, 40:120] = 1
    captioned = barred([texture(1)])[0]
    captioned[108:114, 40:120] = 1  # below the picture: nothing there may be cut off
    for image in (night(), ramp, titles, texture(1), flat((0, 0, 0), 160, 120)):
        assert find_window([image]) is None
    floor = texture(1)
    floor[90:] = 0  # one dark side alone is a floor, or a table
    for image in (captioned, floor):
        assert find_window([image]) is None


@pytest.mark.parametrize("name", ["nasa.mp4", "demo.mp4", "cockatoo.mp4", "scene_cuts.mp4"])
def test_real_clips_without_bars_have_none(name: str) -> None:
    assert find_bars(real_clip(name)) is None


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi", ".ts"])
def test_a_clips_bars_are_found_also_in_its_parts(tmp_path: Path, ending: str) -> None:
    """At every twelfth frame is a keyframe; the first are black."""
    images = [flat((0, 0, 0), 160, 120)] * 15 + barred(moving(1, 45))
    path = encoded(tmp_path / f"a{ending}", images)
    assert find_bars(path) == WINDOW
    assert find_bars(path, ClipSettings(start=1.0, end=1.2)) == WINDOW
    assert find_bars(path, ClipSettings(size=80)) == Window(8, 52, 0, 80)
    assert find_bars(path, ClipSettings(size=60)) == Window(6, 38, 0, 60)  # of 60x44
    assert find_bars(path, ClipSettings(paint_bars=True)) is None


def test_a_sequences_bars_are_found(tmp_path: Path) -> None:
    from PIL import Image

    for n, image in enumerate(barred(moving(1, 3))):
        Image.fromarray(np.uint8(image * 255)).save(tmp_path / f"a.{n}.png")
    assert find_bars(tmp_path / "a.%d.png", ClipSettings(fps=Fraction(24))) == WINDOW


def test_only_the_window_is_read(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mp4", barred(moving(1, 5)))
    with ClipReader(path, window=WINDOW) as reader:
        assert reader.size == (160, 88) and (reader.info.width, reader.info.height) == (160, 120)
        cut = list(reader)
    for one, other in zip(cut, read(path, unfade=False), strict=True):
        assert np.array_equal(one.image, WINDOW.cut(other.image))
        assert one.around is not None and np.array_equal(one.around, other.image)
        assert np.array_equal(WINDOW.put_back(one.image, one.around), other.image)


@pytest.mark.parametrize("options", [(), ("--passes", "1"), ("--strength", "0.5")])
def test_bars_stay_black(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path, options: tuple[str, ...]
) -> None:
    """And what is painted between them is what is painted of the picture alone."""
    images = moving(1, 4)
    source = encoded(tmp_path / "a.mkv", barred(images))
    line = ("--style", painting, "--steps", 1, "--codec", "ffv1", "--pix-fmt", "bgr0", *TINY)
    done = vidstyle("run", source, *line, *options, "-o", "b.mkv")
    assert done.status == 0, done.err
    assert "black bars stay as they are (16 pixels at the top, 16 pixels at the bottom)" in done.err
    results = [frame.image for frame in read(Path("b.mkv"), unfade=False)]
    for result, frame in zip(results, read(source, unfade=False), strict=True):
        assert result.shape == frame.image.shape
        bars = [np.abs(result - frame.image)[rows].max() for rows in (slice(16), slice(104, 120))]
        assert max(bars) < 0.01
        assert WINDOW.cut(result)[[0, -1]].mean() > 0.2
    alone = encoded(tmp_path / "c.mkv", [np.ascontiguousarray(WINDOW.cut(i)) for i in images])
    assert vidstyle("run", alone, *line, *options, "-o", "d.mkv").status == 0
    for result, other in zip(results, read(Path("d.mkv"), unfade=False), strict=True):
        assert np.abs(WINDOW.cut(result) - other.image).mean() < 0.03


def test_a_subtitle_in_a_bar_stays(vidstyle: Vidstyle, tmp_path: Path, painting: Path) -> None:
    """Also where one is seen while bars are looked for."""
    images = barred(moving(1, 20))
    for image in images[4:8]:
        image[108:114, 40:120] = 1
    source = encoded(tmp_path / "a.mkv", images)
    assert find_bars(source) == WINDOW
    line = ("--steps", 1, "--codec", "ffv1", "--pix-fmt", "bgr0", "-o", "b.mkv", *TINY)
    done = vidstyle("run", source, "--style", painting, *line)
    assert done.status == 0 and "--paint-bars paints all" not in done.err
    for one, other in zip(read(source, False), read(Path("b.mkv"), False), strict=True):
        assert np.abs(one.image[104:] - other.image[104:]).max() < 0.01


def test_it_is_said_where_the_picture_fills_its_bars(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path
) -> None:
    images = [*barred(moving(1, 24)), *moving(2, 8), *barred(moving(3, 16))]
    done = vidstyle(
        "run", encoded(tmp_path / "a.mkv", images), "--style", painting, "--passes", 1, *TINY,
        "--flow", "none", "-o", "b.mkv",
    )  # fmt: skip
    found = find_bars(tmp_path / "a.mkv")
    assert done.status == 0
    assert found is None or "--paint-bars paints all of them" in done.err


def test_bars_are_not_judged(vidstyle: Vidstyle, tmp_path: Path, painting: Path) -> None:
    """A result with and one without is as painted as the picture is."""
    images = moving(1, 3)
    for name, made in (("a", barred(images)), ("c", [i[16:104] for i in images])):
        source = encoded(tmp_path / f"{name}.mkv", made)
        line = (
            "--style",
            painting,
            "--codec",
            "ffv1",
            "-o",
            f"{name}.mkv",
            "--report",
            f"{name}.json",
        )
        assert vidstyle("run", source, *line, *TINY).status == 0
    barred_facts, plain = (json.loads(Path(f"{n}.json").read_text()) for n in "ac")
    assert (barred_facts["width"], barred_facts["height"]) == (160, 120)
    for name in ("style_distance", "content_distance", "warp_error"):
        assert barred_facts[name] == pytest.approx(plain[name], rel=0.15)


def test_bars_are_painted_where_that_is_asked_for(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path
) -> None:
    source = encoded(tmp_path / "a.mkv", barred(moving(1, 2)))
    done = vidstyle("run", source, "--style", painting, "--paint-bars", "-o", "b.mkv", *TINY)
    assert done.status == 0 and "bars" not in done.err
    assert read(Path("b.mkv"), unfade=False)[0].image[:16].max() > 0.2


def test_a_window_too_small_to_be_painted_is_refused(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path
) -> None:
    """By its own size, not the frame's."""
    source = encoded(tmp_path / "a.mkv", barred(moving(1, 2), Window(46, 74, 0, 160)))
    done = vidstyle("run", source, "--style", painting, "--size", 32, "-o", "b.mkv", *TINY)
    assert done.status == 2 and "32x4" in done.err and not Path("b.mkv").exists()


def test_the_samples_between_and_around_are_kept(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path
) -> None:
    source = encoded(tmp_path / "a.mp4", barred(moving(1, 3)))
    options = ("--strength", 0, "--codec", "ffv1", "-o", "b.mkv")
    assert vidstyle("run", source, "--style", painting, *options, *TINY).status == 0
    frames: list[list[Frame]] = [read(source, False), read(Path("b.mkv"), False)]
    for one, other in zip(*frames, strict=True):
        assert one.coded is not None and other.coded is not None
        assert np.array_equal(one.coded.to_ndarray(), other.coded.to_ndarray())

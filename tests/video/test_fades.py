"""Fades from and to black, taken off what is painted and laid over the result."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY, Vidstyle
from tests.video.made_clips import encoded, flat, real_clip, texture
from tests.video.test_shots import moving
from vidstyle.frame import Frame
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, list_shots, split_shots
from vidstyle.video.fades import DARKEST, MOST, unfaded

BRIGHT = [1.0] * 12
RISE, FALL = list(np.linspace(0, 1, 14)[1:-1]), list(np.linspace(1, 0, 14)[1:-1])
NOTHING = flat((0, 0, 0), 160, 120)


def convert(image: np.ndarray, number: int) -> Frame:
    return Frame(np.ascontiguousarray(image, np.float32), number, number, Fraction(1, 25))


def taken_off(images: list[np.ndarray], most: int = MOST) -> list[Frame]:
    """Checks that all frames come, in order, and show what they were given."""
    frames = list(unfaded(images, convert, most))
    assert [frame.index for frame in frames] == list(range(len(images)))
    for frame, image in zip(frames, images, strict=True):
        if frame.fade >= DARKEST:
            assert np.abs(frame.fade * frame.image - image).max() < 0.03
    return frames


def faded(factors: list[float], seed: int = 1, levels: int = 255) -> list[np.ndarray]:
    """A pan in which each picture has so much of its light, in whole levels."""
    pan = moving(seed, len(factors), 2)
    return [
        np.float32(np.rint(image * factor * levels) / levels)
        for image, factor in zip(pan, factors, strict=True)
    ]


def fades(images: list[np.ndarray], most: int = MOST) -> list[float]:
    return [frame.fade for frame in taken_off(images, most)]


@pytest.mark.parametrize(
    "factors",
    [
        [*RISE, *BRIGHT],
        [0.0, 0.0, *RISE, *BRIGHT],
        [*BRIGHT, *FALL],
        [*BRIGHT, *FALL, 0.0, 0.0, *RISE, *BRIGHT],
        [*RISE, *BRIGHT, *FALL],
        [*BRIGHT, *np.linspace(1, 0, 75)],
        [*np.linspace(0, 1, 75), *BRIGHT],
        [*BRIGHT, *np.linspace(1, 0, 26) ** 2.2],
    ],
)
def test_planted_fades_are_found(factors: list[float]) -> None:
    found = fades(faded(factors))
    assert np.abs(np.array(found) - factors).max() < 0.08  # the pan's own light is not the same


def test_pictures_too_dark_to_be_seen_show_their_neighbours() -> None:
    factors = [0.0, *RISE, *BRIGHT, *FALL, 0.0, 0.0]
    frames, pan = taken_off(faded(factors)), moving(1, len(factors), 2)
    first = min(n for n, factor in enumerate(factors) if factor > DARKEST)
    last = max(n for n, factor in enumerate(factors) if factor > DARKEST)
    for n, frame in enumerate(frames):
        shown = min(max(n, first), last)
        assert np.abs(frame.image - pan[shown]).mean() < 0.02
        assert frame.image is frames[shown].image


def test_an_unfaded_picture_is_a_shot_of_its_scene_and_black_none() -> None:
    """The cut lies where the next scene begins to be seen."""
    first, second = [*BRIGHT, *FALL, 0.0, 0.0, 0.0], [*RISE, *BRIGHT]
    frames = taken_off([*faded(first, 1), *faded(second, 2)])
    shots = [shot for shot, _ in split_shots(iter(frames))]
    assert shots == [0] * len(first) + [1] * len(second)


@pytest.mark.parametrize(
    "factors",
    [
        BRIGHT,
        [*BRIGHT, *np.linspace(1, 0.3, 10), *np.linspace(0.3, 1, 10), *BRIGHT],
        [*BRIGHT, *np.linspace(1, 0.3, 10), *[0.3] * 10],
        [*np.linspace(0.4, 1, 10), *BRIGHT],
        [*BRIGHT, 0.5, *BRIGHT],
        [1.0, 0.9] * 10,
    ],
)
def test_light_that_only_changes_is_no_fade(factors: list[float]) -> None:
    assert set(fades(faded(factors))) == {1.0}


def test_cuts_to_and_from_black_are_no_fades() -> None:
    images = [*moving(1, 10, 2), *[NOTHING] * 4, *moving(2, 10, 2)]
    assert fades(images) == [1.0] * 10 + [0.0] * 4 + [1.0] * 10
    dark = [image * np.float32(0.3) for image in moving(2, 10, 2)]
    assert fades([*moving(1, 10, 2), *dark]) == [1.0] * 20


def test_a_closing_mask_brightens_nothing() -> None:
    """What is left in the middle is as bright as before, to the last."""
    images, (y, x) = moving(1, 30, 2), np.mgrid[:120, :160]
    for n in range(10, 30):
        images[n] = images[n] * (np.hypot(y - 60, x - 80) < 5 * (28 - n))[..., None]
    found = list(unfaded(images, convert))
    assert all(frame.image.max() <= 1.05 * images[0].max() for frame in found)
    assert min(frame.fade for frame in found[:26]) > 0.8


def test_a_clip_without_a_picture_is_black() -> None:
    for most in (MOST, 4):
        frames = taken_off([NOTHING] * 20, most)
        assert {frame.fade for frame in frames} == {0.0}
        assert all(frame.image is frames[0].image for frame in frames)


def test_no_more_pictures_wait_than_may() -> None:
    """A fade that is longer begins where so many are left."""
    factors = [*BRIGHT, *np.linspace(1, 0, 40)]
    taken = 0

    def counted() -> list[np.ndarray]:
        nonlocal taken
        for image in faded(factors):
            taken += 1
            yield image

    found = []
    for frame in unfaded(counted(), convert, 10):
        assert taken - frame.index <= 12
        found.append(frame.fade)
    assert min(found[:30]) == 1 and found[-1] == 0
    assert fades(faded([1.0, *FALL]), 1) == [1.0] * 13


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_clips(count: int) -> None:
    assert fades(faded([1.0] * count)) == [1.0] * count


def read(path: Path, unfade: bool = True, **settings: object) -> list[Frame]:
    with ClipReader(path, ClipSettings(**settings), unfade) as reader:
        return list(reader)


FILM = [0.0, *RISE, *BRIGHT, *FALL, 0.0, 0.0]


def test_a_clip_is_read_without_its_fades(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mp4", faded(FILM))
    plain, lit = read(path, unfade=False), read(path)
    assert {frame.fade for frame in plain} == {1.0}
    assert np.abs(np.array([frame.fade for frame in lit]) - FILM).max() < 0.06
    means = [frame.image.mean() for frame in lit]
    assert np.ptp(means) < 0.05 < plain[12].image.mean() - plain[0].image.mean()
    for one, other in zip(plain, lit, strict=True):
        assert (one.pts, one.index) == (other.pts, other.index)
        assert (other.coded is None) == (other.fade < 1)


def test_no_decoded_picture_is_taken_off_before_its_time(tmp_path: Path) -> None:
    """Of a part that ends within a fade nothing tells that it would have ended in black."""
    path = encoded(tmp_path / "a.mp4", faded(FILM))
    part = read(path, end=30 / 25)
    assert len(part) == 30 and min(frame.fade for frame in part[13:]) > 0.98


@pytest.mark.parametrize("end", [None, 2.6])
def test_parts_are_read_as_the_whole_is(tmp_path: Path, end: float | None) -> None:
    """Of three scenes with fades between them, by seeks; also where a part's last one is cut."""
    images = [image for seed in (1, 2, 3) for image in faded([*RISE, *BRIGHT, *FALL, 0.0], seed)]
    path = encoded(tmp_path / "a.mp4", images)
    settings = ClipSettings(end=end)
    with ClipReader(path, settings, unfade=True) as reader:
        shots = list_shots(reader)
    assert len(shots) == (3 if end is None else 2)
    whole = read(path, end=end)
    for shot in shots:
        with ClipReader(path, settings, unfade=True) as reader:
            found = [frame for _, frame in reader.frames_of([shot])]
        for frame, same in zip(found, whole[shot.first : shot.end], strict=True):
            assert (frame.index, frame.pts, frame.fade) == (same.index, same.pts, same.fade)
            assert frame.image.tobytes() == same.image.tobytes()


@pytest.mark.parametrize("passes", [1, 2])
def test_a_fade_is_laid_over_the_painting(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path, passes: int
) -> None:
    factors = [0.0, 0.0, *RISE, *[1.0] * 4]
    still = [texture(1)] * len(factors)
    images = [image * np.float32(factor) for image, factor in zip(still, factors, strict=True)]
    source = encoded(tmp_path / "a.mp4", images)
    done = vidstyle(
        "run", source, "--style", painting, "-o", "b.mp4", "--passes", passes, "--steps", 1, *TINY
    )
    assert done.status == 0, done.err
    results = [frame.image for frame in read(Path("b.mp4"), unfade=False)]
    assert max(results[0].max(), results[1].max()) < 0.03
    for result, factor in zip(results, factors, strict=True):
        assert result.mean() == pytest.approx(factor * results[-1].mean(), abs=0.04)
        # One painting, not one of darkness and then another.
        assert np.abs(result - factor * results[-1]).mean() < 0.04


def test_with_nothing_painted_all_samples_are_the_sources(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path
) -> None:
    source = encoded(tmp_path / "a.mp4", faded(FILM))
    options = ("--strength", 0, "--codec", "ffv1", "-o", "b.mkv")
    assert vidstyle("run", source, "--style", painting, *options, *TINY).status == 0
    for one, other in zip(read(source, False), read(Path("b.mkv"), False), strict=True):
        assert one.coded is not None and other.coded is not None
        assert np.array_equal(one.coded.to_ndarray(), other.coded.to_ndarray())


@pytest.mark.parametrize("name", ["nasa.mp4", "demo.mp4", "cockatoo.mp4", "scene_cuts.mp4"])
def test_real_clips_without_fades_have_none(name: str) -> None:
    assert {frame.fade for frame in read(real_clip(name), size=64)} == {1.0}


def test_black_as_a_codec_has_it_is_black(tmp_path: Path) -> None:
    """Which decodes to a trace of light; all of a clip, and a beginning longer than may wait."""
    black = encoded(tmp_path / "a.mp4", [NOTHING] * 30)
    assert {frame.fade for frame in read(black)} == {0.0}
    assert {frame.fade for frame in read(black, start=0.4)} == {0.0}
    opening = encoded(tmp_path / "b.mp4", [*[NOTHING] * 110, *faded([*RISE, *BRIGHT])])
    found = [frame.fade for frame in read(opening)]
    assert np.abs(np.array(found) - [*[0.0] * 110, *RISE, *BRIGHT]).max() < 0.06


@pytest.mark.parametrize("least", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("offset", [0.2, 0.5, 0.8])
def test_a_dip_to_black_has_both_its_sides(least: float, offset: float) -> None:
    """Whether a picture is quite black or none, and whatever lies in black's place."""
    ways = np.abs(np.arange(40) - 20 - offset) / 10
    factors = list(np.clip(ways, least, 1))
    images = [*faded(factors[:21], 1), *faded(factors[21:], 2)]
    found = fades(images)
    assert np.abs(np.array(found) - factors).max() < 0.12
    assert max(found[19:22]) < 0.2


def test_a_fade_behind_a_long_black_is_as_long_as_it_is() -> None:
    factors = [*[0.0] * 30, *np.linspace(0, 1, 28), *BRIGHT]
    assert np.abs(np.array(fades(faded(factors), 36)) - factors).max() < 0.06


def test_a_line_on_black_is_seen() -> None:
    """Though of a large picture not every row is looked at."""
    lined = np.zeros((1080, 1920, 3), np.float32)
    lined[501:503] = 1
    frames = list(unfaded([lined] * 3, convert))
    assert {frame.fade for frame in frames} == {1.0}


def test_a_picture_behind_black_has_all_of_its_light() -> None:
    """Also where it gains some, as a pan may; and so has one that is read without the black."""
    brighter = list(np.linspace(0.93, 1, 10))
    assert fades(faded([*BRIGHT, 0.0, 0.0, *brighter])) == [1.0] * 12 + [0.0] * 2 + [1.0] * 10
    assert fades(faded(brighter)) == [1.0] * 10

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tests.video.made_clips import real_clip, texture
from vidstyle.errors import VidstyleError
from vidstyle.frame import Frame
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, split_shots
from vidstyle.video.shots import LOOK_AHEAD


def stream(images: list[np.ndarray]) -> Iterator[Frame]:
    for index, image in enumerate(images):
        yield Frame(image, index, index, Fraction(1, 25))


def cuts(images: list[np.ndarray]) -> list[int]:
    """Where a new shot begins; checks that all frames come out, in order, numbered without gaps."""
    numbered = list(split_shots(stream(images)))
    assert [frame.index for _, frame in numbered] == list(range(len(images)))
    shots = [shot for shot, _ in numbered]
    if shots:
        assert shots[0] == 0
    assert all(b - a in (0, 1) for a, b in pairwise(shots))
    return [n for n in range(1, len(shots)) if shots[n] != shots[n - 1]]


def moving(seed: int, count: int, speed: int = 3) -> list[np.ndarray]:
    """A pan over one texture."""
    wide = texture(seed, 160 + speed * count)
    return [wide[:, n * speed : n * speed + 160].copy() for n in range(count)]


def test_planted_cuts_of_short_shots() -> None:
    lengths = [3, 8, 20, 3, 12, 4]
    images = [image for seed, n in enumerate(lengths) for image in moving(seed, n)]
    assert cuts(images) == list(np.cumsum(lengths)[:-1])


@pytest.mark.parametrize("lengths", [[2, 10], [10, 2], [3, 3], [3, 3, 3], [5, 1000]])
def test_cuts_near_the_ends(lengths: list[int]) -> None:
    images = [image for seed, n in enumerate(lengths) for image in moving(seed, min(n, 30))]
    assert cuts(images) == list(np.cumsum([min(n, 30) for n in lengths])[:-1])


@pytest.mark.parametrize("seed", range(6))
def test_random_edits(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(3, 30, 6)
    images = [image for n, length in enumerate(lengths) for image in moving(100 * seed + n, length)]
    assert cuts(images) == list(np.cumsum(lengths)[:-1])


@pytest.mark.parametrize("speed", [0, 2, 8, 25])
def test_a_pan_is_one_shot(speed: int) -> None:
    assert cuts(moving(1, 40, speed)) == []


def test_a_sudden_jolt_is_one_shot() -> None:
    wide = texture(1, 400)
    places = [0] * 15 + [30] * 15
    assert cuts([wide[:, x : x + 160].copy() for x in places]) == []


def test_fades_and_dissolves_are_no_cuts() -> None:
    one, other = texture(1), texture(2)
    weights = np.concatenate([np.zeros(10), np.linspace(0, 1, 25), np.ones(10)])
    assert cuts([np.float32((1 - w) * one + w * other) for w in weights]) == []
    assert cuts([np.float32((1 - w) * one) for w in weights]) == []


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    images = moving(3, 30, 1)
    for n in range(12, 12 + length):
        images[n] = np.clip(images[n] * 0.3 + 0.7, 0, 1)
    assert cuts(images) == []
    images[12:14] = [np.ones_like(images[0])] * 2
    assert cuts(images) == []


def test_a_cut_after_a_flash_is_found() -> None:
    images = moving(3, 20, 1) + moving(4, 20, 1)
    images[16] = np.ones_like(images[0])
    assert cuts(images) == [20]


def test_half_the_picture_at_rest_hides_no_cut() -> None:
    still = texture(9)[:, :80]
    images = [
        np.concatenate([image[:, :80], still], axis=1)
        for image in moving(5, 15, 1) + moving(6, 15, 1)
    ]
    assert cuts(images) == [15]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_very_short_clips(count: int) -> None:
    assert cuts(moving(1, count)) == []


def test_little_is_held_back() -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in stream(moving(1, 30)):
            taken += 1
            yield frame

    for _, frame in split_shots(counted()):
        assert taken - frame.index <= LOOK_AHEAD + 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scene_cuts.mp4", [30, 76, 137, 187, 242]),
        ("cockatoo.mp4", []),
        ("carphone.mp4", []),
        ("nasa.mp4", [202]),
        ("demo.mp4", [268]),  # where the source's damaged frames give way to whole ones
    ],
)
def test_real_clips(name: str, expected: list[int]) -> None:
    with ClipReader(real_clip(name), ClipSettings(size=320)) as reader:
        assert cuts([frame.image for frame in reader]) == expected


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(VidstyleError, match="opencv-python-headless"):
        list(split_shots(stream(moving(1, 3))))

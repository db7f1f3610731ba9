"""Frames that show nothing new: told from those that do, and painted as the one before."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.core.toys import cpu, stripes, texture, toy_net
from vidstyle.flow import load_flow
from vidstyle.flow.repeats import change, repeats
from vidstyle.frame import Frame
from vidstyle.images import as_on_disk
from vidstyle.optimize import Step
from vidstyle.passes import stylize_in_passes
from vidstyle.render import _with_motion
from vidstyle.settings import StyleSettings
from vidstyle.stylize import OptimizingStyler

WORLD = texture(120, 240)


def view(x: float) -> np.ndarray:
    """(80, 112, 3) of the world, so many pixels further on."""
    shift = np.float32([[1, 0, -8 - x], [0, 1, -8]])
    return cv2.warpAffine(WORLD, shift, (112, 80), flags=cv2.INTER_CUBIC).clip(0, 1)


def coded(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """As a codec gives it back: a level of noise a pixel, and a block that it came back to."""
    noise = np.random.default_rng(seed).normal(0, 1 / 255, image.shape).astype(np.float32)
    noise[16:24, 16:24] += 6 / 255
    return (image + noise).clip(0, 1)


def with_a_fly(image: np.ndarray) -> np.ndarray:
    marked = image.copy()
    marked[40:44, 60:64] = 1 - marked[40:44, 60:64].round()
    return marked


@pytest.mark.parametrize(
    ("later", "usual", "expected"),
    [
        (view(0), 0.0, True),
        (coded(view(0)), change(view(0), view(6)), True),
        (coded(view(0)), change(view(0), coded(view(0), 1)), False),
        (with_a_fly(view(0)), change(view(0), view(6)), False),
        (view(0.1), change(view(0), view(0.1)), False),
        (view(6), change(view(0), view(6)), False),
        ((view(0) + np.float32(2 / 255)).clip(0, 1), 0.5, False),
    ],
    ids=[
        "held",
        "doubled",
        "grain like before",
        "a fly that moves",
        "a slow pan",
        "a pan",
        "the light after a flash",
    ],
)
def test_what_repeats(later: np.ndarray, usual: float, expected: bool) -> None:
    assert repeats(view(0), later, usual) is expected


@pytest.mark.parametrize("passes", [1, 2])
def test_doubled_frames_are_painted_as_one_and_cost_nothing(tmp_path: Path, passes: int) -> None:
    """In a film with every second frame doubled: the results of the film without."""

    def render(film: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
        steps = list[Step]()
        look = StyleSettings(steps=2, first_steps=5, passes=passes)
        styler = OptimizingStyler(
            toy_net(), [stripes()], cpu(), look, load_flow("dis"), steps.append
        )
        frames = [(0, Frame(image, i, i, Fraction(1, 25))) for i, image in enumerate(film)]
        results = list(stylize_in_passes(frames, styler, passes, False, tmp_path))
        return results, len(steps)

    plain, steps = render([view(x) for x in (0, 3, 6, 9)])
    doubled, again = render([view(x) for x in (0, 3, 3, 6, 9, 9)])
    assert np.array_equal(doubled, [plain[place] for place in (0, 1, 1, 2, 3, 3)])
    assert again == steps


def ready_for(styler: Any, look: StyleSettings) -> Any:
    """A render of `view`s of which nothing is finished yet."""
    height, width, _ = view(0).shape
    reader = SimpleNamespace(info=SimpleNamespace(height=height, width=width))
    return SimpleNamespace(styler=styler, look=look, reader=reader, finished=lambda index: 0)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_repeat_that_is_not_the_same_to_the_bit_asks_for_no_motion(
    tmp_path: Path, passes: int
) -> None:
    """Frames doubled but for a codec's noise: each motion is found once, and so judged later."""
    asked = 0
    search = load_flow("dis")

    def estimate(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1
        return search(one, other)

    look = StyleSettings(steps=1, first_steps=2, passes=passes)
    styler = OptimizingStyler(toy_net(), [stripes()], cpu(), look, estimate)
    ready = ready_for(styler, look)
    noise = np.random.default_rng(0).normal(0, 0.3 / 255, (7, *view(0).shape)).astype(np.float32)
    places = zip((0, 3, 3, 6, 6, 9, 9), noise, strict=True)
    film = [as_on_disk(view(x) + grain) for x, grain in places]
    frames = [(0, Frame(image, i, i, Fraction(1, 25))) for i, image in enumerate(film)]
    with_motion = _with_motion(frames, ready)
    results = list(stylize_in_passes(with_motion, styler, passes, False, tmp_path))
    assert all(np.array_equal(results[i], results[i + 1]) for i in (1, 3, 5))
    judged = [styler.motion.judged_by(*pair) for pair in pairwise(film)] if styler.motion else []
    assert asked == 2 * 3
    moved = [float(link.flow[:, 0].median()) for link in judged]
    assert moved == pytest.approx([-3, 0, -3, 0, -3, 0], abs=0.2)
    assert all(bool((link.flow == 0).all() and (link.trust == 1).all()) for link in judged[1::2])


def test_in_one_pass_a_repeat_stays_its_own_picture() -> None:
    look = StyleSettings(passes=1)
    motion = SimpleNamespace(
        between=lambda one, other: None,
        repeat=lambda one, other: None,
        use_threads=lambda *size: 1,
        device=torch.device("cpu"),
    )
    ready = ready_for(SimpleNamespace(motion=motion), look)
    film = [view(0), view(3), view(3) + 0.001]
    frames = [(0, Frame(image, i, i, Fraction(1, 25))) for i, image in enumerate(film)]
    given = [frame.image for _, frame in _with_motion(frames, ready, exact=True)]
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(given, film, strict=True))

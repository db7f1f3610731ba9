"""A painting that is carried on follows its source's tones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidstyle.images import blur
from vidstyle.tones import LEAST, carry_tones, colour_map, follow_tones, recoloured, tones_of

SIZE = 48, 64
TRUSTED = torch.ones(1, 1, *SIZE)
COLOURS = torch.tensor([[0.5, 0.1, 0.0], [0.1, 0.4, 0.1], [0.0, 0.2, 0.6], [0.1, 0.2, 0.05]])


def picture(seed: int = 0, low: float = 0.2, high: float = 0.6) -> torch.Tensor:
    """Forms of some four pixels."""
    noise = torch.from_numpy(np.random.default_rng(seed).random((1, 3, *SIZE))).float()
    forms = blur(noise, 2.0)
    return low + (high - low) * (forms - forms.min()) / (forms.max() - forms.min())


def in_the_middle(change: float, side: int = 24) -> torch.Tensor:
    """(1, 3, H, W): a square's."""
    height, width = SIZE
    square = torch.zeros(1, 3, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square[..., top : top + side, left : left + side] = change
    return square


def test_colours_are_mapped_as_planted():
    content = picture(low=0, high=1)
    painted = recoloured(content, COLOURS)
    assert torch.allclose(colour_map(content, painted, TRUSTED), COLOURS, atol=0.06)


def test_colours_are_learnt_where_trusted():
    content, trust = picture(low=0, high=1), TRUSTED.clone()
    painted = recoloured(content, COLOURS)
    trust[..., :32], painted[..., :32] = 0, 1
    assert torch.allclose(colour_map(content, painted, trust), COLOURS, atol=0.1)


def test_what_grows_light_does_so_in_the_painting_s_colours_and_there_alone():
    source = picture(low=0.0, high=0.7)
    carried = recoloured(source, COLOURS)
    square = in_the_middle(0.3)
    moved, shown = follow_tones(source + square, carried, tones_of(source), TRUSTED)
    change = (moved - carried)[0]
    wanted = (0.3 - LEAST) * COLOURS[:3].sum(0)
    assert change[:, 24, 32] == pytest.approx(wanted.tolist(), rel=0.2)
    assert change[:, 4, 4].abs().max() == 0
    assert (shown - tones_of(source))[0, :, 12, 16] == pytest.approx([0.3 - LEAST] * 3, rel=0.02)


def test_small_changes_wait_until_they_have_grown():
    carried = now = source = picture()
    shown, levels = tones_of(source), []
    for _ in range(10):
        now = now + LEAST / 2
        carried, shown = follow_tones(now, carried, shown, TRUSTED)
        levels.append(float((carried - source).mean()) / LEAST)
    assert levels[:2] == [0, 0]
    assert levels[-1] == pytest.approx(4, abs=0.3)  # 5 less what is let be


def test_grain_is_no_form():
    source = picture()
    grain = torch.from_numpy(np.random.default_rng(1).normal(0, 0.025, (1, 3, *SIZE))).float()
    moved, shown = follow_tones(source + grain, source, tones_of(source), TRUSTED)
    assert torch.equal(moved, source) and torch.equal(shown, tones_of(source))


def test_small_forms_are_followed_where_they_differ_clearly():
    """A line of four pixels, which the flow has missed; less of it where all is larger."""
    source, line = picture(low=0.1, high=0.5), torch.zeros(1, 3, *SIZE)
    line[..., 30:34] = 0.4
    moved, _ = follow_tones(source + line, source, tones_of(source), TRUSTED)
    broad, _ = follow_tones(source + line, source, tones_of(source), TRUSTED, scale=6.0)
    there, beside = (moved - source)[0, 1, 24, [31, 41]].tolist()
    assert there > 0.2 and abs(beside) < 0.01
    assert (broad - source)[0, 1, 24, 31] < 0.5 * there


def test_a_flash_leaves_nothing_behind():
    """Light that would leave the range is not lost count of."""
    source, square = picture(low=0.2, high=0.4), in_the_middle(0.6)
    carried = source + 0.3
    flash, shown = follow_tones(source + square, carried, tones_of(source), TRUSTED)
    assert flash.max() == 1
    after, _ = follow_tones(source, flash, shown, TRUSTED)
    assert abs(float((after - carried)[0, :, 14:34, 22:42].mean())) < 0.08


def test_what_is_not_trusted_shows_the_frame_itself():
    source, now = picture(), picture(seed=1)
    _, shown = follow_tones(now, source, tones_of(source), 0 * TRUSTED)
    assert torch.equal(shown, tones_of(now))


@pytest.mark.parametrize("size", [(9, 12), (10, 13), (47, 63)])
def test_odd_sides_are_followed_to_the_edge(size):
    source = torch.full((1, 3, *size), 0.4)
    moved, shown = follow_tones(source + 0.2, source, tones_of(source), torch.ones(1, 1, *size))
    assert moved.shape == source.shape and shown.shape == tones_of(source).shape
    assert (moved - source)[0, 0].numpy() == pytest.approx(0.2 - LEAST, rel=0.05)


def test_tones_are_carried_like_the_picture():
    """Along an even motion, by spline: a pan of half pixels wears out neither."""
    height, width = SIZE
    x = torch.arange(width) / width * 10 * np.pi
    source = (0.5 + 0.3 * torch.sin(x)).expand(1, 3, height, width).contiguous()
    flow = torch.zeros(1, 2, height, width)
    flow[:, 0] = 0.5
    tones = tones_of(source)
    for _ in range(8):
        tones = carry_tones(tones, flow)
    there = tones_of(torch.roll(source, -4, dims=3))
    assert torch.allclose(tones[..., 4:-4], there[..., 4:-4], atol=0.03)

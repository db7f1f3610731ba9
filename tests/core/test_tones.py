"""A painting that is carried on follows its source's tones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vidstyle.images import blur
from vidstyle.tones import (
    FORM,
    LEAST,
    ColourMap,
    Tones,
    _slopes,
    colour_map,
    follow_tones,
    tones_of,
)

SIZE = 48, 64
TRUSTED, STILL = torch.ones(1, 1, *SIZE), torch.zeros(1, 2, *SIZE)
SLOPES = torch.tensor([[0.5, 0.1, 0.0], [0.1, 0.4, 0.2], [0.0, 0.1, 0.6]])
COLOURS = ColourMap(SLOPES, torch.tensor([0.1, 0.2, 0.05]))


def picture(seed: int = 0, low: float = 0.2, high: float = 0.6) -> Tensor:
    """Forms of some four pixels."""
    noise = torch.from_numpy(np.random.default_rng(seed).random((1, 3, *SIZE))).float()
    forms = blur(noise, 2.0)
    return low + (high - low) * (forms - forms.min()) / (forms.max() - forms.min())


def square(change: float, side: int = 28) -> Tensor:
    """(1, 3, H, W): of a square in the middle."""
    height, width = SIZE
    top, left = (height - side) // 2, (width - side) // 2
    change_there = torch.zeros(1, 3, height, width)
    change_there[..., top : top + side, left : left + side] = change
    return change_there


def follow(
    content: Tensor, carried: Tensor, tones: Tones, trust: Tensor = TRUSTED, scale: float = 1.0
) -> tuple[Tensor, Tones]:
    """Where nothing moves."""
    return follow_tones(content, carried, tones, STILL, trust, scale)


def test_colours_are_mapped_as_planted_where_trusted():
    content, trust = picture(low=0, high=1), TRUSTED.clone()
    painted = COLOURS.of(content)
    trust[..., :32], painted[..., :32] = 0, 1
    found = colour_map(content, painted, trust)
    assert torch.allclose(found.slopes, COLOURS.slopes, atol=0.08)
    assert torch.allclose(found.constant, COLOURS.constant, atol=0.08)


@pytest.mark.parametrize(
    ("content", "trust"), [(picture(), 0 * TRUSTED), (torch.full((1, 3, *SIZE), 0.4), TRUSTED)]
)
def test_without_trust_or_in_one_colour_changes_are_the_source_s(content, trust):
    found = colour_map(content, picture(seed=1), trust)
    assert torch.allclose(found.slopes, torch.eye(3), atol=1e-3)


def test_colours_that_hardly_differ_are_the_source_s():
    """Of two levels, however they were painted: nothing is known of strong ones."""
    grey = picture(low=0, high=1)[:, :1].expand(-1, 3, -1, -1)
    found = colour_map(grey + 0.08 * (picture(seed=1) - 0.4), grey / 2, TRUSTED).slopes
    assert (torch.tensor([1.0, -1.0, 0.0]) @ found).tolist() == pytest.approx([1, -1, 0], abs=0.15)
    assert found.sum(0).tolist() == pytest.approx([0.5] * 3, abs=0.05)


def test_what_grows_light_does_so_in_the_painting_s_colours_and_there_alone():
    source = picture(low=0.0, high=0.6)
    carried = COLOURS.of(source)
    moved, now = follow(source + square(0.3), carried, tones_of(source, carried))
    change = (moved - carried)[0]
    wanted = (0.3 - LEAST) * SLOPES.sum(0)
    assert change[:, 24, 32] == pytest.approx(wanted.tolist(), rel=0.2)
    assert change[:, 4, 4].abs().max() == 0
    assert (now.shown - tones_of(source, carried).shown)[0, :, 12, 16] == pytest.approx(
        [0.3 - LEAST] * 3, rel=0.02
    )


def test_small_changes_wait_until_they_have_grown():
    carried = now = source = picture()
    tones, steps = tones_of(source, source), []
    for _ in range(10):
        now = now + LEAST / 2
        carried, tones = follow(now, carried, tones)
        steps.append(float((carried - source).mean()) / LEAST)
    assert steps[:2] == pytest.approx([0, 0], abs=1e-6)
    assert steps[-1] == pytest.approx(4, abs=0.3)  # 5 less what is let be


def test_grain_is_no_form():
    source = picture()
    grain = torch.from_numpy(np.random.default_rng(1).normal(0, 0.025, (1, 3, *SIZE))).float()
    moved, now = follow(source + grain, source, tones_of(source, source))
    assert torch.equal(moved, source)
    assert torch.equal(now.shown, tones_of(source, source).shown)


def test_forms_are_as_large_as_strokes_are():
    """A line of four pixels, which the flow has missed; less of it where all is larger."""
    source, line = picture(low=0.1, high=0.5), torch.zeros(1, 3, *SIZE)
    line[..., 30:34] = 0.4
    moved, _ = follow(source + line, source, tones_of(source, source))
    broad, _ = follow(source + line, source, tones_of(source, source), scale=6.0)
    there, beside = (moved - source)[0, 1, 24, [31, 32 + round(4 * FORM)]].tolist()
    assert there > 0.12 and abs(beside) < 0.01
    assert (broad - source)[0, 1, 24, 31] < 0.5 * there


def test_flashes_leave_nothing_behind():
    """Twenty that leave the range, over strokes of strong colours; nor where all is new."""
    source = picture(low=0.05, high=0.35)
    bright = source + square(0.65)
    strokes = 0.15 * torch.sin(torch.arange(SIZE[1]) * 1.5)
    carried = COLOURS.of(source) + strokes + torch.tensor([0.5, 0.3, 0.1]).view(1, 3, 1, 1)
    now, tones = carried, tones_of(source, carried)
    for _ in range(20):
        flash, tones = follow(bright, now, tones)
        assert float((flash - carried)[0, 2, 24, 24:40].mean()) > 0.3
        now, tones = follow(source, flash, tones)
        left = (now - carried)[0, :, 14:34, 22:42].mean((1, 2))
        assert left.abs().max() < 2.5 * LEAST
    _, tones = follow(bright, now, tones, 0 * TRUSTED)
    assert not tones.over.any()


@pytest.mark.parametrize("length", [4, 8, 16])
def test_a_source_that_clips_is_not_followed_twice(length):
    """Stripes of black and white, and twenty flashes of three frames."""
    stripes = (torch.arange(SIZE[1]) // (length // 2) % 2).float()
    source = stripes.expand(1, 3, *SIZE).contiguous()
    painted = now = 0.3 + 0.4 * source
    tones = tones_of(source, painted)
    for _ in range(20):
        for light in (0.4, 0.4, 0.4, 0, 0, 0):
            now, tones = follow((source + light).clamp(0, 1), now, tones)
    assert (now - painted).abs().mean() < 2 * LEAST


def test_a_light_that_stays_moves_nothing_more():
    """What it has driven out of the range does not seep into what is beside it."""
    source = picture(low=0.1, high=0.4)
    strokes = 0.15 * torch.sin(torch.arange(SIZE[1]) * 1.5)
    painted = COLOURS.of(source) + 0.4 + strokes
    lit, tones = follow(source + square(0.5), painted, tones_of(source, painted))
    settled = lit
    for _ in range(20):  # until the square's edge is as sharp as a form's
        settled, tones = follow(source + square(0.5), settled, tones)
    for _ in range(50):
        now, tones = follow(source + square(0.5), settled, tones)
        assert (now - settled).abs().max() < 0.002
        settled = now
    dark, _ = follow(source, settled, tones)
    assert (dark - painted).abs().mean() < 0.05


def test_a_flash_moves_along():
    """By four pixels, there and back, with what has left the range."""
    source, ground = picture(low=0.2, high=0.4), 0.7 * torch.ones(1, 3, *SIZE)
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0] = -4.0
    flash = source + square(0.5, side=16)
    lit, tones = follow(flash, ground + source / 2, tones_of(source, ground + source / 2))
    moved, after = source.roll(4, 3), (ground + source / 2).roll(4, 3)
    back, tones = follow_tones(moved, lit.roll(4, 3), tones, flow, TRUSTED)
    assert (back - after)[..., 8:].abs().max() < 0.1
    assert tones.over[..., 8:].abs().max() < 0.05


def test_what_begins_in_white_is_learnt_from_what_follows():
    source = picture(low=0.1, high=0.9)
    white = torch.ones_like(source)
    tones = tones_of(white, white)
    for _ in range(3):
        _, tones = follow(source, COLOURS.of(source), tones, 0 * TRUSTED)
    assert torch.allclose(_slopes(tones.moments), torch.eye(3), atol=1e-3)
    for _ in range(60):
        _, tones = follow(source, COLOURS.of(source), tones)
    assert torch.allclose(_slopes(tones.moments), SLOPES, atol=0.15)


def test_a_fog_s_changes_are_no_larger_than_its_own():
    """Painted with ten times its contrast."""
    fog = picture(low=0.4, high=0.6)
    carried = (0.5 + 10 * (fog - fog.mean())).clamp(0.1, 0.9)
    moved, _ = follow(fog + square(0.1), carried, tones_of(fog, carried))
    assert 0.04 < float((moved - carried)[0, :, 24, 32].max()) < 0.1


def test_what_is_not_trusted_shows_the_frame_itself_and_teaches_nothing():
    source, now = picture(low=0, high=1), picture(seed=1)
    painted = COLOURS.of(source)
    tones = tones_of(source, painted)
    _, after = follow(now, picture(seed=2), tones, 0 * TRUSTED)
    assert torch.equal(after.shown, tones_of(now, painted).shown)
    half, wrong = TRUSTED.clone(), painted.clone()
    half[..., :32], wrong[..., :32] = 0, 1 - source[..., :32]
    tones = tones_of(source, source)
    for _ in range(200):
        _, tones = follow(source, wrong, tones, half)
    assert torch.allclose(_slopes(tones.moments), SLOPES, atol=0.1)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (9, 12), (10, 13), (47, 63)])
def test_any_side_is_followed_to_the_edge(size):
    source = torch.full((1, 3, *size), 0.4)
    flow, trust = torch.zeros(1, 2, *size), torch.ones(1, 1, *size)
    moved, tones = follow_tones(source + 0.2, source, tones_of(source, source), flow, trust)
    assert moved.shape == source.shape
    assert tones.shown.shape[2:] == tuple((side + 1) // 2 for side in size)
    assert (moved - source)[0, 0].numpy() == pytest.approx(0.2 - LEAST, rel=0.05)


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_a_long_pan_is_not_painted_over_with_its_source(step):
    """Tones wear out as they are carried, at half size sooner than the picture: not as forms."""
    x = torch.arange(SIZE[1])

    def seen(shift: float, contrast: float) -> Tensor:
        waves = sum(torch.sin((x + shift) * 2 * np.pi / length) for length in (8, 12, 16, 32))
        return (0.5 + contrast * waves).expand(1, 3, *SIZE).contiguous()

    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0] = step
    tones = tones_of(seen(0, 0.1), seen(0, 0.05))
    for index in range(1, 61):
        shift = index * step
        moved, tones = follow_tones(seen(shift, 0.1), seen(shift, 0.05), tones, flow, TRUSTED)
    middle = (moved - seen(60 * step, 0.05))[..., 8:-8]
    assert middle.abs().max() < 0.02

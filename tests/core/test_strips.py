"""Pictures gone over in strips: the very loss and gradient of the whole."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import count

import pytest
import torch

from tests.core.toys import cpu, deep_toy_net, little_memory, stripes, texture
from vidstyle import optimize
from vidstyle.features import load_features
from vidstyle.features.strips import OVERHEAD, Strip, strips, values_per_pixel
from vidstyle.features.taps import TapNet
from vidstyle.images import to_tensor
from vidstyle.optimize import Goal, Optimizer, PixelLBFGS
from vidstyle.settings import StyleSettings

CPU = torch.device("cpu")
HEIGHTS = (96, 101)  # the second leaves a row behind at every pooling


def halves(net: TapNet, height: int, width: int, room: int) -> list[Strip]:
    """So little room that there are several."""
    few = strips(net, height, width, int(values_per_pixel(net) * OVERHEAD * width * height * 0.8))
    assert len(few) > 1
    return few


@pytest.mark.parametrize("net", [deep_toy_net(), load_features("lite").reflecting().frozen()])
def test_strips_keep_every_row_once_and_see_what_their_features_need(net: TapNet) -> None:
    room = int(values_per_pixel(net) * OVERHEAD * 1920 * 300)
    parts = strips(net, 1080, 1920, room)
    assert len(parts) > 1 and parts[0].top == 0 and parts[-1].bottom == parts[-1].last == 1080
    assert [part.first for part in parts[1:]] == [part.last for part in parts[:-1]]
    for part in parts:
        assert part.top % net.coarsest == part.first % net.coarsest == 0
        assert part.top == 0 or part.first - part.top >= net.reach
        assert part.bottom == 1080 or part.bottom - part.last >= net.reach
        assert part.bottom - part.top <= 300


@pytest.mark.parametrize("height", range(96, 104))
def test_every_strip_has_rows_of_its_own_at_every_scale(height: int) -> None:
    net = load_features("lite")
    parts = strips(net, height, 64, 1)
    assert len(parts) == height // net.coarsest and parts[-1].last == height
    rows = [part.last // net.coarsest - part.first // net.coarsest for part in parts]
    assert min(rows) > 0 and sum(rows) == height // net.coarsest


def test_what_fits_is_one_strip() -> None:
    assert strips(deep_toy_net(), 90, 160, 10**9) == [Strip(0, 0, 90, 90)]


def test_lite_sees_22_pixels() -> None:
    net = load_features("lite")
    assert net.reach == 22 and net.coarsest == 4  # two at full size, two at half, four at a quarter


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("hold", [1.0, 0.25, None])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("name, size", [("toy", None), ("lite", None), ("toy", (123, 90))])
def test_loss_and_gradient_are_the_whole_pictures(
    name: str,
    size: tuple[int, int] | None,
    smooth: bool,
    height: int,
    hold: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = deep_toy_net() if name == "toy" else load_features("lite").frozen()
    work = Optimizer(net.reflecting(), cpu(), StyleSettings(tv_weight=1, temporal_weight=10))
    # By some seeds one of lite's ReLUs is within rounding of its kink, and has either gradient.
    image, other = (to_tensor(texture(height, 70, seed), CPU) for seed in (4, 5))
    painting = to_tensor(stripes(), CPU)

    def found() -> tuple[torch.Tensor, torch.Tensor, Goal]:
        trust = torch.ones_like(other[:, :1])
        flow = torch.full_like(other[:, :2], 0.5)
        goal = Goal(work.grams(painting), None, other, trust, flow, size=size, smooth=smooth)
        if hold is not None:
            goal = replace(goal, content=work.content(goal.seen(other)), hold=hold)
        start = image.clone().requires_grad_()
        loss = work.backward(start, goal, work.strips(size or image.shape[2:]))
        assert start.grad is not None
        return loss, start.grad, goal

    loss, gradient, goal = found()
    monkeypatch.setattr(optimize, "strips", halves)
    strip_loss, strip_gradient, strip_goal = found()
    assert strip_loss == pytest.approx(float(loss), rel=1e-5)
    assert (strip_gradient - gradient).abs().max() < 1e-5 * gradient.abs().max()
    if hold:
        torch.testing.assert_close(strip_goal.content, goal.content, rtol=1e-5, atol=1e-5)


def test_strips_follow_the_settings_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    image = to_tensor(texture(96, 70), CPU)
    monkeypatch.setattr(optimize, "strips", halves)
    losses = []
    for weight in (1, 2):
        look = replace(StyleSettings(tv_weight=0, temporal_weight=0), style_weight=weight)
        work = Optimizer(deep_toy_net(), cpu(), look)
        goal = Goal(work.grams(to_tensor(stripes(), CPU)))
        parts = work.strips(image.shape[2:])
        losses.append(float(work.backward(image.requires_grad_(), goal, parts)))
    assert losses[1] == pytest.approx(2 * losses[0])


def descended(
    monkeypatch: pytest.MonkeyPatch, failing: Iterable[int] = ()
) -> tuple[torch.Tensor, Optimizer]:
    """Three steps, of which some first fail when all but the pixels' part is done."""
    image, painting = (to_tensor(picture) for picture in (texture(96, 70), stripes(60, 60)))
    work = Optimizer(deep_toy_net().reflecting(), cpu(), StyleSettings(tv_weight=1))
    pixel_loss, calls = work.pixel_loss, count()

    def late(image: torch.Tensor, goal: Goal) -> torch.Tensor:
        if next(calls) in failing:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return pixel_loss(image, goal)

    monkeypatch.setattr(work, "pixel_loss", late)
    goal = Goal(work.grams(painting), work.content(image))
    return work.descend(image, goal, PixelLBFGS, 3), work


def test_where_memory_runs_out_the_same_is_made_of_smaller_strips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From then on, of no smaller ones than it takes, and it is said."""
    expected, work = descended(monkeypatch)
    assert work.warnings == [] and not work.short
    seen = little_memory(monkeypatch, 60)
    found, work = descended(monkeypatch)
    assert (found - expected).abs().mean() < 1e-5
    assert work.warnings == [optimize.SHORT]
    assert [rows for rows in seen if rows > 60] == [96]  # the painting's 60 rows fit
    assert max(seen[seen.index(96) + 1 :]) == 48


def test_a_step_that_runs_out_of_memory_late_leaves_no_gradient_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one go and in strips, whose own part has its gradient by then."""
    expected, _ = descended(monkeypatch)
    found, work = descended(monkeypatch, failing=[1])
    assert (found - expected).abs().mean() < 1e-5 and work.short
    little_memory(monkeypatch, 60)
    monkeypatch.setattr(optimize, "NARROWEST", 1)
    found, work = descended(monkeypatch, failing=[0, 2])
    assert (found - expected).abs().mean() < 1e-5


def test_where_no_strip_is_small_enough_it_is_the_users_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = little_memory(monkeypatch, 0)
    work = Optimizer(deep_toy_net(), cpu(), StyleSettings())
    with pytest.raises(torch.OutOfMemoryError):
        work.grams(to_tensor(texture(96, 70)))
    assert seen == [96, 48] or len(seen) == len(set(seen)), seen


def test_other_errors_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(net: TapNet, image: torch.Tensor, taps: Collection[str]) -> dict:
        raise RuntimeError("mat1 and mat2 must have the same dtype")

    monkeypatch.setattr(TapNet, "forward", broken)
    work = Optimizer(deep_toy_net(), cpu(), StyleSettings())
    with pytest.raises(RuntimeError, match="mat1"):
        work.grams(to_tensor(texture(96, 70)))
    assert not work.short

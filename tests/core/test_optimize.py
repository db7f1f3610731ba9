"""The optimiser of one frame, with a toy network."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.core.toys import cpu, deep_toy_net, stripes
from vidstyle.device import Compute
from vidstyle.features import arranged, load_features
from vidstyle.features.strips import Strip
from vidstyle.images import binomial, resize, to_tensor
from vidstyle.losses import spot_loss
from vidstyle.optimize import FARTHEST, FIRST_MOVE, Goal, Optimizer, PixelAdam, PixelLBFGS
from vidstyle.settings import StyleSettings


def optimizer(**weights: float) -> Optimizer:
    return Optimizer(deep_toy_net(), cpu(), StyleSettings(**weights))


def grey(level: float = 0.5) -> torch.Tensor:
    return torch.full((1, 3, 48, 64), level)


def adam(rate: float = 0.02) -> Callable[[torch.Tensor], PixelAdam]:
    return partial(PixelAdam, rate=rate)


def goal_of(work: Optimizer, content: torch.Tensor) -> Goal:
    return Goal(work.grams(to_tensor(stripes())), work.content(content))


def test_descending_brings_the_style_closer_and_stays_in_range():
    work = optimizer(content_weight=0.0)
    start = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    goal = goal_of(work, start)
    losses = []
    result = work.descend(start, goal, adam(), 60, lambda _, x: losses.append(float(x)))
    assert losses[-1] < 0.1 * losses[0]
    assert result.min() >= 0 and result.max() <= 1
    assert torch.equal(start, torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)))


def test_the_content_alone_is_already_reached_by_itself():
    work = optimizer(style_weight=0.0, content_weight=1.0, tv_weight=0.0)
    start = to_tensor(stripes())
    assert float(work.loss(start, goal_of(work, start))) == pytest.approx(0, abs=1e-9)


def test_where_occluded_the_temporal_gradient_is_zero_and_the_style_gradient_is_not():
    """The planted answer: gradients with and without the temporal loss agree exactly there."""
    work = optimizer(temporal_weight=1000.0)
    start = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    alone = goal_of(work, start)
    trust = torch.ones(1, 1, 48, 64)
    trust[..., 20:40] = 0
    held = replace(alone, carried=grey(0.2), trust=trust)

    def gradient(goal: Goal) -> torch.Tensor:
        image = start.clone().requires_grad_()
        return torch.autograd.grad(work.loss(image, goal), image)[0]

    free, pulled = gradient(alone), gradient(held)
    assert torch.equal(free[..., 20:40], pulled[..., 20:40])
    assert torch.all(free[..., 20:40].abs().amax(dim=(1, 2)) > 0)
    assert not torch.allclose(free[..., :20], pulled[..., :20])


def test_the_temporal_loss_holds_a_picture_to_the_one_before():
    trust, start = torch.ones(1, 1, 48, 64), to_tensor(stripes())
    free, held = (optimizer(temporal_weight=w) for w in (0.0, 1000.0))
    goal = replace(goal_of(free, grey()), carried=start, trust=trust)
    moved = free.descend(start, goal, PixelLBFGS, 20)
    kept = held.descend(start, goal, PixelLBFGS, 20)
    assert (kept - start).square().mean() < 0.5 * (moved - start).square().mean()


def test_fine_detail_is_let_go_where_it_moves_by_parts_of_a_pixel():
    work, start = optimizer(temporal_weight=1000.0), noise(4)
    held = replace(goal_of(work, grey()), carried=start, trust=torch.ones(1, 1, 48, 64))

    def detail(pixels: float) -> torch.Tensor:
        goal = replace(held, flow=torch.full((1, 2, 48, 64), pixels), shimmer=0.6)
        return work.descend(start, goal, PixelLBFGS, 10).diff(dim=3).square().mean()

    assert detail(0.5) < 0.8 * detail(2.0)
    assert detail(2.0) == detail(0.0)


def test_style_and_content_are_compared_at_the_goals_size_and_the_rest_at_the_pictures():
    work, start = optimizer(temporal_weight=10.0), noise(3)
    large = resize(start, (58, 77))
    seen = replace(goal_of(work, resize(grey(0.3), (58, 77))), size=(58, 77))
    held = replace(seen, carried=grey(0.2), trust=torch.ones(1, 1, 48, 64))
    without = optimizer(temporal_weight=0.0, tv_weight=0.0)
    shares = without.loss(large, replace(seen, size=None)) + work.pixel_loss(start, held)
    assert float(work.loss(start, held)) == pytest.approx(float(shares))
    moved = work.descend(start, held, PixelLBFGS, 3)
    assert moved.shape == start.shape and work.loss(moved, held) < 0.9 * shares


def test_a_first_move_is_as_long_as_is_said_and_no_second_one_is_needed_where_it_is_short():
    """A mean over the pixels; what it overshoots, in a valley that it cannot know yet, it loses."""
    image = (0.5 + 0.002 * (noise(1) - 0.5)).requires_grad_()

    def lbfgs(move: float) -> PixelLBFGS:
        return PixelLBFGS(image.detach().clone().requires_grad_(), first=move / FIRST_MOVE)

    def left(move: float) -> float:
        return down(lbfgs(move), bowl, 1)

    def bowl(image: torch.Tensor) -> torch.Tensor:
        return (image - 0.5).square().mean()

    way = lbfgs(0.0004)
    down(way, bowl, 1)
    assert float((way.image - image).detach().abs().mean()) == pytest.approx(0.0004, rel=1e-3)
    assert left(0.0004) < 0.1 * left(0.003)


def test_a_goals_spots_are_times_the_styles_weight():
    start, goal = noise(5), goal_of(optimizer(), grey(0.3))
    work = optimizer(style_weight=2.0)
    spotted = work.loss(start, replace(goal, spots=30.0)) - work.loss(start, goal)
    assert float(spotted) == pytest.approx(60 * float(spot_loss(start)), rel=1e-3)


def test_a_goals_hold_calm_and_steady_are_times_the_settings_weights():
    start = noise(5)
    sure = torch.ones_like(start[:, :1])
    half = torch.cat([sure, sure], dim=1) / 2
    kept = {"carried": noise(6), "trust": sure, "flow": half, "shimmer": 0.8}
    goal = replace(goal_of(optimizer(), grey(0.3)), hold=0.25, calm=3.0, steady=2.0, **kept)
    twice = optimizer(content_weight=0.1, tv_weight=1.5, temporal_weight=8.0)
    loss = optimizer(content_weight=0.4, tv_weight=0.5, temporal_weight=4.0).loss(start, goal)
    assert torch.equal(loss, twice.loss(start, replace(goal, hold=1.0, calm=1.0, steady=1.0)))


def test_adam_is_torchs_adam_where_every_pixel_is_pulled_at_alike():
    """Against torch.optim.Adam with the same betas, the rate over √2, before clamping matters."""
    image = grey().requires_grad_()
    twin = grey().requires_grad_()
    ours = PixelAdam(image, rate=0.01)
    theirs = torch.optim.Adam([twin], lr=0.01 / 2**0.5, betas=(0.9, 0.99), eps=1e-12)
    apart = 0.2 * torch.where(torch.rand_like(image) < 0.5, -1.0, 1.0)
    target = image.detach() + apart
    for _ in range(5):
        for picture, adam in ((image, ours), (twin, theirs)):
            picture.grad = None
            (picture - target).square().mean().backward()
            adam.step()
    assert torch.allclose(image, twin, atol=1e-6)


def test_adam_shakes_no_plain_place_as_much_as_others():
    """Pulled at a hundred times less, it moves some seventy times less: in torch's as far."""
    image = grey().requires_grad_()
    ours = PixelAdam(image, rate=0.01)
    image.grad = torch.ones_like(image)
    image.grad[..., :8] = 0.01
    ours.step()
    moved = (0.5 - image).detach()
    assert moved[..., 8:].min() > 0.006
    assert moved[..., :8].max() < 0.0002


@pytest.mark.parametrize("size", [None, (67, 90)])
def test_smooth_a_network_draws_no_grid(size: tuple[int, int] | None) -> None:
    """Its own pull, style's and content's, loses all that changes from pixel to pixel; no other."""
    work = optimizer(content_weight=0.4, tv_weight=0.5)
    start, seen = noise(5), grey(0.3) if size is None else resize(grey(0.3), size)
    plain = replace(goal_of(optimizer(), seen), size=size)
    pixels = partial(work.pixel_loss, goal=plain)

    def gradient(loss: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        image = start.clone().requires_grad_()
        loss(image).backward()
        assert image.grad is not None
        return image.grad

    every, smoothed = (
        gradient(partial(work.loss, goal=goal)) for goal in (plain, replace(plain, smooth=True))
    )
    own = gradient(pixels)
    assert torch.allclose(smoothed - own, binomial(every - own), atol=1e-7)
    assert (smoothed - own).abs().max() < 0.9 * (every - own).abs().max()
    assert work.loss(start, replace(plain, smooth=True)) == work.loss(start, plain)


def down(method: PixelLBFGS, loss: Callable[[torch.Tensor], torch.Tensor], steps: int) -> float:
    """The loss after so many steps."""
    for _ in range(steps):
        method.image.grad = None
        loss(method.image).backward()
        method.step()
    return float(loss(method.image.detach()))


def noise(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


def valley(image: torch.Tensor) -> torch.Tensor:
    """A quadratic whose curvatures go from 1 to 100; 0 at half grey."""
    curvatures = torch.logspace(0, 2, image.numel()).view_as(image)
    return (curvatures * (image - 0.5).square()).mean()


def test_lbfgs_learns_a_valleys_curvatures():
    """Along the gradient alone, at the best constant rate, some 200 steps would be taken."""
    image = (0.5 + 0.1 * (noise(1) - 0.5)).requires_grad_()
    begun = float(valley(image.detach()))
    assert down(PixelLBFGS(image), valley, 30) < 1e-4 * begun


def test_lbfgs_finds_the_end_of_a_round_valley_in_two_steps():
    image = grey(0.4).requires_grad_()
    assert down(PixelLBFGS(image), lambda x: (x - 0.41).square().mean(), 2) < 1e-10


def test_what_rests_does_not_move_and_what_is_new_moves_faster():
    pace = torch.ones(1, 1, 48, 64)
    pace[..., :20], pace[..., 40:] = 0, 4
    image = grey().requires_grad_()
    down(PixelLBFGS(image, pace), lambda x: (x - 0.6).square().sum(), 1)
    moved = (image.detach() - 0.5)[0, 0, 0]
    assert torch.equal(moved[:20], torch.zeros(20))
    assert torch.allclose(moved[40:], 4 * moved[20].expand(24), rtol=1e-3) and moved[20] > 0
    down(PixelLBFGS(image, pace), valley, 5)
    assert torch.equal(image.detach()[..., :20], grey()[..., :20])


def test_over_a_hill_lbfgs_takes_no_wild_step():
    """Where the loss curves downwards a pair must have no say, and no step be longer."""
    image, length = (0.5 + 0.01 * (noise(2) - 0.5)).requires_grad_(), 0.0
    method = PixelLBFGS(image)
    for _ in range(6):
        before = image.detach().clone()
        down(method, lambda x: -(x - 0.5).square().mean(), 1)
        length = max(length, float((image.detach() - before).square().mean().sqrt()))
    assert torch.isfinite(image).all() and 0 < length < 1.001 * FARTHEST


def test_lbfgs_goes_farther_than_as_many_steps_of_adam_at_any_rate():
    """With the network that ships: a painted picture, carried by half a pixel."""
    work = Optimizer(load_features("lite"), cpu(), StyleSettings())
    goal = goal_of(work, to_tensor(stripes()).flip(2))
    painted = work.descend(to_tensor(stripes()).flip(2), goal, adam(0.03), 30)
    start = (painted + painted.roll(1, 3)) / 2

    def after(method: Callable) -> float:
        return float(work.loss(work.descend(start, goal, method, 4), goal))

    rates = (0.002, 0.004, 0.008, 0.016)
    assert after(PixelLBFGS) < 0.95 * min(after(adam(rate)) for rate in rates)


def test_many_steps_stay_down():
    work, losses = optimizer(), []
    goal = goal_of(work, grey())
    work.descend(noise(4), goal, PixelLBFGS, 150, lambda _, x: losses.append(float(x)))
    assert losses[-1] == pytest.approx(min(losses), rel=0.05) and losses[-1] < 0.2 * losses[0]


def test_on_another_device_nothing_is_mixed_and_nothing_waits(monkeypatch):
    """On `meta` a tensor of the CPU's, or a value that is asked for, raises."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none
    compute = Compute(torch.device("meta"), "fp32")
    work = Optimizer(deep_toy_net().to("meta"), compute, StyleSettings(temporal_weight=1))
    monkeypatch.setattr(work, "strips", lambda size: [Strip(0, 0, 48, 48)])
    work.scaler = cpu().scaler()
    image = torch.rand(1, 3, 48, 64, device="meta")
    goal = Goal(work.grams(image), work.content(image), image, image[:, :1], image[:, :2])
    for method in (adam(), partial(PixelLBFGS, pace=image[:, :1])):
        assert work.descend(image, goal, method, 3).is_meta


@pytest.mark.parametrize("method", [adam(), PixelLBFGS])
def test_scaled_gradients_arrive_unscaled(method):
    """fp16's GradScaler, which a CPU can run too: the same picture as without it."""
    work, start = optimizer(), grey()
    goal = goal_of(work, start)
    plain = work.descend(start, goal, method, 3)
    work.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled = work.descend(start, goal, method, 3)
    assert work.scaler.is_enabled()
    assert torch.allclose(scaled, plain, atol=1e-4)


def test_a_step_whose_gradient_overflowed_is_left_out():
    work, start = optimizer(), grey()
    work.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    result = work.descend(start, goal_of(work, start), adam(), 1)
    assert torch.equal(result, start)
    assert work.scaler.get_scale() < 2.0**126


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (17, 200)])
def test_no_nan_at_any_size(size):
    work = optimizer(tv_weight=1.0)
    start = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3))
    for method in (adam(), PixelLBFGS):
        result = work.descend(start, goal_of(work, start), method, 3)
        assert torch.isfinite(result).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", [adam(), PixelLBFGS])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cuda_precisions_agree_and_stay_finite(precision, method):
    compute = Compute(torch.device("cuda"), precision)
    net = deep_toy_net().to("cuda", memory_format=torch.channels_last)
    work = Optimizer(net, compute, StyleSettings())
    start = torch.rand(1, 3, 720, 1280, device="cuda")
    goal = Goal(work.grams(to_tensor(stripes(), "cuda")), work.content(start))
    assert all(gram.dtype == torch.float32 for gram in goal.grams.values())
    losses = []
    result = work.descend(start, goal, method, 20, lambda _, x: losses.append(x))
    assert torch.isfinite(result).all() and losses[-1] < losses[0]
    assert result.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_steps_as_a_cpu_does_and_sums_nothing_in_an_order_of_chance():
    """Its network is arranged for it, and looked at enlarged, as a clip's frames are."""
    size = (90, 136)
    start = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))

    def gradient(device: str) -> torch.Tensor:
        net = load_features().reflecting()
        net = arranged(net) if device == "cuda" else net
        net = net.to(device, memory_format=torch.channels_last)
        work = Optimizer(net, Compute(torch.device(device), "fp32"), StyleSettings())
        image = start.to(device)
        goal = goal_of(work, resize(image, size))
        still, sure = torch.full_like(image[:, :2], 0.4), torch.ones_like(image[:, :1])
        goal = replace(goal, size=size, carried=image, trust=sure, flow=still, shimmer=0.8, calm=3)
        moved = (0.9 * image).contiguous(memory_format=torch.channels_last).requires_grad_()
        work.loss(moved, goal).backward()
        return moved.grad.cpu()

    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = gradient("cuda")
    finally:
        torch.use_deterministic_algorithms(False)
    said = [str(one.message) for one in caught]
    assert not [line for line in said if "does not have a deterministic" in line]
    truth = gradient("cpu")
    assert (found - truth).norm() < 0.02 * truth.norm()


@pytest.mark.parametrize("method", [adam(), PixelLBFGS])
def test_going_on_after_a_step_that_was_left_out_makes_no_more_than_all(method):
    """The first one overflows; a run stopped after the third has two more to make, not three."""
    work, start = optimizer(), grey()
    goal = goal_of(work, start)
    work.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    plain, overflows = work.backward, iter([True])

    def backward(image, *rest):
        loss = plain(image, *rest)
        if next(overflows, False):
            image.grad.fill_(torch.inf)
        return loss

    work.backward = backward  # type: ignore[method-assign]
    kept = list[tuple[int, dict[str, torch.Tensor], float]]()

    def keep(made, way):
        state = {name: tensor.clone() for name, tensor in way.state().items()}
        kept.append((made, state, work.scaler.get_scale()))

    whole = work.descend(start, goal, method, 5, keep=keep)
    made, state, scale = kept[2]
    assert (made, int(state["steps"])) == (3, 2)

    def resumed(image):
        way = method(image)
        way.restore(state)
        return way

    work.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    assert torch.equal(work.descend(start, goal, resumed, 5, made=made), whole)

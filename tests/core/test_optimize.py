"""The optimiser of one frame, with a toy network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.core.toys import cpu, deep_toy_net, stripes
from vidstyle.images import to_tensor
from vidstyle.losses import gram_loss, gram_matrix
from vidstyle.optimize import Goal, Optimizer, PixelAdam, _Gradient
from vidstyle.settings import StyleSettings


def optimizer(**weights: float) -> Optimizer:
    return Optimizer(deep_toy_net(), cpu(), StyleSettings(**weights))


def grey(level: float = 0.5) -> torch.Tensor:
    return torch.full((1, 3, 48, 64), level)


def goal_of(work: Optimizer, content: torch.Tensor) -> Goal:
    return Goal(work.grams(to_tensor(stripes())), work.content(content))


def test_descending_brings_the_style_closer_and_stays_in_range():
    work = optimizer(content_weight=0.0)
    start = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    goal = goal_of(work, start)
    losses = []
    result, _ = work.descend(start, goal, [0.02] * 60, on_step=lambda _, x: losses.append(float(x)))
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
    moved, _ = free.descend(start, goal, [0.01] * 20)
    kept, _ = held.descend(start, goal, [0.01] * 20)
    assert (kept - start).square().mean() < 0.5 * (moved - start).square().mean()


def test_adam_is_torchs_adam():
    """Against torch.optim.Adam with the same rate and betas, before any clamping matters."""
    image = grey().requires_grad_()
    twin = grey().requires_grad_()
    ours = PixelAdam(image)
    theirs = torch.optim.Adam([twin], lr=0.01, betas=(0.9, 0.99), eps=1e-12)
    target = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(2))
    for _ in range(5):
        ours.rate = 0.01
        for picture, adam in ((image, ours), (twin, theirs)):
            picture.grad = None
            (picture - target).square().mean().backward()
            adam.step()
    assert torch.allclose(image, twin, atol=1e-6)


def test_a_warm_step_goes_on_at_the_rate_of_the_cold_ones():
    """Under a constant gradient Adam moves by its rate, so must the first step handed over."""
    image = grey().requires_grad_()
    cold = PixelAdam(image)
    for _ in range(12):
        cold.rate = 0.001
        image.grad = torch.full_like(image, 0.3)
        cold.step()
    before = image.detach().clone()
    warm = PixelAdam(image, cold.moments)
    warm.rate = 0.001
    warm.step()
    assert torch.allclose(before - image, torch.full_like(image, 0.001), rtol=1e-3, atol=1e-7)


def test_carried_moments_do_not_shake_a_picture_that_has_arrived():
    """Restarted, Adam moves every pixel by its rate; carried on, hardly."""
    work = optimizer()
    start = to_tensor(stripes())
    goal = goal_of(work, start)
    arrived, moments = work.descend(start, goal, list(np.geomspace(0.02, 1e-4, 150)))
    cold, _ = work.descend(arrived, goal, [0.02])
    warm, _ = work.descend(arrived, goal, [0.02], moments)
    assert (warm - arrived).abs().mean() < 0.5 * (cold - arrived).abs().mean()


def whole_gradient(work: Optimizer, image: torch.Tensor, goal: Goal) -> torch.Tensor:
    image = image.clone().requires_grad_()
    return torch.autograd.grad(work.loss(image, goal), image)[0]


def noise(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


def test_a_kept_deep_share_is_the_whole_gradient_where_nothing_has_moved():
    """Learning rate 0: every step's first moment must follow from the one true gradient."""
    work, start = optimizer(), noise(4)
    goal = goal_of(work, noise(5))
    truth = whole_gradient(work, start, goal)
    _, (first, _) = work.descend(start, goal, [0.0] * 4, deep_every=3)
    assert torch.allclose(first, truth, rtol=1e-4, atol=1e-7)


def test_the_deep_layers_are_run_at_every_second_step_and_the_shallow_ones_at_each():
    work, runs = optimizer(), {"relu1_1": 0, "relu3_1": 0}
    goal = goal_of(work, grey())

    def count(tap: str) -> None:
        runs[tap] += 1

    for tap in runs:
        work.net.steps[tap].register_forward_hook(lambda *_, tap=tap: count(tap))
    work.descend(noise(6), goal, [0.02] * 5, deep_every=2)
    assert runs == {"relu1_1": 5, "relu3_1": 3}


def test_a_kept_deep_share_follows_the_picture_through_the_shallow_layers():
    """One step aside the deep share alone is the older one; the shallow losses are the new ones."""
    work, seen = optimizer(content_weight=0.0, tv_weight=0.0), noise(7)
    goal, gradient = goal_of(work, noise(8)), _Gradient(work, goal_of(work, noise(8)), 2)
    moved = (seen + 0.3 * noise(9)).clamp(0, 1)
    shallow, deep = work.net.shallow_taps(), {"relu3_1"}
    edge = work.net(seen, shallow)["relu2_1"].requires_grad_()
    far = gram_loss(
        gram_matrix(work.net.beyond("relu2_1", edge, deep)["relu3_1"]), goal.grams["relu3_1"]
    )
    (pull,) = torch.autograd.grad(far, edge)
    image = moved.clone().requires_grad_()
    features = work.net(image, shallow)
    near = sum(gram_loss(gram_matrix(features[t]), goal.grams[t]) for t in shallow)
    (want,) = torch.autograd.grad(near + (features["relu2_1"] * pull).sum(), image)
    for picture in (seen, moved):
        image = picture.clone().requires_grad_()
        gradient.backward(image)
    assert torch.allclose(image.grad, want, rtol=1e-4, atol=1e-8)
    assert not torch.allclose(want, whole_gradient(work, moved, goal), rtol=1e-2)


def test_a_fallen_scale_renews_the_deep_share():
    """Else it would weigh twice as much as the rest."""
    work, start = optimizer(), noise(10)
    goal = goal_of(work, noise(11))
    work.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    gradient = _Gradient(work, goal, 2)
    for scale in (8.0, 4.0):
        work.scaler.load_state_dict({**work.scaler.state_dict(), "scale": scale})
        image = start.clone().requires_grad_()
        gradient.backward(image)
        assert image.grad is not None
        assert torch.allclose(image.grad / scale, whole_gradient(work, start, goal), rtol=1e-4)


def test_scaled_gradients_arrive_unscaled(monkeypatch):
    """fp16's GradScaler, which a CPU can run too: the same picture as without it."""
    work, start = optimizer(), grey()
    goal = goal_of(work, start)
    plain, _ = work.descend(start, goal, [0.02] * 3)
    work.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaled, _ = work.descend(start, goal, [0.02] * 3)
    assert work.scaler.is_enabled()
    assert torch.allclose(scaled, plain, atol=1e-4)


def test_a_step_whose_gradient_overflowed_is_left_out():
    work, start = optimizer(), grey()
    work.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    result, _ = work.descend(start, goal_of(work, start), [0.02])
    assert torch.equal(result, start)
    assert work.scaler.get_scale() < 2.0**126


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (17, 200)])
def test_no_nan_at_any_size(size):
    work = optimizer(tv_weight=1.0)
    start = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3))
    result, _ = work.descend(start, goal_of(work, start), [0.02] * 3)
    assert torch.isfinite(result).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cuda_precisions_agree_and_stay_finite(precision):
    from vidstyle.device import Compute

    compute = Compute(torch.device("cuda"), precision)
    net = deep_toy_net().to("cuda", memory_format=torch.channels_last)
    work = Optimizer(net, compute, StyleSettings())
    start = torch.rand(1, 3, 720, 1280, device="cuda")
    goal = Goal(work.grams(to_tensor(stripes(), "cuda")), work.content(start))
    assert all(gram.dtype == torch.float32 for gram in goal.grams.values())
    losses = []
    result, moments = work.descend(start, goal, [0.02] * 20, on_step=lambda _, x: losses.append(x))
    assert torch.isfinite(result).all() and losses[-1] < losses[0]
    assert all(moment.dtype == torch.float32 for moment in moments)

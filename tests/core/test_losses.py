"""Each loss against an answer worked out by hand, and its gradient against finite differences."""

import pytest
import torch

from tests.core.toys import numbers
from vidstyle.flow.warp import warp
from vidstyle.losses import (
    content_loss,
    energy,
    gram_loss,
    gram_matrix,
    resampling_loss,
    spot_loss,
    temporal_loss,
    tv_loss,
)


def test_gram_matrix_of_a_constant():
    features = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 5, 7)
    assert torch.allclose(gram_matrix(features), torch.tensor([[[4.0, 6.0], [6.0, 9.0]]]))


@pytest.mark.parametrize("pixels", [(6, 7), (64, 64), (100, 90)], ids=["below", "one", "beyond"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [1, 2])
def test_gram_matrix_and_its_gradient_are_the_plain_ones(count, pixels, layout):
    """Around the chunk size too, where partial sums join; one picture goes another way."""
    features = numbers(count, 5, *pixels).requires_grad_()
    target = numbers(count, 5, 5, seed=1)
    flat = features.flatten(2)
    plain = flat @ flat.transpose(1, 2) / flat.shape[2]
    ours = gram_matrix(features.contiguous(memory_format=layout))
    assert torch.allclose(ours, plain, atol=1e-5)
    wanted = torch.autograd.grad(gram_loss(plain, target), features)[0]
    found = torch.autograd.grad(gram_loss(ours, target), features)[0]
    assert torch.allclose(found, wanted, atol=1e-7)


def test_gram_matrix_gradient_keeps_the_layout():
    features = numbers(1, 8, 20, 30).contiguous(memory_format=torch.channels_last).requires_grad_()
    gram_matrix(features).sum().backward()
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


def test_gram_matrix_stays_finite_where_half_precision_would_overflow():
    # 300² > 65504; few channels round more.
    features = torch.full((1, 16, 300, 300), 300.0, dtype=torch.float16)
    assert torch.allclose(gram_matrix(features), torch.full((1, 16, 16), 90000.0))


@pytest.mark.parametrize("side", [40, 300], ids=["one chunk", "many"])
def test_gram_matrix_of_a_cpus_bfloat16_is_nearly_its_float32(side):
    """Summed in float32: 90,000 pixels in bfloat16 alone would be off by some per cent.

    With a target as near as one gets, 0.01 by the loss: there a rounded product tells most.
    """
    short = numbers(1, 5, side, side).relu().bfloat16().requires_grad_()
    plain = short.detach().float().requires_grad_()
    target = 1.1 * gram_matrix(plain.detach())
    ours, wanted = gram_matrix(short), gram_matrix(plain)
    assert ours.dtype == torch.float32 and torch.allclose(ours, wanted, rtol=4e-3)
    (found,) = torch.autograd.grad(gram_loss(ours, target), short)
    (truth,) = torch.autograd.grad(gram_loss(wanted, target), plain)
    assert found.dtype == torch.bfloat16 and (found - truth).norm() < 0.04 * truth.norm()


def test_gram_loss_is_relative_and_zero_at_its_target():
    target = numbers(1, 4, 4)
    assert gram_loss(target, target) == 0
    assert gram_loss(1.1 * target, target).item() == pytest.approx(0.01, rel=1e-4)
    assert gram_loss(11 * target, 10 * target).item() == pytest.approx(0.01, rel=1e-4)


def test_losses_are_summed_over_the_batch():
    one, other = numbers(1, 3, 8, 8), numbers(1, 3, 8, 8, seed=1)
    both, target = torch.cat([one, other]), numbers(2, 3, 8, 8, seed=2)
    grams = gram_matrix(target)
    apart = gram_loss(gram_matrix(one), grams[:1]) + gram_loss(gram_matrix(other), grams[1:])
    assert torch.allclose(gram_loss(gram_matrix(both), grams), apart)
    contents = content_loss(one, target[:1]) + content_loss(other, target[1:])
    assert torch.allclose(content_loss(both, target), contents)
    assert torch.allclose(tv_loss(both), tv_loss(one) + tv_loss(other))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2])
def test_content_loss_is_relative_to_its_target(count, kind):
    features, target = numbers(count, 4, 6, 5).requires_grad_(), numbers(count, 4, 6, 5, seed=1)
    wanted = sum(
        (f - t).square().sum() / t.square().sum() for f, t in zip(features, target, strict=True)
    )
    (truth,) = torch.autograd.grad(wanted, features)
    loss = content_loss(features.to(kind), target.to(kind))
    (found,) = torch.autograd.grad(loss, features)
    close = 1e-5 if kind == torch.float32 else 1e-2
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(wanted.item(), rel=close)
    assert (found - truth).norm() < close * truth.norm()


@pytest.mark.parametrize("count", [1, 2])  # of one, a CPU multiplies otherwise
def test_in_fp16_the_contents_pull_is_rounded_as_a_whole(count):
    """VGG's large features: what a single difference is multiplied by is less than fp16 has."""
    features, target = (300 * numbers(count, 64, 30, 40, seed=seed) for seed in (0, 1))
    features, target = (x.half().float().requires_grad_() for x in (features, target))
    (truth,) = torch.autograd.grad(content_loss(features, target), features)
    short = features.detach().half().requires_grad_()
    scale = 100.0  # as a loss scaler would, here that far
    (found,) = torch.autograd.grad(scale * content_loss(short, target.half()), short)
    assert 2 * scale / target.square().sum() < torch.finfo(torch.float16).smallest_normal / 1024
    assert (found.float() / scale - truth).norm() < 0.05 * truth.norm()


def test_energy_of_a_large_map_in_bfloat16_does_not_drift():
    short = torch.rand(1, 64, 360, 640, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert energy(short).item() == pytest.approx(short.double().square().sum().item(), rel=1e-5)


def test_flat_targets_do_not_divide_by_zero():
    black = torch.zeros(1, 3, 8, 8)
    assert torch.isfinite(content_loss(numbers(1, 3, 8, 8), black))
    assert torch.isfinite(gram_loss(gram_matrix(numbers(1, 3, 8, 8)), gram_matrix(black)))


def test_tv_loss_of_a_constant_and_of_an_edge():
    assert tv_loss(torch.full((1, 3, 6, 6), 0.7)) == 0
    edge = torch.zeros(1, 3, 4, 6)
    edge[..., 3:] = 1  # one jump of 1 in each of 4 rows and 3 channels, over 3·4·6 values
    assert tv_loss(edge).item() == pytest.approx(12 / 72)


@pytest.mark.parametrize("across, down", [(0.7, 0), (0.5, 0.5), (1.4, -0.6), (0.3, 2.0)])
def test_spot_loss_is_for_spots_and_not_for_strokes(across, down):
    """Straight waves of any direction and length have none, to their ends."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    wave = 0.5 + 0.25 * torch.sin(across * x + down * y)
    spots = torch.full((96, 96), 0.5)
    spots[8::16, 8::16], spots[16::16, 16::16] = 0.75, 0.25
    strokes, dotted = (spot_loss(each.expand(1, 3, -1, -1)) for each in (wave, spots))
    assert spot_loss(torch.full((1, 3, 9, 9), 0.7)) == 0
    assert strokes < 1e-3 * dotted


def test_spot_loss_of_one_spot():
    """One pixel of height h: both second differences, smoothed, are -h in it, and -h/2 beside."""
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 4] = 0.8
    # In it (-h)²; beside it h/2 · -h/2 < 0; in its corners (h/4)² less the slope's (h/4)².
    assert spot_loss(image).item() == pytest.approx(0.8**2 / 81)


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 3, 3, 6), (1, 3, 1, 6), (1, 3, 2, 2)], ids=str)
def test_gradients_in_closed_form_are_those_of_the_losses(shape):
    """By finite differences, in double precision: of several samples, of one row, and tiny ones."""
    torch.manual_seed(0)
    image = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    flow = 3 * torch.randn(shape[0], 2, *shape[2:], dtype=torch.float64)
    trust = torch.rand(shape[0], 1, *shape[2:], dtype=torch.float64)
    assert torch.autograd.gradcheck(tv_loss, image)
    assert torch.autograd.gradcheck(spot_loss, image)
    assert torch.autograd.gradcheck(lambda x: resampling_loss(x, flow, trust), image)


def test_temporal_loss_holds_only_where_trusted():
    image, target = numbers(1, 3, 6, 8).requires_grad_(), numbers(1, 3, 6, 8, seed=1)
    trust = torch.ones(1, 1, 6, 8)
    trust[..., :4] = 0
    temporal_loss(image, target, trust).backward()
    assert torch.count_nonzero(image.grad[..., :4]) == 0
    wanted = 2 * (image - target)[..., 4:] / image[0].numel()
    assert torch.allclose(image.grad[..., 4:], wanted)


def test_temporal_loss_counts_all_pixels_in_its_mean():
    """c·(x − ω)² over C·H·W, so that half the trust is half the pull (Ruder 2016, eq. 7)."""
    image, target = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    assert temporal_loss(image, target, torch.full((1, 1, 4, 4), 0.5)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("moved", [(0.5, 0.0), (-3.2, 0.0), (0.25, -1.4)], ids=str)
def test_resampling_loss_is_the_error_of_a_bilinear_reading(moved):
    """Of a paraboloid, whose second differences are the same everywhere."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")

    def surface(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (0.002 * x**2 + 0.001 * y**2).expand(1, 3, -1, -1)

    flow = torch.tensor(moved).view(1, 2, 1, 1).expand(1, 2, 16, 20)
    inside = torch.zeros(1, 1, 16, 20)
    inside[..., 4:-4, 4:-4] = 1
    error = warp(surface(x, y), flow) - surface(x + moved[0], y + moved[1])
    expected = float((inside * error.square()).sum() / (3 * 16 * 20))
    found = resampling_loss(surface(x, y), flow, inside)
    assert expected > 0 and float(found) == pytest.approx(expected, rel=1e-3)


def test_resampling_loss_is_for_trusted_detail_that_moves_by_parts_of_a_pixel():
    image = numbers(1, 3, 12, 12).requires_grad_()
    flow = torch.zeros(1, 2, 12, 12)
    flow[:, 0, :, 4:8], flow[:, 0, :, 8:] = 3.0, 0.5
    trust = torch.ones(1, 1, 12, 12)
    trust[..., 10:, :] = 0
    resampling_loss(image, flow, trust).backward()
    # A pixel's second difference reaches into its neighbours.
    assert torch.count_nonzero(image.grad[..., :7]) == 0
    assert torch.count_nonzero(image.grad[..., 11:, :]) == 0
    assert torch.all(image.grad[..., :10, 8:] != 0)

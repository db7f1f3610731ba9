"""Pure loss functions, unweighted; images are (B, C, H, W), losses are summed over the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

CHUNK = 4096  # pixels a partial sum: one long thin product would run on a single tile or core


class _Gram(torch.autograd.Function):
    """F·Fᵀ / N of (B, C, H, W), in float32, its gradient in F's own layout and format.

    Autograd's own would come transposed, and adding that to the convolutions' gradient costs
    more on a CPU than the product itself. One picture on a CPU goes through convolutions' kernels,
    in bfloat16 on its way back only: F·Fᵀ is what a 1×1 convolution's weights get. On two threads a
    fifteenth of a step cheaper than products, on one as dear ("Time of a step" in
    tests/bench/results/README.md).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        c, h, w = features.shape[1:]
        if _convolves(features) and features.dtype == torch.float32:
            return conv2d_weight(features, (c, c, 1, 1), features).view(1, c, c) / (h * w)
        flat = _flat(features)
        parts = flat.split(CHUNK, dim=1)
        gram = _product(parts[-1]).float()
        if len(parts) > 1:
            whole = flat[:, : CHUNK * (len(parts) - 1)].unflatten(1, (-1, CHUNK)).flatten(0, 1)
            sums = _product(whole).unflatten(0, (len(features), -1))
            gram = gram + sums.sum(1, dtype=torch.float32)
        return gram / (h * w)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        h, w = features.shape[2:]
        symmetric = (gradients[0] + gradients[0].transpose(1, 2)) / (h * w)
        symmetric = symmetric.to(features.dtype)
        if _convolves(features):
            return F.conv2d(features, symmetric[0, :, :, None, None])
        return torch.bmm(_flat(features), symmetric).unflatten(1, (h, w)).permute(0, 3, 1, 2)


def _product(flat: Tensor) -> Tensor:
    """(B, N, C) → (B, C, C), Fᵀ·F of each; a GPU's is summed, and given, in float32."""
    if flat.device.type == "cuda" and flat.dtype != torch.float32:
        return torch.bmm(flat.transpose(1, 2), flat, out_dtype=torch.float32)
    return torch.bmm(flat.transpose(1, 2), flat)


def _convolves(features: Tensor) -> bool:
    return features.device.type == "cpu" and len(features) == 1


def _flat(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H · W, C): a view if channels_last."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def gram_matrix(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, C) float32, F·Fᵀ / (H·W) (Gatys, Ecker, Bethge 2016, eq. 3).

    In float32 whatever the input is: half-precision sums over a million pixels overflow. bfloat16
    does not: a CPU rounds each chunk's product to it once, a GPU only what goes back, which changes
    the gradient by 0.5 %, features in bfloat16 by 5 %, and spares a CPU a fifth of a step ("Time of
    a step" in tests/bench/results/README.md).
    """
    with torch.autocast(features.device.type, enabled=False):
        short = features.dtype == torch.bfloat16
        return torch.as_tensor(_Gram.apply(features if short else features.float()))


def mean_grams(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Several paintings' Gram matrices by tap → their mean: the style between them."""
    return {tap: torch.stack([grams[tap] for grams in each]).mean(0) for tap in each[0]}


def gram_loss(gram: Tensor, target: Tensor) -> Tensor:
    """‖G − T‖²_F / ‖T‖²_F per sample, summed: relative, so that layers need no weights."""
    error = (gram - target).square().sum((1, 2))
    return (error / target.square().sum((1, 2)).clamp_min(1e-12)).sum()


class _SquaredDistance(torch.autograd.Function):
    """Σ (F − T)² of each sample, (B,) float32; what is kept for the way back is in F's format.

    Autograd would convert features to float32 and back, and keep that: a tenth of what a step moves
    on a GPU.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, target: Tensor) -> Tensor:
        apart = features - target
        ctx.save_for_backward(apart)
        return energy(apart)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (apart,) = ctx.saved_tensors
        weight = 2 * gradients[0]
        if apart.device.type == "cpu" and len(apart) == 1:
            return apart * weight[0], None  # by a map of another format: ten times as long
        weight = weight[:, None, None, None]
        # Rounded as it is written: the weight alone is next to nothing, in fp16 nothing.
        return torch.mul(apart, weight, out=torch.empty_like(apart)), None


def energy(features: Tensor) -> Tensor:
    """Σ F² of each sample of (B, C, H, W): (B,), of half precision in float32."""
    if features.element_size() >= 4:
        return features.square().sum((1, 2, 3))
    # A norm converts as it reads. Of each pixel alone: a CPU's sums over all drift by 0.3 %.
    return torch.linalg.vector_norm(features, dim=1, dtype=torch.float32).square().sum((1, 2))


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """‖F − T‖² / ‖T‖² per sample, summed, in float32. No gradient reaches T."""
    with torch.autocast(features.device.type, enabled=False):
        error = torch.as_tensor(_SquaredDistance.apply(features, target.detach()))
        return (error / energy(target.detach()).clamp_min(1e-12)).sum()


class _Solved(torch.autograd.Function):
    """A loss whose gradient by its first argument is known in closed form, and was worked out."""

    @staticmethod
    def forward(ctx: FunctionCtx, image: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None


def _differences(image: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Of neighbours, and of those, what lies beyond a border being as it is there.

    The second one, as a matrix, is symmetric: it is its own way back. Autograd's way through slices
    and a padding would write three times as much, on a GPU in part value by value.
    """
    steps = image.shape[axis] - 1
    first = image.narrow(axis, 1, steps) - image.narrow(axis, 0, steps)
    second = torch.empty_like(image)
    second.narrow(axis, 0, steps).copy_(first)
    second.narrow(axis, steps, 1).zero_()
    second.narrow(axis, 1, steps).sub_(first)
    return first, second


def tv_loss(image: Tensor) -> Tensor:
    """Anisotropic squared total variation (Mahendran, Vedaldi 2015, β = 2), mean over pixels."""
    with torch.no_grad():
        (down, curved_down), (across, curved_across) = (_differences(image, i) for i in (2, 3))
        loss = (down.square().sum() + across.square().sum()) / image[0].numel()
        gradient = curved_across.add_(curved_down).mul_(-2 / image[0].numel())
    return torch.as_tensor(_Solved.apply(image, loss, gradient))


def spot_loss(image: Tensor) -> Tensor:
    """What is positive of the Hessian's determinant, summed, over the number of values.

    That is large in spots, light or dark, and 0 along strokes and edges, which curve one way only
    (Beaudet 1978). Of (B, 3, H, W) but for the outermost pixels, which lack neighbours; second
    differences are smoothed across, by 1, 2, 1, so that straight waves of every length and
    direction have none. Nor has a checkerboard, which is total variation's.
    """
    with torch.no_grad():
        across, down = (_curvature(image, axis) for axis in (3, 2))
        both = _slope(_slope(image, 2), 3)
        spots = (across * down).addcmul_(both, both, value=-1).clamp_min_(0)
        for axis in (2, 3):
            for end in (0, image.shape[axis] - 1):
                spots.narrow(axis, end, 1).zero_()
        loss = spots.sum() / image[0].numel()
        inside = (spots > 0).to(image.dtype)  # by which a CPU multiplies faster
        gradient = _curvature(down.mul_(inside), 3).add_(_curvature(across.mul_(inside), 2))
        pull = _slope_back(_slope_back(both.mul_(inside), 3), 2)
        gradient.sub_(pull, alpha=2).mul_(1 / image[0].numel())
    return torch.as_tensor(_Solved.apply(image, loss, gradient))


def _curvature(image: Tensor, axis: int) -> Tensor:
    """Second differences along an axis, smoothed along the other: as a matrix symmetric."""
    along = _differences(image, axis)[1]
    return along.add_(_differences(along, 5 - axis)[1], alpha=0.25)


def _slope(image: Tensor, axis: int) -> Tensor:
    """Half the difference of a pixel's two neighbours, what lies beyond a border being as it is."""
    steps = image.shape[axis] - 1
    first = image.narrow(axis, 1, steps) - image.narrow(axis, 0, steps)
    slope = torch.zeros_like(image)
    slope.narrow(axis, 0, steps).copy_(first)
    slope.narrow(axis, 1, steps).add_(first)
    return slope.mul_(0.5)


def _slope_back(gradient: Tensor, axis: int) -> Tensor:
    """Its way back: the transposed matrix."""
    steps = gradient.shape[axis] - 1
    each = gradient.narrow(axis, 1, steps) + gradient.narrow(axis, 0, steps)
    back = torch.zeros_like(gradient)
    back.narrow(axis, 1, steps).copy_(each)
    back.narrow(axis, 0, steps).sub_(each)
    return back.mul_(0.5)


def temporal_loss(image: Tensor, target: Tensor, trust: Tensor) -> Tensor:
    """Σ c·(x − ω)² / (C·H·W) over *all* pixels (Ruder, Dosovitskiy, Brox 2016, eq. 7).

    `trust` is c, (B, 1, H, W) in [0, 1]: its gradient is c·2(x − ω), exactly 0 where occluded.
    """
    return (trust * (image - target).square()).sum() / image[0].numel()


def resampling_loss(image: Tensor, flow: Tensor, trust: Tensor) -> Tensor:
    """Σ c·(error)² / (C·H·W) of `image` (B, 3, H, W) read bilinearly where its pixels move to.

    A pixel that moves by a whole number and a fraction a of one is read with an error of
    a(1 − a)/2 times the second difference, in x and in y: fine detail that shimmers as it moves.
    `flow` is (B, 2, H, W) in pixels (x, y), `trust` is c, (B, 1, H, W); gradients reach `image`
    only. What rests, or moves by whole pixels, adds nothing.
    """
    with torch.no_grad():
        fraction = (flow - flow.round()).abs()
        share_across, share_down = (fraction * (1 - fraction) / 2).split(1, dim=1)
        error = share_across * _differences(image, 3)[1] + share_down * _differences(image, 2)[1]
        pull = trust * error
        loss = (pull * error).sum() / image[0].numel()
        gradient = _differences(share_across * pull, 3)[1] + _differences(share_down * pull, 2)[1]
        gradient.mul_(2 / image[0].numel())
    return torch.as_tensor(_Solved.apply(image, loss, gradient))

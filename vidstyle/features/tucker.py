"""A bottleneck near to a 3×3 convolution, in closed form.

A Tucker decomposition of the kernel along its two channel axes (Tucker 1966; Kim et al. 2016), in
the metric of what the convolution is fed and gives: a direction that hardly occurs costs nothing.
Truncated once, and blind to how neighbouring pixels go together: to begin from, not the best there
is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 1e-6  # of the strongest direction's energy: weaker ones are taken for that strong


class Bottleneck(NamedTuple):
    """1×1 without a bias, 3×3 with, 1×1 with: weights as `nn.Conv2d` has them."""

    reduce: Tensor
    weight: Tensor
    bias: Tensor
    expand: Tensor
    shift: Tensor


@torch.no_grad()
def near_bottleneck(
    weight: Tensor, bias: Tensor, fed: Tensor, given: Tensor, narrow_in: int, narrow_out: int
) -> Bottleneck:
    """Of a convolution (O, I, 3, 3) that made `given` (B, O, H, W) of `fed` (B, I, H, W)."""
    kernel = weight.double()
    _, directions = torch.linalg.eigh(_covariance(given))
    kept = directions[:, -narrow_out:]  # (O, narrow_out), of the strongest
    seen = torch.einsum("on,oikl->nikl", kept, kernel)
    root, inverse = _roots(_covariance(fed))
    whitened = torch.einsum("nikl,ij->nklj", seen, root)
    _, _, axes = torch.linalg.svd(whitened.flatten(0, 2), full_matrices=False)
    axes = axes[:narrow_in]  # (narrow_in, I)
    core = torch.einsum("nklj,mj->nmkl", whitened, axes)
    inner = kept.T @ bias.double()
    found = Bottleneck(
        reduce=(axes @ inverse)[..., None, None],
        weight=core,
        bias=inner,
        expand=kept[..., None, None],
        shift=bias.double() - kept @ inner,
    )
    return Bottleneck(*(part.to(weight) for part in found))


def _covariance(features: Tensor) -> Tensor:
    """About 0, not the mean: which most of the energy of features behind a ReLU is."""
    flat = features.movedim(1, 0).flatten(1).double()
    return flat @ flat.T / flat.shape[1]


def _roots(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Its square root and that one's inverse."""
    energies, directions = torch.linalg.eigh(covariance)
    sizes = energies.clamp_min(LEAST * energies.max()).sqrt()
    return (directions * sizes) @ directions.T, (directions / sizes) @ directions.T

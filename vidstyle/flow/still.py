"""What does not move, though a flow says so: grain in flat areas of an unmoving shot.

Where a picture is flat, noise alone decides what a flow finds: half a pixel in a quarter of a
photograph at two levels of grain, another half pixel in every frame. What is carried along boils.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.flow.warp import warp
from vidstyle.images import blur

WINDOW = 3.0  # pixels: differences are averaged over so much
EXPLAINED = 2.5  # times less difference along the flow is motion; resampled noise alone gives 1.6
FAINT = 0.25e-5  # of mean squared difference in [0, 1]: half a level, less is rounding
VISIBLE = 0.5  # pixels: a motion that texture would have shown
LONGEST = 1.0  # pixels: what is longer is no noise
CELLS = 32  # a picture's width in them, and
REACH = 4.0  # of them: how far the places that can tell speak for those that cannot
SURE = 0.9  # of what they say
GRAINY = 4.0  # times the usual difference is more than grain: something has come or gone


def unmoved(flow: Tensor, image: Tensor, other: Tensor) -> Tensor:
    """(1, 1, H, W) bool: where `flow` (1, 2, H, W), from `image` to `other`, is noise on a still.

    Pictures are (1, 3, H, W) in [0, 1]. A place moves where the flow explains what changed, and is
    still where its texture would have shown half a pixel and did not. Flat places can tell
    neither: they follow the places around, so that a pan's sky goes along with its skyline.
    """
    changed = _mean_square(image - other)
    moving = changed > EXPLAINED * _mean_square(image - warp(other, flow)) + FAINT
    still = ~moving & (VISIBLE**2 * _slope(image) > 2 * changed + FAINT)
    short = flow.square().sum(1, keepdim=True) < LONGEST**2
    quiet = ~moving & short & (_share(still, moving) > SURE)
    usual = changed[quiet].median() if quiet.any() else changed.new_zeros(())
    return quiet & (changed <= GRAINY * usual + FAINT)


def _mean_square(*differences: Tensor) -> Tensor:
    """Their sum, of (1, C, H, W) each: (1, 1, H, W), averaged around."""
    squared = torch.cat(differences, dim=1).square().sum(1, keepdim=True)
    return blur(squared / differences[0].shape[1], WINDOW)


def _slope(image: Tensor) -> Tensor:
    """Squared change a pixel, of what is left when grain is averaged out."""
    padded = F.pad(blur(image, 1.0), (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return _mean_square(dx, dy)


def _share(yes: Tensor, no: Tensor) -> Tensor:
    """Of those around that are `yes` or `no`, how many are `yes`."""
    size = yes.shape[2:]
    both = torch.cat([yes, no], dim=1).float()
    cells = (max(1, round(CELLS * size[0] / size[1])), CELLS)
    near = blur(F.adaptive_avg_pool2d(both, cells), REACH)
    share = near[:, :1] / (near.sum(1, keepdim=True) + 1e-3)
    return F.interpolate(share, size, mode="bilinear")

"""What does not move, though a flow says so: flat places of a shot whose camera rests.

Where a picture is flat, noise alone decides what a flow finds, half a pixel in a quarter of a
photograph at two levels of grain, another half pixel in every frame; or what moves beside it does,
pixels long. What is carried along boils, or is dragged to and fro over a wall that stands still.
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

# Chosen from "Where nothing can be seen to move" in tests/bench/results/README.md.
FLAT = (3 / 255) ** 2  # squared change a pixel: a flow of what has less is a guess
QUIETEST = 0.2  # of the picture: what changes there is taken for grain
EVERY = 4  # rows and columns, of which one is asked for that
BUSY = 0.1  # of a cell moves: it is something that moves
CORNER = 4  # cells a side
PANNED = 0.25  # of a corner on the left and of one on the right moves: the camera does
WIDEST = 8  # cells: what moves on both sides of a place, no further, takes that along


def motion_share(flow: Tensor, image: Tensor, other: Tensor) -> Tensor:
    """(1, 1, H, W) in [0, 1]: how much of `flow` (1, 2, H, W), from `image` to `other`, is motion.

    Pictures are (1, 3, H, W) in [0, 1]. A place moves where the flow explains what changed, and is
    still where its texture would have shown half a pixel and did not. Flat places can tell
    neither: they follow the places around, so that a pan's sky goes along with its skyline; and
    they rest where the camera does, but for those within what moves.
    """
    changed, slope = _mean_square(image - other), _slope(image)
    moving = changed > EXPLAINED * _mean_square(image - warp(other, flow)) + FAINT
    short = flow.square().sum(1, keepdim=True) < LONGEST**2
    quiet = _quiet(changed, slope, moving) & short
    usual = changed[quiet].median() if quiet.any() else changed.new_zeros(())
    grain = quiet & (changed <= GRAINY * usual + FAINT)
    return ~grain * (1 - _resting(changed, slope, moving))


def _quiet(changed: Tensor, slope: Tensor, moving: Tensor) -> Tensor:
    """Still, or flat among what is."""
    still = ~moving & (VISIBLE**2 * slope > 2 * changed + FAINT)
    return ~moving & (_share(still, moving) > SURE)


def _resting(changed: Tensor, slope: Tensor, moving: Tensor) -> Tensor:
    """(1, 1, H, W) in [0, 1]: flat places that are as they were, none where the camera moves.

    A moving camera takes the picture's border along: what else moves seldom has a corner of the
    picture on its left and on its right.
    """
    loud = GRAINY * changed[..., ::EVERY, ::EVERY].quantile(QUIETEST)
    busy = (_in_cells(moving & (changed > loud)) > BUSY).float()
    ends = [torch.cat([side[:, :, :CORNER], side[:, :, -CORNER:]]) for side in _sides(busy)]
    pans = [end.mean((1, 2, 3)).max() >= PANNED for end in ends]
    rest = (1 - torch.maximum(busy, _within(busy))) * ~(pans[0] & pans[1])
    smooth = F.interpolate(rest, changed.shape[2:], mode="bilinear")
    return smooth * ((slope < FLAT) & (changed <= loud + FAINT))


def _sides(cells: Tensor) -> tuple[Tensor, Tensor]:
    return cells[..., :CORNER], cells[..., -CORNER:]


def _within(busy: Tensor) -> Tensor:
    """1 between cells that are `busy`, (1, 1, rows, columns): left and right, or up and down."""
    ways = [(WIDEST, 0, 0, 0), (0, WIDEST, 0, 0), (0, 0, WIDEST, 0), (0, 0, 0, WIDEST)]
    found = []
    for edges in ways:
        window = (1 + sum(edges[2:]), 1 + sum(edges[:2]))
        found.append(F.max_pool2d(F.pad(busy, edges), window, 1))
    left, right, up, down = found
    return torch.maximum(torch.minimum(left, right), torch.minimum(up, down))


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
    near = blur(_in_cells(torch.cat([yes, no], dim=1)), REACH)
    share = near[:, :1] / (near.sum(1, keepdim=True) + 1e-3)
    return F.interpolate(share, yes.shape[2:], mode="bilinear")


def _in_cells(mask: Tensor) -> Tensor:
    """(1, C, H, W) bool → (1, C, rows, CELLS): of each cell, how much."""
    height, width = mask.shape[2:]
    return F.adaptive_avg_pool2d(mask.float(), (max(1, round(CELLS * height / width)), CELLS))

"""What does not move, though a flow says so: flat places of a shot whose camera rests.

Where a picture is flat, noise alone decides what a flow finds, half a pixel in a quarter of a
photograph at two levels of grain, another half pixel in every frame; or what moves beside it does,
pixels long. What is carried along boils, or is dragged to and fro over a wall that stands still.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.flow.warp import STILL, warp
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
WIDEST = 8  # cells: what moves on both sides of a place, no further, takes that along
CORNER = 4  # cells a side
PANNED = 0.25  # of a corner on the left and of one on the right moves: the camera does
COARSE = 4  # pixels a side: their mean stands for them, where the picture is flat
SOFT = 4.0  # pixels: grain is averaged out, and of a flat place its shading left
SEEN = 0.1 / 255  # a change of that, at least, which the flow leaves
HALVED = 0.5  # of, at most, where the camera moves; or so much of the places is explained by it
RIGID = 0.7  # of what moves goes one way, as before a moving camera, and
FOLLOWING = 0.15  # of the flat places' flow the same
NEAR = 0.25, 0.1  # of a flow, and pixels more, that is the same
CLOSE = 2  # cells: what is so near the middle tells nothing of a zoom


def motion_share(flow: Tensor, image: Tensor, other: Tensor) -> Tensor:
    """(1, 1, H, W) in [0, 1]: how much of `flow` (1, 2, H, W), from `image` to `other`, is motion.

    Pictures are (1, 3, H, W) in [0, 1]. A place moves where the flow explains what changed, and is
    still where its texture would have shown half a pixel and did not. Flat places can tell
    neither: they follow the places around, so that a pan's sky goes along with its skyline; and
    they rest where the camera does, but for those within what moves. The camera moves where the
    picture's border does, where what shading flat places have follows the flow, or where that goes
    one way.
    """
    changed, slope = _mean_square(image - other), _slope(image)
    moving = changed > EXPLAINED * _mean_square(image - warp(other, flow)) + FAINT
    short = flow.square().sum(1, keepdim=True) < LONGEST**2
    quiet = _quiet(changed, slope, moving) & short
    usual = changed[quiet].median() if quiet.any() else changed.new_zeros(())
    grain = quiet & (changed <= GRAINY * usual + FAINT)
    return ~grain * (1 - _resting(flow, image, other, changed, slope, moving))


def _quiet(changed: Tensor, slope: Tensor, moving: Tensor) -> Tensor:
    """Still, or flat among what is."""
    still = ~moving & (VISIBLE**2 * slope > 2 * changed + FAINT)
    return ~moving & (_share(still, moving) > SURE)


def _resting(
    flow: Tensor, image: Tensor, other: Tensor, changed: Tensor, slope: Tensor, moving: Tensor
) -> Tensor:
    """(1, 1, H, W) in [0, 1]: flat places that are as they were, none where the camera moves."""
    loud = GRAINY * changed[..., ::EVERY, ::EVERY].quantile(QUIETEST)
    explained = _coarse(moving.float())  # of it much by chance, where there is but grain
    moving = moving & (changed > loud)
    busy = (_in_cells(moving) > BUSY).float()
    apart = 1 - torch.maximum(busy, _within(busy))
    flat = _coarse(((slope < FLAT) & (changed <= loud + FAINT)).float()) > 0.5
    rest = F.interpolate(apart, flat.shape[2:], mode="bilinear") * flat
    flow, image, other, moves = map(_coarse, (flow, image, other, moving.float()))
    before, after = _unexplained(flow, image, other, rest)
    shown = (before > SEEN**2) & (after < HALVED * before)
    shown = shown | ((explained * rest).sum() > HALVED * rest.sum())
    taken_along = (after <= before) & _is_one_motion(flow, moves, rest)
    rest = rest * ~(_frames_all(busy) | shown | taken_along)
    smooth = F.interpolate(rest, changed.shape[2:], mode="bilinear")
    return torch.where(smooth > 0.999, 1, smooth)  # which is rounded there


def _frames_all(busy: Tensor) -> Tensor:
    """Whether a corner of the picture on the left and one on the right move.

    A moving camera takes the whole border along, other things seldom do.
    """
    sides = busy[..., :CORNER], busy[..., -CORNER:]
    ends = (torch.cat([side[:, :, :CORNER], side[:, :, -CORNER:]]) for side in sides)
    left, right = (end.mean((1, 2, 3)).max() >= PANNED for end in ends)
    return left & right


def _unexplained(flow: Tensor, image: Tensor, other: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared differences of what shading there is where all seems to rest, and along `flow`.

    A sky's clouds move with a camera, a wall's light does not with what is before it.
    """
    soft, theirs = blur(image, SOFT / COARSE), blur(other, SOFT / COARSE)
    found = [soft - theirs, soft - warp(theirs, flow / COARSE)]
    weights = rest / rest.sum().clamp_min(1)
    before, after = ((each.square().mean(1, keepdim=True) * weights).sum() for each in found)
    return before, after


def _is_one_motion(flow: Tensor, moving: Tensor, rest: Tensor) -> Tensor:
    """Whether all goes one way: what moves, and enough of the flow where all seems to rest.

    What only drags its surroundings along does so less the further they are.
    """
    there, theirs = _mean_flow(flow, moving)
    flat, guessed = _mean_flow(flow, rest * (flow.square().sum(1, keepdim=True) > STILL**2))
    one = _shift_and_zoom(theirs, there)
    share, pixels = NEAR
    near = share * one.norm(dim=1, keepdim=True) + pixels
    same = [(found - one).norm(dim=1, keepdim=True) < near for found in (theirs, guessed)]
    rigid, following = (
        (alike & where).sum() / where.sum().clamp_min(1)
        for alike, where in zip(same, (there, flat), strict=True)
    )
    return (rigid >= RIGID) & (following >= FOLLOWING)


def _shift_and_zoom(flow: Tensor, where: Tensor) -> Tensor:
    """The flow of a shift and a zoom, (1, 2, rows, columns): medians of the cells' that count."""
    down, across = (torch.arange(n, device=flow.device, dtype=flow.dtype) for n in flow.shape[2:])
    place = torch.stack(torch.meshgrid(across, down, indexing="xy"))[None]
    away = place - _medians(place, where)
    shift, squared = _medians(flow, where), away.square().sum(1, keepdim=True)
    growth = ((flow - shift) * away).sum(1, keepdim=True) / squared.clamp_min(1)
    zoom = _medians(growth, where & (squared > CLOSE**2)).nan_to_num()
    return shift + zoom * away


def _mean_flow(flow: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Of each cell, (1, 1, rows, CELLS): whether it has enough of `where`; and the flow there."""
    much = _in_cells(where)
    return much > BUSY, _in_cells(flow * where) / much.clamp_min(1e-6)


def _coarse(full: Tensor) -> Tensor:
    """(1, C, H, W) → means of `COARSE` pixels a side."""
    height, width = (max(1, side // COARSE) for side in full.shape[2:])
    return F.adaptive_avg_pool2d(full, (height, width))


def _medians(values: Tensor, where: Tensor) -> Tensor:
    """(1, C, 1, 1) of (1, C, rows, columns), as far as they are wanted."""
    # By quantile: `nanmedian` gives indices too, which on a GPU are by chance.
    wanted = values.masked_fill(~where, torch.nan).flatten(2)
    return wanted.nanquantile(0.5, dim=2)[..., None, None]


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


def _in_cells(full: Tensor) -> Tensor:
    """(1, C, H, W) → (1, C, rows, CELLS): each cell's mean."""
    height, width = full.shape[2:]
    return F.adaptive_avg_pool2d(full.float(), (max(1, round(CELLS * height / width)), CELLS))

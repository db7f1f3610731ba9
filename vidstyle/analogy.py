"""A picture painted as another was: source is to result as content is to what is made here.

Image analogies (Hertzmann et al. 2001) in one round: every cell of the picture takes over the brush
work of the place whose source looks most alike.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.flow.warp import warp

# CELLS and AFAR: "What comes into view" in tests/bench/results/README.md.
CELLS = 40  # along the long side; what is compared is a window of two cells a side
AFAR = 2.0  # what a whole long side of distance costs, as a squared difference of colours
SAMPLES = 4  # a cell
OFFER = 2  # samples from one place that is looked at to the next
AT_ONCE = 256  # cells compared at a time: some 5 MB
DOUBT = 0.02  # wanted less than so much is not wanted


class _Grid(NamedTuple):
    """Cells of `size` pixels; their corners are the windows' centres, `rows` times `columns`."""

    size: int
    rows: int
    columns: int


def paint_alike(content: Tensor, source: Tensor, result: Tensor, wanted: Tensor) -> Tensor:
    """`result` rearranged to show `content`, as it shows `source`.

    The pictures are (1, 3, H, W) in [0, 1]. Where `wanted`, (1, 1, H, W), is nearly 0 in all of a
    cell's surroundings, `result` itself is given: looking is the cost.
    """
    grid = _grid(content)
    asked = F.max_pool2d(wanted, 2 * grid.size + 1, grid.size, grid.size).flatten() > DOUBT
    corners = asked.nonzero()[:, 0]
    if not len(corners):
        return result
    moves = torch.zeros(2, grid.rows * grid.columns, device=content.device)
    moves[:, corners] = _moves(content, source, grid, corners)
    return _blended(result, grid, moves.view(1, 2, grid.rows, grid.columns))


def _grid(content: Tensor) -> _Grid:
    height, width = content.shape[2:]
    size = SAMPLES * max(1, round(max(height, width) / (SAMPLES * CELLS)))
    return _Grid(size, (height - 1) // size + 1, (width - 1) // size + 1)


def _moves(content: Tensor, source: Tensor, grid: _Grid, corners: Tensor) -> Tensor:
    """(2, N): x and y, in pixels, from each corner to where `source` looks most alike."""
    sought = _windows(_samples(content, grid), SAMPLES)[: grid.rows, : grid.columns]
    looks = _placed(sought, grid.size)[:, corners]
    offers = _placed(_windows(_samples(source, grid), OFFER), grid.size // SAMPLES * OFFER)
    toll = AFAR * (len(looks) - 2) / max(content.shape[2:]) ** 2
    weight = torch.full_like(looks[:, :1], 1.0)
    weight[:2] = toll**0.5
    best = [_nearest(part * weight, offers * weight) for part in looks.split(AT_ONCE, dim=1)]
    return offers[:2, torch.cat(best)] - looks[:2]


def _samples(image: Tensor, grid: _Grid) -> Tensor:
    """Means over twice the way from one to the next, from a cell beyond the border on."""
    beyond = F.pad(image, (grid.size,) * 4, mode="replicate")
    return F.avg_pool2d(beyond, 2 * grid.size // SAMPLES, grid.size // SAMPLES)


def _windows(samples: Tensor, stride: int) -> Tensor:
    """(rows, columns, 48): every second sample of two cells a side."""
    rows, columns = ((side - 2 * SAMPLES + 1) // stride + 1 for side in samples.shape[2:])
    windows = F.unfold(samples, SAMPLES, dilation=2, stride=stride)
    return windows[0].T.reshape(rows, columns, -1)


def _placed(windows: Tensor, spacing: int) -> Tensor:
    """(rows, columns, D), so many pixels apart → (2 + D, N): x and y, then what is there."""
    rows, columns, _ = windows.shape
    y, x = (torch.arange(n, device=windows.device) * spacing for n in (rows, columns))
    where = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(windows)
    return torch.cat([where, windows], dim=-1).flatten(0, 1).T


def _nearest(looks: Tensor, offers: Tensor) -> Tensor:
    """(N,): which of `offers` (D, M) differs least, squared, from each of `looks` (D, N)."""
    return torch.addmm(offers.square().sum(0), looks.T, offers, alpha=-2).argmin(1)


def _blended(result: Tensor, grid: _Grid, moves: Tensor) -> Tensor:
    """Every pixel from where its four nearest corners have moved, the nearer the more."""
    y, x = (torch.arange(side, device=result.device) for side in result.shape[2:])
    blend = torch.zeros_like(result)
    for down in (0, 1):
        for right in (0, 1):
            row, column = y // grid.size + down, x // grid.size + right
            near_y, near_x = 1 - (y / grid.size - row).abs(), 1 - (x / grid.size - column).abs()
            row, column = row.clamp(max=grid.rows - 1), column.clamp(max=grid.columns - 1)
            moved = warp(result, moves[:, :, row][..., column])
            blend += near_y[:, None] * near_x * moved
    return blend

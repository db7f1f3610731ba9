"""Where a frame looks as the one before did, for painting it as that was.

Image analogies (Hertzmann et al. 2001) at one scale and by the sources alone: a nearest-neighbour
field between windows of both, on a coarse grid, read as overlapped blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Chosen from the table "What comes into view" in tests/bench/results/README.md.
CELLS = 40  # about so many along the long side; a window is two cells a side
AFAR = 2.0  # mean squared difference of colours that a long side's distance, squared, adds up to
SAMPLES = 4  # a cell
OFFER = 2  # samples from one place that is looked at to the next
FLASH = 8 / 255  # what all has changed by beyond that, looks are compared without
AT_ONCE = 64  # windows compared at a time: some 1 MB, which stays in a core's cache


def find_alike(content: Tensor, source: Tensor, wanted: Tensor) -> Tensor:
    """The nearest-neighbour field from `content` into `source`, both (1, 3, H, W) in [0, 1].

    (2, rows, columns) of the grid's corners, x and y in whole pixels; 0 where no cell around has
    anything `wanted`, (1, 1, H, W).
    """
    size = _cell(content)
    return _offsets(content, source, _corners(wanted, size), size)


def rearranged(result: Tensor, offsets: Tensor, wanted: Tensor) -> Tensor:
    """`result` (1, 3, H, W), which shows the source, made to show the content of `find_alike`.

    Where `wanted` (1, 1, H, W) is 0, it is `result` as it stands.
    """
    y, x = (wanted[0, 0] != 0).nonzero(as_tuple=True)
    made = result.clone()
    made[0, :, y, x] = _blended(result, offsets, _cell(result), y, x)
    return made


def _cell(picture: Tensor) -> int:
    """Pixels a side; windows are centred on the cells' corners."""
    return SAMPLES * max(1, round(max(picture.shape[2:]) / (SAMPLES * CELLS)))


def _corners(wanted: Tensor, size: int) -> Tensor:
    """(rows, columns): whether a cell that meets in this corner, its top left one, is wanted."""
    beyond = [-side % size for side in wanted.shape[:1:-1]]
    cells = F.max_pool2d(F.pad((wanted != 0).float(), (0, beyond[0], 0, beyond[1])), size)
    return F.max_pool2d(F.pad(cells, (1, 0, 1, 0)), 2, 1)[0, 0] > 0


def _offsets(content: Tensor, source: Tensor, corners: Tensor, size: int) -> Tensor:
    """(2, rows, columns): of these corners."""
    rows, columns = corners.shape
    offsets = torch.zeros(2, rows, columns, dtype=torch.long, device=content.device)
    if not corners.any():
        return offsets
    now, before = _samples(content, size), _samples(source, size)
    sought = _windows(now - _light(now, before), SAMPLES)[:rows, :columns]
    offered = _windows(before, OFFER)
    colours = sought.shape[-1]
    toll = (AFAR * colours) ** 0.5 / max(content.shape[2:])  # of a pixel; squared with the rest
    patches = _placed(sought, size, toll)[:, corners.flatten()]
    candidates = _placed(offered, size // SAMPLES * OFFER, toll)
    # |a - b|² but for |a|², in one product: adding the squares afterwards takes as long again.
    squared = torch.cat([candidates, candidates.square().sum(0, keepdim=True)])
    ours = torch.cat([-2 * patches, torch.ones_like(patches[:1])]).T.contiguous()
    best = [(part @ squared).argmin(1) for part in ours.split(AT_ONCE)]
    found = (candidates[:2, torch.cat(best)] - patches[:2]) / toll
    offsets[:, corners] = found.round().long()
    return offsets


def _light(now: Tensor, before: Tensor) -> Tensor:
    """(1, 3, 1, 1): what a picture has changed by, beyond what is usual, if the same way all over.

    That is to say between its quarters. In a flash all that is light would look most like one
    place, and be painted with its tile.
    """
    change = (now - before).flatten(2).sort(dim=2).values
    few = change.shape[2] // 4
    least, middle, most = (change[..., place] for place in (few, change.shape[2] // 2, -1 - few))
    return F.softshrink(middle * (least * most > 0), FLASH)[..., None, None]


def _samples(image: Tensor, size: int) -> Tensor:
    """Means over twice the way from one to the next, from a cell beyond the border on."""
    beyond = F.pad(image, (size,) * 4, mode="replicate")
    return F.avg_pool2d(beyond, 2 * size // SAMPLES, size // SAMPLES)


def _windows(samples: Tensor, stride: int) -> Tensor:
    """(rows, columns, 48): every second sample of two cells a side."""
    rows, columns = ((side - 2 * SAMPLES + 1) // stride + 1 for side in samples.shape[2:])
    windows = F.unfold(samples, SAMPLES, dilation=2, stride=stride)
    return windows[0].T.reshape(rows, columns, -1)


def _placed(windows: Tensor, spacing: int, toll: float) -> Tensor:
    """(rows, columns, D), so many pixels apart → (2 + D, N): x and y times `toll`, then colours."""
    rows, columns, _ = windows.shape
    y, x = (torch.arange(n, device=windows.device) * spacing * toll for n in (rows, columns))
    where = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(windows)
    return torch.cat([where, windows], dim=-1).flatten(0, 1).T


def _blended(result: Tensor, offsets: Tensor, size: int, y: Tensor, x: Tensor) -> Tensor:
    """(3, N): these pixels from where their cell's four corners have moved, the nearer the more."""
    height, width = result.shape[2:]
    rows, columns = offsets.shape[1:]
    pixels = result[0].flatten(1)
    blend = torch.zeros(len(pixels), len(y), device=result.device, dtype=result.dtype)
    for down in (0, 1):
        for right in (0, 1):
            row, column = y // size + down, x // size + right
            near = (1 - (y / size - row).abs()) * (1 - (x / size - column).abs())
            across, along = offsets[:, row.clamp(max=rows - 1), column.clamp(max=columns - 1)]
            place = _mirrored(y + along, height) * width + _mirrored(x + across, width)
            blend += near * pixels[:, place]
    return blend


def _mirrored(place: Tensor, side: int) -> Tensor:
    """What lies beyond a border, where the picture repeated would be streaks."""
    inside = side - 1 - (place.abs() - (side - 1)).abs()
    return inside.clamp(0, side - 1)

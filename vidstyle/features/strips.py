"""A picture gone over in strips, where one step's feature maps would not fit into memory.

Every strip is looked at with as much of its neighbours as its features see, so that what is kept of
them is exactly what the whole picture's would be.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from vidstyle.features.taps import TapNet

OVERHEAD = 5.0  # bytes a value: four, and gradients that live for a moment; lite at 1080p took 4.8


class Strip(NamedTuple):
    """Rows `first` to `last` - 1 of a picture, seen with what is around: `top` to `bottom` - 1."""

    top: int
    first: int
    last: int
    bottom: int

    def seen(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, bottom - top, W)."""
        return image[..., self.top : self.bottom, :]

    def kept(self, features: Tensor, scale: int) -> Tensor:
        """Of what was seen, at 1/`scale` of the picture's size, the strip's own rows."""
        return features[..., (self.first - self.top) // scale :, :][..., : self._rows(scale), :]

    def own(self, features: Tensor, scale: int) -> Tensor:
        """The same rows of a whole picture's features."""
        return features[..., self.first // scale :, :][..., : self._rows(scale), :]

    def _rows(self, scale: int) -> int:
        return self.last // scale - self.first // scale


def strips(net: TapNet, height: int, width: int, room: float) -> list[Strip]:
    """As few and as equal ones as fit into `room` bytes; a single one where all does."""
    most = int(room / step_bytes(net, 1, width))
    if height <= most:
        return [Strip(0, 0, height, height)]
    grid, reach = net.coarsest, _round_up(net.reach, net.coarsest)
    count = math.ceil(height / max(grid, (most - 2 * reach) // grid * grid))
    rows = _round_up(math.ceil(height / count), grid)
    # Of fewer rows than the grid's no feature would be left: they go to the strip before.
    edges = [*range(0, max(1, height - grid + 1), rows), height]
    return [Strip(max(0, a - reach), a, b, min(b + reach, height)) for a, b in pairwise(edges)]


def step_bytes(net: TapNet, height: int, width: int) -> float:
    """What the maps of one step take."""
    return OVERHEAD * values_per_pixel(net) * height * width


def values_per_pixel(net: TapNet) -> float:
    """Of all maps that a step keeps for its way back, as multiples of the picture's pixels."""
    values, channels = 0.0, 3
    for name in net.used:
        for module in net.steps[name].modules():
            channels = getattr(module, "out_channels", channels)
            if not list(module.children()):
                values += channels / net.scale(name) ** 2
    return values


def _round_up(number: int, grid: int) -> int:
    return -(-number // grid) * grid

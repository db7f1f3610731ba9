"""Areas that the previous frame did not show: a start that is painted, and time to be finished."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.images import blur, doubled, halved
from vidstyle.tones import colour_map

THIN = 3.0  # pixels
RIPENING = 0.5  # a frame: an uncovered area takes some five frames to settle
NEAR = 8.0  # pixels: how far a trusted neighbour's colours reach
WASH = 3.0  # pixels: finer than that is brush work, the rest colour


def fill_uncovered(content: Tensor, carried: Tensor, trust: Tensor, alike: Tensor) -> Tensor:
    """`carried` where trusted, elsewhere the content in the painting's colours and brush work.

    `carried` and `alike` are what was made of the frame before, along the flow and rearranged by
    looks, all (1, 3, H, W) in [0, 1]; `trust` is (1, 1, H, W). Colours come from a regression over
    the whole frame and from trusted neighbours, brush work from where the frame before looked
    alike: that of the carried picture, added here, piled up into streaks along edges.
    """
    brushed = torch.lerp(alike, carried, trust)
    # At half size: colours need no more, and it takes half the time.
    now, own, brushes = map(halved, (content, carried, brushed))
    sure = -F.max_pool2d(-trust, 2, ceil_mode=True)  # no more than all of what is averaged
    mapped = colour_map(now, own, sure).of(now)
    nearby = blur((own - mapped) * sure, NEAR / 2) / (blur(sure, NEAR / 2) + 0.05)
    colours = torch.lerp(mapped + nearby, own, sure)
    washed = doubled(blur(colours - brushes, WASH / 2), content.shape[2:])
    return torch.lerp(brushed + washed, carried, trust).clamp(0, 1)


def carry_maturity(maturity: Tensor, trust: Tensor) -> Tensor:
    """How far each pixel is painted, (1, 1, H, W) in [0, 1], `maturity` being carried already.

    What was uncovered starts again from 0. Thin doubts, which stand along every moving edge in
    every frame, are passed over: repainted each time they would flicker.
    """
    uncovered = (2 * blur(1 - trust, THIN) - 1).clamp(0, 1)
    return maturity * (1 - uncovered)


def ripened(maturity: Tensor) -> Tensor:
    """The same after one more frame of work."""
    return maturity + RIPENING * (1 - maturity)

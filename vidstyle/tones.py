"""A painting's colours for those of its source, and how they change where the source's do.

Carried along the flow, a painting would keep the tones it was given: what comes out of the shade
would stay dark, and where the flow has missed a motion, what was there before would shine through.
So the carried picture, which a frame starts from and is held to, changes as its source has changed
(what ReCoNet's temporal loss allows a result to do, Gao et al. 2018), but in its own colours and no
finer than forms.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.flow.warp import warp, warp_sharp
from vidstyle.images import blur

RIDGE = 1e-3  # variance: colours that vary by less than 8 levels are taken for the source's own
# Chosen from the table "What the light does" in tests/bench/results/README.md.
FORM = 3.0  # pixels, where strokes are made at the picture's size: finer changes are not followed
LEAST = 6 / 255  # of a change that is: what is smaller is let be until it has grown
LEARNT = 0.05  # of the colours' slopes, a frame: a flash that has gone by is undone by its own


class ColourMap(NamedTuple):
    """Affine: a 1×1 convolution's weights, `slopes` (3, 3, 1, 1) and `constant` (3,)."""

    slopes: Tensor
    constant: Tensor

    def of(self, content: Tensor) -> Tensor:
        """Of a picture (1, 3, H, W)."""
        return F.conv2d(content, self.slopes, self.constant)


class Tones(NamedTuple):
    """Which of the source's a result has, at half size, carried along with it.

    `shown` (1, 3, h, w) is the source whose tones they are, `over` what they would be beyond [0, 1]
    if they could, `slopes` how strongly they answer the source's.
    """

    shown: Tensor
    over: Tensor
    slopes: Tensor


def colour_map(content: Tensor, painted: Tensor, trust: Tensor) -> ColourMap:
    """The colours' map, content → painted, that fits best where trusted.

    Pictures are (1, 3, H, W) in [0, 1], `trust` is (1, 1, H, W). Towards the identity: without
    trust, or in one colour, the content itself is the answer.
    """
    # Double: in float32 sums over a frame the ridge would be rounded away.
    weights, looks, made = (_pixels(each).double() for each in (trust, content, painted))
    total = weights.sum().clamp_min(1e-6)
    middle, aim = ((weights * each).sum(0) / total for each in (looks, made))
    apart = weights * (looks - middle)
    pull = RIDGE * len(looks) * torch.eye(3, device=content.device, dtype=looks.dtype)
    squares, products = apart.T @ (looks - middle) + pull, apart.T @ (made - aim) + pull
    slopes = torch.linalg.solve_ex(squares, products)[0].T  # `solve` waits for a GPU
    constant = aim - slopes @ middle
    return ColourMap(slopes[:, :, None, None].to(content), constant.to(content))


def tones_of(content: Tensor, painted: Tensor) -> Tones:
    """Those of what was `painted` of the `content`, both (1, 3, H, W) in [0, 1]."""
    shown, own = _halved(content), _halved(painted)
    slopes = colour_map(shown, own, torch.ones_like(own[:, :1])).slopes
    return Tones(shown, torch.zeros_like(shown), slopes)


def follow_tones(
    content: Tensor, carried: Tensor, before: Tones, flow: Tensor, trust: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tones]:
    """`carried` with what the tones have changed by since `before`; and those that it has now.

    `content` and `carried` are (1, 3, H, W) in [0, 1]; `flow` (1, 2, H, W), by which the latter was
    carried, `trust` is (1, 1, H, W). What is left undone, being too small or beyond [0, 1], is not
    forgotten: it is done when it has grown, or is taken off what comes back. `scale`: times the
    size of a FORM.
    """
    now, own, sure, way = (_halved(each) for each in (content, carried, trust, flow / 2))
    shown, over = warp_sharp(before.shown, way), warp(before.over, way)
    due = F.softshrink(blur(now - shown, FORM / 2 * scale), LEAST)
    slopes = before.slopes.lerp(colour_map(shown, own + over, sure).slopes, LEARNT)
    change = F.interpolate(F.conv2d(due, _bounded(slopes)) + over, scale_factor=2, mode="bilinear")
    wanted = carried + change[..., : content.shape[2], : content.shape[3]]
    moved = wanted.clamp(0, 1)
    left = _halved(wanted - moved) * sure
    return moved, Tones(torch.lerp(now, shown + due, sure), left, slopes)


def _bounded(slopes: Tensor) -> Tensor:
    """No grey's change is to be larger than the source's, as in a fog painted with contrast."""
    return slopes / slopes.sum(1).abs().amax().clamp_min(1)


def _halved(picture: Tensor) -> Tensor:
    """(B, C, H, W), means of 2×2: forms are broader than a pixel."""
    return F.avg_pool2d(picture, 2, ceil_mode=True)


def _pixels(image: Tensor) -> Tensor:
    """(1, C, H, W) → (N, C)."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)

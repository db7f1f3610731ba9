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

from vidstyle.flow.warp import warp, warp_spline
from vidstyle.images import blur, doubled, halved

RIDGE = 1e-3  # variance: colours that vary by less than 8 levels are taken for the source's own
# Chosen from the table "What the light does" in tests/bench/results/README.md.
FORM = 3.0  # pixels, where strokes are made at the picture's size: finer changes are not followed
LEAST = 6 / 255  # of a change that is: what is smaller is let be until it has grown
LEARNT = 0.02  # a frame's part in what is known: a flash goes by nearly the slopes it came by


class ColourMap(NamedTuple):
    """Affine: `slopes` (3, 3) from the source's colours to the painting's, `constant` (3,)."""

    slopes: Tensor
    constant: Tensor

    def of(self, content: Tensor) -> Tensor:
        """Of a picture (1, 3, H, W)."""
        return _mapped(content, self.slopes) + self.constant.view(1, 3, 1, 1)


class Tones(NamedTuple):
    """Which of its source's tones a result has, carried along with it.

    `shown` (1, 3, h, w), at half size, is the source whose tones they are; `over` (1, 3, H, W) how
    much further they would go if they could leave [0, 1]; `moments` (2, 3, 3, 1) say how strongly
    they answer the source's: a slow mean of what slopes are made of.
    """

    shown: Tensor
    over: Tensor
    moments: Tensor


def colour_map(content: Tensor, painted: Tensor, trust: Tensor) -> ColourMap:
    """The colours' map, content → painted, that fits best where trusted.

    Pictures are (1, 3, H, W) in [0, 1], `trust` is (1, 1, H, W). Without trust it is the identity,
    in one colour that and a shift.
    """
    moments, middle, aim = _moments(content, painted, trust)
    slopes = _slopes(moments)
    return ColourMap(slopes.to(content), (aim - middle @ slopes).to(content))


def tones_of(content: Tensor, painted: Tensor) -> Tones:
    """Those of what was `painted` of the `content`, both (1, 3, H, W) in [0, 1]."""
    shown, own = halved(content), halved(painted)
    moments, _, _ = _moments(shown, own, torch.ones_like(own[:, :1]))
    return Tones(shown, torch.zeros_like(painted), moments.to(shown))


def follow_tones(
    content: Tensor, carried: Tensor, before: Tones, flow: Tensor, trust: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tones]:
    """`carried` with what the tones have changed by since `before`; and those that it has now.

    `content` and `carried` are (1, 3, H, W) in [0, 1]; `flow` (1, 2, H, W), by which the latter was
    carried, `trust` is (1, 1, H, W). What is left undone, being too small or beyond [0, 1], is not
    forgotten: it is done when it has grown, or is taken off what comes back. `scale`: times the
    size of a FORM.
    """
    reached = carried + warp(before.over, flow)
    now, own, sure, way = map(halved, (content, reached, trust, flow / 2))
    shown = warp_spline(before.shown, way)
    found, _, _ = _moments(shown, own, sure)
    moments = before.moments.lerp(found.to(shown), LEARNT)
    due = F.softshrink(blur(now - shown, FORM / 2 * scale), LEAST)
    change = _mapped(due, _bounded(_slopes(moments.double())).to(due))
    wanted = reached + doubled(change, content.shape[2:])
    moved = wanted.clamp(0, 1)
    shown = torch.lerp(now, shown + due, sure)
    return moved, Tones(shown, (wanted - moved) * trust, moments)


def _moments(content: Tensor, painted: Tensor, trust: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(2, 3, 3, 1): the content's covariance, and that with the painted; and both means, (3,).

    A pixel's mean, so that what is hardly trusted hardly counts. Double: in float32 sums over a
    frame the ridge would be rounded away.
    """
    weights, looks, made = (_pixels(each).double() for each in (trust, content, painted))
    total = weights.sum().clamp_min(1e-6)
    middle, aim = ((weights * each).sum(0) / total for each in (looks, made))
    apart = (weights * (looks - middle)).T / len(looks)
    return torch.stack([apart @ (looks - middle), apart @ (made - aim)])[..., None], middle, aim


def _slopes(moments: Tensor) -> Tensor:
    """(3, 3), towards the identity: of a colour that does not vary nothing is known."""
    squares, products = moments[..., 0] + RIDGE * torch.eye(3, device=moments.device)
    return torch.linalg.solve_ex(squares, products)[0]  # `solve` waits for a GPU


def _bounded(slopes: Tensor) -> Tensor:
    """No grey's change is to be larger than the source's, as in a fog painted with contrast."""
    return slopes / slopes.sum(0).abs().amax().clamp_min(1)


def _mapped(looks: Tensor, slopes: Tensor) -> Tensor:
    """(1, 3, H, W) by (3, 3); not by a convolution, which a GPU would round."""
    return (_pixels(looks) @ slopes).view(1, *looks.shape[2:], 3).permute(0, 3, 1, 2)


def _pixels(image: Tensor) -> Tensor:
    """(1, C, H, W) → (N, C)."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)

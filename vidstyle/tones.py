"""Colours that a painting's answer to its source's, and their change where the source's change.

Carried along the flow, a painting would keep the tones it was given: what comes out of the shade
would stay dark, and where the flow has missed a motion, what was there before would shine through.
So the carried picture, which a frame starts from and is held to, changes as its source has changed
(what ReCoNet's temporal loss allows a result to do, Gao et al. 2018), but in its own colours and no
finer than forms.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.flow.warp import warp_sharp
from vidstyle.images import blur

RIDGE = 1e-3  # of a pixel's weight: far below what colours say, far above rounding
# Chosen from the table "What the light does" in tests/bench/results/README.md.
FORM = 2.0  # pixels, where strokes are made at the picture's size: finer changes are not followed
LEAST = 8 / 255  # of a change that is: what is smaller is let be until it has grown


def colour_map(content: Tensor, painted: Tensor, trust: Tensor) -> Tensor:
    """(4, 3): the affine map of colours, content → painted, that fits best where trusted.

    Pictures are (1, 3, H, W) in [0, 1], `trust` is (1, 1, H, W); the last row is the constant.
    """
    looks = _pixels(_with_ones(content))
    # Double: in float32 sums over a frame the ridge would be rounded away.
    colours = looks.double()
    weighted = (colours * _pixels(trust)).T
    # Towards the identity: without trust, or in one colour, the content itself is the answer.
    pull = RIDGE * len(colours) * torch.eye(4, device=content.device, dtype=colours.dtype)
    aim = weighted @ _pixels(painted).double() + pull[:, :3]
    mapping = torch.linalg.solve_ex(weighted @ colours + pull, aim)[0]  # `solve` waits for a GPU
    return mapping.to(looks.dtype)


def recoloured(content: Tensor, mapping: Tensor) -> Tensor:
    """`content` (1, 3, H, W) by a `colour_map`."""
    return _mapped(_with_ones(content), mapping)


def tones_of(content: Tensor) -> Tensor:
    """A picture's (B, C, H, W), at half size: forms are broader than a pixel."""
    return F.avg_pool2d(content, 2, ceil_mode=True)


def carry_tones(tones: Tensor, flow: Tensor) -> Tensor:
    """The frame before's along the flow (1, 2, H, W), as sharp as the picture is carried."""
    return warp_sharp(tones, F.avg_pool2d(flow, 2, ceil_mode=True) / 2)


def follow_tones(
    content: Tensor, carried: Tensor, shown: Tensor, trust: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`carried` moved on to the content's tones; and `shown`, those that it has now.

    `content` and `carried` are (1, 3, H, W) in [0, 1], `trust` is (1, 1, H, W), `shown` the tones
    of the source that the carried picture was made of. What is left undone, since it is too small
    or the result would leave [0, 1], is still missing in `shown`, and is made good when it has
    grown, or comes back. `scale`: times the size of a FORM.
    """
    now, own, sure = (tones_of(picture) for picture in (content, carried, trust))
    due = F.softshrink(blur(now - shown, FORM / 2 * scale), LEAST)
    change = _mapped(due, colour_map(shown, own, sure)[:3])
    # Along the change, as the painting's colours and the source's are not the same three.
    done = (((own + change).clamp(0, 1) - own) * change).sum(1, keepdim=True)
    done = done / change.square().sum(1, keepdim=True).clamp_min(1e-12)
    height, width = content.shape[2:]
    full = F.interpolate(change, scale_factor=2, mode="bilinear")[..., :height, :width]
    return (carried + full).clamp(0, 1), torch.lerp(now, shown + done * due, sure)


def _mapped(looks: Tensor, mapping: Tensor) -> Tensor:
    """(1, C, H, W) by (C, 3)."""
    return (_pixels(looks) @ mapping).view(1, *looks.shape[2:], 3).permute(0, 3, 1, 2)


def _with_ones(content: Tensor) -> Tensor:
    return torch.cat([content, torch.ones_like(content[:, :1])], dim=1)


def _pixels(image: Tensor) -> Tensor:
    """(1, C, H, W) → (N, C)."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)

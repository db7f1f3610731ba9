"""VGG-16 and VGG-19 (Simonyan, Zisserman 2015) up to whatever layer is asked for.

Pooling is by average, as Gatys, Ecker and Bethge (2016) advise for style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from vidstyle.errors import InputError
from vidstyle.features.taps import TapNet, steps_in_use

# Channels of each convolution, a block a row; a pool stands between blocks.
BLOCKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


def step_names(name: str) -> list[str]:
    """conv1_1, relu1_1, conv1_2, …: torchvision's `features.N` is the N-th of these."""
    names = []
    for block, widths in enumerate(BLOCKS[name], start=1):
        for layer in range(1, len(widths) + 1):
            names += [f"conv{block}_{layer}", f"relu{block}_{layer}"]
        names.append(f"pool{block}")
    return names


def build_vgg(
    name: str, weights: Mapping[str, Tensor], style_taps: Sequence[str], content_tap: str
) -> TapNet:
    """`weights`: torchvision's keys (`features.0.weight` …), at least as deep as the taps."""
    widths = iter(pairwise((3, *chain(*BLOCKS[name]))))
    steps = {
        step: _convolution(step, index, weights, *next(widths))
        if step.startswith("conv")
        else _plain_step(step)
        for index, step in enumerate(steps_in_use(step_names(name), style_taps, content_tap))
    }
    return TapNet(name, steps, style_taps, content_tap)


def _plain_step(step: str) -> nn.Module:
    return nn.ReLU() if step.startswith("relu") else nn.AvgPool2d(2)


def _convolution(
    step: str, index: int, weights: Mapping[str, Tensor], wide_in: int, wide_out: int
) -> nn.Conv2d:
    try:
        weight = weights[f"features.{index}.weight"]
        bias = weights[f"features.{index}.bias"]
    except KeyError as missing:
        raise InputError(
            f"the weights lack {missing.args[0]} ({step}): choose shallower layers with "
            "--style-layers and --content-layer, or a deeper file with --weights"
        ) from None
    if weight.shape != (wide_out, wide_in, 3, 3) or bias.shape != (wide_out,):
        raise InputError(
            f"the weights' features.{index} is {tuple(weight.shape)}, not {step}'s "
            f"{(wide_out, wide_in, 3, 3)}: pass the file of the network named by --features"
        )
    layer = nn.Conv2d(wide_in, wide_out, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer

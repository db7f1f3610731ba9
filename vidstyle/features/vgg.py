"""VGGs (Simonyan, Zisserman 2015) up to whatever layer is asked for.

Pooling is by average, as Gatys, Ecker and Bethge (2016) advise for style.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, islice, pairwise

import torch
from torch import Tensor, nn

from vidstyle.errors import InputError
from vidstyle.features.pool import AveragePool
from vidstyle.features.taps import TapNet, steps_in_use

# Channels of each convolution, a block a row; a pool stands between blocks.
BLOCKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg11": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg13": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
_IS_WEIGHT = re.compile(r"features\.\d+\.weight$")


def step_names(name: str) -> list[str]:
    """conv1_1, relu1_1, conv1_2, …: torchvision's `features.N` is the N-th of these."""
    names = []
    for block, widths in enumerate(BLOCKS[name], start=1):
        for layer in range(1, len(widths) + 1):
            names += [f"conv{block}_{layer}", f"relu{block}_{layer}"]
        names.append(f"pool{block}")
    return names


def which_vgg(weights: Mapping[str, Tensor]) -> str:
    """The deepest VGG whose first convolutions these are. Raises `InputError` if none's."""
    given = {key: tuple(value.shape) for key, value in weights.items() if _IS_WEIGHT.match(key)}
    for name in reversed(BLOCKS):
        widths, expected = pairwise((3, *chain(*BLOCKS[name]))), {}
        for index, step in enumerate(step_names(name)):
            if step.startswith("conv"):
                wide_in, wide_out = next(widths)
                expected[f"features.{index}.weight"] = (wide_out, wide_in, 3, 3)
        if given and given == dict(islice(expected.items(), len(given))):
            return name
    raise InputError("not the weights of a VGG without batch normalisation: use torchvision's")


def deepest_relu(name: str, weights: Mapping[str, Tensor]) -> str:
    """The last layer that the weights reach."""
    index = max(int(key.split(".")[1]) for key in weights if _IS_WEIGHT.match(key))
    return step_names(name)[index + 1]


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
    return nn.ReLU() if step.startswith("relu") else AveragePool()


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

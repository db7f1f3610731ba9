"""`lite`: VGG-19's first three blocks with every 3×3 convolution made a bottleneck.

VGG's widths and ReLUs are kept, so that its features (divided by each layer's root mean square)
can be regressed one to one; the cost falls from 223 k to 28 k multiply-adds a pixel. `distill`
teaches it, and deeper ones; MODEL_CARD.md says on what and how well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.resources import as_file, files
from typing import Final, NamedTuple

from safetensors.torch import load_file
from torch import Tensor, nn

from vidstyle.features.taps import TapNet

NARROWING = 4  # a bottleneck's width is a quarter of its ends'; an eighth lost 2-10 x in style


class Layer(NamedTuple):
    """A step and its channels; a pool, which halves both sides, has the same in and out."""

    name: str
    wide_in: int
    wide_out: int


# What is shipped ends with relu3_4; VGGs with fewer layers have some of these only.
LAYERS: Final = (
    Layer("relu1_1", 3, 64),
    Layer("relu1_2", 64, 64),
    Layer("pool1", 64, 64),
    Layer("relu2_1", 64, 128),
    Layer("relu2_2", 128, 128),
    Layer("pool2", 128, 128),
    Layer("relu3_1", 128, 256),
    *(Layer(f"relu3_{n}", 256, 256) for n in (2, 3, 4)),
    Layer("pool3", 256, 256),
    Layer("relu4_1", 256, 512),
    *(Layer(f"relu4_{n}", 512, 512) for n in (2, 3, 4)),
    Layer("pool4", 512, 512),
    *(Layer(f"relu5_{n}", 512, 512) for n in (1, 2, 3, 4)),
)


def _module(layer: Layer) -> nn.Module:
    if layer.name.startswith("pool"):
        return nn.AvgPool2d(2)
    if layer.wide_in == 3:
        return nn.Sequential(nn.Conv2d(3, layer.wide_out, 3, padding=1), nn.ReLU(inplace=True))
    narrow_in, narrow_out = layer.wide_in // NARROWING, layer.wide_out // NARROWING
    return nn.Sequential(
        nn.Conv2d(layer.wide_in, narrow_in, 1, bias=False),
        nn.Conv2d(narrow_in, narrow_out, 3, padding=1),
        nn.Conv2d(narrow_out, layer.wide_out, 1),
        nn.ReLU(inplace=True),
    )


def layers_in(names: Collection[str]) -> list[Layer]:
    """Those of `lite` that are named: a VGG's steps, or what a file of weights holds."""
    return [layer for layer in LAYERS if layer.name in names]


def relus_in(names: Collection[str]) -> list[str]:
    """What can be a tap: no pool."""
    return [layer.name for layer in layers_in(names) if layer.name.startswith("relu")]


class Taps(NamedTuple):
    """Empty where a network does not reach the third block."""

    style: tuple[str, ...]
    content: str


def default_taps(names: Collection[str]) -> Taps:
    """Each block's first layer and the third's last for style; for content the one before that."""
    relus = relus_in(names)
    third = [name for name in relus if name.startswith("relu3")]
    if not third:
        return Taps((), "")
    style = tuple(name for name in relus if name.endswith("_1") or name == third[-1])
    return Taps(style, third[max(0, len(third) - 2)])


def build_lite(names: Collection[str], style_taps: Sequence[str], content_tap: str) -> TapNet:
    """The named layers with random weights."""
    steps = {layer.name: _module(layer) for layer in layers_in(names)}
    return TapNet("lite", steps, style_taps, content_tap)


def names_of(weights: Collection[str]) -> list[str]:
    """The layers whose weights a state dict's keys promise; plain pools have none."""
    held = {key.split(".")[1] for key in weights if key.startswith("steps.")}
    return [layer.name for layer in LAYERS if layer.name in held or layer.name.startswith("pool")]


def shipped_weights() -> dict[str, Tensor]:
    """The half-precision weights in the package, as float32."""
    with as_file(files("vidstyle.features") / "lite.safetensors") as path:
        return {name: value.float() for name, value in load_file(path).items()}

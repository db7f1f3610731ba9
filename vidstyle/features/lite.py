"""`lite`: VGG-19's first three blocks with their 3×3 convolutions made bottlenecks.

VGG's widths and ReLUs are kept, so that its features (divided by each layer's root mean square)
can be regressed one to one; the cost falls from 223 k to 43 k multiply-adds a pixel. The first
convolution is VGG's own: what is missed there is missed by all layers behind. The others begin as
bottlenecks near to VGG's (`tucker`); `distill` teaches them, and deeper ones; MODEL_CARD.md
says on what and how well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.resources import as_file, files
from typing import Final, NamedTuple

from safetensors.torch import load_file
from torch import Tensor, nn

from vidstyle.features.pool import AveragePool
from vidstyle.features.taps import TapNet


class Layer(NamedTuple):
    """A step and its channels: of its ends, and into and out of its spatial convolution.

    One that is narrow inside learns. The others are VGG's own first convolution, and its pools,
    which halve both sides.
    """

    name: str
    wide_in: int
    wide_out: int
    narrow_in: int = 0
    narrow_out: int = 0

    @property
    def learns(self) -> bool:
        return self.narrow_in > 0

    @property
    def pools(self) -> bool:
        return self.name.startswith("pool")


# What is shipped ends with relu3_4; VGGs with fewer layers have some of these only. Its widths are
# from "Networks" in tests/bench/results/README.md, those of deeper layers follow them, untried.
LAYERS: Final = (
    Layer("relu1_1", 3, 64),
    Layer("relu1_2", 64, 64, 16, 24),
    Layer("pool1", 64, 64),
    Layer("relu2_1", 64, 128, 32, 48),
    Layer("relu2_2", 128, 128, 48, 64),
    Layer("pool2", 128, 128),
    Layer("relu3_1", 128, 256, 64, 96),
    Layer("relu3_2", 256, 256, 80, 96),
    Layer("relu3_3", 256, 256, 48, 64),
    Layer("relu3_4", 256, 256, 48, 64),
    Layer("pool3", 256, 256),
    Layer("relu4_1", 256, 512, 128, 192),
    *(Layer(f"relu4_{n}", 512, 512, 128, 192) for n in (2, 3, 4)),
    Layer("pool4", 512, 512),
    *(Layer(f"relu5_{n}", 512, 512, 128, 192) for n in (1, 2, 3, 4)),
)


def _module(layer: Layer) -> nn.Module:
    wide_in, wide_out, narrow_in, narrow_out = layer[1:]
    if layer.pools:
        return AveragePool()
    if not layer.learns:
        own = nn.Conv2d(wide_in, wide_out, 3, padding=1)
        return nn.Sequential(own, nn.ReLU(inplace=True))
    return nn.Sequential(
        nn.Conv2d(wide_in, narrow_in, 1, bias=False),
        nn.Conv2d(narrow_in, narrow_out, 3, padding=1),
        nn.Conv2d(narrow_out, wide_out, 1),
        nn.ReLU(inplace=True),
    )


def layers_in(names: Collection[str]) -> list[Layer]:
    """Those of `lite` that are named: a VGG's steps, or what a file of weights holds."""
    return [layer for layer in LAYERS if layer.name in names]


def relus_in(names: Collection[str]) -> list[str]:
    """What can be a tap: no pool."""
    return [layer.name for layer in layers_in(names) if not layer.pools]


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
    """The layers whose weights a state dict's keys promise, and every pool."""
    held = {key.split(".")[1] for key in weights if key.startswith("steps.")}
    return [layer.name for layer in LAYERS if layer.name in held or layer.pools]


def shipped_weights() -> dict[str, Tensor]:
    """The half-precision weights in the package, as float32."""
    with as_file(files("vidstyle.features") / "lite.safetensors") as path:
        return {name: value.float() for name, value in load_file(path).items()}

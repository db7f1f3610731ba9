"""`lite`: VGG-19's first three blocks with every 3×3 convolution made a bottleneck.

VGG's widths and ReLUs are kept, so that its features (divided by each layer's root mean square)
can be regressed one to one; the cost falls from 223 k to 28 k multiply-adds a pixel. `distill`
teaches it; MODEL_CARD.md says on what and how well.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files

from safetensors.torch import load_file
from torch import Tensor, nn

from vidstyle.features.taps import TapNet, steps_in_use

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
CONTENT_TAP = "relu3_3"
NARROWING = 4  # a bottleneck's width is a quarter of its ends'; an eighth lost 2-10 x in style

# (step, channels in, channels out); a pool halves both sides.
LAYERS: tuple[tuple[str, int, int], ...] = (
    ("relu1_1", 3, 64),
    ("relu1_2", 64, 64),
    ("pool1", 0, 0),
    ("relu2_1", 64, 128),
    ("relu2_2", 128, 128),
    ("pool2", 0, 0),
    ("relu3_1", 128, 256),
    ("relu3_2", 256, 256),
    ("relu3_3", 256, 256),
    ("relu3_4", 256, 256),
)


def _layer(channels_in: int, channels_out: int) -> nn.Module:
    if channels_in == 0:
        return nn.AvgPool2d(2)
    if channels_in == 3:
        return nn.Sequential(nn.Conv2d(3, channels_out, 3, padding=1), nn.ReLU())
    narrow_in, narrow_out = channels_in // NARROWING, channels_out // NARROWING
    return nn.Sequential(
        nn.Conv2d(channels_in, narrow_in, 1, bias=False),
        nn.Conv2d(narrow_in, narrow_out, 3, padding=1),
        nn.Conv2d(narrow_out, channels_out, 1),
        nn.ReLU(),
    )


def build_lite(style_taps: Sequence[str] = STYLE_TAPS, content_tap: str = CONTENT_TAP) -> TapNet:
    """The architecture down to the deepest tap, with random weights."""
    used = steps_in_use([name for name, *_ in LAYERS], style_taps, content_tap)
    steps = {name: _layer(wide_in, wide_out) for name, wide_in, wide_out in LAYERS[: len(used)]}
    return TapNet("lite", steps, style_taps, content_tap)


def shipped_weights() -> dict[str, Tensor]:
    """The half-precision weights in the package, as float32."""
    with as_file(files("vidstyle.features") / "lite.safetensors") as path:
        return {name: value.float() for name, value in load_file(path).items()}

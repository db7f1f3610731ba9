"""What VGG-19 sees at a few places of the sample painting: small enough to keep beside the tests.

python -m tests.core.teacher_features vgg19.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vidstyle.features import TapNet, load_features
from vidstyle.images import to_side, to_tensor
from vidstyle.video import load_picture

STORED = Path(__file__).with_suffix(".safetensors")
PAINTING = Path(__file__).parents[2] / "samples/scream.jpg"
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
SIDE, PLACES = 192, 32


def seen_by(net: TapNet) -> dict[str, Tensor]:
    """tap → (PLACES, C), at places spread evenly over the picture."""
    image = to_side(to_tensor(load_picture(PAINTING)), SIDE, net.least_side)
    with torch.no_grad():
        features = net(image, TAPS)
    flat = {tap: f[0].flatten(1).T for tap, f in features.items()}
    return {tap: f[torch.linspace(0, len(f) - 1, PLACES).round().long()] for tap, f in flat.items()}


if __name__ == "__main__":
    seen = seen_by(load_features("vgg19", Path(sys.argv[1]), TAPS))
    save_file({tap: f.half().contiguous() for tap, f in seen.items()}, STORED)

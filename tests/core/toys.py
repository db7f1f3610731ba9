"""Small parts for tests of the loop: a two-layer network, pictures, a compute."""

import numpy as np
import torch
from torch import nn

from vidstyle.device import Compute
from vidstyle.features import TapNet


def toy_net() -> TapNet:
    torch.manual_seed(0)
    steps = {
        "relu1_1": nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
        "pool1": nn.AvgPool2d(2),
        "relu2_1": nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()),
    }
    return TapNet("toy", steps, ("relu1_1", "relu2_1"), "relu2_1").frozen()


def cpu() -> Compute:
    return Compute(torch.device("cpu"), "fp32")


def stripes(height: int = 48, width: int = 64) -> np.ndarray:
    """A painting of diagonal stripes, orange on blue."""
    y, x = np.mgrid[:height, :width]
    wave = (np.sin((x + y) / 2) / 2 + 0.5)[..., None].astype(np.float32)
    orange, blue = np.float32([0.95, 0.5, 0.1]), np.float32([0.1, 0.2, 0.6])
    return wave * orange + (1 - wave) * blue

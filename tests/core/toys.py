"""Small parts for tests: a two-layer network, pictures, a compute, weights that may be at hand."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
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


def deep_toy_net() -> TapNet:
    """With a tap beyond the second pooling."""
    torch.manual_seed(0)
    steps = {
        **dict(toy_net().steps.items()),
        "pool2": nn.AvgPool2d(2),
        "relu3_1": nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU()),
    }
    return TapNet("deep toy", steps, ("relu1_1", "relu2_1", "relu3_1"), "relu3_1").frozen()


def cpu() -> Compute:
    return Compute(torch.device("cpu"), "fp32")


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stripes(height: int = 48, width: int = 64) -> np.ndarray:
    """A painting of diagonal stripes, orange on blue."""
    y, x = np.mgrid[:height, :width]
    wave = (np.sin((x + y) / 2) / 2 + 0.5)[..., None].astype(np.float32)
    orange, blue = np.float32([0.95, 0.5, 0.1]), np.float32([0.1, 0.2, 0.6])
    return wave * orange + (1 - wave) * blue


def texture(height: int, width: int, seed: int = 0, grain: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def square_on_ground(left: int) -> np.ndarray:
    """A 40×40 textured square at x = left on textured ground."""
    picture = texture(96, 128) * 0.5
    picture[28:68, left : left + 40] = 0.5 + 0.5 * texture(40, 40, seed=1)
    return picture


def raft_weights() -> Path | None:
    """A file for `--flow raft`: torchvision's cached one, or one beside the project."""
    beside = Path(__file__).parents[3] / "shared/data/weights"
    folders = [Path(torch.hub.get_dir()) / "checkpoints", beside]
    files = [path for folder in folders for path in sorted(folder.glob("raft_large*"))]
    return next((path for path in files if path.suffix in (".pth", ".safetensors")), None)


def little_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Has networks run out of memory beyond so many rows; gives the rows that they are shown."""
    seen, forward = list[int](), TapNet.forward

    def short(net: TapNet, image: torch.Tensor, taps: Iterable[str]) -> dict[str, torch.Tensor]:
        seen.append(image.shape[2])
        if image.shape[2] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(net, image, taps)

    monkeypatch.setattr(TapNet, "forward", short)
    return seen

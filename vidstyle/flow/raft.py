"""RAFT (Teed, Deng 2020): recurrent all-pairs field transforms, torchvision's large network.

Large, because the small one only interpolates its flow up from an eighth, and motion edges are
what the trust mask needs sharp. In float32, as the authors keep their correlations.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidstyle.errors import InputError
from vidstyle.flow.estimator import FlowEstimator
from vidstyle.flow.warp import resize_flow
from vidstyle.images import resize, scaled, to_array, to_tensor
from vidstyle.weights import fetch_weights, read_weights

STRIDE = 8  # pixels: the network works at an eighth of each side
SMALLEST = 128  # pixels a side: an eighth of it is halved three times more
# Every eighth-size pixel is compared with every other: 2 GiB here, four times that at twice it.
MOST_PIXELS = 2**20


def load_raft(weights: Path | None, device: torch.device) -> FlowEstimator:
    """RAFT on `device`, with torchvision's weights or those of a file.

    Raises `InputError` where weights cannot be had or are another network's.
    """
    from torchvision.models.optical_flow import raft_large

    net = raft_large()
    state = read_weights(weights) if weights else _fetched()
    try:
        net.load_state_dict(state)
    except RuntimeError as error:  # names or shapes that do not fit
        raise InputError(
            f"{weights}: not weights of torchvision's raft_large; name such a file, or leave "
            "--flow-weights out to have them fetched"
        ) from error
    return with_network(net.to(device).eval(), device)


def _fetched() -> dict[str, Tensor]:
    from torchvision.models.optical_flow import Raft_Large_Weights

    # Those taught on the most kinds of film, Sintel and street scenes among them.
    choice = Raft_Large_Weights.C_T_SKHT_V2
    return fetch_weights("raft", choice, option="--flow-weights", instead="--flow dis")


def with_network(net: nn.Module, device: torch.device) -> FlowEstimator:
    """As `load_raft`, by a network of your own: two (1, 3, H, W) in [-1, 1] → its flows, best last.

    Both sides are multiples of 8, of 128 pixels at least. Pictures of more than 2²⁰ pixels are
    scaled down for it and their flow up again.
    """

    @torch.no_grad()
    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        full = first.shape[0], first.shape[1]
        height, width = scaled(full, min(1.0, math.sqrt(MOST_PIXELS / math.prod(full))), 1)
        a, b = (_fitted(resize(to_tensor(x, device), (height, width))) for x in (first, second))
        flow = net(a, b)[-1][..., :height, :width]
        return to_array(resize_flow(flow, full))

    return estimate


def _fitted(image: Tensor) -> Tensor:
    """(1, 3, H, W) in [0, 1] → [-1, 1], its right and lower border repeated up to a legal size."""
    below, right = (max(-side % STRIDE, SMALLEST - side) for side in image.shape[2:])
    return F.pad(2 * image - 1, (0, right, 0, below), mode="replicate")

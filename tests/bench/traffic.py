"""Bytes that one step moves on a GPU, operation by operation, counted without one.

    python -m tests.bench.traffic --size 1280 720

The step of a later frame at full size, in bfloat16, with the network arranged as for a GPU, is run
on the CPU, and what each operation reads and writes is counted as if nothing stayed in a cache. A
convolution's bias, which PyTorch adds to what cuDNN gives in a pass of its own, counts as one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import torch

from tests.bench.speed import Traffic, own_step, size_of
from vidstyle.device import Compute
from vidstyle.features import arranged, load_features
from vidstyle.optimize import Optimizer
from vidstyle.settings import StyleSettings


class ByOperation(Traffic):
    """What a GPU moves, and calls, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.moved, self.calls = Counter[str](), Counter[str]()

    def count(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        name = func.name().removeprefix("aten::")
        self._add(name, _moved(name.partition(".")[0], args, kwargs, result))
        if name == "convolution" and args[2] is not None:
            self._add("convolution, its bias", 2 * result.nbytes)

    def _add(self, name: str, moved: int) -> None:
        self.bytes += moved
        self.moved[name] += moved
        self.calls[name] += moved > 0


def _moved(name: str, args: Any, kwargs: Any, result: Any) -> int:
    if name.startswith("empty"):
        return 0
    if name == "convolution_backward":  # of the picture's side: no gradient of weights
        args = (args[0], args[2])
    elif name in ("copy_", "fill_", "zero_"):  # what they write they do not read
        args = args[1:]
    return size_of(args, kwargs, result)


def later_step(width: int, height: int) -> ByOperation:
    """Of one frame held to the one before; nothing in it depends on what the pictures show."""
    net = arranged(load_features().reflecting()).to(memory_format=torch.channels_last)
    optimizer = Optimizer(net, Compute(torch.device("cpu"), "bf16"), StyleSettings())
    image = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
    still = torch.zeros(1, 2, height, width)
    step = own_step(image, optimizer, flow=still, calm=2.0, shimmer=0.8, smooth=True)
    with ByOperation() as traffic:
        step()
    return traffic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720))
    parser.add_argument("--most", type=int, default=20, help="operations named")
    arguments = parser.parse_args()
    traffic = later_step(*arguments.size)
    print("| operation | calls | GB |\n|---|---|---|")
    for name, moved in traffic.moved.most_common(arguments.most):
        print(f"| {name} | {traffic.calls[name]} | {moved / 1e9:.2f} |")
    print(f"| all | {sum(traffic.calls.values())} | {traffic.bytes / 1e9:.2f} |")


if __name__ == "__main__":
    main()

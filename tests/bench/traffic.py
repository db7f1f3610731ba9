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
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vidstyle.device import Compute
from vidstyle.features import arranged, load_features
from vidstyle.optimize import Goal, Optimizer
from vidstyle.settings import StyleSettings


class Traffic(TorchDispatchMode):
    """Bytes read and written, and calls, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.calls = Counter[str](), Counter[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self._count(func.name().removeprefix("aten::"), _moved(func, args, kwargs, result))
            if func.name() == "aten::convolution" and args[2] is not None:
                self._count("convolution, its bias", 2 * result.nbytes)
        return result

    def _count(self, name: str, moved: int) -> None:
        self.bytes[name] += moved
        self.calls[name] += moved > 0


def _moved(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    name = func.name().removeprefix("aten::").partition(".")[0]
    if name.startswith("empty"):
        return 0
    if name == "convolution_backward":  # of the picture's side: no gradient of weights
        args = (args[0], args[2])
    elif name in ("copy_", "fill_", "zero_"):  # what they write they do not read
        args = args[1:]
    return sum(x.nbytes for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor))


def later_step(width: int, height: int) -> Traffic:
    """Of one frame held to the one before; nothing in it depends on what the pictures show."""
    net = arranged(load_features().reflecting()).to(memory_format=torch.channels_last)
    optimizer = Optimizer(net, Compute(torch.device("cpu"), "bf16"), StyleSettings())
    image = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
    still = torch.zeros(1, 2, height, width)
    grams, content = optimizer.grams(image), optimizer.content(image)
    goal = Goal(grams, content, image, torch.ones_like(image[:, :1]), still, calm=2.0, shimmer=0.8)
    picture = (image * 0.9).requires_grad_()
    with Traffic() as traffic:
        optimizer.loss(picture, goal).backward()
    return traffic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720))
    parser.add_argument("--most", type=int, default=20, help="operations named")
    arguments = parser.parse_args()
    traffic = later_step(*arguments.size)
    print("| operation | calls | GB |\n|---|---|---|")
    for name, moved in traffic.bytes.most_common(arguments.most):
        print(f"| {name} | {traffic.calls[name]} | {moved / 1e9:.2f} |")
    total, calls = sum(traffic.bytes.values()), sum(traffic.calls.values())
    print(f"| all | {calls} | {total / 1e9:.2f} |")


if __name__ == "__main__":
    main()

"""Where the time goes: a step, a frame and a clip at several sizes, against a reference step.

    python -m tests.bench.speed CLIP --style PAINTING --size 160 320 640 --out speed.json

The reference is a plain eager float32 VGG-19 down to relu3_4, forward and backward to the picture
with its four Gram matrices, at the same size in the same run, before and after the render: times
drift, ratios less. It has a process of its own, or its memory would be the render's peak. Its
weights are random, which costs the same. Floors are the operations and the bytes of one step over
what a large product and a large copy reach on this machine, in the same run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vidstyle import render
from vidstyle.checkpoint import Checkpointed, StoredShot
from vidstyle.device import DTYPES, choose_device, device_name
from vidstyle.features.vgg import BLOCKS, build_vgg
from vidstyle.flow.motion import Motion
from vidstyle.images import to_tensor
from vidstyle.losses import gram_loss, gram_matrix
from vidstyle.measure import WarpError
from vidstyle.optimize import Goal, Optimizer
from vidstyle.passes import Spool
from vidstyle.settings import ClipSettings, ComputeSettings, OutputSettings
from vidstyle.video import ClipReader, ClipWriter, load_paintings

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
ONE_BY_ONE = ("optimise", "rest", "store", "spool", "wait")
MEANWHILE = ("decode", "flow", "encode", "measure")
HEADER = (
    "| size | reference step, ms | step | floors: operations, bytes | frame: in reference steps "
    f"| {', '.join(ONE_BY_ONE)}, ms | meanwhile {', '.join(MEANWHILE)} | whole / optimise | MB |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


class Stages:
    """Seconds of each stage's calls; `first` is how long the first frame took to stylise.

    It takes far longer than the others: what was spent until then, which was at the moment `begun`,
    is left out of `seconds`. `beside` has what other threads than the main one have spent, in all.
    """

    def __init__(
        self, device: torch.device, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.device, self.clock = device, clock
        self.restart()

    def restart(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.beside: dict[str, float] = defaultdict(float)
        self.first: float | None = None
        self.begun = 0.0

    def timed(self, name: str, call: Callable) -> Callable:
        def run(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return self._timed_beside(name, lambda: call(*arguments, **named))
            begun = self._now()
            result = call(*arguments, **named)
            self.seconds[name].append(self._now() - begun)
            if name == "stylise" and self.first is None:
                self.first, self.begun = self.seconds[name][0], self._now()
                self.seconds.clear()
            return result

        return run

    def _timed_beside(self, name: str, call: Callable[[], Any]) -> Any:
        begun = self.clock()  # without waiting for the device, which the optimiser is using
        result = call()
        self.beside[name] += self.clock() - begun
        return result

    def iterated(self, name: str, make: Callable) -> Callable:
        def run(*arguments: Any) -> Iterator[Any]:
            items = iter(make(*arguments))
            step = self.timed(name, lambda: next(items, None))
            while (item := step()) is not None:
                yield item

        return run

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()

    def later(self, name: str, frames: int) -> float:
        """Seconds a frame, the first left out."""
        return sum(self.seconds[name]) / (frames - 1)

    def whole(self, frames: int) -> float:
        """The same, from the first one's end until now."""
        return (self._now() - self.begun) / (frames - 1)


class Traffic(TorchDispatchMode):
    """Bytes that the operations read and write, as if nothing stayed in a cache."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.count(func, args, kwargs, result)
        return result

    def count(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.bytes += size_of(args, kwargs, result)


def size_of(*trees: Any) -> int:
    """Bytes of all tensors in them."""
    return sum(leaf.nbytes for leaf in tree_leaves(trees) if isinstance(leaf, Tensor))


def median_seconds(call: Callable[[], object], device: torch.device, runs: int = 5) -> float:
    stages = Stages(device)
    step = stages.timed("step", call)
    for _ in range(runs + 1):
        step()
    return statistics.median(stages.seconds["step"][1:])


def reference_step(image: Tensor) -> Callable[[], object]:
    widths = [3, *(width for block in BLOCKS["vgg19"][:3] for width in block)]
    places = (0, 2, 5, 7, 10, 12, 14, 16)
    state = {}
    for place, wide_in, wide_out in zip(places, widths, widths[1:], strict=False):
        state[f"features.{place}.weight"] = torch.randn(wide_out, wide_in, 3, 3) / wide_in
        state[f"features.{place}.bias"] = torch.zeros(wide_out)
    net = build_vgg("vgg19", state, TAPS, TAPS[-1]).frozen().to(image.device)
    target = {tap: gram_matrix(f) for tap, f in net(image, TAPS).items()}

    def step() -> None:
        picture = (image * 0.9).requires_grad_()
        grams = {tap: gram_matrix(f) for tap, f in net(picture, TAPS).items()}
        sum(gram_loss(grams[tap], target[tap]) for tap in TAPS).backward()  # type: ignore[union-attr]

    return step


def reference_seconds(picture: np.ndarray, device: str) -> float:
    """A reference step on (H, W, 3) RGB in [0, 1]."""
    where = choose_device(device)
    return median_seconds(reference_step(to_tensor(picture, where)), where, runs=9)


def elsewhere(call: Callable[..., float], *arguments: Any) -> float:
    """In a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def own_step(image: Tensor, optimizer: Optimizer, **held: Any) -> Callable[[], object]:
    """Of a frame that is held to the one before; `held`: what else its goal has."""
    trust = torch.ones_like(image[:, :1])
    goal = Goal(optimizer.grams(image), optimizer.content(image), image, trust, **held)

    def step() -> None:
        picture = (image * 0.9).requires_grad_()
        optimizer.loss(picture, goal).backward()

    return step


def floors(step: Callable[[], object], device: torch.device, kind: torch.dtype) -> dict[str, float]:
    """Milliseconds that a step's operations and its bytes take at this machine's own best."""
    with FlopCounterMode(display=False) as operations, Traffic() as traffic:
        step()
    a = torch.rand(2048, 2048, device=device, dtype=kind)
    long = torch.rand(2**26, device=device)
    product, copy = (median_seconds(call, device) for call in (lambda: a @ a, lambda: long.clone()))
    return {
        "operations_ms": 1e3 * operations.get_total_flops() * product / (2 * 2048**3),
        "bytes_ms": 1e3 * traffic.bytes * copy / (2 * 4 * 2**26),
    }


def instrument(stages: Stages) -> None:
    """Puts a clock around every stage of a render, for the rest of the process."""
    render.split_shots = stages.iterated("decode", render.split_shots)  # type: ignore[assignment]
    for owner, method, name in (
        (Motion, "_found", "flow"),
        (Optimizer, "descend", "optimise"),
        (Optimizer, "content", "optimise"),  # what a frame is held to
        (Checkpointed, "next_frame", "stylise"),
        (Checkpointed, "refine", "stylise"),
        (Spool, "_write", "spool"),
        (Spool, "_read", "spool"),
        (StoredShot, "add", "store"),
        (ClipWriter, "write", "encode"),
        (WarpError, "add", "measure"),
    ):
        setattr(owner, method, stages.timed(name, getattr(owner, method)))


def first_frames(clip: Path, size: int, frames: int) -> ClipSettings:
    """So many of a clip."""
    with ClipReader(clip, ClipSettings(size=size)) as reader:
        return ClipSettings(size=size, end=(frames - 0.5) / float(reader.info.rate))


def measure_size(
    clip: Path, painting: Path, size: int, frames: int, compute: ComputeSettings, stages: Stages
) -> dict[str, Any]:
    stages.restart()
    part = first_frames(clip, size, frames)
    with ClipReader(clip, part) as reader:
        first = next(iter(reader)).image
    references = [elsewhere(reference_seconds, first, compute.device)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "out.mp4")
        report = render.stylize_video(
            clip, [painting], output, part=part, compute=compute, output=OutputSettings()
        )
    frame_ms = 1e3 * stages.whole(report.frames)
    references.append(elsewhere(reference_seconds, first, compute.device))
    facts: dict[str, Any] = {"size": f"{report.width}x{report.height}", "frames": report.frames}
    names = ("optimise", "stylise", "store", "spool")
    later = {name: 1e3 * stages.later(name, report.frames) for name in names}
    later |= {name: 1e3 * stages.beside[name] / report.frames for name in MEANWHILE}
    later["wait"] = frame_ms - later["stylise"] - later["spool"]
    later["rest"] = later.pop("stylise") - later["optimise"] - later["store"]
    facts |= {f"{name}_ms": value for name, value in later.items()}
    facts["frame_ms"] = frame_ms
    facts["first_frame_seconds"] = stages.first
    facts["whole_over_optimise"] = facts["frame_ms"] / facts["optimise_ms"]
    facts["seconds"], facts["peak_memory_mb"] = report.seconds, report.peak_memory_mb
    device = choose_device(compute.device)
    image = to_tensor(first, device)
    styler = render.make_styler(load_paintings([painting]), compute=compute)
    step = own_step(image.contiguous(memory_format=torch.channels_last), styler.optimizer)
    facts["reference_step_ms"] = 1e3 * statistics.mean(references)
    facts["reference_drift"] = references[1] / references[0]
    facts["step_ms"] = 1e3 * median_seconds(step, device)
    facts |= floors(step, device, DTYPES[report.precision])
    facts["frame_in_reference_steps"] = facts["frame_ms"] / facts["reference_step_ms"]
    facts["device"] = device_name(device)
    facts["precision"], facts["threads"] = report.precision, torch.get_num_threads()
    return facts


def row(facts: dict[str, Any]) -> str:
    split, meanwhile = (
        ", ".join(f"{facts[f'{name}_ms']:.0f}" for name in stages)
        for stages in (ONE_BY_ONE, MEANWHILE)
    )
    ratio = facts["reference_step_ms"] / facts["step_ms"]
    return (
        f"| {facts['size']} | {facts['reference_step_ms']:.0f} | {facts['step_ms']:.0f} "
        f"({ratio:.1f} x cheaper) | {facts['operations_ms']:.0f}, {facts['bytes_ms']:.0f} "
        f"| {facts['frame_ms']:.0f}: {facts['frame_in_reference_steps']:.2f} | {split} "
        f"| {meanwhile} | {facts['whole_over_optimise']:.2f} | {facts['peak_memory_mb']} |"
    )


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield HEADER
    for facts in rows:
        yield row(facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs="+", default=[160, 320])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="JSON to write")
    asked = parser.parse_args()
    compute = ComputeSettings(device=asked.device)
    stages = Stages(choose_device(asked.device))
    instrument(stages)
    sizes = [
        measure_size(asked.clip, asked.style, size, asked.frames, compute, stages)
        for size in asked.size
    ]
    print(*table(sizes), sep="\n")
    if asked.out:
        asked.out.write_text(json.dumps(sizes, indent=2) + "\n")


if __name__ == "__main__":
    main()

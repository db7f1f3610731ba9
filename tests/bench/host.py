"""What a machine has to do beside its GPU: the CPU time of a clip's stages, on a machine without.

    python -m tests.bench.host CLIP --style PAINTING --size 1280 --frames 120

All that a device would do is left out (steps, features, what is carried and filled, trust, what
looks alike, judging): something of the right shape is given at once. OpenCV's and the encoder's own
threads are in the sum only. So many cores over that sum are the frames a second that no card can
make more of.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.bench.speed import MEANWHILE, Stages, first_frames, instrument
from vidstyle import render, stylize
from vidstyle.flow import motion
from vidstyle.flow.motion import Correspondence, Motion
from vidstyle.measure import warping
from vidstyle.optimize import Optimizer
from vidstyle.settings import ComputeSettings

CORES = 16  # of the machine that is asked for 30 frames of 1280x720 a second
STAGES = ("stylise", "store", "spool")  # on the optimiser's thread, storing within the first


def leave_out_the_device() -> None:
    """For the rest of the process: what it holds is four pixels large, and what it gives is given.

    Results are the source's own pictures, which cost an encoder less than paintings do.
    """
    dot = torch.zeros(1, 3, 2, 2)
    correspondence = Correspondence(dot[:, :2], dot[:, :1])
    error = warping.PairError(1.0, 1.0, np.zeros((1, 1), np.float32))

    def both_ways(self: Motion, earlier: np.ndarray, later: np.ndarray, *tensors: Any) -> Any:
        self.estimate(earlier, later), self.estimate(later, earlier)
        return correspondence, correspondence

    for owner, name, stand_in in (
        (Optimizer, "descend", lambda self, start, *others, **named: start),
        (Optimizer, "content", lambda self, image: dot),
        (stylize.StyleTargets, "at", lambda self, side, solved=None: {}),
        (stylize.StyleTargets, "fineness", lambda self, side: 1.0),
        (stylize.OptimizingStyler, "_mixed", lambda self, image, result: image),
        (stylize.OptimizingStyler, "_unmixed", lambda self, image, result: dot),
        (stylize, "to_tensor", lambda image, device: dot),
        (stylize, "resize", lambda image, size: dot),
        (stylize, "rearranged", lambda result, offsets, wanted: result),
        (Motion, "_both_ways", both_ways),
        (Motion, "_tensors", lambda self, *pictures: [dot] * len(pictures)),
        (motion, "find_alike", lambda content, source, wanted: dot),
        (warping, "pair_error", lambda *pairs: error),
    ):
        assert hasattr(owner, name), name
        setattr(owner, name, stand_in)


def measure(clip: Path, painting: Path, size: int, frames: int) -> dict[str, float]:
    """Milliseconds of CPU time a frame; in all, that of the start is among them."""
    leave_out_the_device()
    stages = Stages(torch.device("cpu"), time.thread_time)
    instrument(stages)
    part = first_frames(clip, size, frames)
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        report = render.stylize_video(
            clip,
            [painting],
            Path(folder, "out.mp4"),
            part=part,
            compute=ComputeSettings(device="cpu", threads=1),
        )
    spent = {"all": (time.process_time() - begun) / report.frames}
    spent |= {name: stages.later(name, report.frames) for name in STAGES}
    beside = (*MEANWHILE, "spool")
    spent |= {f"{name} beside": stages.beside[name] / report.frames for name in beside}
    return {name: 1e3 * seconds for name, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1280)
    parser.add_argument("--frames", type=int, default=120)
    asked = parser.parse_args()
    spent = measure(asked.clip, asked.style, asked.size, asked.frames)
    print(", ".join(f"{name} {ms:.1f}" for name, ms in spent.items()), "ms a frame")
    print(f"{CORES} cores: at most {1e3 * CORES / spent['all']:.0f} frames a second")


if __name__ == "__main__":
    main()

"""Flows and the trust mask against the sample clip's exact motion and occlusions.

    python -m tests.bench.flow --out tests/bench/results/flow.json

RAFT takes part where its weights are at hand, or with --raft FILE. As in a render, a flow leads
from the later frame of a pair to the earlier; every figure is over all pixels of all pairs that
lie 1, 2, 4 and 8 frames apart. `mean` and `median` are end-point errors in pixels where the truth
is not occluded, `mean_all` everywhere, `mean_trusted` where the mask trusts it. The mask is judged
by the pixels that it does not trust (below 0.5): `precision` is the share of them that are
occluded, `recall` the share of the occluded that are among them. `ms` is the fastest of many calls,
in one direction, on one thread.
"""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from samples.clip import FRAMES, SampleClip, sample_clip
from tests.core.toys import raft_weights
from vidstyle.flow import FlowEstimator, load_flow
from vidstyle.flow.classic import with_dis
from vidstyle.flow.trust import trust_mask
from vidstyle.images import to_tensor

DISTANCES = (1, 2, 4, 8)  # frames
FIRST, EVERY = 3, 6  # frames: pairs begin at 3, 9, …; those before hardly move
CALLS = 20  # the fastest is printed: other work on the machine slows the rest
FIGURES = ("mean", "median", "mean_trusted", "precision", "recall")

MEDIUM = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
DIS: dict[str, tuple[int, dict[str, int]]] = {
    "DIS ultrafast": (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, {}),
    "DIS fast": (cv2.DISOPTICAL_FLOW_PRESET_FAST, {}),
    "DIS medium, the default": (MEDIUM, {}),
    "… without spatial propagation": (MEDIUM, {"UseSpatialPropagation": False}),
    "… 20 refinements instead of 5": (MEDIUM, {"VariationalRefinementIterations": 20}),
    "… down to full resolution": (MEDIUM, {"FinestScale": 0}),
    "… both": (MEDIUM, {"FinestScale": 0, "VariationalRefinementIterations": 20}),
    "… down to full resolution, patches 4 px apart, 12 descents": (
        MEDIUM,
        {"FinestScale": 0, "PatchStride": 4, "GradientDescentIterations": 12},
    ),
}

Motion = Callable[[int, int], np.ndarray]  # frames t, s → (H, W, 2): t's pixels' way to s


def dis(preset: int, changes: dict[str, int]) -> FlowEstimator:
    def make() -> cv2.DISOpticalFlow:
        search = cv2.DISOpticalFlow_create(preset)
        for name, value in changes.items():
            getattr(search, f"set{name}")(value)
        return search

    return with_dis(make)


def estimators(raft: Path | None, device: str) -> dict[str, FlowEstimator]:
    found = {name: dis(*variant) for name, variant in DIS.items()}
    found["Farnebäck"] = load_flow("farneback")
    if raft is not None:
        found[raft.stem] = load_flow("raft", raft, device)
    return found


def between(pictures: list[np.ndarray], flow: FlowEstimator) -> Motion:
    return lambda t, s: flow(pictures[t], pictures[s])


def judge(clip: SampleClip, motion: Motion, distance: int) -> dict[str, float]:
    errors, hidden, doubted = [], [], []
    for before in range(FIRST, FRAMES - distance, EVERY):
        after = before + distance
        back, forth = motion(after, before), motion(before, after)
        errors.append(np.linalg.norm(back - clip.flow(after, before), axis=2))
        hidden.append(clip.occluded(after, before))
        doubted.append(trust_mask(to_tensor(back), to_tensor(forth))[0, 0].numpy() < 0.5)
    error, occluded, untrusted = map(np.stack, (errors, hidden, doubted))
    return {
        "mean": float(error[~occluded].mean()),
        "median": float(np.median(error[~occluded])),
        "mean_all": float(error.mean()),
        "mean_trusted": float(error[~untrusted].mean()),
        "precision": float(occluded[untrusted].mean()),
        "recall": float(untrusted[occluded].mean()),
        "occluded": float(occluded.mean()),
        "untrusted": float(untrusted.mean()),
    }


def measure(clip: SampleClip, name: str, motion: Motion) -> dict:
    each = [judge(clip, motion, distance) for distance in DISTANCES]
    figures = {figure: [facts[figure] for facts in each] for figure in each[0]}
    return {"flow": name, "frames_apart": DISTANCES, **figures}


def fastest_ms(motion: Motion) -> float:
    return 1000 * min(timeit.repeat(lambda: motion(24, 20), number=1, repeat=CALLS))


def row(facts: dict) -> str:
    cells = [" / ".join(f"{value:.2f}" for value in facts[figure]) for figure in FIGURES]
    price = f"{facts['ms']:.1f}" if "ms" in facts else "–"
    return f"| {facts['flow']} | {' | '.join(cells)} | {price} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raft", type=Path, default=raft_weights(), help="weights of RAFT")
    parser.add_argument("--device", default="cpu", help="where RAFT runs")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    clip = sample_clip()
    pictures = [frame.astype(np.float32) / 255 for frame in clip.frames]
    print(f"| flow | {' | '.join(FIGURES)} | ms |\n|---|{'---|' * len(FIGURES)}---|")
    results = [measure(clip, "the truth", clip.flow)]
    print(row(results[0]))
    for name, flow in estimators(arguments.raft, arguments.device).items():
        motion = between(pictures, flow)
        results.append(measure(clip, name, motion) | {"ms": fastest_ms(motion)})
        print(row(results[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

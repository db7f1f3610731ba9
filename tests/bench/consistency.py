"""What only a known motion can tell of consistency: exact flow, a long pan, a still shot.

    python -m tests.bench.consistency --style samples/scream.jpg

`carried` renders the sample clip and compares neighbours along its exact flow, against the first
stylised frame carried to every frame in one resampling, which nothing can beat; both where all the
frames concerned see the same thing, and ours also beside what was uncovered. `pan` moves a still
by half a pixel a frame: how sharp the last frame is, over the first one resampled once. `still`
repeats a picture under a camera's noise: how far frames stray from the first, in 8-bit levels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from samples.clip import SampleClip, sample_clip
from vidstyle.flow.warp import warp, warp_sharp
from vidstyle.images import from_levels, to_array, to_tensor
from vidstyle.render import make_styler, stylize_frames
from vidstyle.video import load_paintings, load_picture

PAN = 0.5  # pixels a frame
NOISE = 1.0  # levels, standard deviation
SMALL = (160, 90)  # (w, h)
BESIDE = 6  # pixels: as near as this to an occlusion is beside it


def to_flow(flow: np.ndarray) -> torch.Tensor:
    return to_tensor(np.ascontiguousarray(flow, np.float32))


def inside(flow: np.ndarray) -> np.ndarray:
    """(H, W): whether the flow leads to a place in the picture."""
    height, width, _ = flow.shape
    y, x = np.mgrid[:height, :width]
    to_x, to_y = x + flow[..., 0], y + flow[..., 1]
    return (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)


def seen(clip: SampleClip, t: int, s: int) -> np.ndarray:
    """(H, W): what frame t shows and frame s does too."""
    return ~clip.occluded(t, s) & inside(clip.flow(t, s))


def change(clip: SampleClip, frames: list[np.ndarray], t: int) -> np.ndarray:
    """(H, W): squared difference of frame t - 1 from frame t along the exact flow."""
    arrived = to_array(warp(to_tensor(frames[t]), to_flow(clip.flow(t - 1, t))))
    return np.square(arrived - frames[t - 1]).mean(2)


def carried(painting: np.ndarray) -> Iterator[str]:
    clip = sample_clip()
    sources = [from_levels(np.uint16(frame) * 257) for frame in clip.frames]
    ours = list(stylize_frames(sources, make_styler([painting])))
    first = to_tensor(ours[0])
    perfect = [ours[0]] + [
        to_array(warp_sharp(first, to_flow(clip.flow(t, 0)))) for t in range(1, len(ours))
    ]
    sums = dict.fromkeys(("ours", "perfect", "all", "beside"), 0.0)
    counts = dict.fromkeys(sums, 0)
    for t in range(2, len(ours)):
        pair = seen(clip, t - 1, t)
        known = pair & seen(clip, t - 1, 0) & _arrives(clip, t)
        near = cv2.dilate(np.uint8(~pair), np.ones((2 * BESIDE + 1,) * 2, np.uint8)) > 0
        mine = change(clip, ours, t)
        for name, values, mask in (
            ("ours", mine, known),
            ("perfect", change(clip, perfect, t), known),
            ("all", mine, pair),
            ("beside", mine, pair & near),
        ):
            sums[name] += float(values[mask].sum())
            counts[name] += int(mask.sum())
    errors = {name: sums[name] / counts[name] for name in sums}
    yield "| exact flow, the sample | warp error | over the perfect carry's |"
    yield "|---|---|---|"
    for name, value in errors.items():
        yield f"| {name} | {value:.6f} | {value / errors['perfect']:.2f} |"


def _arrives(clip: SampleClip, t: int) -> np.ndarray:
    """(H, W) of frame t - 1: whether the place it moves to in frame t was seen in frame 0."""
    known = to_tensor(np.float32(seen(clip, t, 0))[..., None])
    return to_array(warp(known, to_flow(clip.flow(t - 1, t))))[..., 0] > 0.99


def sharpness(image: np.ndarray) -> float:
    grey = image.mean(2)
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())


def pan(painting: np.ndarray, still: np.ndarray, frames: int) -> Iterator[str]:
    """`still` at twice the size, so that half a pixel is exactly one of its own."""
    width, height = SMALL
    wide = cv2.resize(still, (2 * width + frames, 2 * height), interpolation=cv2.INTER_AREA)
    views = [
        cv2.resize(wide[:, t : t + 2 * width], SMALL, interpolation=cv2.INTER_AREA)
        for t in range(frames + 1)
    ]
    results = list(stylize_frames(views, make_styler([painting])))
    way = np.zeros((height, width, 2), np.float32)
    way[..., 0] = PAN * frames
    once = to_array(warp_sharp(to_tensor(results[0]), to_flow(way)))
    stays = slice(2, width - int(PAN * frames) - 2)
    yield f"| pan of {frames} frames | sharpness over one resampling's |"
    yield "|---|---|"
    for name, part in (("what was seen from the first frame on", stays), ("all", slice(None))):
        ratio = sharpness(results[-1][:, part]) / sharpness(once[:, stays])
        yield f"| {name} | {ratio:.2f} |"


def stray(painting: np.ndarray, still: np.ndarray, frames: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    base = cv2.resize(still, SMALL, interpolation=cv2.INTER_AREA)
    noisy = (
        np.clip(base + rng.normal(0, NOISE / 255, base.shape), 0, 1).astype(np.float32)
        for _ in range(frames)
    )
    results = stylize_frames(noisy, make_styler([painting]))
    first = next(results)
    strayed = [(255 * np.abs(r - first).mean(), 255 * (r - first).mean()) for r in results]
    yield f"| still, {frames} frames | mean of all | last | last, signed |"
    yield "|---|---|---|---|"
    mean, last = np.mean([away for away, _ in strayed]), strayed[-1]
    yield f"| strays from the first, levels | {mean:.2f} | {last[0]:.2f} | {last[1]:+.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--photo", type=Path, help="for pan and still; else the painting itself")
    parser.add_argument("--pan-frames", type=int, default=100)
    parser.add_argument("--still-frames", type=int, default=200)
    asked = parser.parse_args()
    (painting,) = load_paintings([asked.style])
    still = load_picture(asked.photo or asked.style)
    for lines in (
        carried(painting),
        pan(painting, still, asked.pan_frames),
        stray(painting, still, asked.still_frames),
    ):
        print(*lines, sep="\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()

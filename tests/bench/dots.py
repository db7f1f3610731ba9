"""Dots in a still's plain places, beside how painted it is, for values of a constant.

    python -m tests.bench.dots PHOTO… --style PAINTING… --judge vgg19.safetensors \
        --vary stylize.SPOTS 0 0.03 0.06

A pixel is a dot where it is lighter, or darker, than every one of the ring three pixels around it
by twelve 8-bit levels: a stroke goes through the ring. Plain places are the source's.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from tests.bench.quality import vary
from vidstyle.features import load_features
from vidstyle.measure import JUDGE_SIDE, StyleJudge
from vidstyle.opencv import opencv
from vidstyle.render import stylize_image
from vidstyle.video import load_paintings, load_picture

RING = 3  # pixels around
STANDS_OUT = 12 / 255
PLAIN = 0.01  # of a pixel's slope, the mean of a Gaussian of so many pixels:
NEAR = 3.0


def dots(result: np.ndarray, source: np.ndarray) -> float:
    """Per mille of the plain places' pixels; both (H, W, 3) float32 RGB in [0, 1]."""
    cv2 = opencv()
    light, plain = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (result, source))
    ring = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
    ring[1:-1, 1:-1] = 0
    above = light > cv2.dilate(light, ring) + STANDS_OUT
    below = light < cv2.erode(light, ring) - STANDS_OUT
    slope = np.hypot(*(cv2.Sobel(plain, -1, *way) / 8 for way in ((1, 0), (0, 1))))
    return float(1000 * (above | below)[cv2.GaussianBlur(slope, (0, 0), NEAR) < PLAIN].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--style", type=Path, action="append", required=True)
    parser.add_argument("--judge", type=Path, required=True, help="VGG-19 weights")
    parser.add_argument("--size", type=int, default=JUDGE_SIDE)
    parser.add_argument("--vary", nargs="+", metavar="NAME VALUE", default=["steps"])
    arguments = parser.parse_args()
    name, *values = arguments.vary
    print(f"| photo | painting | {name} | style | content | dots |\n|---|---|---|---|---|---|")
    for photo, painting in itertools.product(arguments.photos, arguments.style):
        source, paintings = load_picture(photo, arguments.size), load_paintings([painting])
        judge = StyleJudge(load_features("vgg19", arguments.judge), paintings)
        for value in values or [None]:
            result = stylize_image(source, paintings, look=vary(name, value))
            print(
                f"| {photo.name} | {painting.name} | {value or 'default'} "
                f"| {judge.style_distance(result):.4f} "
                f"| {judge.content_distance(result, source):.3f} | {dots(result, source):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

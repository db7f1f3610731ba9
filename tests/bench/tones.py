"""How far a result's tones are those of its source, whatever the painting's colours.

    python -m tests.bench.tones clip.mp4 painted.mp4 other.mp4 --frame 30 --out tones.png

Prints, for each result, what share of its broad forms' variance no affine map of the source's
colours explains: mean over the frames, at the last and at most. The picture shows one frame of the
source and of each result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from vidstyle.preview import filmstrip
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader, save_picture

BROAD = 3 / 320  # of the long side, a blur's sigma: finer than that are strokes
EVERY = 4  # rows and columns, of which one is looked at


def broad(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) → (N, 3)."""
    blurred = cv2.GaussianBlur(image, (0, 0), BROAD * max(image.shape))
    return blurred[::EVERY, ::EVERY].reshape(-1, 3)


def unexplained(source: np.ndarray, result: np.ndarray) -> float:
    """Of the result's variance, with the affine map that fits best."""
    plain, made = broad(source), broad(result)
    looks = np.concatenate([plain, np.ones_like(plain[:, :1])], axis=1)
    mapping = np.linalg.lstsq(looks, made, rcond=None)[0]
    left = np.square(made - looks @ mapping).sum()
    return float(left / np.square(made - made.mean(0)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    strip = []
    for path in arguments.results:
        with ClipReader(path, ClipSettings()) as reader:
            made = [frame.image for frame in reader]
        with ClipReader(arguments.clip, ClipSettings(size=max(made[0].shape))) as reader:
            plain = [frame.image for frame, _ in zip(reader, made, strict=False)]
        shares = [unexplained(*pair) for pair in zip(plain, made, strict=True)]
        print(
            f"{path}: {np.mean(shares):.3f}, at the last {shares[-1]:.3f}, most {max(shares):.3f}"
        )
        strip = strip or [plain[arguments.frame]]
        strip.append(made[arguments.frame])
    if arguments.out:
        save_picture(arguments.out, filmstrip(strip), overwrite=True)


if __name__ == "__main__":
    main()

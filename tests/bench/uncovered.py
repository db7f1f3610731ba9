"""Newly uncovered areas, before and after: started as the plain frame, and as `uncovered` does.

    python -m tests.bench.uncovered clip.mp4 scream.jpg --size 320 --frames 13 --out uncovered.png

Prints the Gram distance to the painting inside the untrusted areas; the picture shows the last
source frame, the plain start's result and ours.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle import stylize
from vidstyle.features import load_features
from vidstyle.flow.motion import Links
from vidstyle.images import to_side, to_tensor
from vidstyle.losses import gram_loss, gram_matrix
from vidstyle.preview import filmstrip
from vidstyle.render import make_styler
from vidstyle.settings import ClipSettings
from vidstyle.uncovered import fill_uncovered
from vidstyle.video import ClipReader, load_paintings, save_picture

TAPS = ("relu1_1", "relu2_1", "relu3_1")


def plain(content: Tensor, carried: Tensor, trust: Tensor, *_: Tensor) -> Tensor:
    return torch.lerp(content, carried, trust)


def render(sources: list[np.ndarray], painting: np.ndarray, fill) -> tuple[list, list]:
    """The results, and after the first frame how far each can trust the one before."""
    stylize.fill_uncovered = fill
    styler = make_styler([painting])
    trusts: list[Tensor] = []
    found = styler._links

    def noted(earlier: np.ndarray, later: np.ndarray) -> Links:
        links = found(earlier, later)
        trusts.append(links.to_earlier.trust)
        return links

    styler._links = noted
    styler.start_shot()
    return [styler.next_frame(image) for image in sources], trusts


def masked_distance(net, image: np.ndarray, mask: Tensor, target: dict[str, Tensor]) -> float:
    """Σ over taps of the relative Gram distance, features outside the mask left out."""
    total = 0.0
    for tap, features in net(to_tensor(image), TAPS).items():
        inside = (F.interpolate(mask, features.shape[2:], mode="area") > 0.6).float()
        share = inside.mean().clamp_min(1e-6)
        total += float(gram_loss(gram_matrix(features * inside) / share, target[tap]))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("--size", type=int)
    parser.add_argument("--frames", type=int, default=13)
    parser.add_argument("--judge", type=Path, help="VGG-19 weights; without them lite judges")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with ClipReader(arguments.clip, ClipSettings(size=arguments.size)) as reader:
        sources = [frame.image for frame in islice(reader, arguments.frames)]
    painting = load_paintings([arguments.painting])[0]
    net = load_features("vgg19", arguments.judge) if arguments.judge else load_features()
    side = to_side(to_tensor(painting), max(sources[0].shape), net.least_side)
    target = {tap: gram_matrix(f) for tap, f in net(side, TAPS).items()}
    strip = [sources[-1]]
    for name, fill in (("plain", plain), ("painted", fill_uncovered)):
        results, trusts = render(sources, painting, fill)
        distances = [
            masked_distance(net, image, 1 - trust, target)
            for image, trust in zip(results[1:], trusts, strict=True)
        ]
        shares = [float(1 - trust.mean()) for trust in trusts]
        print(f"{name}: {np.average(distances, weights=shares):.3f} in {np.mean(shares):.1%}")
        strip.append(results[-1])
    save_picture(arguments.out, filmstrip(strip), overwrite=True)


if __name__ == "__main__":
    main()

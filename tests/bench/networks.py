"""Stills optimised with `lite` and with VGG-19 itself, the same settings, both judged by VGG-19.

    python tests/bench/networks.py --vgg vgg19.safetensors --out tests/bench/results/networks.json \
        --style scream.jpg --style starry.jpg photo.jpg other.jpg
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

from vidstyle.features import load_features
from vidstyle.measure import JUDGE_SIDE, StyleJudge
from vidstyle.render import stylize_image
from vidstyle.settings import FeatureSettings
from vidstyle.video import load_paintings, load_picture, save_picture


def compare(photo: Path, painting: Path, weights: dict[str, Path | None], judge: Path) -> dict:
    image, paintings = load_picture(photo, JUDGE_SIDE), load_paintings([painting])
    style = StyleJudge(load_features("vgg19", judge), paintings)
    facts: dict = {"photo": photo.name, "painting": painting.name}
    for name, file in weights.items():
        begun = time.perf_counter()
        result = stylize_image(image, paintings, features=FeatureSettings(name, file))
        facts[f"{name}_seconds"] = time.perf_counter() - begun
        facts[f"{name}_style_distance"] = style.style_distance(result)
        facts[f"{name}_content_distance"] = style.content_distance(result, image)
        facts[f"{name}_picture"] = result
    facts["style_ratio"] = facts["lite_style_distance"] / facts["vgg19_style_distance"]
    facts["content_ratio"] = facts["lite_content_distance"] / facts["vgg19_content_distance"]
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--style", type=Path, action="append", required=True)
    parser.add_argument("--vgg", type=Path, required=True, help="VGG-19 weights")
    parser.add_argument("--lite", type=Path, help="other weights of lite than the shipped ones")
    parser.add_argument("--keep", type=Path, help="folder for the pictures")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    weights = {"vgg19": arguments.vgg, "lite": arguments.lite}
    results = []
    print(
        "| photo | painting | style VGG-19 | style lite | ratio | content ratio "
        "| s VGG-19 | s lite |\n|---|---|---|---|---|---|---|---|"
    )
    for photo, painting in itertools.product(arguments.photos, arguments.style):
        facts = compare(photo, painting, weights, arguments.vgg)
        pictures = {name: facts.pop(f"{name}_picture") for name in weights}
        for name, picture in pictures.items() if arguments.keep else ():
            target = arguments.keep / f"{photo.stem}-{painting.stem}-{name}.png"
            save_picture(target, picture, overwrite=True)
        results.append(facts)
        print(
            f"| {photo.name} | {painting.name} | {facts['vgg19_style_distance']:.4f} "
            f"| {facts['lite_style_distance']:.4f} | {facts['style_ratio']:.2f} "
            f"| {facts['content_ratio']:.2f} | {facts['vgg19_seconds']:.0f} "
            f"| {facts['lite_seconds']:.0f} |",
            flush=True,
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

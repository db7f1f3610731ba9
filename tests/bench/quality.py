"""Renders clips with paintings and judges the encoded files: one table, one JSON.

    python tests/bench/quality.py --judge vgg19.safetensors --out tests/bench/results/quality.json \
        --style scream.jpg --style starry.jpg --size 320 clip.mp4 other.mp4

With `--stills N` so many of the judged frames are also made alone, as by `vidstyle image`, and the
clip's style distance in these frames is given as times theirs: how fully it is painted.
With `--vary NAME VALUE …` once for each value of a setting (`temporal_weight`) or of a module's
constant (`stylize.HASTE`): how defaults are chosen.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidstyle.measure import StyleJudge, measure_video
from vidstyle.measure.clips import load_judge
from vidstyle.render import stylize_image, stylize_video
from vidstyle.settings import ClipSettings, FeatureSettings, StyleSettings
from vidstyle.video import ClipReader, load_paintings

HEADER = (
    "| clip | painting | frames | DIS ratio | Farneback ratio | style / source's | content "
    "| times a still's | s/frame |\n|---|---|---|---|---|---|---|---|---|---|"
)


def judge(
    result: Path, source: Path, painting: Path, part: ClipSettings, features: FeatureSettings
) -> dict:
    """Figures of an encoded result against the part of the source it was made from."""
    measured = measure_video(result, source, [painting], part=part, features=features)
    series = measured.series["style_distance_series"]
    style = {index: value for index, value in enumerate(series) if value is not None}
    last = style[max(style)]
    return measured.figures | {"style_distance_last": last, "style_distance_by_frame": style}


def beside_stills(
    judged: dict[int, float],
    clip: Path,
    painting: Path,
    part: ClipSettings,
    look: StyleSettings,
    features: FeatureSettings,
    count: int,
) -> dict:
    """Style distance of `count` frames made alone, not encoded, and the clip's as times that."""
    places = np.linspace(0, len(judged) - 1, min(count, len(judged))).round().astype(int)
    chosen = [list(judged)[place] for place in places]
    paintings = load_paintings([painting])
    style = StyleJudge(load_judge(features), paintings)
    alone = []
    with ClipReader(clip, part) as frames:
        for number, frame in enumerate(frames):
            if number in chosen:
                still = stylize_image(frame.image, paintings, look=look)
                alone.append(style.style_distance(still))
    times = float(np.mean([judged[index] for index in chosen]) / np.mean(alone))
    return {
        "stills": chosen,
        "style_distance_stills": alone,
        "style_times_stills": times,
    }


def measure_pair(
    clip: Path,
    painting: Path,
    part: ClipSettings,
    look: StyleSettings,
    features: FeatureSettings,
    keep: Path,
    stills: int,
) -> dict:
    target = keep / f"{clip.stem}-{painting.stem}.mp4"
    target.unlink(missing_ok=True)
    report = stylize_video(clip, [painting], target, part=part, look=look)
    facts = {"clip": clip.name, "painting": painting.name, **report.as_dict()}
    for name in ("source", "result"):
        del facts[name]
    facts |= judge(target, clip, painting, part, features)
    if stills:
        facts |= beside_stills(
            facts["style_distance_by_frame"], clip, painting, part, look, features, stills
        )
    return facts


def row(facts: dict) -> str:
    return (
        f"| {facts['clip']} | {facts['painting']} | {facts['frames']} "
        f"| {facts['warp_error_ratio']:.2f} | {facts['warp_error_ratio_farneback']:.2f} "
        f"| {facts['style_distance_relative']:.3f} | {facts['content_distance']:.2f} "
        f"| {facts.get('style_times_stills', float('nan')):.2f} "
        f"| {facts['seconds'] / facts['frames']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--style", type=Path, action="append", required=True)
    parser.add_argument("--judge", type=Path, help="VGG-19 weights; without them lite judges")
    parser.add_argument("--size", type=int)
    parser.add_argument("--duration", type=float)
    parser.add_argument("--stills", type=int, default=0, help="frames to be made alone as well")
    parser.add_argument("--vary", nargs="+", metavar="NAME VALUE", default=["steps"])
    parser.add_argument("--keep", type=Path, help="folder for the rendered clips")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    judged_by = FeatureSettings("vgg19", arguments.judge) if arguments.judge else FeatureSettings()
    part = ClipSettings(end=arguments.duration, size=arguments.size)
    name, *values = arguments.vary
    results = []
    print(f"| {name} {HEADER}")
    with tempfile.TemporaryDirectory() as scratch:
        keep = arguments.keep or Path(scratch)
        keep.mkdir(parents=True, exist_ok=True)
        for value in values or [None]:
            look = vary(name, value)
            for clip, painting in itertools.product(arguments.clips, arguments.style):
                facts = measure_pair(clip, painting, part, look, judged_by, keep, arguments.stills)
                results.append({"varied": name, "value": value} | facts)
                print(f"| {value or 'default'} {row(facts)}", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def vary(name: str, value: str | None) -> StyleSettings:
    """Settings with `name` at `value`; a constant is set in its module instead."""
    if value is None:
        return StyleSettings()
    module, _, constant = name.rpartition(".")
    if module:
        home = importlib.import_module(f"vidstyle.{module}")
        setattr(home, constant, type(getattr(home, constant))(value))
        return StyleSettings()
    kind = type(getattr(StyleSettings, name))
    return replace(StyleSettings(), **{name: kind(value)})


if __name__ == "__main__":
    main()

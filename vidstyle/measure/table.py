"""A measurement in words, for people."""

from __future__ import annotations

from collections.abc import Iterator

from vidstyle.measure.measurement import Measurement
from vidstyle.measure.tally import FAR

# (label, the result's figure, the source's, their ratio, format, what it says)
ROWS = (
    ("warp error", "warp_error", "warp_error_source", "warp_error_ratio", ".5f",
     "change along the motion, frame to frame; mean square, RGB in [0, 1]"),
    ("  by another flow", "warp_error_farneback", "warp_error_source_farneback",
     "warp_error_ratio_farneback", ".5f", "Farnebäck's; texture often keeps it above 1"),
    (f"  {FAR} frames apart", f"warp_error_distance_{FAR}", f"warp_error_distance_{FAR}_source",
     f"warp_error_distance_{FAR}_ratio", ".5f", "what adds up"),
    ("  long-term", "long_term_warp_error", "long_term_warp_error_source",
     "long_term_warp_error_ratio", ".5f", "against the first frame of each shot"),
    ("luminance drift", "luminance_drift", "", "", "+.2f",
     "since a shot's first frame, where nothing moves; 8-bit levels"),
    ("  a frame", "luminance_drift_per_frame", "", "", "+.3f",
     "the steady part of it; below 0 is darker"),
    ("colour drift", "colour_drift", "", "", ".2f", "the same for colour without luminance"),
    ("style distance", "style_distance", "style_distance_source",
     "style_distance_relative", ".3f",
     "to the painting; 0 is its very brush work"),
    ("  at full size", "style_distance_native", "", "", ".3f", "an enlarged blur shows here"),
    ("content distance", "content_distance", "", "", ".3f", "to the source; 0 keeps every form"),
)  # fmt: skip


def table(measurement: Measurement) -> Iterator[str]:
    """Lines: what was compared, each figure with what it says, the worst pair."""
    figures = measurement.figures
    yield f"{measurement.result} against {measurement.source}"
    yield f"{'':20}{'result':>10}{'source':>10}{'ratio':>8}"
    for label, result, source, ratio, form, meaning in ROWS:
        if result in figures:
            cells = (_cell(figures.get(name), form) for name in (result, source))
            over = _cell(figures.get(ratio), ".2f")
            yield "{:20}{:>10}{:>10}{:>8}  {}".format(label, *cells, over, meaning)
    yield f"style and content judged by {figures['style_judge']}"
    if measurement.worst is not None:
        yield f"worst between {measurement.worst}"


def _cell(value: float | str | None, form: str) -> str:
    return "" if value is None else format(value, form)

"""The options of `run`, by name, as the settings of one render: one rule for every way to ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from inspect import signature
from pathlib import Path
from typing import Any, Final, get_type_hints

from vidstyle.errors import SettingsError
from vidstyle.settings import (
    ClipSettings,
    ComputeSettings,
    FeatureSettings,
    OutputSettings,
    StyleSettings,
    WorkSettings,
)

# The registries' names once more: read there, they would import torch before --help.
# Farneback is left to the judging: a render held to it could not be judged by it.
FEATURES: Final = ("lite", "vgg19", "vgg16")
FLOWS: Final = ("dis", "raft", "none")


@dataclass(frozen=True)
class RenderSettings:
    """Everything but the files: what `stylize_video` takes, by the same names."""

    part: ClipSettings
    look: StyleSettings
    features: FeatureSettings
    compute: ComputeSettings
    output: OutputSettings
    work: WorkSettings


def clip_stem(clip: Path) -> str:
    """What a result is named after: `shot.%04d.exr` gives shot."""
    if clip.exists():
        return clip.stem
    return clip.stem.partition("%")[0].rstrip("._-") or clip.stem


def parse_time(option: str, text: str) -> float:
    """Seconds, MM:SS or HH:MM:SS.mmm, as seconds."""
    if not re.fullmatch(r"(\d+:){0,2}(\d+(\.\d*)?|\.\d+)", text, re.ASCII):
        raise SettingsError(f"{option} {text}: write seconds or HH:MM:SS.mmm, e.g. 62.5 or 1:02.5")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def parse_rate(text: str) -> Fraction:
    """Frames a second, exactly; 23.976, 29.97 and the like are n·1000/1001, as everywhere."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise SettingsError(f"--fps {text}: write a number, such as 24 or 24000/1001") from None
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return ntsc if rate != round(rate) and abs(rate - ntsc) < Fraction(1, 100) else rate


def clip_settings(
    start: str | float | None = None,
    end: str | float | None = None,
    duration: str | float | None = None,
    size: int | None = None,
    threads: int = 0,
    fps: str | float | None = None,
    paint_bars: bool = ClipSettings.paint_bars,
) -> ClipSettings:
    begin = 0.0 if start is None else parse_time("--start", str(start))
    if end is not None and duration is not None:
        raise SettingsError(f"--end {end} and --duration {duration}: give one of the two")
    stop = None if end is None else parse_time("--end", str(end))
    if duration is not None:
        length = parse_time("--duration", str(duration))
        if length == 0:
            raise SettingsError(f"--duration {duration}: must be more than 0")
        stop = begin + length
    rate = None if fps is None else parse_rate(str(fps))
    return ClipSettings(
        start=begin, end=stop, size=size, threads=threads, fps=rate, paint_bars=paint_bars
    )


def feature_settings(
    features: str = FeatureSettings.name,
    weights: Path | None = None,
    style_layers: str | None = None,
    content_layer: str | None = None,
) -> FeatureSettings:
    split = tuple(layer.strip() for layer in (style_layers or "").split(",") if layer.strip())
    if style_layers is not None and not split:
        raise SettingsError(f"--style-layers {style_layers}: name at least one layer, e.g. relu1_1")
    return FeatureSettings(features, weights, split, content_layer)


def work_settings(
    work_dir: Path | None = None,
    resume: bool = WorkSettings.resume,
    keep_work: bool = WorkSettings.keep,
) -> WorkSettings:
    return WorkSettings(work_dir, resume, keep_work)


_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "part": clip_settings,
    "look": StyleSettings,
    "features": feature_settings,
    "compute": ComputeSettings,
    "output": OutputSettings,
    "work": work_settings,
}


def _names(maker: Callable[..., Any]) -> list[str]:
    return list(signature(maker).parameters)


OPTIONS: Final[dict[str, Any]] = {
    name: get_type_hints(maker)[name] for maker in _MAKERS.values() for name in _names(maker)
}
"""Every option of a render and its type."""

_CHOICES: Final = {"features": FEATURES, "flow": FLOWS}


_CONVERTED: Final[dict[Any, Callable[[Any], Any]]] = {
    Path | None: Path,
    float: float,
    float | None: float,
}


def render_settings(options: Mapping[str, Any]) -> RenderSettings:
    """Those of `options` that are in `OPTIONS`; defaults for the rest. Raises `SettingsError`."""
    for name, choices in _CHOICES.items():
        if options.get(name, choices[0]) not in choices:
            raise SettingsError(f"--{name} {options[name]}: must be one of {', '.join(choices)}")
    given = {
        name: _CONVERTED.get(OPTIONS[name], lambda same: same)(value)
        for name, value in options.items()
        if name in OPTIONS and value is not None
    }
    made = {
        stage: maker(**{name: given[name] for name in _names(maker) if name in given})
        for stage, maker in _MAKERS.items()
    }
    return RenderSettings(**made)

"""A few frames of a clip, each made alone, over their sources: what a render will look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidstyle.errors import InputError, SettingsError
from vidstyle.frame import Frame
from vidstyle.render import OnEvent, make_styler, memory_errors, stylize_alone, warn
from vidstyle.settings import ClipSettings, ComputeSettings, FeatureSettings, StyleSettings
from vidstyle.stylize import FrameStyler
from vidstyle.video import (
    ClipReader,
    Paths,
    check_not_source,
    check_picture_output,
    find_bars,
    load_paintings,
    probe,
    save_picture,
)
from vidstyle.video.bars import Window

GAP = 4  # pixels of white between pictures
MOST = 64  # pictures: more make a strip that nobody opens


def preview_clip(
    clip: Path | str,
    paintings: Paths,
    target: Path | str,
    *,
    count: int = 4,
    part: ClipSettings | None = None,
    overwrite: bool = False,
    look: StyleSettings | None = None,
    features: FeatureSettings | None = None,
    compute: ComputeSettings | None = None,
    on_event: OnEvent = lambda event: None,
) -> None:
    """Write `count` frames spread evenly over the clip, sources in the upper row, to `target`.

    One in the midst of a fade is painted as it is.
    """
    _check_count(count)
    check_not_source(Path(target), map(Path, [clip, *paintings]))
    check_picture_output(Path(target), overwrite)
    styles = load_paintings(paintings)
    part = part or ClipSettings()
    frames, window = sample_frames(Path(clip), count, part), find_bars(Path(clip), part)
    with memory_errors():
        styler = make_styler(styles, look, features, compute, on_event)
        results = [_painted(frame, window, styler) for frame in frames]
    warn(styler.warnings, on_event)
    save_picture(Path(target), filmstrip([frame.image for frame in frames], results), overwrite)


def _painted(frame: Frame, window: Window | None, styler: FrameStyler) -> np.ndarray:
    if window is None:
        return stylize_alone(frame.image, styler)
    picture = np.ascontiguousarray(window.cut(frame.image))
    return window.put_back(stylize_alone(picture, styler), frame.image)


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        raise SettingsError(f"--count {count}: must be between 1 and {MOST}")


def sample_frames(path: Path, count: int, part: ClipSettings) -> list[Frame]:
    """Those seen in the middle of `count` equal stretches of the part; fewer where it has fewer."""
    info = probe(path, part)
    end = min(x for x in (part.end, info.seconds, float("inf")) if x is not None)
    if end == float("inf"):
        raise InputError(f"{path}: its headers give no length; name the part with --end")
    span = end - part.start
    middles = [part.start + span * (k + 0.5) / count for k in range(count)]
    # A frame that is seen then began before; not quite a whole one, for rounded times.
    early = 0.75 / float(info.rate)
    starts = [max(part.start, middle - early) for middle in middles]
    frames: list[Frame] = []
    for start in starts:
        frame = _frame_at(path, replace(part, start=start))
        if frame is not None and all(frame.pts != other.pts for other in frames):
            frames.append(frame)
    return frames or [_first_frame(path, part)]


def _frame_at(path: Path, part: ClipSettings) -> Frame | None:
    with ClipReader(path, part) as reader:
        try:
            return next(iter(reader), None)
        except InputError:  # past the last frame of a very short clip
            return None


def _first_frame(path: Path, part: ClipSettings) -> Frame:
    with ClipReader(path, part) as reader:
        return next(iter(reader))


def filmstrip(*rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of equally large (H, W, 3) pictures as one, with white gaps."""
    height, width, _ = rows[0][0].shape
    step_y, step_x = height + GAP, width + GAP
    sheet = np.ones((step_y * len(rows) - GAP, step_x * len(rows[0]) - GAP, 3), np.float32)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet[y * step_y :, x * step_x :][:height, :width] = image
    return sheet

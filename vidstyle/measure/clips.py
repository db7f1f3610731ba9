"""Two clips side by side: a result, and the part of the source it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import numpy as np

from vidstyle.errors import InputError
from vidstyle.features import TapNet, at_hand, load_features
from vidstyle.frame import ClipInfo, Frame
from vidstyle.images import resize, to_array, to_tensor
from vidstyle.measure.measurement import Measurement
from vidstyle.measure.tally import Tally
from vidstyle.settings import ClipSettings, FeatureSettings
from vidstyle.video import ClipReader, Paths, find_bars, load_paintings, probe, split_shots
from vidstyle.video.bars import Window
from vidstyle.video.sequence import ImageSequence

SHAPES_DIFFER = 0.02  # of a side: beyond what rounding to even sides explains
LEAST_SIZE = 16  # pixels: the reader scales to no less


@dataclass(frozen=True)
class FrameMeasured:
    """Frame `index` (from 0) is done, of about `frames`, if the headers say."""

    index: int
    frames: int | None


def measure_video(
    result: Path | str,
    source: Path | str,
    paintings: Paths = (),
    *,
    part: ClipSettings | None = None,
    features: FeatureSettings | None = None,
    baseline: Sequence[float | None] = (),
    on_event: Callable[[FrameMeasured], None] = lambda event: None,
) -> Measurement:
    """How steady and how painted `result` is, measured against the `source` it was made from.

    Any two clips of one shape and with equally many frames will do, whoever made them. `part` says
    which part of the source; it is read at the result's size. Its `fps` is that of whichever of the
    two is an image sequence. `features` names the judging network, else VGG-19 where torchvision's
    weights are on this machine, else `lite`. `baseline` is an earlier `warp_error_series`: the
    worst pair is then the one that has grown most since.
    Streams: memory does not grow with the clips' length. Raises `InputError` where the two do not
    fit together, and as `ClipReader` does.
    """
    part = part or ClipSettings()
    tally = Tally(load_judge(features), load_paintings(paintings), baseline)
    made = ClipSettings(fps=_rate(result, part))
    info = probe(Path(result), made)
    part = _fitted_part(Path(source), replace(part, fps=_rate(source, part)), info)
    windows = _windows(Path(result), made, Path(source), part, info)
    with (
        ClipReader(Path(result), made, window=windows[0]) as results,
        ClipReader(Path(source), part, unfade=True, window=windows[1]) as sources,
    ):
        _check_shapes(sources, results)
        _check_lengths(sources, results)
        for shot, given, painted in _paired(sources, results):
            tally.add(shot, _fitted(given.shown, painted), painted, lit=given.fade == 1)
            on_event(FrameMeasured(painted.index, results.expected_frames))
    return tally.measurement(str(result), str(source), (info.width, info.height))


def _windows(
    result: Path, made: ClipSettings, source: Path, part: ClipSettings, info: ClipInfo
) -> tuple[Window | None, Window | None]:
    """The result's and the source's without black bars, where nothing changes nor is painted."""
    if not find_bars(result, made):
        return None, None
    plain = probe(source, part)
    fits = _was_cut((plain.height, plain.width), (info.height, info.width))
    window = find_bars(source, part) if fits else None
    return window and window.within(info.width, info.height), window


def _rate(clip: Path | str, part: ClipSettings) -> Fraction | None:
    return part.fps if ImageSequence.of(Path(clip)) else None


def load_judge(features: FeatureSettings | None) -> TapNet:
    """The network asked for, else VGG-19 where nothing need be downloaded, else `lite`."""
    chosen = features or FeatureSettings("vgg19" if at_hand("vgg19") else "lite")
    return load_features(chosen.name, chosen.weights, chosen.style_layers, chosen.content_layer)


def _fitted_part(source: Path, part: ClipSettings, made: ClipInfo) -> ClipSettings:
    """The part, scaled as for a render of the result's size."""
    plain = probe(source, part)
    if part.size is not None or _was_cut((plain.height, plain.width), (made.height, made.width)):
        return part
    return replace(part, size=max(made.width, made.height, LEAST_SIZE))


def _was_cut(plain: tuple[int, int], made: tuple[int, int]) -> bool:
    """Whether (H, W) lost no more than the odd last row or column that H.264 cannot hold."""
    return plain[0] - made[0] in (0, 1) and plain[1] - made[1] in (0, 1)


def _fitted(image: np.ndarray, made: Frame) -> np.ndarray:
    """The source's (H, W, 3) at exactly the result's size."""
    size = (made.height, made.width)
    if _was_cut((image.shape[0], image.shape[1]), size):
        return np.ascontiguousarray(image[: made.height, : made.width])
    return to_array(resize(to_tensor(image), size))


def _check_shapes(sources: ClipReader, results: ClipReader) -> None:
    plain, made = sources.info, results.info
    off = abs(plain.height * made.width / plain.width - made.height)
    if off > max(2, SHAPES_DIFFER * made.height):
        raise InputError(
            f"{results.path} is {made.width}x{made.height}, {sources.path} of another shape "
            f"({plain.width}x{plain.height}); name the clip it was made from"
        )


def _check_lengths(sources: ClipReader, results: ClipReader) -> None:
    """Refuses what the headers already show, before minutes of work: a part was not named."""
    plain, painted = sources.expected_frames or 0, results.expected_frames or 0
    whole = sources.settings.start == 0 and sources.settings.end is None
    # Headers lie a little; a part of clips with uneven times cannot be counted from them at all.
    if whole and min(plain, painted) > 0 and max(plain, painted) >= 2 * min(plain, painted):
        raise _uneven(sources, plain, results, painted, "about ")


def _paired(sources: ClipReader, results: ClipReader) -> Iterator[tuple[int, Frame, Frame]]:
    """(shot, source's frame, result's frame); raises `InputError` where one clip ends first."""
    plain = painted = 0
    for given, made in zip_longest(split_shots(sources), results):
        plain += given is not None
        painted += made is not None
        if given is not None and made is not None:
            yield *given, made
    if plain != painted:
        raise _uneven(sources, plain, results, painted)


def _uneven(
    sources: ClipReader, plain: int, results: ClipReader, painted: int, about: str = ""
) -> InputError:
    return InputError(
        f"{results.path} has {about}{painted} frames, {sources.path} {about}{plain} in the part "
        "asked for; name the part it was made from with --start, --end or --duration"
    )

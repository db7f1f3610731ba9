"""All figures of a clip, gathered while its frames go by; a fixed number of frames is held."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from vidstyle.features import TapNet
from vidstyle.flow import load_flow, remember
from vidstyle.flow.motion import Motion
from vidstyle.frame import Frame
from vidstyle.measure.drift import Drift
from vidstyle.measure.measurement import Figures, Measurement, Series, Slices, WorstPair
from vidstyle.measure.style import StyleJudge, native_side
from vidstyle.measure.warping import PairError, WarpError, along

FAR = 8  # frames: the distance in `warp_error_distance_8`
LEAST_TRUST = 0.1  # of the picture: distant frames that share less are not compared
JUDGE_EVERY = 8  # frames: style changes slowly, and VGG-19 is dear
SLICE_FRAMES = 240  # at most: more would no longer show single frames


class Tally:
    """Fed the frames of a result with their sources, then asked for the `Measurement`.

    `baseline` is an earlier `warp_error_series`: see `WorstPair`.
    """

    def __init__(
        self, net: TapNet, paintings: Sequence[np.ndarray], baseline: Sequence[float | None] = ()
    ) -> None:
        # Remembered: the drift asks for the long-term flow once more.
        flow = remember(load_flow("dis"))
        direct = Motion(flow, torch.device("cpu"), 0).judged_by
        self.neighbours = WarpError(direct)
        self.warp_errors = {
            ("warp_error", ""): self.neighbours,
            ("warp_error", "_farneback"): WarpError(along(load_flow("farneback"))),
            (f"warp_error_distance_{FAR}", ""): WarpError(direct, FAR, LEAST_TRUST),
            ("long_term_warp_error", ""): WarpError(direct, None, LEAST_TRUST),
        }
        self.drift = Drift(flow)
        self.painted = _Painted(net, paintings)
        self.worst = _Worst(baseline)
        self.slicer = _Slicer()
        self.shots: list[float | None] = []
        self.seconds: list[float | None] = []
        self.begin = 0.0

    def add(self, shot: int, source: np.ndarray, made: Frame, lit: bool = True) -> None:
        """`source` is (H, W, 3), of the size of `made`. Neither is judged unless `lit`: in a fade
        from or to black all changes, and nothing flickers.
        """
        new_shot = not self.shots or shot != self.shots[-1]
        if not self.shots:
            self.begin = made.pts_seconds
        self.shots.append(shot)
        self.seconds.append(made.pts_seconds - self.begin)
        compare = self._compare if lit else self._skip
        self.painted.add(source, made, lit)
        self.worst.add(made, made.pts_seconds - self.begin, compare(source, made.image, new_shot))
        self.slicer.add(source, made, self.worst)

    def _compare(self, source: np.ndarray, result: np.ndarray, new_shot: bool) -> PairError | None:
        self.drift.add(source, result, new_shot)
        errors = [error.add(source, result, new_shot) for error in self.warp_errors.values()]
        return errors[0]

    def _skip(self, source: np.ndarray, result: np.ndarray, new_shot: bool) -> None:
        self.drift.skip(new_shot)
        for error in self.warp_errors.values():
            error.skip(new_shot)

    def measurement(self, result: str, source: str, size: tuple[int, int]) -> Measurement:
        """`size` is the result's, (width, height): its bars may have been cut off."""
        figures: Figures = {"frames": len(self.shots), "shots": len(set(self.shots))}
        figures["width"], figures["height"] = size
        series: Series = {"seconds_series": self.seconds, "shot_series": self.shots}
        for (name, suffix), error in self.warp_errors.items():
            figures |= _error_figures(error, name, suffix)
            series |= _error_series(error, name, suffix)
        for part in (self.drift, self.painted):
            figures |= part.figures()
            series |= part.by_frame()
        return Measurement(result, source, figures, series, self.worst.pair, self.slicer.slices())


def _error_figures(error: WarpError, name: str, suffix: str) -> Figures:
    if not error.pairs:
        return {}
    return {
        f"{name}{suffix}": error.result,
        f"{name}_source{suffix}": error.source,
        f"{name}_ratio{suffix}": error.ratio,
    }


def _error_series(error: WarpError, name: str, suffix: str) -> Series:
    return {
        f"{name}{suffix}_series": [pair and pair[1] for pair in error.series],
        f"{name}_source{suffix}_series": [pair and pair[0] for pair in error.series],
    }


class _Worst:
    def __init__(self, baseline: Sequence[float | None]) -> None:
        self.baseline = baseline
        self.pair: WorstPair | None = None
        self.excess = -np.inf
        self.last: tuple[Frame, float] | None = None

    def add(self, made: Frame, seconds: float, error: PairError | None) -> None:
        if error is not None and self.last is not None:
            excess = error.result - self._usual(made.index, error)
            if excess > self.excess:
                before, since = self.last
                self.excess = excess
                self.pair = WorstPair(
                    (before.index, made.index),
                    (since, seconds),
                    error.result,
                    error.source,
                    (before.image, made.image),
                    error.change,
                )
        self.last = (made, seconds)

    def _usual(self, index: int, error: PairError) -> float:
        known = self.baseline[index] if index < len(self.baseline) else None
        return error.source if known is None else known


class _Painted:
    """Style and content distances, of one frame in `JUDGE_EVERY`."""

    def __init__(self, net: TapNet, paintings: Sequence[np.ndarray]) -> None:
        self.net, self.paintings = net, paintings
        self.judge = StyleJudge(net, paintings)
        self.native: StyleJudge | None = None
        self.distances: list[dict[str, float]] = []

    def add(self, source: np.ndarray, made: Frame, lit: bool) -> None:
        judged = lit and made.index % JUDGE_EVERY == 0
        self.distances.append(self._distances(source, made.image) if judged else {})

    def _distances(self, source: np.ndarray, made: np.ndarray) -> dict[str, float]:
        found = {"content_distance": self.judge.content_distance(made, source)}
        if self.paintings:
            if self.native is None:
                self.native = StyleJudge(self.net, self.paintings, native_side(made))
            found["style_distance"] = self.judge.style_distance(made)
            found["style_distance_source"] = self.judge.style_distance(source)
            found["style_distance_native"] = self.native.style_distance(made)
        return found

    def figures(self) -> Figures:
        """Means over the judged frames."""
        series = self.by_frame()
        if not series:
            return {"style_judge": self.net.name}
        means = {
            name.removesuffix("_series"): float(np.mean([v for v in values if v is not None]))
            for name, values in series.items()
        }
        if self.paintings:
            means["style_distance_relative"] = (
                means["style_distance"] / means["style_distance_source"]
            )
        return {**means, "style_judge": self.net.name}

    def by_frame(self) -> Series:
        names = next(filter(None, self.distances), {})
        return {
            f"{name}_series": [distances.get(name) for distances in self.distances]
            for name in names
        }


class _Slicer:
    """Keeps a row of the frames around the worst pair: whole frames would fill the memory."""

    def __init__(self) -> None:
        self.row: int | None = None
        self.recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=SLICE_FRAMES)
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []
        self.end = 0

    def add(self, source: np.ndarray, made: Frame, worst: _Worst) -> None:
        if self.row is None:
            self.row = _busiest_row(source)
        self.recent.append((_levels(source[self.row]), _levels(made.image[self.row])))
        near = worst.pair.frames[1] + SLICE_FRAMES // 2 if worst.pair else 0
        if made.index < max(near, SLICE_FRAMES):
            self.kept, self.end = list(self.recent), made.index + 1

    def slices(self) -> Slices:
        source, result = (np.stack(rows) for rows in zip(*self.kept, strict=True))
        return Slices(self.row or 0, self.end - len(source), source, result)


def _busiest_row(image: np.ndarray) -> int:
    """The row of (H, W, 3) with most contrast along it, of the middle half."""
    quarter = image.shape[0] // 4
    middle = image[quarter : image.shape[0] - quarter]
    return quarter + int(np.abs(np.diff(middle, axis=1)).sum((1, 2)).argmax())


def _levels(row: np.ndarray) -> np.ndarray:
    return np.rint(row.clip(0, 1) * 255).astype(np.uint8)

"""A pytest fixture that guards a pipeline's videos against losing their steadiness.

    def test_pan(video_consistency, tmp_path):
        render("pan.mp4", tmp_path / "out.mp4")  # whatever makes your videos
        video_consistency.check(tmp_path / "out.mp4", source="pan.mp4")

`pytest --update-video-baselines` writes the figures beside the test; from then on a result that is
worse fails. Nothing heavy is imported before the first check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from vidstyle.measure import Measurement
    from vidstyle.settings import ClipSettings, FeatureSettings

UPDATE = "--update-video-baselines"
_ADVICE = f"look at the video, run pytest {UPDATE} and commit the baseline"


class Tolerance(NamedTuple):
    """How much larger than its baseline a figure may become, in either direction from 0."""

    relative: float
    absolute: float

    def limit(self, baseline: float) -> float:
        return abs(baseline) * (1 + self.relative) + self.absolute


# Guarded figures: for each, less is better. The room is for other versions of FFmpeg and OpenCV.
TOLERANCES: Mapping[str, Tolerance] = {
    "warp_error_ratio": Tolerance(0.1, 0.02),
    "warp_error_ratio_farneback": Tolerance(0.1, 0.02),
    "warp_error_distance_8_ratio": Tolerance(0.1, 0.05),
    "long_term_warp_error_ratio": Tolerance(0.1, 0.05),
    "luminance_drift": Tolerance(0.1, 0.5),
    "colour_drift": Tolerance(0.1, 0.5),
    "style_distance": Tolerance(0.1, 0.01),
    "content_distance": Tolerance(0.1, 0.02),
}
SAME = ("frames", "shots", "width", "height", "style_judge")
PROFILE = "warp_error_series"  # tells which pair has become worse


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("video consistency (vidstyle)")
    group.addoption(
        UPDATE,
        action="store_true",
        help="write the baselines of video_consistency instead of comparing with them",
    )
    group.addoption(
        "--video-artifacts",
        metavar="DIR",
        type=Path,
        help="where error maps and plots of failed checks go; else into the test's tmp_path",
    )


@pytest.fixture
def video_consistency(request: pytest.FixtureRequest, tmp_path: Path) -> VideoConsistency:
    """Compares a video's measured figures with those stored beside the test."""
    test = request.node.nodeid.partition("::")[2]
    return VideoConsistency(
        test=re.sub(r"[^\w.-]+", "-", test).strip("-"),
        baselines=request.path.parent / "baselines" / request.path.stem,
        artifacts=request.config.getoption("--video-artifacts") or tmp_path,
        update=request.config.getoption(UPDATE),
    )


class VideoConsistency:
    """The fixture: baselines are `baselines/TEST.json`, pictures of failures go to `artifacts`."""

    def __init__(self, test: str, baselines: Path, artifacts: Path, update: bool) -> None:
        self.test, self.baselines, self.artifacts, self.update = test, baselines, artifacts, update
        self.checked: set[str] = set()

    def check(
        self,
        result: Path | str,
        *,
        source: Path | str,
        style: Path | str | Sequence[Path | str] = (),
        part: ClipSettings | None = None,
        features: FeatureSettings | None = None,
        tolerance: Mapping[str, tuple[float, float] | None] | None = None,
        name: str = "",
    ) -> Measurement:
        """Fail the test where `result` is less steady or less painted than its baseline.

        `part` says which part of `source` it was made from. `features` is the judging network,
        `lite` unless given, so that every machine judges alike. `tolerance` overrides `TOLERANCES`:
        figure → (relative, absolute), or `None` to leave it unguarded. `name` tells several checks
        of one test apart.
        """
        from vidstyle.measure import measure_video
        from vidstyle.settings import FeatureSettings

        tolerances = _merged(tolerance or {})
        stem = self._claim(name)
        path = self.baselines / f"{stem}.json"
        baseline = {} if self.update else _load(path)
        measured = measure_video(
            result,
            source,
            [style] if isinstance(style, (str, Path)) else style,
            part=part,
            features=features or FeatureSettings(),
            baseline=baseline.get(PROFILE, ()),
        )
        if self.update:
            _store(path, measured)
        elif problems := _problems(measured.figures, baseline, tolerances):
            pictures = self._save_pictures(stem, measured)
            story = [f"{result}: not as steady or painted as its baseline {path}", *problems]
            pytest.fail("\n  ".join([*story, *pictures, f"meant so? {_ADVICE}"]), pytrace=False)
        return measured

    def _claim(self, name: str) -> str:
        stem = "-".join(filter(None, [self.test, name]))
        if stem in self.checked:
            raise ValueError(f"checked twice as {stem}: tell the two apart with name=")
        self.checked.add(stem)
        return stem

    def _save_pictures(self, stem: str, measured: Measurement) -> list[str]:
        """Lines that name the worst pair, its error map and the plot, both written."""
        from vidstyle.measure.plot import save_plot
        from vidstyle.video import save_picture

        self.artifacts.mkdir(parents=True, exist_ok=True)
        plot = self.artifacts / f"{stem}-plot.png"
        save_plot(plot, measured, overwrite=True)
        if measured.worst is None:
            return [f"plot: {plot}"]
        error_map = self.artifacts / f"{stem}-error-map.png"
        save_picture(error_map, measured.worst.error_map(), overwrite=True)
        return [
            f"worst between {measured.worst}: warp error {measured.worst.warp_error:.4g}",
            f"error map: {error_map}",
            f"plot: {plot}",
        ]


def _merged(tolerance: Mapping[str, tuple[float, float] | None]) -> dict[str, Tolerance]:
    for figure in tolerance:
        if figure not in TOLERANCES:
            raise ValueError(f"tolerance {figure}: guarded are {', '.join(TOLERANCES)}")
    merged = {**TOLERANCES, **tolerance}
    return {figure: Tolerance(*given) for figure, given in merged.items() if given is not None}


def _problems(
    figures: Mapping[str, Any], baseline: Mapping[str, Any], tolerances: Mapping[str, Tolerance]
) -> list[str]:
    """A line for each figure that is over its limit or cannot be compared."""
    problems = []
    for figure in (*SAME, *tolerances):
        now, then = figures.get(figure), baseline.get(figure)
        if figure in SAME or now is None or then is None:
            if now != then:
                problems.append(f"{figure} {_word(now)}, baseline {_word(then)}")
            continue
        limit = tolerances[figure].limit(then)
        if not abs(now) <= limit:  # NaN is no pass
            problems.append(f"{figure} {_word(now)}, limit {_word(limit)} (baseline {_word(then)})")
    return problems


def _word(value: float | str | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        pytest.fail(f"{path}: no baseline yet; {_ADVICE}", pytrace=False)
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        pytest.fail(f"{path}: not a baseline ({error}); {_ADVICE}", pytrace=False)


def _store(path: Path, measured: Measurement) -> None:
    from vidstyle.video.target import write_text

    kept = {name: measured.figures.get(name) for name in (*SAME, *TOLERANCES)}
    facts = {name: value for name, value in kept.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts | {PROFILE: measured.series[PROFILE]}, indent=2)
    write_text(path, text + "\n", overwrite=True)

"""The main job on the project's own sample at default settings, judged on the encoded file."""

from pathlib import Path

import pytest

import vidstyle
from tests.bench.quality import judge
from vidstyle.settings import ClipSettings, FeatureSettings

SAMPLES = Path(__file__).parents[1] / "samples"


def render_and_judge(target: Path, part: ClipSettings) -> dict:
    clip, painting = SAMPLES / "clip.mp4", SAMPLES / "scream.jpg"
    report = vidstyle.stylize_video(clip, [painting], target, part=part)
    facts = judge(target, clip, painting, part, FeatureSettings())
    assert facts["frames"] == report.frames
    assert report.warp_error_ratio == pytest.approx(facts["warp_error_ratio"], rel=0.5)
    return facts


def test_the_sample_is_painted_and_steady(tmp_path):
    """Its first frames: the figures that the whole clip must reach."""
    facts = render_and_judge(tmp_path / "out.mp4", ClipSettings(end=0.2))
    assert facts["frames"] == 5
    assert facts["style_distance_relative"] <= 0.15
    assert facts["style_distance_last"] <= 0.15 * facts["style_distance_source"]
    assert facts["warp_error_ratio"] <= 2


@pytest.mark.slow
def test_the_whole_sample_is_painted_and_steady(tmp_path):
    facts = render_and_judge(tmp_path / "out.mp4", ClipSettings())
    assert facts["frames"] == 48
    assert facts["style_distance_relative"] <= 0.15
    assert facts["warp_error_ratio"] <= 2

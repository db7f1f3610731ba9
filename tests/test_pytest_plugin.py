"""A team's own suite, run inside this one: baselines are written, held to, and missed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_measure_clips import film, scene
from vidstyle import measure_video, save_plot
from vidstyle.measure import SOURCE_FLOOR
from vidstyle.measure.measurement import WHITE
from vidstyle.pytest_plugin import TOLERANCES, Tolerance

SUITE = """
    def test_pan(video_consistency):
        video_consistency.check({result!r}, source={source!r}, {more})
"""
BASELINE = "baselines/test_team/test_pan.json"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """source, good (slight flicker), better (none) and bad (frame 3 is darker), 5 frames each."""
    folder = tmp_path_factory.mktemp("clips")
    film(folder / "source.mkv", [scene()] * 5)
    film(folder / "better.mkv", [scene(1)] * 5)
    film(folder / "good.mkv", [scene(1) + 4 / 255 * (n % 2) for n in range(5)])
    film(folder / "bad.mkv", [scene(1) + 4 / 255 * (n % 2) - (n == 3) * 0.1 for n in range(5)])
    # pytester forgets what its runs import; torch and OpenCV cannot be imported twice.
    save_plot(folder / "warm.png", measure_video(folder / "better.mkv", folder / "source.mkv"))
    return folder


def run(pytester: pytest.Pytester, clips: Path, name: str, *flags: str, more: str = ""):
    text = SUITE.format(
        result=str(clips / f"{name}.mkv"), source=str(clips / "source.mkv"), more=more
    )
    pytester.makepyfile(test_team=text)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *flags)


@pytest.fixture
def suite(pytester: pytest.Pytester, clips: Path) -> pytest.Pytester:
    """With the baseline of the good clip."""
    run(pytester, clips, "good", "--update-video-baselines").assert_outcomes(passed=1)
    return pytester


def test_the_plugin_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "cv2", "av", "numpy", "matplotlib", "PIL", "scenedetect"}
    code = f"import sys, vidstyle.pytest_plugin; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_missing_baseline_fails_and_says_the_flag(pytester: pytest.Pytester, clips: Path) -> None:
    done = run(pytester, clips, "good")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([f"*{BASELINE}: no baseline yet;*--update-video-baselines*"])
    assert not (pytester.path / "baselines").exists()


def test_the_flag_writes_what_the_next_run_holds_to(suite: pytest.Pytester, clips: Path) -> None:
    baseline = json.loads((suite.path / BASELINE).read_text())
    assert baseline["warp_error_series"][3] == pytest.approx((4 / 255) ** 2, rel=0.02)
    assert (baseline["frames"], baseline["style_judge"]) == (5, "lite")
    assert {"warp_error_ratio", "luminance_drift", "content_distance"} <= set(baseline)
    assert "style_distance" not in baseline
    for name in ("good", "better"):
        run(suite, clips, name).assert_outcomes(passed=1)


def test_a_worse_result_fails_with_pair_figure_limit_and_map(
    suite: pytest.Pytester, clips: Path
) -> None:
    done = run(suite, clips, "bad", "--video-artifacts", "found")
    done.assert_outcomes(failed=1)
    usual, step = (4 / 255) ** 2, 0.1 - 4 / 255
    found = re.search(
        r"warp_error_ratio ([\d.]+), limit ([\d.]+) \(baseline ([\d.]+)\)", done.stdout.str()
    )
    now, limit, baseline = map(float, found.groups())
    assert baseline == pytest.approx(usual / SOURCE_FLOOR, rel=0.01)
    assert now == pytest.approx((usual + step**2) / 2 / SOURCE_FLOOR, rel=0.02)
    assert limit == pytest.approx(TOLERANCES["warp_error_ratio"].limit(baseline), rel=0.01)
    done.stdout.fnmatch_lines([
        f"*bad.mkv: not as steady or painted as its baseline *{BASELINE}",
        "*worst between frames 2 and 3 (0.080 s, 0.120 s): warp error 0.007*",
        "*error map: found/test_pan-error-map.png",
        "*plot: found/test_pan-plot.png",
        "*meant so?*--update-video-baselines*",
    ])  # fmt: skip
    with Image.open(suite.path / "found" / "test_pan-error-map.png") as picture:
        assert picture.size == (128, 96)
        assert np.median(np.asarray(picture)) == pytest.approx(step / WHITE * 255, abs=3)
    assert (suite.path / "found" / "test_pan-plot.png").stat().st_size > 10_000


def test_tolerances_are_the_tests_own(suite: pytest.Pytester, clips: Path) -> None:
    names = [name for name in TOLERANCES if name != "warp_error_ratio"]
    wide = ", ".join(f"{name!r}: None" for name in names)
    more = f"tolerance={{{wide}, 'warp_error_ratio': (40.0, 0.0)}}"
    run(suite, clips, "bad", more=more).assert_outcomes(passed=1)
    narrow = f"tolerance={{{wide}, 'warp_error_ratio': (2.0, 0.0)}}"
    run(suite, clips, "bad", more=narrow).assert_outcomes(failed=1)
    done = run(suite, clips, "good", more="tolerance={'warp_eror': None}")
    done.stdout.fnmatch_lines(["*tolerance warp_eror: guarded are warp_error_ratio, *"])


def test_a_limit_is_relative_and_absolute_and_blind_to_sign() -> None:
    assert Tolerance(0.1, 0.5).limit(-2.0) == Tolerance(0.1, 0.5).limit(2.0) == pytest.approx(2.7)


def test_what_cannot_be_compared_fails(suite: pytest.Pytester, clips: Path) -> None:
    """Fewer frames; a painting that the baseline does not know; a baseline that is none."""
    part = "part=__import__('vidstyle').ClipSettings(end=0.16)"
    film(clips / "short.mkv", [scene(1)] * 4)
    done = run(suite, clips, "short", more=part)
    done.stdout.fnmatch_lines(["*frames 4, baseline 5"])
    painting = clips / "painting.png"
    Image.fromarray(np.uint8(scene(4) * 255)).save(painting)
    done = run(suite, clips, "good", more=f"style={str(painting)!r}")
    done.stdout.fnmatch_lines(["*style_distance *, baseline not measured"])
    (suite.path / BASELINE).write_text("[")
    done = run(suite, clips, "good")
    done.stdout.fnmatch_lines(["*test_pan.json: not a baseline (*"])


def test_several_checks_in_one_test_have_names(pytester: pytest.Pytester, clips: Path) -> None:
    good, source = str(clips / "good.mkv"), str(clips / "source.mkv")
    pytester.makepyfile(
        f"""
        import pytest

        class TestPan:
            @pytest.mark.parametrize("size", ["a/b"])
            def test_both(self, video_consistency, size):
                video_consistency.check({good!r}, source={source!r}, name="one")
                video_consistency.check({good!r}, source={source!r}, name="two")
                with pytest.raises(ValueError, match="checked twice"):
                    video_consistency.check({good!r}, source={source!r}, name="two")
        """
    )
    done = pytester.runpytest_inprocess("--update-video-baselines", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)
    written = sorted(path.name for path in pytester.path.glob("baselines/*/*"))
    assert written == ["TestPan-test_both-a-b-one.json", "TestPan-test_both-a-b-two.json"]

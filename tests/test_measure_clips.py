"""Two encoded clips measured: planted flicker, drift, cuts, parts and sizes are found."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Vidstyle
from tests.core.test_flow import texture
from tests.core.toys import stripes, toy_net
from tests.test_bad_input import refusal
from tests.video.made_clips import make_clip
from vidstyle import (
    ClipSettings,
    FeatureSettings,
    Frame,
    InputError,
    Measurement,
    measure_video,
    save_plot,
)
from vidstyle.measure import clips, tally
from vidstyle.measure.clips import load_judge
from vidstyle.measure.tally import FAR, Tally

LITE = FeatureSettings()


def film(path: Path, images: list[np.ndarray]) -> Path:
    """(H, W, 3) in [0, 1] each, losslessly, 25 a second."""
    height, width, _ = images[0].shape
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "bgr0"
        for image in images:
            levels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
            clip.mux(video.encode(av.VideoFrame.from_ndarray(levels, "rgb24")))
        clip.mux(video.encode(None))
    return path


def scene(seed: int = 0, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    return texture(*size, seed=seed) * 0.5 + 0.25


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("still") / "still.mkv", [scene()] * 12)


@pytest.fixture(scope="module")
def darkened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another picture, as still, but for frame 7: 20 levels darker."""
    images = [scene(1)] * 12
    images[7] = scene(1) - 20 / 255
    return film(tmp_path_factory.mktemp("darkened") / "darkened.mkv", images)


@pytest.fixture(scope="module")
def measured(still: Path, darkened: Path, painting: Path) -> Measurement:
    return measure_video(darkened, still, [painting], features=LITE)


def test_one_darker_frame_is_the_worst_pair(measured: Measurement) -> None:
    facts, change = measured.as_dict(), (20 / 255) ** 2
    assert facts["worst_pair_frames"] == [6, 7]
    assert facts["worst_pair_seconds"] == pytest.approx([0.24, 0.28], abs=1e-3)
    assert facts["worst_pair_warp_error"] == pytest.approx(change, rel=0.01)
    assert measured.worst.change == pytest.approx(change, rel=0.2)
    expected = [None, *[pytest.approx(change * (n in (7, 8)), rel=0.01) for n in range(1, 12)]]
    assert facts["warp_error_series"] == expected
    assert facts["warp_error"] == pytest.approx(2 * change / 11, rel=0.01)
    assert facts["warp_error_ratio_farneback"] == pytest.approx(facts["warp_error_ratio"], rel=0.01)
    assert facts["long_term_warp_error"] == pytest.approx(change / 11, rel=0.01)
    assert facts["luminance_drift_series"][7] == pytest.approx(-20, abs=0.1)
    assert facts["luminance_drift"] == pytest.approx(-20 / 11, rel=0.01)


def test_against_a_baseline_the_worst_pair_is_the_one_that_grew(
    measured: Measurement, still: Path, darkened: Path
) -> None:
    usual = [*measured.series["warp_error_series"]]
    usual[8] = 0.0
    grown = measure_video(darkened, still, features=LITE, baseline=usual)
    assert grown.worst.frames == (7, 8)


NAMES = """result source frames width height shots warp_error warp_error_source warp_error_ratio
    warp_error_ratio_farneback long_term_warp_error long_term_warp_error_ratio
    warp_error_distance_8 warp_error_distance_8_ratio luminance_drift colour_drift style_distance
    style_distance_source style_distance_native content_distance style_judge worst_pair_frames
    warp_error_series style_distance_series"""


def test_the_names_of_the_figures(measured: Measurement) -> None:
    facts = measured.as_dict()
    assert set(NAMES.split()) <= set(facts)
    assert (facts["frames"], facts["width"], facts["height"], facts["shots"]) == (12, 128, 96, 1)
    assert facts["style_judge"] == "lite"
    assert {len(v) for k, v in facts.items() if k.endswith("_series")} == {12}
    assert json.loads(json.dumps(facts)) == facts


def test_a_clip_of_one_frame_has_no_warp_error(tmp_path: Path) -> None:
    one = film(tmp_path / "one.mkv", [scene()])
    measured = measure_video(one, one, features=LITE)
    assert measured.worst is None and measured.ratio is None
    assert not {"warp_error", "luminance_drift", "style_distance"} & set(measured.figures)
    assert measured.figures["content_distance"] == 0
    save_plot(tmp_path / "one.png", measured)


def test_no_pair_lies_over_a_cut(tmp_path: Path) -> None:
    night, day = scene(2) * [0.2, 0.3, 0.9], 1 - scene(3) * [0.1, 0.4, 0.9]
    source = film(tmp_path / "a.mkv", [night] * 6 + [day] * 6)
    measured = measure_video(source, source, features=LITE)
    assert measured.figures["shots"] == 2
    assert measured.series["shot_series"] == [0] * 6 + [1] * 6
    assert measured.series["warp_error_series"][6] is None
    assert measured.figures["warp_error_source"] == pytest.approx(0, abs=1e-9)


def test_a_part_of_the_source(tmp_path: Path) -> None:
    images = [scene(n) for n in range(8)]
    whole = film(tmp_path / "whole.mkv", images)
    piece = film(tmp_path / "piece.mkv", images[3:6])
    part = ClipSettings(start=0.12, end=0.24)
    assert measure_video(piece, whole, part=part, features=LITE).figures["content_distance"] == 0
    five = ClipSettings(start=0.12)
    with pytest.raises(InputError, match=r"piece.mkv has 3 frames, .*whole.mkv 5 .* --duration"):
        measure_video(piece, whole, part=five, features=LITE)
    with pytest.raises(InputError, match=r"whole.mkv has 8 frames, .*whole.mkv 5 "):
        measure_video(whole, whole, part=five, features=LITE)


def test_a_part_that_was_forgotten_is_refused_before_any_work(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mkv", [scene()] * 8)
    piece = film(tmp_path / "piece.mkv", [scene()] * 3)
    for result, source, said in ((piece, whole, "about 3 .* about 8 "), (whole, piece, "about 8")):
        seen: list[object] = []
        with pytest.raises(InputError, match=said):
            measure_video(result, source, features=LITE, on_event=seen.append)
        assert seen == []


@pytest.mark.parametrize("size", [(48, 64), (192, 256), (47, 63)])
def test_a_result_of_another_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """The same pan at another size: close to its source, and as steady."""
    big = scene(size=(96, 160))
    pan = [big[:, 2 * t : 2 * t + 128] for t in range(6)]
    made = [cv2.resize(x, size[::-1], interpolation=cv2.INTER_AREA) for x in pan]
    source, result = film(tmp_path / "a.mkv", pan), film(tmp_path / "b.mkv", made)
    figures = measure_video(result, source, features=LITE).figures
    assert (figures["height"], figures["width"]) == size
    assert figures["content_distance"] < 0.05
    assert figures["warp_error"] < 5e-4


def test_the_odd_column_that_h264_cannot_hold(tmp_path: Path) -> None:
    images = [scene(size=(47, 63))] * 3
    source = film(tmp_path / "a.mkv", images)
    result = film(tmp_path / "b.mkv", [image[:46, :62] for image in images])
    assert measure_video(result, source, features=LITE).figures["content_distance"] == 0


def test_another_shape_is_refused(tmp_path: Path, still: Path) -> None:
    tall = film(tmp_path / "tall.mkv", [scene(size=(128, 96))] * 12)
    with pytest.raises(InputError, match=r"tall.mkv is 96x128, .*still.mkv of another shape"):
        measure_video(tall, still, features=LITE)


def test_vgg19_judges_where_its_weights_are_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(clips, "load_features", lambda name, *rest: name)
    weights = tmp_path / "hub" / "checkpoints"
    weights.mkdir(parents=True)
    (weights / "vgg19_bn-c79401a0.pth").touch()
    assert load_judge(None) == "lite"
    (weights / "vgg19-dcbb9e9d.pth").touch()
    assert load_judge(None) == "vgg19"
    assert load_judge(LITE) == "lite"


def frames(count: int):
    for index in range(count):
        yield Frame(scene(index % 3, (32, 40)), index, index, 1)


def test_memory_does_not_grow_with_the_clip() -> None:
    found, alive = Tally(toy_net(), [stripes()]), []
    for frame in frames(60):
        alive.append(weakref.ref(frame.image))
        found.add(0, frame.image * 0.5, frame)
    del frame
    # Eight to look back at, the first, the last and the worst pair.
    assert sum(ref() is not None for ref in alive) <= FAR + 4


def test_the_slice_shows_the_worst_pair_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "SLICE_FRAMES", 10)
    found = Tally(toy_net(), [])
    plain = np.full((32, 40, 3), 0.5, np.float32)
    plain[:, ::4] = 0.4
    plain[12, ::4] = 0
    for index in range(40):
        lit = 0.2 * (index == 25)
        found.add(0, plain, Frame(plain + np.float32(lit), index, index, 1))
    slices = found.measurement("b", "a", (40, 32)).slices
    assert (slices.row, slices.first) == (12, 20)
    assert slices.result.shape == slices.source.shape == (10, 40, 3)
    brighter = slices.result.mean((1, 2)) - slices.source.mean((1, 2))
    assert brighter == pytest.approx([51 * (n == 5) for n in range(10)], abs=1)


def test_the_plot_is_a_picture(measured: Measurement, tmp_path: Path) -> None:
    save_plot(tmp_path / "a.png", measured)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000 and picture.height > 700
        levels = np.asarray(picture.convert("RGB"), np.int16)
    coloured = np.ptp(levels, axis=2) > 40
    assert (levels == 255).all(2).mean() > 0.2 and coloured.mean() > 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# The command


def test_measure_prints_a_table(vidstyle: Vidstyle, still: Path, darkened: Path) -> None:
    done = vidstyle("measure", darkened, "--source", still, "--features", "lite")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"{darkened} against {still}"
    assert lines[2].split()[:3] == ["warp", "error", "0.00112"]
    assert "worst between frames 6 and 7 (0.240 s, 0.280 s)" in lines
    assert lines[-1].startswith("flickers: 37")


def test_measure_writes_files_then_holds_to_the_ratio(
    vidstyle: Vidstyle, still: Path, darkened: Path, painting: Path
) -> None:
    line = ("measure", darkened, "--source", still, "--features", "lite", "-q")
    outputs = ("--style", painting, "--json", "a.json", "--plot", "a.png")
    done = vidstyle(*line, *outputs, "--max-ratio", "1.5")
    text = refusal(done, status=1)
    assert "warp error ratio 37." in text and "--max-ratio 1.5" in text
    assert "frames 6 and 7 (0.240 s, 0.280 s)" in text
    facts = json.loads(Path("a.json").read_text())
    assert facts["worst_pair_frames"] == [6, 7] and facts["style_distance"] > 0
    assert Image.open("a.png").format == "PNG"
    printed = vidstyle(*line, "--max-ratio", "50", "--json", "-")
    assert (printed.status, printed.err) == (0, "") and json.loads(printed.out)["frames"] == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "Missing option '--source'"),
        ("--source nowhere.mkv", "nowhere.mkv: no such file"),
        ("--source STILL --max-ratio 0", "--max-ratio 0: must be more than 0"),
        ("--source STILL --max-ratio nan", "--max-ratio nan: must be more than 0"),
        ("--source STILL --plot a.jpg", "--plot a.jpg: its name must end in .png"),
        ("--source STILL --plot nowhere/a.png", "there is no folder nowhere"),
        ("--source STILL --json old.json", "exists already; pass --overwrite or another name with"),
        ("--source STILL -y --json STILL", "is also the clip"),
        ("--source STILL --plot a.png --json a.png", "is also the clip, a painting or a result"),
        ("--source STILL --weights w.pth", "say whose they are, e.g. --features vgg19"),
        ("--source STILL --end 0.1", "has 12 frames"),
        ("--source STILL --start 9", "no frame of"),
    ],
)
def test_what_cannot_be_measured(
    vidstyle: Vidstyle, still: Path, darkened: Path, options: str, said: str
) -> None:
    Path("old.json").write_text("old")
    words = options.replace("STILL", str(still)).split()
    assert said in refusal(vidstyle("measure", darkened, *words, "-q"))
    assert [path.name for path in Path().iterdir()] == ["old.json"]
    assert Path("old.json").read_text() == "old"


def test_one_frame_cannot_be_held_to_a_ratio(vidstyle: Vidstyle, tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mp4", 1)
    done = vidstyle("measure", one, "--source", one, "-q", "--max-ratio", "2")
    assert "has no two frames to compare" in refusal(done, status=1)


def test_what_a_fade_darkens_is_not_judged(tmp_path: Path, painting: Path) -> None:
    """Else black frames would be most of a clip's style distance, and their end its flicker."""
    factors = [0.0] * 9 + list(np.linspace(0, 1, 9)[1:]) + [1.0] * 16
    faded = [scene() * np.float32(factor) for factor in factors]
    source = film(tmp_path / "a.mkv", faded)
    found = measure_video(source, source, [painting])
    places = [n for n, value in enumerate(found.series["style_distance_series"]) if value]
    assert places == [16, 24, 32]
    assert found.figures["style_distance"] == found.series["style_distance_series"][24]
    errors = found.series["warp_error_series"]
    assert errors[:17] == [None] * 17 and errors[17:] == pytest.approx([0.0] * 16, abs=1e-9)
    longer = found.series["long_term_warp_error_series"]
    assert longer[:17] == [None] * 17 and longer[17:] == pytest.approx([0.0] * 16, abs=1e-9)
    black = measure_video(film(tmp_path / "b.mkv", faded[:9]), tmp_path / "b.mkv", [painting])
    assert "style_distance" not in black.figures and black.figures["frames"] == 9

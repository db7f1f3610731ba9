"""The judge on planted answers."""

import cv2
import numpy as np
import pytest
import torch

from tests.core.toys import stripes, texture, toy_net
from vidstyle.flow import load_flow
from vidstyle.images import to_tensor
from vidstyle.losses import gram_loss, gram_matrix
from vidstyle.measure import SOURCE_FLOOR, StyleJudge, WarpError, along
from vidstyle.measure.drift import Drift


def shifted(image: np.ndarray, x: float) -> np.ndarray:
    matrix = np.float32([[1, 0, x], [0, 1, 0]])
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)


def judged(
    source: list[np.ndarray], result: list[np.ndarray], cut: int = -1, distance: int | None = 1
) -> WarpError:
    error = WarpError(along(load_flow("dis")), distance)
    for index, (one, other) in enumerate(zip(source, result, strict=True)):
        error.add(one, other, new_shot=index == cut)
    return error


def test_a_result_that_moves_with_its_source_has_no_warp_error():
    source, paint = texture(96, 128), texture(96, 128, seed=1)
    pan = [shifted(source, 2 * t) for t in range(4)]
    moving = judged(pan, [shifted(paint, 2 * t) for t in range(4)])
    stuck = judged(pan, [paint] * 4)
    assert moving.pairs == 3
    assert moving.result < 0.1 * stuck.result


def test_flicker_of_a_known_size_is_its_warp_error():
    """±0.05 on a still source: every pair differs by 0.1, so the error is 0.01."""
    source = texture(96, 128) * 0.5 + 0.25
    flicker = [source + np.float32(0.05 * (-1) ** t) for t in range(4)]
    error = judged([source] * 4, flicker)
    assert error.result == pytest.approx(0.01, rel=0.01)
    assert error.source == pytest.approx(0, abs=1e-9)
    assert error.ratio == pytest.approx(0.01 / SOURCE_FLOOR, rel=0.01)


def test_pairs_over_a_cut_do_not_count():
    one, other = texture(96, 128), texture(96, 128, seed=5)
    frames = [one, one, other, other]
    assert judged(frames, frames, cut=2).source == pytest.approx(0, abs=1e-9)
    assert judged(frames, frames, cut=2).pairs == 2
    assert judged(frames, frames).pairs == 3


@pytest.mark.parametrize(("distance", "apart"), [(1, [1] * 9), (4, [4] * 6), (None, range(1, 10))])
def test_a_slow_creep_is_seen_from_afar(distance, apart):
    """A result brighter by 0.01 a frame differs by 0.01 n from that of n frames before."""
    source = texture(96, 128) * 0.5
    creep = [source + np.float32(0.01 * t) for t in range(10)]
    error = judged([source] * 10, creep, distance=distance)
    found = [pair[1] for pair in error.series if pair]
    assert found == pytest.approx([(0.01 * n) ** 2 for n in apart], rel=0.01)
    assert len(error.series) == 10


def test_distant_pairs_end_at_a_cut():
    one, other = texture(96, 128), texture(96, 128, seed=5)
    frames = [one] * 4 + [other] * 4
    for distance, known in ((3, [3, 7]), (None, [1, 2, 3, 5, 6, 7])):
        error = judged(frames, frames, cut=4, distance=distance)
        assert [n for n, pair in enumerate(error.series) if pair] == known
        assert error.source == pytest.approx(0, abs=1e-9)


def test_frames_that_share_too_little_are_not_compared():
    one, other = texture(96, 128), texture(96, 128, seed=5)
    error = WarpError(along(load_flow("dis")), least_trust=0.9)
    for image in (one, one, other):
        error.add(image, image)
    assert [pair is not None for pair in error.series] == [False, True, False]


def test_where_the_change_lies():
    source = texture(96, 128) * 0.5
    spotted = source.copy()
    spotted[30:50, 60:80] += 0.2
    error = WarpError(along(load_flow("dis")))
    error.add(source, source)
    change = error.add(source, spotted).change
    assert change.shape == (96, 128)
    assert change[31:49, 61:79] == pytest.approx(0.04, rel=0.01)
    change[29:51, 59:81] = 0
    assert change.max() == pytest.approx(0, abs=1e-9)


def drifted(source: list[np.ndarray], result: list[np.ndarray], cut: int = -1) -> dict[str, float]:
    drift = Drift(load_flow("dis"))
    for index, (one, other) in enumerate(zip(source, result, strict=True)):
        drift.add(one, other, new_shot=index == cut)
    return drift.figures()


def test_a_result_that_darkens_by_half_a_level_a_frame():
    source, paint = texture(96, 128), texture(96, 128, seed=1) * 0.5 + 0.25
    noise = np.random.default_rng(0).normal(0, 1 / 255, (8, 96, 128, 3)).astype(np.float32)
    noisy = [source * 0.8 + 0.1 + grain for grain in noise]
    darker = [paint - np.float32(0.5 / 255 * t) for t in range(8)]
    found = drifted(noisy, darker)
    assert found["luminance_drift_per_frame"] == pytest.approx(-0.5, abs=0.03)
    assert found["luminance_drift"] == pytest.approx(-0.5 * np.mean(range(1, 8)), abs=0.1)
    assert found["colour_drift"] < 0.05
    assert drifted(noisy, [paint] * 8)["luminance_drift"] == pytest.approx(0, abs=0.05)


def test_red_that_fades_is_colour_drift():
    source, paint = texture(96, 128), texture(96, 128, seed=1) * 0.5 + 0.25
    fading = [paint - np.float32([t / 255, 0, 0]) for t in range(5)]
    found = drifted([source] * 5, fading)
    left = np.array([-1, 0, 0]) + 0.2126
    assert found["luminance_drift_per_frame"] == pytest.approx(-0.2126, rel=0.01)
    assert found["colour_drift"] == pytest.approx(2.5 * np.sqrt(np.mean(left**2)), rel=0.01)


def test_what_the_source_itself_does_is_no_drift():
    """A lamp that dims both alike, a new shot, and a picture where everything moves."""
    source, paint = texture(96, 128) * 0.5 + 0.25, texture(96, 128, seed=1) * 0.5 + 0.25
    dim = [np.float32(0.4 / 255 * t) for t in range(6)]
    found = drifted([source - d for d in dim], [paint - d for d in dim])
    assert found["luminance_drift"] == pytest.approx(0, abs=0.01)
    other = texture(96, 128, seed=7)
    assert drifted([source, other], [paint, paint * 0.5], cut=1) == {}
    assert drifted([shifted(source, 3 * t) for t in range(3)], [paint] * 3) == {}


def test_style_distance_is_the_definition():
    net, painting, image = toy_net(), stripes(), texture(48, 64)
    judge = StyleJudge(net, [painting], 64)

    def gram(picture: np.ndarray, tap: str) -> torch.Tensor:
        return gram_matrix(net(to_tensor(picture), [tap])[tap])

    wanted = sum(float(gram_loss(gram(image, t), gram(painting, t))) for t in net.style_taps)
    assert judge.style_distance(image) == pytest.approx(wanted, rel=1e-4)
    assert judge.style_distance(painting) == pytest.approx(0, abs=1e-6)
    assert judge.content_distance(image, image) == 0


def test_the_judge_compares_at_its_own_long_side():
    painting = cv2.resize(stripes(96, 128), (512, 384), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    small = cv2.resize(painting, (256, 192), interpolation=cv2.INTER_AREA)
    assert StyleJudge(toy_net(), [painting], 256).style_distance(small) < 0.01

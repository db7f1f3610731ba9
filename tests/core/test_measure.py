"""The judge on planted answers."""

import cv2
import numpy as np
import pytest
import torch

from tests.core.toys import stripes, texture, toy_net
from vidstyle.flow import load_flow
from vidstyle.images import to_tensor
from vidstyle.losses import gram_loss, gram_matrix
from vidstyle.measure import SOURCE_FLOOR, StyleJudge, WarpError


def shifted(image: np.ndarray, x: float) -> np.ndarray:
    matrix = np.float32([[1, 0, x], [0, 1, 0]])
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)


def judged(source: list[np.ndarray], result: list[np.ndarray], cut: int = -1) -> WarpError:
    error = WarpError(load_flow("dis"))
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

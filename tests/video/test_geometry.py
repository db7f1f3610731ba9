from __future__ import annotations

import numpy as np
import pytest

from vidstyle.video.geometry import Orientation, scaled_size

ONE = 65536


@pytest.mark.parametrize(
    ("width", "height", "size", "expected"),
    [
        (1280, 720, 640, (640, 360)),
        (720, 1280, 640, (360, 640)),
        (1280, 720, None, (1280, 720)),
        (1280, 720, 2000, (1280, 720)),
        (341, 257, 341, (341, 257)),
        (341, 257, 340, (340, 256)),
        (1000, 10, 100, (100, 2)),
        (640, 480, 321, (320, 240)),
    ],
)
def test_sizes(width: int, height: int, size: int | None, expected: tuple[int, int]) -> None:
    assert scaled_size(width, height, size) == expected


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((ONE, 0, 0, 0, ONE), (0, False)),
        ((0, ONE, 0, -ONE, 0), (270, False)),  # a phone held upright
        ((-ONE, 0, 0, 0, -ONE), (180, False)),
        ((0, -ONE, 0, ONE, 0), (90, False)),
        ((-ONE, 0, 0, 0, ONE), (0, True)),
        ((0, ONE, 0, ONE, 0), (270, True)),
    ],
)
def test_display_matrices(matrix: tuple[int, ...], expected: tuple[int, bool]) -> None:
    assert Orientation.of_display_matrix(matrix) == Orientation(*expected)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_coded_undoes_upright(degrees: int, mirrored: bool) -> None:
    image = np.arange(24).reshape(2, 4, 3)
    orientation = Orientation(degrees, mirrored)
    np.testing.assert_array_equal(orientation.coded(orientation.upright(image)), image)


def test_a_clockwise_quarter_turn_brings_the_left_side_up() -> None:
    image = np.array([[1, 2], [3, 4]])[..., None]
    upright = Orientation(270).upright(image)
    np.testing.assert_array_equal(upright[..., 0], [[3, 1], [4, 2]])

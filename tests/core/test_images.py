import cv2
import numpy as np
import pytest

from vidstyle.images import CELL_SIGMA, blur, to_array, to_tensor


@pytest.mark.parametrize("height, width", [(240, 320), (41, 67), (8, 5)])
@pytest.mark.parametrize("sigma", [0.8, 3.0, 4.9, 5.0, 8.0, 20.0])
def test_a_blur_is_opencvs(sigma, height, width):
    """A broad one comes from means of a few pixels: of white dots within 0.03."""
    noise = np.random.default_rng(0).random((height, width, 3), np.float32)
    noise = (noise > 0.8).astype(np.float32)
    side = 2 * round(3 * sigma) + 1
    theirs = cv2.GaussianBlur(noise, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    ours = to_array(blur(to_tensor(noise), sigma))
    assert np.abs(ours - theirs).max() < (0.03 if sigma >= 2 * CELL_SIGMA else 1e-5)
    assert abs(float(ours.mean() - theirs.mean())) < 0.005

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vidstyle.images import CELL_SIGMA, blur, resize, to_array, to_tensor


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(31, 45), (60, 20), (14, 97), (9, 31)])
def test_resized_with_a_gradient_it_is_as_torch_resizes(size, kind):
    """Two pictures at once, larger, smaller, one side each, both back and forth."""
    torch.manual_seed(0)
    image = torch.rand(2, 3, 42, 31, dtype=kind, requires_grad=True)
    pull = torch.rand(2, 3, *size, dtype=kind)
    usual = F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
    with torch.autocast("cpu", torch.bfloat16):
        made = resize(image, size)
    assert torch.allclose(made, usual, atol=1e-6)
    assert torch.allclose(made, resize(image.detach(), size), atol=1e-6)
    truth, found = (torch.autograd.grad(x, image, pull)[0] for x in (usual, made))
    assert torch.allclose(found, truth, atol=1e-5)


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

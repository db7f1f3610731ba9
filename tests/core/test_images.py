from math import ceil

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vidstyle.images import (
    CELL_SIGMA,
    _convolved,
    binomial,
    blur,
    doubled,
    filtered,
    from_levels,
    halved,
    resize,
    to_array,
    to_levels,
    to_tensor,
)


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


def test_binomial_is_one_two_one_both_ways():
    dot = torch.zeros(1, 2, 5, 6)
    dot[..., 2, 3] = 16
    row = torch.tensor([0.0, 0, 1, 2, 1, 0])
    assert torch.equal(binomial(dot)[0, 1], torch.stack([0 * row, row, 2 * row, row, 0 * row]))
    assert torch.allclose(binomial(torch.ones(1, 1, 4, 3)), torch.ones(()))


@pytest.mark.parametrize("height, width", [(240, 320), (41, 67), (8, 5)])
@pytest.mark.parametrize("sigma", [0.8, 3.0, 4.9, 5.0, 8.0, 20.0])
def test_a_blur_is_opencvs(sigma, height, width):
    """A broad one comes from means of a few pixels: of white dots within 0.03."""
    noise = np.random.default_rng(0).random((height, width, 3), np.float32)
    noise = (noise > 0.8).astype(np.float32)
    side = 2 * ceil(3 * sigma) + 1
    theirs = cv2.GaussianBlur(noise, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    ours = to_array(blur(to_tensor(noise), sigma))
    assert np.abs(ours - theirs).max() < (0.03 if sigma >= 2 * CELL_SIGMA else 1e-5)
    assert abs(float(ours.mean() - theirs.mean())) < 0.005


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 30, 41), (1, 1, 41, 30), (1, 2, 4, 1)])
def test_filtered_by_torch_it_is_as_by_opencv(shape, mirrored):
    """As on a GPU; kernels may reach further than a picture, and back into it."""
    torch.manual_seed(0)
    image, kernel = torch.rand(shape), (0.1, 0.2, -0.1, 0.6, 1.1, 0.6, -0.1, 0.2, 0.1)
    by_torch = _convolved(image, kernel, mirrored)
    for layout in (torch.contiguous_format, torch.channels_last):
        made = filtered(image.contiguous(memory_format=layout), kernel, mirrored)
        assert made.shape == shape
        assert made.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(made, by_torch, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_filters_as_a_cpu_does(channels):
    """To float32's own error, not to that of what its tensor cores round to."""
    torch.manual_seed(0)
    image = torch.rand(1, channels, 90, 160).contiguous(memory_format=torch.channels_last)
    kernel = tuple((3**0.5 - 2) ** abs(place) for place in range(-12, 13))
    made, expected = filtered(image.cuda(), kernel, True), filtered(image, kernel, True)
    assert (made.cpu() - expected).abs().max() < 1e-5
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_halved_and_doubled_a_picture_keeps_its_size_and_what_is_broad():
    ramp = torch.linspace(0, 1, 31).expand(1, 2, 15, 31)
    half = halved(ramp)
    assert half.shape == (1, 2, 8, 16)
    back = doubled(half, (15, 31))
    assert torch.allclose(back[..., 1:-2], ramp[..., 1:-2], atol=1e-6)


def test_levels_come_back_as_they_were():
    levels = np.arange(2**16, dtype=np.uint16).reshape(64, 256, 4)
    picture = from_levels(levels)
    assert picture.dtype == np.float32 and picture.min() == 0 and picture.max() == 1
    assert np.array_equal(to_levels(picture), levels)


def test_where_no_memory_can_be_pinned_pictures_are_as_ever(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)

    def no_more(*shape, **wanted):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "empty", no_more)
    levels = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    assert np.array_equal(to_levels(from_levels(levels)), levels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_pictures_are_pinned_and_whole():
    """Each is there when it is asked for, however much is to be done before, and stays as it is."""
    gpu = torch.device("cuda")
    source = np.random.default_rng(0).random((720, 1280, 3), np.float32)
    given = to_tensor(from_levels(to_levels(source)), gpu)
    torch.cuda._sleep(10**8)
    results = [to_array(given + step / 8) for step in range(8)]
    truth = from_levels(to_levels(source))
    assert all(np.allclose(made, truth + i / 8, atol=1e-6) for i, made in enumerate(results))
    assert all(torch.from_numpy(made).is_pinned() for made in [*results, truth])
    assert not torch.from_numpy(to_array(torch.zeros(1, 3, 2160, 3840, device=gpu))).is_pinned()

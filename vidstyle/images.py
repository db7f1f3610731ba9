"""Pictures between numpy (H, W, 3) and torch (1, 3, H, W), and between sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.errors import InputError
from vidstyle.opencv import opencv

Kernel = tuple[float, ...]

PINNED = 2**25  # bytes of a picture, 1920x1080 at most: larger ones would take a machine's memory
CELL_SIGMA = 2.5  # of a blur in cells: of white dots it is within 0.03 of one in pixels


def to_tensor(image: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """(H, W, C) float → (1, C, H, W); a GPU may still be fetching it: it may not be changed."""
    pixels = torch.from_numpy(np.ascontiguousarray(image))
    return pixels.to(device, non_blocking=True).permute(2, 0, 1)[None]


def to_array(image: Tensor) -> np.ndarray:
    """(1, C, H, W) float32 → (H, W, C)."""
    pixels = image[0].permute(1, 2, 0)
    if image.device.type == "cpu":
        return np.ascontiguousarray(pixels.numpy())
    picture = _new_picture(tuple(pixels.shape))
    torch.from_numpy(picture).copy_(pixels, non_blocking=True)
    torch.cuda.current_stream(image.device).synchronize()
    return picture


def _new_picture(shape: tuple[int, ...]) -> np.ndarray:
    """Float32; beside a GPU pinned: that fetches it and fills it several times as fast.

    What it fetches from elsewhere is copied first, and who asks for that waits.
    """
    if torch.cuda.is_initialized() and 4 * math.prod(shape) <= PINNED:
        with suppress(RuntimeError):  # a system may have no more of it
            return torch.empty(shape, pin_memory=True).numpy()
    return np.empty(shape, np.float32)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) in [0, 1] to (h, w), bicubic, antialiased."""
    if tuple(image.shape[2:]) == size:
        return image
    if image.requires_grad:
        with torch.autocast(image.device.type, enabled=False):  # or products were rounded
            return torch.as_tensor(_Resized.apply(image, size)).clamp(0, 1)
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


class _Resized(torch.autograd.Function):
    """The same as two products, of rows and of columns, so that the way back is two products too.

    torch's own way back takes ten times as long on a CPU ("Time of a step" in
    tests/bench/results/README.md), and sums in any order on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.size = tuple(image.shape[2:])
        return _along_both(image, *_resizing(ctx.size, size, image))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        rows, columns = _resizing(ctx.size, gradient.shape[2:], gradient)
        return _along_both(gradient, rows.t(), columns.t()), None


def _along_both(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows · X · columnsᵀ of each channel, (B, C, H, W) → (B, C, h, w), in channels_last."""
    b, c, _, width = image.shape
    made = (rows @ image.permute(2, 0, 3, 1).flatten(1)).view(-1, b, width, c)
    made = (columns @ made.permute(2, 0, 1, 3).flatten(1)).view(-1, len(made), b, c)
    return made.permute(2, 3, 1, 0).contiguous(memory_format=torch.channels_last)


def _resizing(old: Sequence[int], new: Sequence[int], like: Tensor) -> list[Tensor]:
    """Of rows and of columns, between these sizes (h, w)."""
    return [_matrix(*way, like.dtype, like.device) for way in zip(old, new, strict=True)]


@cache  # for good: a CUDA graph goes on reading them
def _matrix(old: int, new: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(new, old), sparse on a CPU."""
    each = torch.eye(old, dtype=dtype)[None, None]
    matrix = F.interpolate(each, (new, old), mode="bicubic", antialias=True)[0, 0]
    # Brought to a GPU it is there for all streams, whichever asked first.
    return matrix.to_sparse().coalesce() if device.type == "cpu" else matrix.to(device)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian of (B, C, H, W), borders repeated; a broad one of means of a few pixels each."""
    cell = int(sigma / CELL_SIGMA)
    if cell < 2:
        return _gaussian(image, sigma)
    height, width = image.shape[2:]
    edges = (cell, cell - width % -cell, cell, cell - height % -cell)
    whole = F.pad(image, edges, mode="replicate")
    # Means over a cell, and reading between them, blur by themselves.
    own = (cell**2 - 1) / 12 + cell**2 / 6
    broad = _gaussian(F.avg_pool2d(whole, cell), (sigma**2 - own) ** 0.5 / cell)
    full = F.interpolate(broad, whole.shape[2:], mode="bilinear", align_corners=False)
    return full[..., cell : cell + height, cell : cell + width]


def halved(picture: Tensor) -> Tensor:
    """(B, C, H, W) to half its size, rounded up: means of 2×2."""
    return F.avg_pool2d(picture, 2, ceil_mode=True)


def doubled(picture: Tensor, size: Sequence[int]) -> Tensor:
    """What has been halved back to its size (h, w)."""
    height, width = size
    return F.interpolate(picture, scale_factor=2, mode="bilinear")[..., :height, :width]


def binomial(image: Tensor) -> Tensor:
    """(B, C, H, W) by 1, 2, 1 both ways, borders mirrored: no wave of two pixels is left."""
    wider = F.pad(image, (1, 1, 1, 1), mode="reflect")
    return F.avg_pool2d(F.avg_pool2d(wider, 2, 1), 2, 1)


def _gaussian(image: Tensor, sigma: float) -> Tensor:
    reach = min(math.ceil(3 * sigma), 4 * max(image.shape[2:]))
    return filtered(image, _bell(sigma, reach))


@cache
def _bell(sigma: float, reach: int) -> Kernel:
    bell = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
    return tuple(bell / bell.sum())


def filtered(image: Tensor, kernel: Kernel, mirrored: bool = False) -> Tensor:
    """(B, C, H, W) by a symmetric kernel of odd length, along rows and along columns.

    Borders are repeated, or mirrored. On a CPU it is OpenCV's, which takes a fifth of the time of
    torch's convolutions ("Time of a step" in tests/bench/results/README.md) and gives no gradient.
    """
    if image.device.type != "cpu":
        return _convolved(image, kernel, mirrored)
    cv2, weights = opencv(), np.asarray(kernel)
    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_REPLICATE
    pixels = image.permute(0, 2, 3, 1).contiguous().numpy()
    made = [cv2.sepFilter2D(each, -1, weights, weights, borderType=border) for each in pixels]
    return torch.from_numpy(np.stack(made).reshape(pixels.shape)).permute(0, 3, 1, 2)


def _convolved(image: Tensor, kernel: Kernel, mirrored: bool) -> Tensor:
    """The same by torch."""
    weights, reach = _on_device(kernel, image.dtype, image.device), len(kernel) // 2
    # Two channels at least, and channel by channel in memory: else cuDNN takes it over, which may
    # round to ten bits.
    several = image.expand(-1, max(image.shape[1], 2), -1, -1)
    for axis, shape in ((3, (1, -1)), (2, (-1, 1))):
        size, channels = several.shape[axis], several.shape[1]
        place = torch.arange(-reach, size + reach, device=image.device)
        if mirrored:
            period = max(2 * (size - 1), 1)
            place = torch.minimum(place % period, -place % period)
        wider = several.index_select(axis, place.clamp(0, size - 1)).contiguous()
        each = weights.view(1, 1, *shape).expand(channels, -1, -1, -1)
        several = F.conv2d(wider, each, groups=channels)
    return several[:, : image.shape[1]].contiguous(memory_format=torch.channels_last)


@cache  # for good: to bring it there again is to wait for the device
def _on_device(kernel: Kernel, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(kernel, dtype=dtype, device=device)


def scaled(size: tuple[int, int], factor: float, least: int) -> tuple[int, int]:
    """(H, W) times a factor, in whole pixels, no side below `least`."""
    return max(round(size[0] * factor), least), max(round(size[1] * factor), least)


def to_side(image: Tensor, side: int, least: int) -> Tensor:
    """(B, C, H, W) to a long side of `side` pixels, no side below `least`."""
    height, width = image.shape[2:]
    return resize(image, scaled((height, width), side / max(height, width), least))


def check_sides(width: int, height: int, least: int) -> None:
    """Raises `InputError` where a picture is smaller than `least` pixels a side."""
    if min(width, height) < least:
        raise InputError(
            f"{width}x{height} pixels: must be at least {least} a side; use a larger clip or "
            "picture, or a larger --size if that made it so small"
        )


def check_image(image: np.ndarray) -> None:
    """Raises `InputError` unless `image` is (H, W, 3) float32."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32:
        raise InputError(
            f"a picture of shape {image.shape} and {image.dtype}: must be (H, W, 3) float32 RGB "
            "in [0, 1]"
        )


LEVELS = 65535


def to_levels(image: np.ndarray) -> np.ndarray:
    """Float in [0, 1] → uint16, rounded."""
    scaled = image * np.float32(LEVELS)
    return np.rint(scaled, out=scaled).astype(np.uint16)


def from_levels(levels: np.ndarray) -> np.ndarray:
    """uint16 → float32 in [0, 1]; `to_levels` gives the same levels again."""
    picture = _new_picture(levels.shape)
    picture[...] = levels
    picture /= np.float32(LEVELS)
    return picture


def as_on_disk(image: np.ndarray) -> np.ndarray:
    """As it comes back from 16 bits: the same whether it has waited on disk or not."""
    return from_levels(to_levels(image))

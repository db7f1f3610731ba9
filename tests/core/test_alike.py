import pytest
import torch
from torch.nn import functional as F

from tests.core.toys import texture
from vidstyle.flow.alike import find_alike, rearranged
from vidstyle.images import to_tensor


def paint_alike(
    content: torch.Tensor,
    source: torch.Tensor,
    result: torch.Tensor,
    wanted: torch.Tensor | None = None,
) -> torch.Tensor:
    wanted = torch.ones_like(content[:, :1]) if wanted is None else wanted
    return rearranged(result, find_alike(content, source, wanted), wanted)


@pytest.mark.parametrize("way", [(4, -6), (-6, 4)])
def test_what_has_moved_is_painted_as_it_was(way):
    """The source in negative, planted as its painting: the moved source's is its own negative."""
    source = to_tensor(texture(96, 128))
    content = source.roll(way, (2, 3))
    made = paint_alike(content, source, 1 - source)
    # Within the cells beside the seam of rolling, nothing fits.
    down, right = (slice(12, None) if by > 0 else slice(None, -16) for by in way)
    assert (made - (1 - content))[:, :, down, right].abs().mean() < 0.01
    assert (source - content).abs().mean() > 0.1


def test_what_is_far_away_must_look_more_alike():
    """Two patches like the one sought: the farther fits exactly, the nearer by 0.1."""
    source = torch.zeros(1, 3, 96, 320)
    source[..., 40:64, 160:184], source[..., 40:64, 20:44] = 0.9, 1.0
    content = torch.zeros_like(source)
    content[..., 40:64, 200:224] = 1.0
    made = paint_alike(content, source, source)
    assert (made[..., 48:56, 208:216] - 0.9).abs().max() < 1e-3
    source[..., 40:64, 160:184] = 0.2
    made = paint_alike(content, source, source)
    assert (made[..., 48:56, 208:216] - 1.0).abs().max() < 1e-3


def test_brush_work_comes_from_what_looks_alike_and_not_from_the_same_place():
    """Two materials in bands, each painted its own way, have changed places."""
    dark, light = to_tensor(texture(96, 128) * 0.3), to_tensor(0.7 + texture(96, 128, seed=1) * 0.3)
    band = (torch.arange(128) // 24 % 2).float()
    source, content = torch.lerp(dark, light, band), torch.lerp(light, dark, band)
    red, blue = (torch.tensor(c).view(1, 3, 1, 1) for c in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    made = paint_alike(content, source, torch.lerp(red, blue, band).expand_as(content))
    wanted = torch.lerp(blue, red, band).expand_as(made)
    middle = (torch.arange(128) % 24 - 11.5).abs() < 7
    assert (made - wanted)[..., middle].abs().max() < 0.01


def test_of_what_looks_the_same_the_nearest_is_taken():
    flat, result = torch.full((1, 3, 96, 128), 0.5), to_tensor(texture(96, 128))
    assert torch.allclose(paint_alike(flat, flat, result), result, atol=1e-5)


@pytest.mark.parametrize("by", [(9, 0), (-9, 0), (0, 9), (0, -9), (300, -300)])
def test_beyond_a_border_the_picture_is_mirrored(by):
    """Repeated, its last row or column would be streaks as long as what has come into view."""
    across, along = by
    result, wanted = to_tensor(texture(96, 128)), torch.ones(1, 1, 96, 128)
    offsets = find_alike(result, result, wanted)
    offsets[0], offsets[1] = across, along
    made = rearranged(result, offsets, wanted)
    if abs(across) > 128:  # further than it is wide: only no error
        assert torch.isfinite(made).all()
        return
    whole = F.pad(result, (9, 9, 9, 9), mode="reflect")
    planted = whole[..., 9 + along : 105 + along, 9 + across : 137 + across]
    assert torch.allclose(made, planted, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (33, 61), (301, 7), (720, 405)])
def test_every_shape_is_painted_in_the_results_range(size):
    source, content = (to_tensor(texture(*size, seed=seed)) for seed in (0, 1))
    result = 0.25 + 0.5 * source
    made = paint_alike(content, source, result)
    assert made.shape == source.shape
    assert result.min() - 1e-5 <= made.min() and made.max() <= result.max() + 1e-5


@pytest.mark.parametrize("hole", [(0, 3, 0, 3), (17, 40, 60, 61), (60, 96, 90, 128)])
def test_what_is_wanted_is_as_if_all_were(hole):
    source, content = (to_tensor(texture(96, 128, seed=seed)) for seed in (0, 1))
    top, bottom, left, right = hole
    wanted = torch.zeros(1, 1, 96, 128)
    wanted[..., top:bottom, left:right] = 0.01
    part = paint_alike(content, source, source, wanted)
    assert torch.equal((part * wanted), paint_alike(content, source, source) * wanted)


def test_the_picture_stays_where_nothing_is_wanted():
    source, result = to_tensor(texture(96, 128)), to_tensor(texture(96, 128, seed=1))
    content = to_tensor(texture(96, 128, seed=2))
    wanted = torch.zeros_like(source[:, :1])
    assert torch.equal(paint_alike(content, source, result, wanted), result)
    wanted[..., 100:] = 1
    made = paint_alike(content, source, result, wanted)
    assert torch.allclose(made[..., :80], result[..., :80], atol=1e-5)
    assert (made - result)[..., 100:].abs().mean() > 0.05


@pytest.mark.parametrize(("light", "sky"), [(0.3, 0), (-0.3, 0), (0.3, 24)])
def test_in_a_flash_no_place_is_the_lightest_everywhere(light, sky):
    """Nothing moves, but all has changed by as much, a fifth that was white left out."""
    source = 0.35 + 0.3 * to_tensor(texture(96, 128))
    source[..., :sky] = 1
    made = paint_alike((source + light).clamp(0, 1), source, 1 - source)
    assert (made - (1 - source))[..., sky + 8 :].abs().mean() < 0.02


def test_what_is_new_in_half_of_a_picture_is_no_flash():
    """More than half is lighter: it looks like what was as light, not like what was there."""
    source = torch.full((1, 3, 96, 128), 0.4)
    source[..., 88:] = 0.8
    content = source.clone()
    content[..., 20:] = 0.8
    made = paint_alike(content, source, source)
    assert made[..., 72:].min() > 0.75

import pytest
import torch

from tests.core.toys import texture
from vidstyle.analogy import paint_alike
from vidstyle.images import to_tensor


def everywhere(picture: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(picture[:, :1])


def test_what_has_moved_is_painted_as_it_was():
    """The source in negative, planted as its painting: the moved source's is its own negative."""
    source = to_tensor(texture(96, 128))
    content = source.roll((4, -6), (2, 3))
    made = paint_alike(content, source, 1 - source, everywhere(source))
    # Within the cells beside the seam of rolling, nothing fits.
    inside = (made - (1 - content))[:, :, 12:, :112].abs()
    assert inside.mean() < 0.01
    assert (source - content).abs().mean() > 0.1


def test_brush_work_comes_from_what_looks_alike_and_not_from_the_same_place():
    """Two materials in bands, each painted its own way, have changed places."""
    dark, light = to_tensor(texture(96, 128) * 0.3), to_tensor(0.7 + texture(96, 128, seed=1) * 0.3)
    band = (torch.arange(128) // 24 % 2).float()
    source, content = torch.lerp(dark, light, band), torch.lerp(light, dark, band)
    red, blue = (torch.tensor(c).view(1, 3, 1, 1) for c in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    made = paint_alike(content, source, torch.lerp(red, blue, band), everywhere(source))
    wanted = torch.lerp(blue, red, band).expand_as(made)
    middle = (torch.arange(128) % 24 - 11.5).abs() < 7
    assert (made - wanted)[..., middle].abs().max() < 0.01


def test_the_picture_stays_where_nothing_is_wanted():
    source, result = to_tensor(texture(96, 128)), to_tensor(texture(96, 128, seed=1))
    content = to_tensor(texture(96, 128, seed=2))
    wanted = torch.zeros_like(source[:, :1])
    assert torch.equal(paint_alike(content, source, result, wanted), result)
    wanted[..., 100:] = 1
    made = paint_alike(content, source, result, wanted)
    assert torch.allclose(made[..., :80], result[..., :80], atol=1e-5)
    assert (made - result)[..., 100:].abs().mean() > 0.05


def test_of_what_looks_the_same_the_nearest_is_taken():
    flat, result = torch.full((1, 3, 96, 128), 0.5), to_tensor(texture(96, 128))
    assert torch.allclose(paint_alike(flat, flat, result, everywhere(flat)), result, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (33, 61), (301, 7), (720, 405)])
def test_every_shape_is_painted_in_the_results_range(size):
    source, content = (to_tensor(texture(*size, seed=seed)) for seed in (0, 1))
    result = 0.25 + 0.5 * source
    made = paint_alike(content, source, result, everywhere(source))
    assert made.shape == source.shape
    assert result.min() - 1e-5 <= made.min() and made.max() <= result.max() + 1e-5

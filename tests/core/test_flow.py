"""Planted flow fields: pictures follow them, the trust mask sees what they hide."""

import pytest
import torch

from tests.core.toys import square_on_ground, texture
from vidstyle.flow import load_flow
from vidstyle.flow.trust import retraced, trust_mask
from vidstyle.flow.warp import resize_flow, still_to_zero, warp, warp_sharp
from vidstyle.images import to_tensor


def constant_flow(x: float, y: float, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(1, 2, height, width).clone()


@pytest.mark.parametrize("sample", [warp, warp_sharp])
def test_warp_reads_where_the_flow_points(sample):
    picture = to_tensor(texture(24, 32))
    moved = sample(picture, constant_flow(3, -2))
    assert torch.allclose(moved[..., 2:, :-3], picture[..., :-2, 3:], atol=1e-5)


def test_warp_interpolates_half_pixels():
    ramp = torch.arange(32.0).expand(1, 1, 24, 32) / 32
    moved = warp(ramp, constant_flow(0.5, 0))
    assert torch.allclose(moved[..., :-1], ramp[..., :-1] + 0.5 / 32, atol=1e-6)


def test_warp_without_motion_changes_nothing():
    picture = to_tensor(texture(24, 32, grain=0.5))
    for sample in (warp, warp_sharp):
        assert torch.allclose(sample(picture, constant_flow(0, 0)), picture, atol=1e-5)


def test_sharp_warp_neither_blurs_nor_amplifies_as_the_pure_kernels_do():
    """Forty half-pixel shifts to and fro: the texture's energy stays within a few percent."""
    start = to_tensor(texture(64, 64, grain=1.2)) * 0.5 + 0.25
    kept, blurred = start, start
    for step in range(40):
        flow = constant_flow(0.5 if step % 2 else -0.5, 0, 64, 64)
        kept, blurred = warp_sharp(kept, flow), warp(blurred, flow)
    inner = (..., slice(8, -8), slice(8, -8))
    energy = start[inner].std()
    assert 0.93 < (kept[inner].std() / energy).item() < 1.07
    assert (blurred[inner].std() / energy).item() < 0.85


@pytest.mark.parametrize(("pixels", "kept"), [(4, 0.97), (8, 0.998)])
def test_sharp_warp_is_a_cubic_spline_s(pixels, kept):
    """Its gain for a wave at half-pixel shifts, from its transfer function."""
    phase = 2 * torch.pi / pixels * torch.arange(64.0)
    wave = (0.5 + 0.3 * torch.cos(phase)).expand(1, 1, 32, 64).contiguous()
    there = 0.3 * torch.cos(phase + torch.pi / pixels)[16:-16]
    moved = warp_sharp(wave, constant_flow(0.5, 0, 32, 64))[0, 0, 16, 16:-16] - 0.5
    assert (moved @ there / (there @ there)).item() == pytest.approx(kept, abs=0.003)


def test_sharp_warp_copies_what_does_not_move():
    picture, flow = to_tensor(texture(24, 32, grain=0.5)), constant_flow(0, 0)
    flow[..., 16:] = 0.5
    moved = warp_sharp(picture, flow)
    assert torch.equal(moved[..., :16], picture[..., :16])
    assert not torch.equal(moved[..., 16:], picture[..., 16:])


def test_still_pixels_are_copied():
    flow = constant_flow(0.06, 0.06)
    flow[..., 16:] = 0.5
    calm = still_to_zero(flow)
    assert torch.count_nonzero(calm[..., :16]) == 0
    assert torch.equal(calm[..., 16:], flow[..., 16:])


def test_resized_flow_points_to_the_same_places():
    half = resize_flow(constant_flow(4, -2), (12, 16))
    assert torch.allclose(half, constant_flow(2, -1, 12, 16), atol=1e-5)


def test_consistent_motion_is_trusted_except_where_it_leaves_the_frame():
    mask = trust_mask(constant_flow(5, 0), constant_flow(-5, 0))
    assert torch.all(mask[..., :24] == 1)
    assert torch.all(mask[..., 29:] < 0.01)  # the last five columns point outside; 2 px of blur


def test_contradicting_motion_is_occluded():
    """|w + w̃|² ≥ 0.01 (|w|² + |w̃|²) + 0.5."""
    forth, back = constant_flow(4, 0), constant_flow(-4, 0)
    back[:, 0, :, 8:16] = 0  # what points there comes not back: 16 ≥ 0.01·16 + 0.5
    mask = trust_mask(forth, back)
    assert torch.all(mask[..., 5:11] == 0)  # p + 4 falls into [8, 16)
    assert torch.all(mask[..., 15:25] == 1)


def test_small_disagreement_is_tolerated():
    assert torch.all(trust_mask(constant_flow(2, 0), constant_flow(-2.5, 0))[..., :25] == 1)
    assert torch.all(trust_mask(constant_flow(2, 0), constant_flow(-2.9, 0)) == 0)


def test_motion_boundaries_are_not_trusted():
    flow = constant_flow(0, 0)
    flow[:, 0, :, 16:] = 0.5  # too small a jump for the occlusion test, a step for the gradient's
    mask = trust_mask(flow, -flow)
    assert torch.all(mask[..., 15:17] < 0.6) and torch.all(mask[..., :12] == 1)


def test_occlusions_bleed_outwards():
    """They are negative before the blur: a soft edge lies outside them, never inside."""
    forth, back = constant_flow(4, 0), constant_flow(-4, 0)
    back[:, 0, :, 12:] = 0
    mask = trust_mask(forth, back)[0, 0, 12]
    first_occluded = 8
    assert torch.all(mask[first_occluded:20] == 0)
    assert 0 < mask[first_occluded - 2] < 1


def test_mask_marks_what_a_moving_square_uncovers():
    """Exactly the ground behind the square, seen with a real flow in both directions."""
    before, after = square_on_ground(40), square_on_ground(46)
    flow = load_flow("dis")
    back, forth = to_tensor(flow(after, before)), to_tensor(flow(before, after))
    mask = trust_mask(back, forth)[0, 0]
    uncovered = mask[34:62, 41:45]
    assert uncovered.mean() < 0.25
    assert mask[34:62, 56:76].mean() > 0.9 and mask[:16].mean() > 0.95


def test_a_picture_carried_along_the_retraced_flow_is_found_there_by_the_opposite_one():
    """A motion of (3, -1) seen as (3.4, -1.2) one way and as (-2.8, 0.8) back."""
    found = retraced(constant_flow(3.4, -1.2), constant_flow(-2.8, 0.8))
    assert torch.allclose(found, constant_flow(2.8, -0.8), atol=1e-6)


def test_estimates_that_agree_are_left_alone():
    """Growing by a tenth about the corner; the way back shrinks by as much."""
    xs = torch.arange(32.0).view(1, 1, 1, 32).expand(1, 1, 24, 32)
    forth = torch.cat([0.1 * xs, torch.zeros_like(xs)], dim=1)
    back = torch.cat([xs / 1.1 - xs, torch.zeros_like(xs)], dim=1)
    inside = (..., slice(0, 28))  # beyond, the way leads out of the picture
    assert torch.allclose(retraced(forth, back)[inside], forth[inside], atol=1e-4)

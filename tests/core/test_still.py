"""Grain on a still is told from motion, with flows and grain that are planted."""

import numpy as np
import pytest
import torch

from tests.core.toys import texture
from vidstyle.flow.still import motion_share
from vidstyle.images import to_tensor

HEIGHT, WIDTH = 96, 160
FLAT = (slice(8, 60), slice(8, 90))  # rows, columns: nothing to see there


def landscape(shift: float = 0.0) -> np.ndarray:
    """Textured but for a flat patch, moved right by half pixels."""
    wide = texture(2 * HEIGHT, 2 * WIDTH + 40, grain=4)
    wide[16:120, 36:200] = 0.6
    left = 20 - round(2 * shift)
    view = wide[:, left : left + 2 * WIDTH]
    return view.reshape(HEIGHT, 2, WIDTH, 2, 3).mean((1, 3)).astype(np.float32)


def grainy(picture: np.ndarray, seed: int, levels: float) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(0, levels / 255, picture.shape)
    return to_tensor(np.clip(picture + noise, 0, 1).astype(np.float32))


def noise_flow(seed: int = 0) -> torch.Tensor:
    """What a flow makes of grain where there is nothing else: smooth, up to half a pixel."""
    return to_tensor(texture(HEIGHT, WIDTH, seed=seed, grain=8)[..., :2] - 0.5)


def unmoved(flow: torch.Tensor, image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return motion_share(flow, image, other) == 0


@pytest.mark.parametrize("levels", [0.0, 0.5, 1.0, 2.0])
def test_grain_on_a_still_is_no_motion_whatever_the_flow_says(levels):
    flat = torch.zeros(1, 1, HEIGHT, WIDTH)
    flat[..., *FLAT] = 1
    one, other = (grainy(landscape(), seed, levels) for seed in (1, 2))
    quiet = unmoved(noise_flow() * flat, one, other)
    assert quiet.float().mean() > 0.97
    assert quiet[..., *FLAT].float().mean() > 0.97


@pytest.mark.parametrize("levels", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("shift", [0.5, -1.0, 3.0])
def test_a_flat_place_goes_along_with_the_pan_around_it(levels, shift):
    one, other = grainy(landscape(shift), 1, levels), grainy(landscape(), 2, levels)
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = -shift
    assert motion_share(flow, one, other).min() == 1


def test_a_subject_moves_and_the_wall_behind_it_does_not():
    def scene(left: int, seed: int) -> torch.Tensor:
        picture = landscape()
        picture[40:80, left : left + 30] = texture(40, 30, seed=5)
        return grainy(picture, seed, 1.0)

    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0, 40:80, 113:143] = -3
    quiet = unmoved(flow, scene(113, 1), scene(110, 2))[0, 0]
    assert not quiet[40:80, 113:143].any()
    assert not quiet[40:80, 110:113].any()  # just uncovered
    assert quiet[:, :60].float().mean() > 0.9


def test_a_subject_as_slow_as_grain_is_seen_to_move_by_its_texture():
    wide = texture(80, 64, seed=5, grain=3)

    def scene(half_pixels: int, seed: int) -> torch.Tensor:
        picture, left = landscape(), 2 - half_pixels
        picture[40:80, 110:140] = (
            wide[:, left : left + 60].reshape(40, 2, 30, 2, 3).mean((1, 3)) * 0.6 + 0.2
        )
        return grainy(picture, seed, 0.5)

    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0, 40:80, 110:140] = -0.5
    quiet = unmoved(flow, scene(1, 1), scene(0, 2))[0, 0]
    assert quiet[44:76, 114:136].float().mean() < 0.1
    assert quiet[:, :60].float().mean() > 0.9


def test_what_appears_on_a_still_is_not_passed_over():
    before, after = landscape(), landscape()
    after[30:42, 30:42] = 0.9
    quiet = unmoved(torch.zeros(1, 2, HEIGHT, WIDTH), grainy(after, 1, 0.5), grainy(before, 2, 0.5))
    assert not quiet[0, 0, 30:42, 30:42].any()
    assert quiet.float().mean() > 0.8


def wall(left: int, top: int, seed: int, levels: float, wide: int = 40) -> torch.Tensor:
    """A patterned thing before a plain wall that is lit from one side."""
    picture = np.full((HEIGHT, WIDTH, 3), 0.55, np.float32)
    picture += np.linspace(0, 0.1, WIDTH, dtype=np.float32)[None, :, None]
    picture[top : top + 36, left : left + wide] = texture(36, wide, seed=5)
    return grainy(picture, seed, levels)


def dragged(flow_x: float, flow_y: float, left: int, top: int) -> torch.Tensor:
    """As DIS has it: the thing's motion, which fades away over half the wall."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    away = np.hypot((y - top - 18) / HEIGHT, (x - left - 20) / WIDTH)
    field = np.exp(-4 * np.maximum(away - 0.1, 0))[..., None] * np.float32([flow_x, flow_y])
    return to_tensor(np.dstack([field, field[..., :1]]))[:, :2]


@pytest.mark.parametrize("levels", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("step", [(5, 0), (3, -4)])
def test_a_wall_is_not_dragged_along_by_what_moves_before_it(levels, step):
    across, down = step
    one, other = wall(60 + across, 30 + down, 1, levels), wall(60, 30, 2, levels)
    share = motion_share(dragged(-across, -down, 60 + across, 30 + down), one, other)[0, 0]
    thing = slice(32 + down, 64 + down), slice(62 + across, 98 + across)
    assert share[thing].min() == 1
    away = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    away[16:80, 40:120] = False
    assert (share[away] == 0).float().mean() > 0.9


def test_what_is_flat_within_a_thing_goes_along_with_it():
    def coat(left: int, seed: int) -> torch.Tensor:
        picture = wall(left, 30, seed, 1.0, 60)
        picture[..., 38:58, left + 12 : left + 48] = 0.1
        return picture

    share = motion_share(dragged(-4, 0, 64, 30), coat(64, 1), coat(60, 2))[0, 0]
    assert share[40:56, 80:108].min() == 1


def test_a_wall_goes_along_where_the_camera_moves():
    """By what stands on both sides of the picture, as ground or houses do."""
    ground = texture(40, WIDTH + 40, seed=7, grain=4)

    def street(shift: int, seed: int) -> torch.Tensor:
        picture = np.full((HEIGHT, WIDTH, 3), 0.7, np.float32)
        picture[-40:] = ground[:, 20 - shift : 20 - shift + WIDTH]
        return grainy(picture, seed, 1.0)

    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = -3
    assert motion_share(flow, street(3, 1), street(0, 2)).min() == 1


def corner_of_ground(shift: int, seed: int, shading: float, size: int = 70) -> torch.Tensor:
    """A pan over a sky that is lit a little, with ground at the lower right alone."""
    wide = WIDTH + 40
    y, x = np.mgrid[:HEIGHT, :wide]
    picture = 0.7 + shading * (np.sin(x / 9 + y / 14) + np.sin(y / 11))[..., None].repeat(3, 2)
    picture[-50:, -size - 20 :] = texture(50, size + 20, seed=7, grain=4)
    return grainy(picture[:, 20 - shift : 20 - shift + WIDTH].astype(np.float32), seed, 0.5)


@pytest.mark.parametrize("shading", [0.0, 0.02])
def test_a_sky_goes_along_though_the_ground_is_on_one_side(shading):
    """By its own shading where it has some, else as all goes one way."""
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = -3
    one, other = corner_of_ground(3, 1, shading), corner_of_ground(0, 2, shading)
    assert motion_share(flow, one, other).min() == 1


def test_a_flow_that_moves_the_light_on_a_wall_is_wrong():
    """Though all of it goes the way that what moves does."""
    one, other = wall(65, 30, 1, 0.0), wall(60, 30, 2, 0.0)
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = -5
    assert (motion_share(flow, one, other)[..., :24] == 0).all()

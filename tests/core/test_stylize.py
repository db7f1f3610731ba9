"""The temporal loop over planted motion, with a toy network."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from tests.core.toys import cpu, deep_toy_net, stripes, texture, toy_net
from vidstyle import stylize, uncovered
from vidstyle.device import Compute
from vidstyle.errors import InputError
from vidstyle.features import load_features
from vidstyle.flow import load_flow
from vidstyle.flow.alike import find_alike, rearranged
from vidstyle.flow.motion import Correspondence
from vidstyle.frame import Frame
from vidstyle.images import blur, to_tensor
from vidstyle.losses import gram_loss, spot_loss
from vidstyle.measure import StyleJudge, WarpError, along
from vidstyle.optimize import Goal, PixelAdam, PixelLBFGS
from vidstyle.settings import StyleSettings
from vidstyle.stylize import (
    CALM,
    CANVAS,
    COARSEST_SIDE,
    FINENESS,
    FIRMEST,
    LIFT,
    LOOKS,
    NEAR,
    PASS_LOOK,
    PASS_NEAR,
    PLAIN,
    POLISH_MOVE,
    SHIMMER,
    SOLVE_SIDES,
    SPOTS,
    OptimizingStyler,
    resting,
    scales,
    solved_size,
    stylize_shots,
)
from vidstyle.uncovered import carry_maturity, fill_uncovered, ripened

QUICK = StyleSettings(steps=2, first_steps=40)


def styler(settings: StyleSettings = QUICK, flow: str | None = "dis") -> OptimizingStyler:
    return OptimizingStyler(
        toy_net(), [stripes()], cpu(), settings, load_flow(flow) if flow else None
    )


def panning(count: int, step: float = 2.0) -> list[np.ndarray]:
    noise = np.random.default_rng(0).random((80, 160, 3), np.float32)
    world = cv2.GaussianBlur(noise, (0, 0), 2)
    world = (world - world.min()) / np.ptp(world)
    views = []
    for index in range(count):
        shift = np.float32([[1, 0, -8 - index * step], [0, 1, -8]])
        views.append(cv2.warpAffine(world, shift, (96, 64), flags=cv2.INTER_CUBIC).clip(0, 1))
    return views


def filled(
    content: torch.Tensor,
    carried: torch.Tensor,
    trust: torch.Tensor,
    source: torch.Tensor,
    made: torch.Tensor,
) -> torch.Tensor:
    offsets = find_alike(content, source, 1 - trust)
    return fill_uncovered(content, carried, trust, rearranged(made, offsets, 1 - trust))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def test_the_held_loop_is_steadier_than_frames_made_alone():
    sources = panning(4)

    def ratio(flow: str | None) -> float:
        work, error = styler(flow=flow), WarpError(along(load_flow("dis")))
        work.start_shot()
        for image in sources:
            error.add(image, work.next_frame(image))
        return error.result

    assert ratio("dis") < 0.7 * ratio(None)


def test_a_still_shot_stays_as_it_is():
    image = panning(1)[0]
    work = styler()
    work.start_shot()
    first = work.next_frame(image)
    noise = np.random.default_rng(1).normal(0, 1 / 255, (9, *image.shape)).astype(np.float32)
    later = [work.next_frame((image + grain).clip(0, 1)) for grain in noise][-1]
    assert distance(first, later) < 1 / 255


def light(image: np.ndarray) -> float:
    return float(image.mean())


def test_a_shot_follows_a_change_of_light_from_frame_to_frame():
    """However strongly it is held to what it was; resting or not."""
    held = StyleSettings(steps=2, first_steps=40, temporal_weight=1e4)
    brighter = [1, 1.1, 1.2, 1.3, 1.4]
    for sources in (panning(1) * 5, panning(5)):
        work = styler(held)
        work.start_shot()
        lit = [
            image * np.float32(0.5 * times) for image, times in zip(sources, brighter, strict=True)
        ]
        made = [work.next_frame(image) for image in lit]
        assert light(made[-1]) - light(made[0]) > 0.5 * (light(lit[-1]) - light(lit[0]))


def test_a_later_pass_follows_a_change_of_light():
    """Where its own result does not, which is a twentieth of its start."""
    image = panning(1)[0] * np.float32(0.5)
    work = styler(StyleSettings(steps=2, first_steps=40, temporal_weight=1e4))
    work.start_shot()
    dark = work.next_frame(image)
    work.start_pass(image, dark, backwards=True)
    brighter = image * np.float32(1.4)
    grown = (light(work.refine(brighter, dark)) - light(dark)) / light(brighter - image)
    assert 0.5 < grown < 1.2


def test_a_flash_is_painted_and_leaves_nothing_behind():
    dull = [0.5 * image for image in panning(8)]
    flash = [*dull[:4], dull[4] * 1.9, *dull[5:]]
    one, other = (stylized(sources) for sources in (dull, flash))
    brighter = [light(b) - light(a) for a, b in zip(one, other, strict=True)]
    assert brighter[4] > 0.3 * (light(flash[4]) - light(dull[4]))
    assert max(np.abs(brighter[5:])) < 6 / 255


def test_forms_are_as_broad_as_a_clip_is_lifted(monkeypatch):
    scales = []

    def follow(content, carried, before, flow, trust, scale):
        scales.append(scale)
        return carried, before

    monkeypatch.setattr(stylize, "follow_tones", follow)
    for side in (96, round(1.5 * SOLVE_SIDES[0])):
        wide = np.random.default_rng(2).random((32, side, 3), np.float32)
        stylized([wide, wide * np.float32(0.9)])
    assert scales == pytest.approx([1, 1.5])


def stylized(sources: list[np.ndarray]) -> list[np.ndarray]:
    work = styler()
    work.start_shot()
    return [work.next_frame(np.float32(image)) for image in sources]


def test_what_rests():
    """Changes since a pixel was painted of 2, 4.5 and 9 levels; a pixel that moves; a doubt."""
    shape = (1, 1, 40, 200)
    flow, trust = torch.zeros(1, 2, 40, 200), torch.ones(shape)
    flow[..., 120:160] = 1.0
    trust[..., 160:] = 0
    painted = torch.full((1, 3, 40, 200), 0.5)
    content = painted.clone()
    for left, levels in ((0, 2), (40, -4.5), (80, 9), (120, 0), (160, 0)):
        content[:, 1, :, left : left + 40] += levels / 255
    rest = resting(content, painted, Correspondence(flow, trust))
    found = [float(rest[0, 0, 20, left + 20]) for left in range(0, 200, 40)]
    assert found == pytest.approx([1, 0.5, 0, 0, 0], abs=1e-3)


def test_a_shot_starts_afresh():
    """The frame after a cut is the one that a new styler makes of it."""
    one, other = panning(1)[0], 1 - panning(1)[0]
    work = styler()
    work.start_shot()
    work.next_frame(one)
    work.start_shot()
    assert np.array_equal(work.next_frame(other), styler().next_frame(other))


def test_stylize_shots_resets_at_cuts_only():
    class Recorder:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def start_shot(self) -> None:
            self.heard.append("start")

        def next_frame(self, image: np.ndarray) -> np.ndarray:
            self.heard.append("frame")
            return 1 - image

    def frame(index: int) -> Frame:
        return Frame(np.full((4, 4, 3), 0.25, np.float32), index, index * 2, Fraction(1, 50))

    recorder = Recorder()
    done = list(stylize_shots([(0, frame(0)), (0, frame(1)), (1, frame(2))], recorder))
    assert recorder.heard == ["start", "frame", "frame", "start", "frame"]
    assert [shot for shot, _, _ in done] == [0, 0, 1]
    held = np.float32(49151) / np.float32(65535)  # 0.75 in 16 bits
    assert all(np.all(result.image == held) for _, _, result in done)
    assert [result.pts for _, _, result in done] == [0, 2, 4]


@pytest.mark.parametrize("flow", ["dis", None])
def test_a_restored_styler_goes_on_to_the_same_bits(flow: str | None):
    """Through what a file keeps of a tensor: its values, not its layout in memory.

    In the midst of a flash, part of which lies beyond the range.
    """
    sources = panning(4)
    sources[1] = (2.5 * sources[1]).clip(0, 1)
    one, other = styler(flow=flow), styler(flow=flow)
    one.start_shot()
    one.next_frame(sources[0])
    one.next_frame(sources[1])
    kept = {name: torch.from_numpy(t.numpy().copy("C")) for name, t in one.state().items()}
    assert flow is None or kept["past over"].any()
    other.restore(kept)
    for image in sources[2:]:
        assert np.array_equal(one.next_frame(image), other.next_frame(image))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_the_same_frames_come_back_within_rounding(precision: str):
    """A quarter of a level in the mean, should anything be summed in an order of chance."""
    torch.backends.cudnn.deterministic = True
    compute, net = Compute(torch.device("cuda"), precision), toy_net().reflecting().to("cuda")
    results = []
    for _ in range(2):
        work = OptimizingStyler(net, [stripes()], compute, QUICK, load_flow("dis"))
        results.append([work.next_frame(image) for image in panning(6)])
    assert all(distance(*pair) < 0.25 / 255 for pair in zip(*results, strict=True))


def test_a_state_does_not_change_with_the_frames_to_come():
    sources = panning(3)
    work = styler()
    work.next_frame(sources[0])
    state = work.state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    work.next_frame(sources[1])
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_the_carried_picture_stays_in_float():
    """Never through 8 bits: the next frame starts from values that 8 bits cannot hold."""
    work = styler()
    work.start_shot()
    result = work.next_frame(panning(1)[0])
    assert result.dtype == np.float32
    assert np.abs(result * 255 - np.rint(result * 255)).mean() > 0.1
    assert np.array_equal(work.past.result[0].permute(1, 2, 0).numpy(), result)


@pytest.mark.parametrize("brush", [0.5, 1, 3, 8])
@pytest.mark.parametrize(
    "size", [(8, 8), (16, 300), (180, 320), (30, 1200), (480, 854), (720, 1280), (2160, 3840)]
)
def test_scales_rise_from_coarse_to_the_size_itself(size, brush):
    """In both directions, by a fifth at least; a side that is short enough already stays."""
    sizes = scales(size, 8, brush)
    assert sizes[-1] == size and max(sizes[0]) <= COARSEST_SIDE * 1.2
    for axis in (0, 1):
        sides = [each[axis] for each in sizes]
        assert sides == sorted(sides) and sides[0] >= 8
    longest = [max(each) for each in sizes]
    assert all(after > 1.19 * before for before, after in pairwise(longest))


@pytest.mark.parametrize("brush", [0.5, 1, 3])
@pytest.mark.parametrize(
    ("size", "side"),
    [
        ((180, 320), 400),
        ((270, 480), 400),
        ((540, 960), 400),
        ((720, 1280), 1280 / LIFT),
        ((1080, 1920), 640),
        ((2160, 3840), 640),
    ],
)
def test_most_of_the_work_is_done_at_a_bounded_size(size, side, brush):
    solved, most = solved_size(size, 8, brush), side / brush
    assert max(solved) == (max(size) if max(size) <= NEAR * most else round(most))
    assert {solved, size} <= set(scales(size, 8, brush))


def test_a_broad_brush_paints_broad_strokes():
    """Neighbours differ less, beside all that the result varies; a small clip has nothing finer."""
    net = load_features("lite").reflecting().frozen()
    painting, photo = texture(120, 160, seed=3, grain=1.0), texture(120, 160, seed=4, grain=6.0)

    def fineness(brush: float) -> float:
        look = StyleSettings(first_steps=20, content_weight=0.0, brush=brush)
        result = OptimizingStyler(net, [painting], cpu(), look, None).next_frame(photo)
        return float(np.diff(result, axis=1).std() / result.std())

    usual, broad, broader = (fineness(brush) for brush in (1, 4, 8))
    assert broader < 0.9 * broad < 0.8 * usual
    assert fineness(0.5) == usual


def test_a_lifted_picture_gets_no_canvas_s_grain():
    """A painting's own pixel noise, over forms that are broader: the forms' Gram matrices."""
    forms = np.repeat(np.repeat(texture(48, 64, seed=1), 2, axis=0), 2, axis=1)
    noise = np.random.default_rng(0).normal(0, 0.1, forms.shape).astype(np.float32)
    canvas = (forms + noise).clip(0, 1)
    targets, clean = (
        OptimizingStyler(deep_toy_net(), [painting], cpu(), QUICK, None).targets
        for painting in (canvas, forms)
    )

    def apart(one: dict[str, torch.Tensor]) -> float:
        return sum(float(gram_loss(gram, clean.at(128, 40)[tap])) for tap, gram in one.items())

    assert apart(targets.at(128, 40)) < 0.1 * apart(targets.at(128))
    assert apart(targets.at(128, 128)) == apart(targets.at(128))  # so fine are its strokes
    smaller = targets.at(1000, 40)  # never more than CANVAS times enlarged
    assert torch.equal(smaller["relu1_1"], targets.at(CANVAS * 128, 40)["relu1_1"])


@pytest.mark.parametrize("size", [(4, 4), (4, 40), (16, 16), (21, 301), (64, 33), (400, 700)])
def test_every_size_runs_through_first_and_later_frames(size):
    work = styler(StyleSettings(steps=1, first_steps=1))
    work.start_shot()
    image = np.random.default_rng(1).random((*size, 3), np.float32)
    for times in (1, 0.9):  # a repeat would be skipped
        result = work.next_frame(image * np.float32(times))
        assert result.shape == image.shape and np.isfinite(result).all()


def test_later_frames_are_looked_at_from_afar_and_from_near_in_turn():
    """A later pass from one distance, full size beyond the solved one as it is."""
    work = styler(StyleSettings(steps=1, first_steps=1, passes=2))
    seen = levels_of(work)

    def looks(sources: list[np.ndarray]) -> list[float]:
        work.start_shot()
        results = [work.next_frame(sources[0])]
        seen.clear()
        results += [work.next_frame(image) for image in sources[1:]]
        work.start_pass(sources[-1], results[-1], True)
        work.refine(sources[-2], results[-2])
        return [level.goal.size[1] / level.width for level in seen]

    far, near = LOOKS
    later = PASS_LOOK + round(PASS_NEAR * (1 - work.targets.fineness(96)), 1)
    assert looks(panning(4)) == pytest.approx([far, near, far, later], abs=0.01)
    assert (seen[0].goal.calm, seen[0].goal.steady) == (CALM, 1)
    assert not any(level.goal.smooth for level in seen)
    wide = np.random.default_rng(2).random((32, round(1.5 * SOLVE_SIDES[0]), 3), np.float32)
    changed = wide * np.float32(0.999)  # a repeat would be skipped
    assert looks([wide, changed]) == pytest.approx([far, 1, later, 1], abs=0.01)


class Seen(NamedTuple):
    """One level's descent."""

    width: int
    goal: Goal
    way: PixelAdam | PixelLBFGS


def levels_of(work: OptimizingStyler) -> list[Seen]:
    """Those that `work` will go down."""
    seen: list[Seen] = []
    plain = work.optimizer.descend

    def descend(start, goal, method, *rest):  # what `descend` takes
        seen.append(Seen(start.shape[3], goal, method(start.clone().requires_grad_())))
        return plain(start, goal, method, *rest)

    work.optimizer.descend = descend  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("steps", [2, 8])
def test_what_is_lifted_is_polished(steps):
    """Calmed as many times as it is larger, towards brush work alone, in short moves.

    What is lifted is calmer by as much again, and draws no grid: neither level of it.
    """
    full, look = round(1.5 * SOLVE_SIDES[0]), StyleSettings(steps=steps, first_steps=1)
    canvas = texture(240, full, grain=0.5)
    work = OptimizingStyler(toy_net(), [canvas], cpu(), look, load_flow("dis"))
    seen = levels_of(work)
    wide = np.random.default_rng(2).random((32, full, 3), np.float32)
    work.next_frame(wide)
    first = seen[-2:]
    work.next_frame(wide * np.float32(0.999))
    for solved, lifted in (first, seen[-2:]):
        assert (solved.width, lifted.width) == (SOLVE_SIDES[0], full)
        assert lifted.goal.grams is work.targets.at(full, SOLVE_SIDES[0])
    spots = work.targets.spots(full, SOLVE_SIDES[0]), work.targets.spots(full)
    assert first[1].goal.spots == spots[0] > 1.1 * spots[1]  # the canvas's are none of them
    assert [level.goal.spots for level in seen[-2:]] == [0, 0]
    (solved, lifted) = seen[-2:]
    shares = lifted.goal.calm / solved.goal.calm, lifted.goal.shimmer / solved.goal.shimmer
    assert shares == pytest.approx((1.5, 1.5))
    assert (solved.goal.calm, solved.goal.steady) == pytest.approx((1.5 * CALM, 1.5))
    assert solved.goal.shimmer == pytest.approx(1.5 * SHIMMER * work.targets.fineness(400))
    assert [level.goal.smooth for level in seen] == [*[False] * (len(seen) - 3), True, True, True]
    firsts = [level.way.first for level in (solved, lifted) if isinstance(level.way, PixelLBFGS)]
    assert firsts == [1, POLISH_MOVE if steps == 2 else 1]


def test_what_is_lifted_far_is_held_no_firmer_than_measured():
    look = replace(QUICK, brush=4.0)
    work = OptimizingStyler(toy_net(), [texture(96, 128)], cpu(), look, load_flow("dis"))
    wide = np.random.default_rng(2).random((32, SOLVE_SIDES[0], 3), np.float32)
    work.next_frame(wide)
    seen = levels_of(work)
    work.next_frame(wide * np.float32(0.999))
    assert [level.goal.steady for level in seen] == [FIRMEST, FIRMEST]
    assert [level.goal.calm for level in seen] == [FIRMEST * CALM, 4 * FIRMEST * CALM]
    plain = SHIMMER * work.targets.fineness(100)
    assert [level.goal.shimmer for level in seen] == [FIRMEST * plain, 4 * FIRMEST * plain]


def test_a_fine_painting_is_kept_calmer_than_a_broad_one():
    """Half the contrast is half as fine; several count as one; none counts beyond the bounds."""
    noise = np.random.default_rng(0).random((96, 128, 3), np.float32)
    fine = 0.4 + 0.2 * noise
    weak, flat = 0.5 + (fine - 0.5) / 2, np.full_like(fine, 0.5)
    least, most = FINENESS

    def fineness(*paintings: np.ndarray) -> float:
        work = OptimizingStyler(toy_net(), list(paintings), cpu(), QUICK, None)
        return work.targets.fineness(128)

    assert least < fineness(weak) < fineness(fine) < most
    assert fineness(fine) == pytest.approx(2 * fineness(weak), rel=0.01)
    assert fineness(fine, fine) == pytest.approx(fineness(fine))
    assert fineness(flat) == least
    assert fineness(noise) == most


def test_spots_weigh_the_more_the_fewer_a_painting_has():
    """Over its own: of half the contrast a quarter. Several are one, a plain one is a bound."""
    fine = np.random.default_rng(0).random((96, 128, 3), np.float32)
    weak, flat = 0.5 + (fine - 0.5) / 2, np.full_like(fine, 0.5)

    def spots(*paintings: np.ndarray) -> float:
        work = OptimizingStyler(toy_net(), list(paintings), cpu(), QUICK, None)
        return work.targets.spots(128)

    own = float(spot_loss(to_tensor(fine)))
    assert spots(fine) == pytest.approx(SPOTS / own)
    assert spots(weak) == pytest.approx(4 * spots(fine), rel=1e-3)
    assert spots(fine, weak) == pytest.approx(SPOTS / (own * 1.25 / 2), rel=1e-3)
    assert spots(flat) == SPOTS / PLAIN


def test_a_plain_place_is_painted_in_strokes_not_in_dots(monkeypatch):
    """A first frame's plain half, of a painting of strokes; later frames are held to it."""
    net = load_features("lite").reflecting().frozen()
    stripes = 0.5 + 0.3 * np.sin(np.arange(128) / 1.5)[None, :, None]
    strokes = (stripes + 0.02 * np.random.default_rng(0).standard_normal((96, 128, 3))).clip(0, 1)
    plain = np.full((96, 128, 3), 0.5, np.float32)
    plain[:, 64:] = texture(96, 64, seed=4, grain=3.0)

    def dots() -> float:
        look = StyleSettings(first_steps=30)
        work = OptimizingStyler(net, [strokes.astype(np.float32)], cpu(), look, None)
        return float(spot_loss(to_tensor(work.next_frame(plain)[:, :64])))

    held = dots()
    monkeypatch.setattr("vidstyle.stylize.SPOTS", 0.0)
    assert held < 0.7 * dots()


def test_what_is_carried_on_keeps_detail_that_lite_sees_from_near_only(monkeypatch):
    """Its own losses, at the picture's size, say as well of a picture worn by resampling."""
    net = load_features("lite").reflecting().frozen()
    painting = texture(96, 128, seed=3, grain=1.0)

    def worn(looks: tuple[float, ...]) -> float:
        monkeypatch.setattr(stylize, "LOOKS", looks)
        work = OptimizingStyler(net, [painting], cpu(), QUICK, load_flow("dis"))
        result = [work.next_frame(image) for image in panning(8, 0.5)][-1]
        return StyleJudge(net, [painting], 120).style_distance(result)

    assert worn(LOOKS) < 0.8 * worn((1.0,))


def test_several_paintings_average_their_gram_matrices():
    one, other = stripes(), 1 - stripes()
    work = OptimizingStyler(toy_net(), [one, other], cpu(), QUICK, None)
    grams = [work.optimizer.grams(to_tensor(painting)) for painting in (one, other)]
    for tap, gram in work.targets.at(64).items():
        assert torch.allclose(gram, (grams[0][tap] + grams[1][tap]) / 2)


def test_uncovered_areas_start_in_the_paintings_colours_and_brush_work():
    """Planted: a map of colours in the trusted half, stripes in what was made of the frame before.

    That frame was darkened, and so painted in colours that are none of this one's.
    """
    before, content = (to_tensor(view) for view in panning(2))
    strokes = to_tensor(stripes(64, 96)) * 0.3 - 0.15
    strokes = strokes - strokes.mean((2, 3), keepdim=True)

    def painted(picture: torch.Tensor) -> torch.Tensor:
        return 0.6 * picture.flip(1) + 0.2

    trust = torch.ones_like(content[:, :1])
    trust[..., 60:] = 0
    stale = torch.where(trust > 0, painted(content) + strokes, torch.zeros_like(content))
    made = painted(before) - 0.1 + strokes
    start = filled(content, stale, trust, before, made)
    assert torch.equal(start[..., :60], stale[..., :60])

    def fine(picture: torch.Tensor) -> torch.Tensor:
        return (picture - blur(picture, 3.0))[..., 66:]

    def off(picture: torch.Tensor) -> torch.Tensor:
        return blur(picture - painted(content), 6.0)[..., 66:].abs().mean()

    assert off(start) < 0.03 < 0.09 < off(made)
    assert fine(start).square().mean() > 0.7 * fine(made).square().mean()
    assert fine(painted(content)).square().mean() < 0.4 * fine(made).square().mean()


def test_an_uncovered_material_gets_its_own_brush_work():
    """Dark bands painted with level strokes and light ones with upright strokes change places."""
    dark, light = to_tensor(texture(96, 128) * 0.3), to_tensor(0.7 + texture(96, 128, seed=1) * 0.3)
    band = (torch.arange(128) // 24 % 2).float()
    source, content = torch.lerp(dark, light, band), torch.lerp(light, dark, band)
    wave = 0.1 * torch.tensor([1.0, 1.0, -1.0, -1.0])
    level, upright = wave.repeat(24).view(1, 1, -1, 1), wave.repeat(32).view(1, 1, 1, -1)
    made = 0.5 * source + 0.25 + torch.lerp(level, upright, band)
    trust = (torch.arange(128) < 48).float().expand(1, 1, 96, 128)
    start = filled(content, (0.5 * content + 0.25) * trust, trust, source, made)

    def slant(left: int) -> torch.Tensor:
        """How much more changes across rows than across columns, in the middle of a band."""
        part = start[..., 8:-8, left + 6 : left + 18]
        down, right = part.diff(dim=2).square().mean(), part.diff(dim=3).square().mean()
        return down / right

    assert slant(72) > 2 and slant(48) < 0.5  # now dark, now light


@pytest.mark.parametrize("edge", [300, 301])
@pytest.mark.parametrize("colour", [(1, 1, 1), (0.5, 0.5, 0.5), (0.2, 0.4, 0.9)])
def test_one_coloured_and_grey_frames_are_filled_too(colour, edge):
    flat = torch.tensor(colour).float().view(1, 3, 1, 1).expand(1, 3, 360, 640)
    grey = to_tensor(np.repeat(panning(1)[0][..., :1], 3, axis=2))
    grey = torch.nn.functional.interpolate(grey, (360, 640))
    for content in (flat, grey):
        painted, trust = 0.5 * content + 0.2, torch.ones_like(content[:, :1])
        trust[..., edge:] = 0
        start = filled(content, painted * trust, trust, content, painted)
        assert (start - painted).abs().max() < 0.02


def test_how_far_colours_reach_into_what_is_uncovered_and_what_of_it_is_brush_work():
    """A tint at the border as far as a Gaussian of NEAR; of waves what one of WASH leaves."""
    grey, trust = torch.full((1, 3, 64, 256), 0.5), torch.ones(1, 1, 64, 256)
    trust[..., 100:] = 0
    tinted = grey.clone()
    tinted[..., 80:100] = 0.7
    near = blur((tinted - tinted[..., :100].mean()) * trust, uncovered.NEAR) / (
        blur(trust, uncovered.NEAR) + 0.05
    )
    start = fill_uncovered(grey, tinted, trust, grey)
    reached = start[0, 0, 32, 106:140] - start[0, 0, 32, 200]
    expected = near[0, 0, 32, 106:140] - near[0, 0, 32, 200]
    assert (reached - expected).abs().max() < 0.02 < 0.08 < expected.max()
    wave = 0.1 * torch.sin(2 * torch.pi / 12 * torch.arange(256.0)).expand(1, 3, 64, -1)
    left = fill_uncovered(grey, grey, trust, grey + wave)[..., 130:226] - 0.5
    kept = (1 - np.exp(-2 * (np.pi * uncovered.WASH / 12) ** 2)) * wave[..., 130:226]
    assert (left - kept).abs().max() < 0.01


def test_without_any_trust_the_start_has_the_colours_of_the_frame_itself():
    content = to_tensor(panning(1)[0])
    nothing = torch.zeros_like(content[:, :1])
    start = filled(content, content * 0, nothing, 0 * content, 0 * content + 0.5)
    assert (blur(start, 6.0) - blur(content, 8.0)).abs().mean() < 0.02


def test_pictures_that_cannot_be_stylised_are_refused():
    work = styler()
    work.start_shot()
    work.next_frame(panning(1)[0])
    for bad in (
        panning(1)[0][:50],  # another size within the shot
        np.zeros((64, 96, 3), np.uint8),
        np.zeros((64, 96, 3), np.float64),
        np.zeros((64, 96), np.float32),
    ):
        with pytest.raises(InputError):
            work.next_frame(bad)
    work.start_shot()
    with pytest.raises(InputError, match="3x40 pixels"):
        work.next_frame(np.zeros((40, 3, 3), np.float32))
    with pytest.raises(InputError, match="painting"):
        OptimizingStyler(toy_net(), [], cpu(), QUICK, None)


def test_uncovered_areas_are_unripe_and_ripen_while_thin_doubts_are_passed_over():
    trust = torch.ones(1, 1, 64, 96)
    trust[..., 20:22] = 0  # the edge of something that moves
    trust[..., 50:80] = 0  # what came out from behind it
    maturity = carry_maturity(torch.ones_like(trust), trust)[0, 0, 32]
    assert torch.all(maturity[58:72] < 0.01)
    assert torch.all(maturity[:45] > 0.99)
    grown = torch.zeros(1)
    for _ in range(10):
        grown = ripened(grown)
    assert 0.9 < grown < 1


def test_a_held_picture_is_finished_then_stands():
    """Three repeats as one doubled frame has; the next ones go on with what is not ripe yet."""
    work, image = styler(), panning(2)
    work.start_shot()
    results = [work.next_frame(image[0])]
    work.past = replace(work.past, maturity=0.3 * work.past.maturity)
    held = [work.next_frame(image[0]) for _ in range(14)]
    results += held
    changes = [distance(one, other) for one, other in pairwise(results)]
    assert changes[:3] == [0, 0, 0] and changes[3] > 0
    assert changes[-1] == 0


def test_what_was_uncovered_is_repainted_faster_than_its_surroundings(monkeypatch):
    """The right half comes into view: it must end nearer to a picture made alone than if held."""
    monkeypatch.setattr(stylize, "LOOKS", (1.0,))  # as the picture made alone
    image = panning(1)[0]
    work = styler(StyleSettings(steps=3, first_steps=40))
    work.start_shot()
    alone = work.next_frame(image)
    past = work.past
    stale = past.result.clone()
    stale[..., 48:] = to_tensor(image)[..., 48:]  # as if it were not painted yet
    half = torch.ones_like(past.maturity)
    half[..., 48:] = 0

    def error(maturity: torch.Tensor) -> float:
        work.past = replace(past, result=stale, maturity=maturity)
        nearly = image * np.float32(0.999)  # a repeat would be skipped
        return float(np.abs(work.next_frame(nearly) - alone)[:, 60:].mean())

    assert error(half) < 0.8 * error(torch.ones_like(half))

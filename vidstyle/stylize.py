"""The temporal loop over one shot: flow, warp, optimise, remember."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.checkpoint import Sketch
from vidstyle.device import Compute
from vidstyle.errors import InputError
from vidstyle.features import TapNet
from vidstyle.flow import FlowEstimator
from vidstyle.flow.alike import rearranged
from vidstyle.flow.motion import Correspondence, Links, Motion, room_on
from vidstyle.flow.repeats import GRAIN, change, repeats
from vidstyle.flow.warp import is_still, warp, warp_sharp
from vidstyle.frame import Frame
from vidstyle.images import (
    as_on_disk,
    blur,
    check_image,
    check_sides,
    resize,
    scaled,
    to_array,
    to_side,
    to_tensor,
)
from vidstyle.losses import mean_grams, resampling_loss, spot_loss
from vidstyle.optimize import Goal, OnStep, Optimizer, PixelAdam, PixelLBFGS, Step, Way
from vidstyle.settings import StyleSettings
from vidstyle.style_cache import StyleCache
from vidstyle.tones import Tones, follow_tones, tones_of
from vidstyle.uncovered import carry_maturity, fill_uncovered, ripened

COARSEST_SIDE = 112  # pixels: there relu3's receptive field spans the large forms

# Chosen from the tables in tests/bench/results/README.md.
SOLVE_SIDES = 400, 640  # pixels: strokes are made at so many, then lifted, or they would shrink
LIFT = 2.4  # times, between these: further up, what comes into view is blurred for some frames
FIRMEST = 3.0  # so many times lifted, all that keeps a clip calm and steady weighs more, at most
NEAR = 1.2  # times: sizes that are nearer to one another are not worth two levels
POLISH = 4  # a larger size gets one step for so many at the solved one
CANVAS = 2  # pixels: finer than that is no brush work above the solved size, but a canvas's grain
FIRST_RATE = 0.04  # Adam's, for a shot's first frame
SPOTS = 0.02  # of what the style weighs: the spot loss of that, over the painting's own
PLAIN = 2e-4  # a painting's own, at least: a plain one has none
POLISH_RATE = 0.015  # above the solved size, where few steps would leave as much grain
POLISH_MOVE = 1 / 3  # of the usual first one, of an only step: no second one sets it right
HASTE = 3.0  # times the pace that is added where nothing is painted yet
RIPE = 0.99  # of a maturity that only ever comes near 1
DOUBLED = 3  # repeats in a row that change nothing; longer, a frame is held, and finished meanwhile
QUIET = 3 / 255  # a still pixel's change, grain averaged out, that asks for no work
EFFORT = 2.5  # times the steps that are added where all of a frame is new
LOOKS = (0.7, 1.41)  # times its size at which a later frame is looked at, in the first pass
CALM = 25.0  # times the total variation's weight, in that: being enlarged brings grain
SHIMMER = 0.8  # times the temporal weight, of the resampling loss
PASS_STEPS = 2  # of a later pass over a shot
PASS_HOLD = 0.25  # times the content's weight, in that
PASS_CALM = 12.0  # times the total variation's weight, in that
PASS_LOOK = 1.0  # times its size at which a frame is looked at, in that
PASS_NEAR = 0.3  # times its size that a painting without fine detail adds to that
FINE = 1.25e-3  # the resampling loss of a painting for which these are, half a pixel on
FINENESS = (0.3, 1.5)  # at least and at most: what a painting's, over that, counts for
BLEND = 0.95  # of the carried picture in a later pass's start, the rest is the frame's own

Size = tuple[int, int]


class FrameStyler(Protocol):
    """What turns the frames of a shot, one after the other, into stylised frames."""

    def start_shot(self) -> None:
        """Forget the frames before: the next one follows a cut."""

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 RGB in [0, 1] → the same shape and range, stylised.

        Neither may be changed afterwards: other threads store and encode them.
        """
        ...


def stylize_shots(
    frames: Iterable[tuple[int, Frame]], styler: FrameStyler
) -> Iterator[tuple[int, Frame, Frame]]:
    """(shot, frame) → (shot, frame, stylised frame), starting afresh at every new shot.

    Both frames and results have the 16 bits of finished work on disk, whether it is used or not.
    """
    current: int | None = None
    for shot, frame in frames:
        if shot != current:
            styler.start_shot()
            current = shot
        image = as_on_disk(styler.next_frame(as_on_disk(frame.image)))
        yield shot, frame, replace(frame, image=image)


def solved_size(full: Size, least: int, brush: float = 1.0) -> Size:
    """(h, w) where most of the work on a frame is done."""
    return scaled(full, _solved_share(full, brush), least)


def _solved_share(full: Size, brush: float) -> float:
    least, most = SOLVE_SIDES
    share = min(max(max(full) / LIFT, least), most) / brush / max(full)
    return 1.0 if share * NEAR >= 1 else share


def scales(full: Size, least: int, brush: float = 1.0) -> list[Size]:
    """A first frame's sizes (h, w): √2 apart up to the solved one, then doubling."""
    share = _solved_share(full, brush)
    below = above = 0
    while share * max(full) / 2 ** (below / 2) > COARSEST_SIDE * 1.2:
        below += 1
    while share * 2 ** (above + 1) * NEAR <= 1:
        above += 1
    powers = [*(-k / 2 for k in range(below, 0, -1)), *range(above + 1)]
    # Each of full size: what `least` makes broader would add up from one to the next.
    sizes = [scaled(full, share * 2**power, least) for power in powers]
    return sizes if share == 1 else [*sizes, full]


def polish(steps: int) -> int:
    """Steps above the solved size, for so many in it."""
    return max(1, steps // POLISH)


class _Target(NamedTuple):
    """Gram matrices, tap → (1, C, C), and what the spot loss weighs beside them."""

    grams: dict[str, Tensor]
    spots: float


class StyleTargets:
    """Gram matrices of the paintings, averaged, made once for each size they are compared at.

    Once for all runs, as far as they can be kept. And what else is known of the paintings.
    """

    def __init__(self, paintings: Sequence[Tensor], optimizer: Optimizer) -> None:
        self.paintings, self.optimizer = paintings, optimizer
        self.cache = StyleCache(optimizer.net, optimizer.compute)
        self.known: dict[tuple[int, int | None], _Target] = {}
        self.finest: dict[int, float] = {}

    def at(self, side: int, solved: int | None = None) -> dict[str, Tensor]:
        """tap → (1, C, C), for a picture whose long side is `side` pixels.

        One whose strokes are lifted from one of `solved` pixels gets no canvas's grain.
        """
        return self._target(side, solved).grams

    def spots(self, side: int, solved: int | None = None) -> float:
        """The spot loss's weight, for a picture as for `at`: more where paintings have few.

        A Gram matrix asks for what stands out, not where: plain places would get it in dots.
        """
        return self._target(side, solved).spots

    def _target(self, side: int, solved: int | None) -> _Target:
        if (side, solved) not in self.known:
            fitted = [self._lifted(painting, side, solved) for painting in self.paintings]
            work = self.optimizer
            each = [self.cache.grams(x, work.grams, lambda: not work.short) for x in fitted]
            own = float(torch.stack([spot_loss(x) for x in fitted]).mean())
            self.known[side, solved] = _Target(mean_grams(each), SPOTS / max(own, PLAIN))
        return self.known[side, solved]

    def fineness(self, side: int) -> float:
        """What clips of this long side would shimmer in these paintings: 1 like *Starry Night*.

        What keeps a picture steady costs brush work, and a broad brush needs less of it.
        """
        if side not in self.finest:
            each = [_shimmer(self._fitted(painting, side)) for painting in self.paintings]
            least, most = FINENESS
            self.finest[side] = min(max((sum(each) / len(each) / FINE) ** 0.5, least), most)
        return self.finest[side]

    def _fitted(self, painting: Tensor, side: int) -> Tensor:
        # Never enlarged: its brush work would become a blur to be copied.
        side = min(side, max(painting.shape[2:]))
        return to_side(painting, side, self.optimizer.net.least_side)

    def _lifted(self, painting: Tensor, side: int, solved: int | None) -> Tensor:
        """Shrunk to where CANVAS pixels are one, or to the solved size, and enlarged again.

        By so much also beyond its own pixels: there is no brush work in what it lacks.
        """
        if solved is None:
            return self._fitted(painting, side)
        plain = self._fitted(painting, max(solved, side // CANVAS))
        side = min(side, CANVAS * max(plain.shape[2:]))
        return to_side(plain, side, self.optimizer.net.least_side)


def _shimmer(picture: Tensor) -> float:
    """What (1, 3, H, W) loses, mean square, where it is read half a pixel on."""
    one = torch.ones_like(picture[:, :1])
    return float(resampling_loss(picture, torch.cat([one, one], dim=1) / 2, one))


def resting(content: Tensor, painted: Tensor, link: Correspondence) -> Tensor:
    """1 where nothing moves and the picture is as it was when `painted`, else down to 0.

    There is nothing to do there, and the slow rest of a descent would be seen as drift.
    """
    still = is_still(link.flow) * link.trust
    left = blur(content - painted, GRAIN).abs().amax(1, keepdim=True)
    return still * (2 - left / QUIET).clamp(0, 1)


class Level(NamedTuple):
    """Steps at one size, for a picture that is looked at in another."""

    size: Size
    steps: int
    seen: Size


@dataclass(frozen=True)
class _Plan:
    """What a frame that follows another starts from and is held to, and the work on it.

    `carried`, which has the `tones`, and `start` are (1, 3, H, W), `maturity` is (1, 1, H, W): 0
    where all is new. `calm`: times the total variation's weight, `hold`: times the content's.
    """

    link: Correspondence
    carried: Tensor
    tones: Tones
    maturity: Tensor
    start: Tensor
    levels: list[Level]
    calm: float
    hold: float = 1.0


@dataclass(frozen=True)
class _Kept:
    """What a stopped run has left of the frame at hand: the steps `made` at a level, the state."""

    level: int = 0
    made: int = 0
    state: Mapping[str, Tensor] = field(default_factory=dict)


_MAPS = ("result", "maturity", "painted")  # of _Past: one tensor each
_NUMBERS = {"turn": int, "held": int, "changed": float}


@dataclass(frozen=True)
class _Past:
    """What a frame leaves to the next: its picture, the result, how far it is painted.

    `painted` is the source as it was when each pixel was last worked on; `turn` counts frames that
    were. `changed`: how much the picture differed from the one before, when it last did; `held`:
    how often it has been repeated since.
    """

    source: np.ndarray
    result: Tensor
    maturity: Tensor
    painted: Tensor
    tones: Tones
    turn: int = 0
    held: int = 0
    changed: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        maps = {name: getattr(self, name) for name in _MAPS}
        numbers = {
            name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in _NUMBERS
        }
        tones = self.tones._asdict()
        return {"source": torch.from_numpy(self.source), **numbers, **maps, **tones}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device) -> _Past:
        maps: dict[str, Any] = {name: tensors[name].to(device) for name in _MAPS}
        numbers = {name: kind(tensors[name]) for name, kind in _NUMBERS.items()}
        tones = Tones(*(tensors[name].to(device) for name in Tones._fields))
        return cls(tensors["source"].numpy(), **maps, tones=tones, **numbers).settled()

    def before(self, image: np.ndarray) -> _Past:
        """The same, knowing whether the next frame repeats this one."""
        if repeats(self.source, image, self.changed):
            return replace(self, held=self.held + 1)
        return replace(self, held=0, changed=change(self.source, image))

    @property
    def doubled(self) -> bool:
        """The next frame has this one's picture."""
        return 0 < self.held <= DOUBLED

    @property
    def stands(self) -> bool:
        """The same for one that is held longer, as soon as all of it is ripe."""
        return self.doubled or (self.held > 0 and float(self.maturity.min()) > RIPE)

    def settled(self) -> _Past:
        """In one layout of memory: kernels that follow another one round otherwise."""
        layout = torch.channels_last
        maps = {name: getattr(self, name).clone(memory_format=layout) for name in _MAPS}
        tones = Tones(*(part.clone(memory_format=layout) for part in self.tones))
        return replace(self, **maps, tones=tones)


class OptimizingStyler:
    """Optimises each frame, started from and held to the previous one along the flow.

    `paintings` are (H, W, 3) float32 RGB in [0, 1]; without a `flow` every frame is made alone.
    """

    def __init__(
        self,
        net: TapNet,
        paintings: Sequence[np.ndarray],
        compute: Compute,
        settings: StyleSettings,
        flow: FlowEstimator | None,
        on_step: OnStep = lambda step: None,
    ) -> None:
        if not paintings:
            raise InputError("no painting: name at least one")
        for painting in paintings:
            check_image(painting)
        self.compute, self.settings, self.flow, self.on_step = compute, settings, flow, on_step
        self.optimizer, self.least = Optimizer(net, compute, settings), net.least_side
        tensors = [to_tensor(painting, compute.device) for painting in paintings]
        self.targets = StyleTargets(tensors, self.optimizer)
        room = room_on(compute.device) if settings.rounds > 1 else 0
        self.motion = Motion(flow, compute.device, room) if flow else None
        self.past: _Past | None = None
        self.refined: _Past | None = None  # the same, in a later pass over the shot
        self.backwards = False  # in that pass
        self.sketch: Sketch | None = None  # where a frame is kept while it is made

    @property
    def warnings(self) -> list[str]:
        """What the user should know of how the work went, one line each."""
        return self.optimizer.warnings

    def start_shot(self) -> None:
        self.past = None

    def state(self) -> dict[str, Tensor]:
        """All that the next frame depends on besides its picture."""
        state = {**self._scale(), "backwards": torch.tensor(self.backwards)}
        for name, past in (("past", self.past), ("refined", self.refined)):
            if past is not None:
                state |= {f"{name} {key}": value for key, value in past.tensors().items()}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on as after the frame whose `state` this was."""
        self._restore_scale(state["scale"])
        self.backwards = bool(state["backwards"])
        self.past, self.refined = (self._remembered(name, state) for name in ("past", "refined"))

    def _remembered(self, name: str, state: Mapping[str, Tensor]) -> _Past | None:
        own = {
            key.removeprefix(f"{name} "): value
            for key, value in state.items()
            if key.startswith(f"{name} ")
        }
        return _Past.of(own, self.compute.device) if own else None

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        """Raises `InputError` for a picture too small, or unlike the one before in size."""
        self._check(image, self.past)
        if self.settings.strength == 0:
            return image
        past = self.past.before(image) if self.past else None
        if past and past.stands:
            self.past = past
            return self._mixed(image, past.result)
        content = to_tensor(image, self.compute.device)
        if past is None:
            new = self._first(image, content)
        else:
            links = self._links(past.source, image)
            new = self._follow(image, content, past, self._onward(content, past, links))
        if self.flow is not None:
            self.past = new.settled()
        return self._mixed(image, new.result)

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
        """Refine from here on: after, or before, this frame, of which `result` has been made."""
        self._check(image, None)
        if self.settings.strength == 0:
            return
        content = to_tensor(image, self.compute.device)
        ripe = torch.ones_like(content[:, :1])
        usual = self.past.changed if self.past else 0.0
        own = self._unmixed(image, result)
        begun = _Past(image, own, ripe, content, tones_of(content, own), changed=usual)
        self.refined = begun.settled()
        self.backwards = backwards

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """What `next_frame` has made of `image`, held to its neighbour in this pass as well."""
        self._check(image, self.refined)
        if self.settings.strength == 0:
            return image
        assert self.refined is not None, "start_pass comes first"
        past = self.refined.before(image)
        if past.doubled:
            # Not `stands`: a long hold goes on beyond a block, and is to forget how that began.
            self.refined = past
            return self._mixed(image, past.result)
        content = to_tensor(image, self.compute.device)
        if self.backwards:
            link = self._links(image, past.source).to_later
        else:
            link = self._links(past.source, image).to_earlier
        plan = self._again(content, past, link, self._unmixed(image, earlier))
        self.refined = self._follow(image, content, past, plan).settled()
        return self._mixed(image, self.refined.result)

    def _mixed(self, image: np.ndarray, result: Tensor) -> np.ndarray:
        strength, painted = np.float32(self.settings.strength), to_array(result)
        return painted if strength == 1 else (1 - strength) * image + strength * painted

    def _unmixed(self, image: np.ndarray, result: np.ndarray) -> Tensor:
        """The painting alone, where `strength` has left some of the source in it."""
        strength = np.float32(self.settings.strength)
        alone = result if strength == 1 else (image + (result - image) / strength).clip(0, 1)
        return to_tensor(alone, self.compute.device)

    def _check(self, image: np.ndarray, past: _Past | None) -> None:
        check_image(image)
        height, width, _ = image.shape
        check_sides(width, height, self.least)
        if past is not None and past.source.shape != image.shape:
            raise InputError(f"{width}x{height} pixels: a shot's frames must all have one size")

    def _links(self, earlier: np.ndarray, later: np.ndarray) -> Links:
        assert self.motion is not None
        return self.motion.between(earlier, later)

    def _goal(self, content: Tensor, solved: int | None) -> Goal:
        grams = self.targets.at(max(content.shape[2:]), solved)
        return Goal(grams, self.optimizer.content(content))

    def _solved(self, full: Size) -> Size:
        return solved_size(full, self.least, self.settings.brush)

    def _lift(self, full: Size) -> float:
        """How many times larger a picture is than strokes are made."""
        return max(full) / max(self._solved(full))

    def _first(self, image: np.ndarray, content: Tensor) -> _Past:
        """Coarse to fine, from the frame itself, or from where a stopped run had come to."""
        full, first = _size(content), self.settings.first_steps
        sizes, solved = scales(full, self.least, self.settings.brush), self._solved(full)
        kept = self._kept()
        result = resize(content, sizes[kept.level])
        for level, size in enumerate(sizes[kept.level :], kept.level):
            lifted, place = max(size) > max(solved), (level, len(sizes))
            steps, rate = (polish(first), POLISH_RATE) if lifted else (first, FIRST_RATE)
            lifted_from = max(solved) if lifted else None
            goal = self._goal(resize(content, size), lifted_from)
            # Each pixel moving by its rate, few steps would else draw the grid of pixels.
            goal = replace(goal, smooth=lifted, spots=self.targets.spots(max(size), lifted_from))
            start, adam = resize(result, size), partial(PixelAdam, rate=rate)
            result = self._descend(start, goal, adam, steps, place, kept)
        ripe, tones = torch.ones_like(content[:, :1]), tones_of(content, result)
        return _Past(image, result, ripe, content, tones)

    def _kept(self) -> _Kept:
        state = self.sketch.read() if self.sketch else {}
        return _Kept(int(state["level"]), int(state["made"]), state) if state else _Kept()

    def _descend(
        self,
        start: Tensor,
        goal: Goal,
        make: Callable[[Tensor], Way],
        steps: int,
        place: tuple[int, int],
        kept: _Kept,
    ) -> Tensor:
        """Steps at one level, `place` among so many; goes on from what was `kept` of that one."""
        level, levels = place
        resumed = kept.level == level and bool(kept.state)

        def method(image: Tensor) -> Way:
            way = make(image)
            if resumed:
                self._restore_scale(kept.state["scale"])
                way.restore(kept.state)
            return way

        def keep(made: int, way: Way) -> None:
            is_last = made == steps and level == levels - 1
            if self.sketch and not is_last:
                numbers = {"level": torch.tensor(level), "made": torch.tensor(made)}
                self.sketch.offer(lambda: {**self._scale(), **numbers, **way.state()})

        def report(step: int, loss: Tensor) -> None:
            self.on_step(Step(level, step, steps, loss))

        made = kept.made if resumed else 0
        return self.optimizer.descend(start, goal, method, steps, report, keep, made)

    def _scale(self) -> dict[str, Tensor]:
        return {"scale": torch.tensor(self.optimizer.scaler.get_scale())}

    def _restore_scale(self, scale: Tensor) -> None:
        scaler = self.optimizer.scaler
        scaler.load_state_dict({**scaler.state_dict(), "scale": float(scale)})

    def _onward(self, content: Tensor, past: _Past, links: Links) -> _Plan:
        """From the result before along the flow, with more steps where much is new.

        What is not yet finished painting is held less and moves faster.
        """
        link = links.to_earlier
        maturity = carry_maturity(warp(past.maturity, link.flow), link.trust)
        carried, tones = self._carried(content, past, link)
        alike = rearranged(past.result, links.alike, 1 - link.trust)
        start = fill_uncovered(content, carried, link.trust, alike)
        steps = round(self.settings.steps * (1 + EFFORT * (1 - float(maturity.mean()))))
        levels = self._fine(content, steps, LOOKS[past.turn % len(LOOKS)])
        return _Plan(link, carried, tones, maturity, start, levels, CALM)

    def _carried(self, content: Tensor, past: _Past, link: Correspondence) -> tuple[Tensor, Tones]:
        """The result before along the flow, in this frame's tones; and those."""
        carried, scale = warp_sharp(past.result, link.flow), self._lift(_size(content))
        return follow_tones(content, carried, past.tones, link.flow, link.trust, scale)

    def _again(self, content: Tensor, past: _Past, link: Correspondence, own: Tensor) -> _Plan:
        """From between its own result and the one before along the flow.

        Held to the content less than the first pass, which has seen to that: style is what a chain
        of frames loses. Not held at all, a block's frames would end more painted the earlier.
        """
        carried, tones = self._carried(content, past, link)
        start = torch.lerp(own, carried, BLEND * link.trust)
        ripe = torch.ones_like(link.trust)
        near = round(PASS_NEAR * (1 - self._fineness(content)), 1)  # hardly enlarged is but blurred
        levels = self._fine(content, PASS_STEPS, PASS_LOOK + near)
        return _Plan(link, carried, tones, ripe, start, levels, PASS_CALM, PASS_HOLD)

    def _fineness(self, content: Tensor) -> float:
        return self.targets.fineness(max(self._solved(_size(content))))

    def _fine(self, content: Tensor, steps: int, look: float) -> list[Level]:
        """The solved size, looked at `look` times as large, and full size where that is larger."""
        full = _size(content)
        solved = self._solved(full)
        levels = [Level(solved, steps, scaled(solved, look, self.least))]
        return levels if solved == full else [*levels, Level(full, polish(steps), full)]

    def _follow(self, image: np.ndarray, content: Tensor, past: _Past, plan: _Plan) -> _Past:
        """Descends level by level, held to what is carried; what rests stays."""
        link, maturity, start, full = plan.link, plan.maturity, plan.start, _size(content)
        rest = resting(content, past.painted, link) * maturity
        kept = self._kept()
        solved = max(plan.levels[0].size)
        lift = self._lift(full)
        firm = min(lift, FIRMEST)  # what is lifted stays painted, though held so much more
        for level, (size, steps, seen) in enumerate(plan.levels[kept.level :], kept.level):
            times = max(size) / solved  # so broad are strokes, and so far apart edges
            pace = 1 + HASTE * (1 - _resize_map(maturity, size)) - _resize_map(rest, size)
            pace = pace.clamp_min(0)  # a map's 1 may be rounded up
            first = POLISH_MOVE if times > 1 and steps == 1 else 1.0
            make = partial(PixelLBFGS, pace=pace, first=first)
            goal = replace(
                self._goal(resize(content, seen), solved if times > 1 else None),
                size=seen,
                hold=plan.hold,
                smooth=lift > 1,
                calm=plan.calm * times * firm,
                steady=firm,
                shimmer=SHIMMER * self._fineness(content) * times * firm,
                carried=resize(plan.carried, size),
                trust=_resize_map(link.trust * maturity, size),
                flow=link.flow if size == full else None,
            )
            begin, place = resize(start, size), (level, len(plan.levels))
            result = self._descend(begin, goal, make, steps, place, kept)
            if size != full:  # the first of two levels; a sketch of the second has no need of it
                # The change is lifted, not the picture: the start's full-size detail is kept.
                moved = F.interpolate(result - begin, full, mode="bicubic")
                start = (start + moved).clamp(0, 1)
        painted = torch.lerp(content, past.painted, rest)
        return replace(
            past,
            source=image,
            result=result,
            maturity=ripened(maturity),
            painted=painted,
            tones=plan.tones,
            turn=past.turn + 1,
        )


def _resize_map(mask: Tensor, size: Size) -> Tensor:
    # Bilinear: bicubic would overshoot, and trust a little beside an occlusion.
    return F.interpolate(mask, size, mode="bilinear", antialias=True)


def _size(image: Tensor) -> Size:
    return image.shape[2], image.shape[3]

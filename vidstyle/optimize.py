"""One frame at one size: targets and a start in, pixels out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vidstyle.device import Compute, is_out_of_memory
from vidstyle.features.strips import Strip, step_bytes, strips
from vidstyle.features.taps import TapNet
from vidstyle.images import binomial, resize
from vidstyle.losses import (
    content_loss,
    energy,
    gram_loss,
    gram_matrix,
    resampling_loss,
    spot_loss,
    temporal_loss,
    tv_loss,
)
from vidstyle.replay import Call, Replay, Replays, Tensors
from vidstyle.settings import StyleSettings

BETAS = (0.9, 0.99)
MEMORY = 8  # pairs of L-BFGS: more than a frame has steps, unless many are asked for
FIRST_MOVE = 0.003  # of L-BFGS, mean over the pixels: a second step sets right what is too far
FARTHEST = 0.02  # of any other of its moves, root mean square
RECORDED = 4  # of the room for a step's maps, one part in so many: a recording has its own
AT_ONCE = 16  # the same, for one that may not be asked for again
NARROWEST = 4  # times what a feature sees to one side: of less, a strip is mostly its neighbours
SHORT = (
    "the device had too little memory: frames are gone over in smaller strips, which takes up to "
    "three times as long; leave it more free, or use a smaller --size"
)
Made = TypeVar("Made")
_TENSORS = ("content", "carried", "trust", "flow")  # of a goal, besides its Gram matrices


@dataclass(frozen=True)
class Step:
    """What the optimiser tells after a step. Reading `loss` waits for the device."""

    level: int
    step: int
    steps: int
    loss: Tensor


OnStep = Callable[[Step], None]


class _Smoothed(torch.autograd.Function):
    """The picture as it is; its gradient on the way back is smoothed.

    A network pulls at flat places in the pattern of its poolings' grid, which would be drawn there.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        return image.view_as(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return binomial(gradients[0])


@dataclass(frozen=True)
class Goal:
    """What a picture (1, 3, H, W) is optimised towards; `carried`, `trust`, `flow` go together.

    `grams`: tap → (1, C, C). `content`: (1, C, H', W'), or none to be held to, with `hold` times
    the settings' weight. `carried`: the previous result along the flow, `trust`: (1, 1, H, W) in
    [0, 1], `flow`: (1, 2, H, W), none at a reduced size. `calm`: times the settings' weight of the
    total variation, `steady`: of the temporal loss, `shimmer`: times that, of the resampling loss;
    `spots`: times the style's weight, of the spot loss, in first frames. Style and content are
    compared with the picture resized to `size` (h, w), where that is not its own; with `smooth`
    what they pull at is followed the less the finer it is, at two pixels not at all.
    """

    grams: Mapping[str, Tensor]
    content: Tensor | None = None
    carried: Tensor | None = None
    trust: Tensor | None = None
    flow: Tensor | None = None
    hold: float = 1.0
    calm: float = 1.0
    steady: float = 1.0
    shimmer: float = 0.0
    spots: float = 0.0
    size: tuple[int, int] | None = None
    smooth: bool = False

    def seen(self, image: Tensor) -> Tensor:
        """(1, 3, h, w), as it is looked at."""
        image = torch.as_tensor(_Smoothed.apply(image)) if self.smooth else image
        return resize(image, self.size) if self.size else image

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by names."""
        own = {name: getattr(self, name) for name in _TENSORS}
        return {**self.grams, **{name: one for name, one in own.items() if one is not None}}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Goal:
        """The same of others."""
        own: dict[str, Any] = {name: tensors.get(name) for name in _TENSORS}
        return replace(self, grams={tap: tensors[tap] for tap in self.grams}, **own)

    @property
    def settings(self) -> tuple[object, ...]:
        """What else it is made of."""
        return (self.hold, self.calm, self.steady, self.shimmer, self.spots, self.size, self.smooth)


class Method(Protocol):
    """A way down for one picture, by its `grad`. Has what `GradScaler` asks of an optimiser."""

    param_groups: list[dict[str, list[Tensor]]]

    def step(self) -> None: ...

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, as it is: not copied."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on as after the step whose `state` this was."""
        ...


Way = TypeVar("Way", bound=Method)


class PixelAdam:
    """Adam (Kingma, Ba 2015) on one picture (1, 3, H, W) in [0, 1], at a constant rate.

    For a long way: what it never stops shaking finds stronger strokes than a quiet descent. To each
    pixel's second moment the picture's mean is added: shaken as much as all others, plain places
    would fill with dots ("Dots" in tests/bench/results/README.md). So a usual pixel moves by the
    rate over √2. torch's own would cost two seconds of imports at every start.
    """

    def __init__(self, image: Tensor, rate: float) -> None:
        self.image, self.rate = image, rate
        self.param_groups = [{"params": [image]}]
        self.first, self.second = torch.zeros_like(image), torch.zeros_like(image)
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        gradient = self.image.grad
        assert gradient is not None
        self.steps += 1
        self.first.lerp_(gradient, 1 - BETAS[0])
        self.second.lerp_(gradient.square(), 1 - BETAS[1])
        first, second = (1 - beta**self.steps for beta in BETAS)
        squares = self.second / second
        spread = squares.add_(squares.mean()).sqrt_().add_(1e-12)
        self.image.sub_(self.rate * (self.first / first) / spread).clamp_(0, 1)

    def state(self) -> dict[str, Tensor]:
        maps = {"image": self.image.detach(), "first": self.first, "second": self.second}
        return {**maps, "steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, own in (("image", self.image), ("first", self.first), ("second", self.second)):
            own.copy_(state[name])
        self.steps = int(state["steps"])


class PixelLBFGS:
    """L-BFGS (Nocedal 1980) on one picture (1, 3, H, W) in [0, 1], without a line search.

    For a start that is nearly there: two steps get as far as eight of Adam's, which shakes every
    pixel by about its rate; "Later frames" in tests/bench/results/README.md. `pace`, a number or
    (1, 1, H, W), is the metric: where it is larger the picture moves faster, where it is 0 not.
    `first`: times FIRST_MOVE, while no curvature is known yet.
    """

    def __init__(self, image: Tensor, pace: Tensor | float = 1.0, first: float = 1.0) -> None:
        self.image, self.first = image, first
        self.param_groups = [{"params": [image]}]
        self.root = torch.as_tensor(pace, device=image.device).sqrt()  # of the metric
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)
        self.last: Tensor | None = None
        self.moved = torch.zeros_like(image)
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        assert self.image.grad is not None
        gradient = self.image.grad * self.root
        if self.last is not None:
            self._learn(self.moved, gradient - self.last)
        move = self.root * self._direction(gradient)
        spread = move.square().mean().sqrt().clamp_min(1e-30)
        aim = (self.image - move * (FARTHEST / spread).clamp(max=1)).clamp(0, 1)
        # Where the root is 0 nothing moves, and 0 over anything is right.
        self.moved = (aim - self.image) / self.root.clamp_min(1e-6)
        self.image.copy_(aim)
        self.last = gradient
        self.steps += 1

    def state(self) -> dict[str, Tensor]:
        maps = {"image": self.image.detach(), "moved": self.moved}
        if self.last is not None:
            maps["last"] = self.last
        for place, (moved, change, inverse) in enumerate(self.pairs):
            pair = {"moved": moved, "change": change, "inverse": inverse}
            maps |= {f"{name} {place}": part for name, part in pair.items()}
        return {**maps, "steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        def like_image(name: str) -> Tensor:
            # In its layout of memory: sums would be rounded otherwise in another.
            return torch.empty_like(self.image).copy_(state[name])

        self.image.copy_(state["image"])
        self.moved, self.steps = like_image("moved"), int(state["steps"])
        self.last = like_image("last") if "last" in state else None
        self.pairs.clear()
        for place in range(sum(name.startswith("inverse ") for name in state)):
            inverse = state[f"inverse {place}"].to(self.image.device)
            pair = like_image(f"moved {place}"), like_image(f"change {place}"), inverse
            self.pairs.append(pair)

    def _learn(self, moved: Tensor, change: Tensor) -> None:
        """A pair along which the loss does not curve upwards is kept, but has no say."""
        curvature = (moved * change).sum()
        # No branch: it would wait for the device.
        inverse = torch.where(curvature > 0, 1 / curvature, torch.zeros_like(curvature))
        self.pairs.append((moved, change, inverse))

    def _direction(self, gradient: Tensor) -> Tensor:
        """The two loops: the inverse Hessian, as far as it is known, times the gradient."""
        direction, shares = gradient, []
        for moved, change, inverse in reversed(self.pairs):
            shares.append(inverse * (moved * direction).sum())
            direction = direction - shares[-1] * change
        direction = self._scale(gradient) * direction
        for (moved, change, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            direction = direction + (share - inverse * (change * direction).sum()) * moved
        return direction

    def _scale(self, gradient: Tensor) -> Tensor:
        """As the newest pair curves; without one, a first move's usual length."""
        usual = self.first * FIRST_MOVE / gradient.abs().mean().clamp_min(1e-30)
        if not self.pairs:
            return usual
        _, change, inverse = self.pairs[-1]
        newest = 1 / (inverse * change.square().sum()).clamp_min(1e-30)
        return torch.where(inverse > 0, newest, usual)


class Optimizer:
    """The losses' weighted sum under a network, and the steps down it."""

    def __init__(self, net: TapNet, compute: Compute, settings: StyleSettings) -> None:
        self.net, self.compute, self.settings = net, compute, settings
        self.scaler = compute.scaler()
        self.replays = Replays()
        self.left = math.inf  # bytes for a step's maps, from where they did not fit

    @property
    def warnings(self) -> list[str]:
        """What the user should know of how the work went, one line each."""
        return [*self.replays.warnings, *([SHORT] if self.short else [])]

    @property
    def short(self) -> bool:
        """Whether the device has had too little memory, so that sums are rounded otherwise."""
        return self.left < math.inf

    @property
    def room(self) -> float:
        """Bytes for a step's maps."""
        return min(self.compute.room, self.left)

    def strips(self, size: Sequence[int]) -> list[Strip]:
        """Of a picture of (h, w)."""
        height, width = size
        return strips(self.net, height, width, self.room)

    def _fitting(self, size: Sequence[int], work: Callable[[], Made]) -> Made:
        """What `work` makes of a picture of (h, w); where memory runs out, of smaller strips.

        From there on: what is short now is so in the next frame.
        """
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                rows = max(part.bottom - part.top for part in self.strips(size)) // 2
                if not is_out_of_memory(error) or rows < NARROWEST * self.net.reach:
                    raise
            # Here, where nothing holds the failure any more, which holds the maps.
            self.left = step_bytes(self.net, rows, size[1])
            self.replays.forget()
            torch.cuda.empty_cache()

    def features(self, strip: Strip, image: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        """The strip's own part of the picture's."""
        seen = strip.seen(image).contiguous(memory_format=torch.channels_last)
        with self.compute.autocast():
            features = self.net(seen, taps)
        return {tap: strip.kept(f, self.net.scale(tap)) for tap, f in features.items()}

    @torch.no_grad()
    def content(self, image: Tensor) -> Tensor:
        inputs = {"image": image}
        replay = self._replay(
            "content", image.shape[2:], inputs, lambda given: [self._content(given["image"])]
        )
        if replay is None:
            return self._fitting(image.shape[2:], partial(self._content, image))
        return replay(inputs)[0].clone()  # as the next frame overwrites it

    def _content(self, image: Tensor) -> Tensor:
        tap = self.net.content_tap
        parts = [self.features(strip, image, [tap])[tap] for strip in self.strips(image.shape[2:])]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def grams(self, image: Tensor) -> dict[str, Tensor]:
        """tap → (1, C, C), the strips' weighted by their pixels."""
        return self._fitting(image.shape[2:], partial(self.grams_of, image))

    @torch.no_grad()
    def grams_of(self, image: Tensor) -> dict[str, Tensor]:
        """The same, for who sees to it that they fit."""
        totals, pixels = dict[str, Tensor](), dict[str, int]()
        for strip in self.strips(image.shape[2:]):
            for tap, f in self.features(strip, image, self.net.style_taps).items():
                own = f.shape[2] * f.shape[3]
                totals[tap] = totals.get(tap, 0) + gram_matrix(f) * own
                pixels[tap] = pixels.get(tap, 0) + own
        return {tap: total / pixels[tap] for tap, total in totals.items()}

    def loss(self, image: Tensor, goal: Goal) -> Tensor:
        """Style + content + total variation + temporal, weighted; float32 scalar."""
        net, content = self.net, self.net.content_tap
        with self.compute.autocast():
            taps = {*net.style_taps, content} if goal.content is not None else net.style_taps
            features = net(goal.seen(image), taps)
        loss = self.style_loss({tap: gram_matrix(features[tap]) for tap in net.style_taps}, goal)
        if goal.content is not None:
            held = content_loss(features[content], goal.content)
            loss = loss + self.settings.content_weight * goal.hold * held
        return loss + self.pixel_loss(image, goal)

    def style_loss(self, grams: Mapping[str, Tensor], goal: Goal) -> Tensor:
        each = [gram_loss(gram, goal.grams[tap]) for tap, gram in grams.items()]
        zero = torch.zeros((), device=self.compute.device)
        return self.settings.style_weight * sum(each, zero)

    def pixel_loss(self, image: Tensor, goal: Goal) -> Tensor:
        want = self.settings
        loss = torch.zeros((), device=image.device)
        if want.tv_weight:
            loss = loss + want.tv_weight * goal.calm * tv_loss(image)
        if goal.spots and want.style_weight:
            loss = loss + want.style_weight * goal.spots * spot_loss(image)
        if goal.carried is not None and goal.trust is not None and want.temporal_weight:
            held = temporal_loss(image, goal.carried, goal.trust)
            if goal.flow is not None:
                held = held + goal.shimmer * resampling_loss(image, goal.flow, goal.trust)
            loss = loss + want.temporal_weight * goal.steady * held
        return loss

    def descend(
        self,
        start: Tensor,
        goal: Goal,
        method: Callable[[Tensor], Way],
        steps: int,
        on_step: Callable[[int, Tensor], None] = lambda step, loss: None,
        keep: Callable[[int, Way], None] = lambda made, way: None,
        made: int = 0,
    ) -> Tensor:
        """So many steps from `start`, (1, 3, H, W) in [0, 1]; gives the picture, in [0, 1].

        Less those that what `method` gives has `made` already; with their number it is given to
        `keep` after each.
        """
        image = start.clone(memory_format=torch.channels_last).requires_grad_()
        way, size = method(image), goal.size or image.shape[2:]
        pull = self._replayed(image, goal, steps - made)
        pull = pull or partial(self._fitting, size, partial(self._pull, image, goal, size))
        for step in range(made, steps):  # a step that the scaler passes over counts as well
            loss = pull()
            self.scaler.step(cast(torch.optim.Optimizer, way))
            self.scaler.update()
            on_step(step, loss)
            keep(step + 1, way)
        return image.detach()

    def _replay(
        self,
        settings: Hashable,
        size: Sequence[int],
        inputs: Tensors,
        call: Call,
        times: int = 1,
    ) -> Replay | None:
        """`call`, recorded, where that can be and pays: on a GPU, for maps that are small.

        A step of larger ones takes longer than to launch it, and a recording as much memory again.
        """
        if not self.compute.records:
            return None
        share = step_bytes(self.net, *size) / self.room
        if share > 1 / RECORDED:
            return None
        return self.replays.find(settings, call, inputs, times if share <= 1 / AT_ONCE else 1)

    def _replayed(self, image: Tensor, goal: Goal, steps: int) -> Callable[[], Tensor] | None:
        """As `backward`, for so many steps, where there is a recording of it."""
        goals, size = goal.tensors(), goal.size or image.shape[2:]
        replay = self._replay(
            goal.settings,
            size,
            {"image": image, **goals},
            lambda given: self._gradient(given["image"], goal.with_tensors(given)),
            steps,
        )
        if replay is None:
            return None

        def backward() -> Tensor:
            loss, image.grad = replay({"image": image, **goals})
            goals.clear()  # the same in the next step
            return loss.clone()  # as that overwrites it

        return backward

    def _pull(self, image: Tensor, goal: Goal, size: Sequence[int]) -> Tensor:
        """As `backward`, from no gradient, of a picture looked at in (h, w)."""
        image.grad = None
        return self.backward(image, goal, self.strips(size))

    def _gradient(self, image: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """The loss, and ∂loss/∂image."""
        image = image.detach().requires_grad_()
        loss = self.loss(image, goal)
        gradient = torch.autograd.grad(loss, image)[0]
        # In the picture's layout of memory, as `backward` leaves it: sums are rounded otherwise.
        return loss.detach(), torch.empty_like(image).copy_(gradient)

    def backward(self, image: Tensor, goal: Goal, parts: Sequence[Strip]) -> Tensor:
        """Adds the gradient to `image.grad`, times the scaler's scale; gives the loss."""
        if len(parts) > 1:
            return backward_in_strips(self, image, goal, parts)
        loss = self.loss(image, goal)
        self.scaler.scale(loss).backward()
        return loss.detach()


def backward_in_strips(
    work: Optimizer, image: Tensor, goal: Goal, parts: Sequence[Strip]
) -> Tensor:
    """As `Optimizer.backward`, of a picture too large for one go: half as much work again.

    The Gram matrices are made of all strips first; what they ask for, ∂loss/∂G, then takes each
    strip's own way back. The same loss and gradient, but for rounding.
    """
    seen = goal.seen(image)
    looked_at = seen.detach().requires_grad_()  # or every strip would go back through the resizing
    grams = {tap: gram.requires_grad_() for tap, gram in work.grams_of(looked_at).items()}
    style = work.style_loss(grams, goal)
    asked = dict(zip(grams, torch.autograd.grad(style, list(grams.values())), strict=True))
    loss = style.detach()
    for strip in parts:
        features = work.features(strip, looked_at, {*grams, work.net.content_tap})
        content = _content_share(work, features, goal, strip)
        pull = _style_share(work, features, asked, seen.shape[2])
        work.scaler.scale(content + pull).backward()
        loss = loss + content.detach()
    seen.backward(looked_at.grad)
    rest = work.pixel_loss(image, goal)
    if rest.requires_grad:
        work.scaler.scale(rest).backward()
    return loss + rest.detach()


def _content_share(
    work: Optimizer, features: Mapping[str, Tensor], goal: Goal, strip: Strip
) -> Tensor:
    if goal.content is None:
        return torch.zeros((), device=work.compute.device)
    tap, whole = work.net.content_tap, goal.content
    own = strip.own(whole, work.net.scale(tap))
    share = energy(own).sum() / energy(whole).sum().clamp_min(1e-12)
    weight = work.settings.content_weight * goal.hold
    return weight * share * content_loss(features[tap], own)


def _style_share(
    work: Optimizer, features: Mapping[str, Tensor], asked: Mapping[str, Tensor], height: int
) -> Tensor:
    """Σ ∂loss/∂G · G, whose gradient is the loss's own; a strip's G counts by its rows."""
    each = [
        (gram_matrix(features[tap]) * gradient).sum()
        * (features[tap].shape[2] / (height // work.net.scale(tap)))
        for tap, gradient in asked.items()
    ]
    return torch.stack(each).sum()

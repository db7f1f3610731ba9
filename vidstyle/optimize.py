"""One frame at one size: targets and a start in, pixels out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from vidstyle.device import Compute
from vidstyle.features.strips import Strip, strips
from vidstyle.features.taps import TapNet
from vidstyle.losses import content_loss, gram_loss, gram_matrix, temporal_loss, tv_loss
from vidstyle.settings import StyleSettings

BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Step:
    """What the optimiser tells after a step. Reading `loss` waits for the device."""

    level: int
    step: int
    steps: int
    loss: Tensor


OnStep = Callable[[Step], None]
Moments = tuple[Tensor, Tensor]  # Adam's first and second, each (1, 3, H, W)


@dataclass(frozen=True)
class Goal:
    """What a picture (1, 3, H, W) is optimised towards; `carried` and `trust` go together.

    `grams`: tap → (1, C, C). `content`: (1, C, H', W'), or none to be held to. `carried`: the
    previous result along the flow, `trust`: (1, 1, H, W) in [0, 1].
    """

    grams: Mapping[str, Tensor]
    content: Tensor | None = None
    carried: Tensor | None = None
    trust: Tensor | None = None


class PixelAdam:
    """Adam (Kingma, Ba 2015) on one picture in [0, 1], with moments to carry on.

    `moments` of an earlier picture start it warm: restarted, Adam moves *every* pixel by about
    its learning rate at first, which is flicker. Has what `GradScaler` asks of an optimiser;
    torch's own base class would cost two seconds of imports at every start.
    """

    def __init__(self, image: Tensor, moments: Moments | None = None) -> None:
        self.image = image
        self.param_groups = [{"params": [image]}]
        self.warm = moments is not None
        self.first, self.second = moments or (torch.zeros_like(image), torch.zeros_like(image))
        self.rate: Tensor | float = 0.0
        self.steps = 0

    @property
    def moments(self) -> Moments:
        """Unbiased, so that a warm start needs no correction."""
        if self.warm or self.steps == 0:
            return self.first, self.second
        return tuple(  # type: ignore[return-value]
            moment / (1 - beta**self.steps)
            for moment, beta in zip((self.first, self.second), BETAS, strict=True)
        )

    @torch.no_grad()
    def step(self) -> None:
        gradient = self.image.grad
        assert gradient is not None
        self.steps += 1
        self.first.lerp_(gradient, 1 - BETAS[0])
        self.second.lerp_(gradient.square(), 1 - BETAS[1])
        unbias = (1.0, 1.0) if self.warm else tuple(1 - beta**self.steps for beta in BETAS)
        spread = (self.second / unbias[1]).sqrt_().add_(1e-12)
        self.image.sub_(self.rate * (self.first / unbias[0]) / spread).clamp_(0, 1)


class Optimizer:
    """The losses' weighted sum under a network, and the steps down it."""

    def __init__(self, net: TapNet, compute: Compute, settings: StyleSettings) -> None:
        self.net, self.compute, self.settings = net, compute, settings
        self.scaler = compute.scaler()

    def strips(self, image: Tensor) -> list[Strip]:
        return strips(self.net, image.shape[2], image.shape[3], self.compute.room)

    def features(self, strip: Strip, image: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        """The strip's own part of the picture's."""
        seen = strip.seen(image).contiguous(memory_format=torch.channels_last)
        with self.compute.autocast():
            features = self.net(seen, taps)
        return {tap: strip.kept(f, self.net.scale(tap)) for tap, f in features.items()}

    @torch.no_grad()
    def content(self, image: Tensor) -> Tensor:
        tap = self.net.content_tap
        parts = [self.features(strip, image, [tap])[tap] for strip in self.strips(image)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    @torch.no_grad()
    def grams(self, image: Tensor) -> dict[str, Tensor]:
        """tap → (1, C, C), the strips' weighted by their pixels."""
        totals, pixels = dict[str, Tensor](), dict[str, int]()
        for strip in self.strips(image):
            for tap, f in self.features(strip, image, self.net.style_taps).items():
                own = f.shape[2] * f.shape[3]
                totals[tap] = totals.get(tap, 0) + gram_matrix(f) * own
                pixels[tap] = pixels.get(tap, 0) + own
        return {tap: total / pixels[tap] for tap, total in totals.items()}

    def loss(self, image: Tensor, goal: Goal) -> Tensor:
        """Style + content + total variation + temporal, weighted; float32 scalar."""
        with self.compute.autocast():
            features = self.net(image, {*self.net.style_taps, self.net.content_tap})
        return self.feature_loss(features, goal) + self.pixel_loss(image, goal)

    def feature_loss(self, features: Mapping[str, Tensor], goal: Goal) -> Tensor:
        """Of the taps that `features` has."""
        content = self.net.content_tap
        taps = [tap for tap in self.net.style_taps if tap in features]
        loss = self.style_loss({tap: gram_matrix(features[tap]) for tap in taps}, goal)
        if content in features and goal.content is not None:
            target = goal.content
            loss = loss + self.settings.content_weight * content_loss(features[content], target)
        return loss

    def style_loss(self, grams: Mapping[str, Tensor], goal: Goal) -> Tensor:
        each = [gram_loss(gram, goal.grams[tap]) for tap, gram in grams.items()]
        zero = torch.zeros((), device=self.compute.device)
        return self.settings.style_weight * sum(each, zero)

    def pixel_loss(self, image: Tensor, goal: Goal) -> Tensor:
        want = self.settings
        loss = torch.zeros((), device=image.device)
        if want.tv_weight:
            loss = loss + want.tv_weight * tv_loss(image)
        if goal.carried is not None and goal.trust is not None and want.temporal_weight:
            loss = loss + want.temporal_weight * temporal_loss(image, goal.carried, goal.trust)
        return loss

    def descend(
        self,
        start: Tensor,
        goal: Goal,
        rates: Sequence[Tensor | float],
        moments: Moments | None = None,
        deep_every: int = 1,
        on_step: Callable[[int, Tensor], None] = lambda step, loss: None,
    ) -> tuple[Tensor, Moments]:
        """One Adam step a rate, from `start` (1, 3, H, W); a rate is a number or (1, 1, H, W).

        The deep taps are looked at in every `deep_every`-th step: the others cost a third. Gives
        the picture, in [0, 1], and Adam's moments to carry on.
        """
        image = start.clone(memory_format=torch.channels_last).requires_grad_()
        adam, gradient = PixelAdam(image, moments), _Gradient(self, goal, deep_every)
        for step, rate in enumerate(rates):
            adam.rate = rate
            image.grad = None
            loss = gradient.backward(image)
            self.scaler.step(cast(torch.optim.Optimizer, adam))
            self.scaler.update()
            on_step(step, loss)
        return image.detach(), adam.moments


class _Gradient:
    """The loss's gradient to a picture; the deep taps' share of it is renewed at some steps only.

    That share is two thirds of a step's work and changes slowly. It is kept where it enters the
    last shallow tap, and reaches the picture through the shallow layers as they are now.
    """

    def __init__(self, work: Optimizer, goal: Goal, deep_every: int) -> None:
        self.work, self.goal, self.deep_every = work, goal, deep_every
        self.shallow = work.net.shallow_taps()
        self.strips: list[Strip] = []  # found once: beside a step on a GPU it is no little
        self.steps = 0
        self.deep: _Deep | None = None

    def backward(self, image: Tensor) -> Tensor:
        """Adds to `image.grad`, times the scaler's scale; gives the loss."""
        work, goal = self.work, self.goal
        self.strips = self.strips or work.strips(image)
        if len(self.strips) > 1:
            return backward_in_strips(work, image, goal, self.strips)
        if not self.shallow:
            loss = work.loss(image, goal)
            work.scaler.scale(loss).backward()
            return loss.detach()
        with work.compute.autocast():
            features = work.net(image, self.shallow)
        edge = features[self.shallow[-1]]
        deep = self._deep_share(edge)
        loss = work.feature_loss(features, goal) + work.pixel_loss(image, goal)
        torch.autograd.backward([work.scaler.scale(loss), edge], [None, deep.gradient])
        return loss.detach() + deep.loss

    def _deep_share(self, edge: Tensor) -> _Deep:
        scale = self.work.scaler.get_scale()  # falls where fp16 has overflown
        if self.deep is None or self.steps % self.deep_every == 0 or self.deep.scale != scale:
            self.deep = self._look_deep(edge.detach().requires_grad_(), scale)
        self.steps += 1
        return self.deep

    def _look_deep(self, edge: Tensor, scale: float) -> _Deep:
        work, net = self.work, self.work.net
        taps = {*net.style_taps, net.content_tap} - set(self.shallow)
        with work.compute.autocast():
            features = net.beyond(self.shallow[-1], edge, taps)
        loss = work.feature_loss(features, self.goal)
        (gradient,) = torch.autograd.grad(work.scaler.scale(loss), edge)
        return _Deep(loss.detach(), gradient, scale)


def backward_in_strips(
    work: Optimizer, image: Tensor, goal: Goal, parts: Sequence[Strip]
) -> Tensor:
    """As `_Gradient.backward`, of a picture too large for one go: half as much work again.

    The Gram matrices are made of all strips first; what they ask for, ∂loss/∂G, then takes each
    strip's own way back. The same loss and gradient, but for rounding.
    """
    grams = {tap: gram.requires_grad_() for tap, gram in work.grams(image).items()}
    style = work.style_loss(grams, goal)
    asked = dict(zip(grams, torch.autograd.grad(style, list(grams.values())), strict=True))
    loss = style.detach()
    for strip in parts:
        features = work.features(strip, image, {*grams, work.net.content_tap})
        content = _content_share(work, features, goal, strip)
        pull = _style_share(work, features, asked, image.shape[2])
        work.scaler.scale(content + pull).backward()
        loss = loss + content.detach()
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
    share = own.float().square().sum() / whole.float().square().sum().clamp_min(1e-12)
    return work.settings.content_weight * share * content_loss(features[tap], own)


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


class _Deep(NamedTuple):
    """The deep taps' loss, and its gradient to the last shallow tap, times the scaler's scale."""

    loss: Tensor
    gradient: Tensor
    scale: float

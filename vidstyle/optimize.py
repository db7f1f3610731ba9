"""One frame at one size: targets and a start in, pixels out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from vidstyle.device import Compute
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

    @torch.no_grad()
    def features(self, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        with self.compute.autocast():
            return self.net(image.contiguous(memory_format=torch.channels_last), taps)

    def content(self, image: Tensor) -> Tensor:
        return self.features(image, [self.net.content_tap])[self.net.content_tap]

    def grams(self, image: Tensor) -> dict[str, Tensor]:
        features = self.features(image, self.net.style_taps)
        return {tap: gram_matrix(f) for tap, f in features.items()}

    def loss(self, image: Tensor, goal: Goal) -> Tensor:
        """Style + content + total variation + temporal, weighted; float32 scalar."""
        with self.compute.autocast():
            features = self.net(image, {*self.net.style_taps, self.net.content_tap})
        return self.feature_loss(features, goal) + self.pixel_loss(image, goal)

    def feature_loss(self, features: Mapping[str, Tensor], goal: Goal) -> Tensor:
        """Of the taps that `features` has."""
        want, content = self.settings, self.net.content_tap
        loss = torch.zeros((), device=self.compute.device)
        for tap in self.net.style_taps:
            if tap in features:
                loss = loss + want.style_weight * gram_loss(
                    gram_matrix(features[tap]), goal.grams[tap]
                )
        if content in features and goal.content is not None:
            loss = loss + want.content_weight * content_loss(features[content], goal.content)
        return loss

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
        self.steps = 0
        self.deep: _Deep | None = None

    def backward(self, image: Tensor) -> Tensor:
        """Adds to `image.grad`, times the scaler's scale; gives the loss."""
        work, goal = self.work, self.goal
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


class _Deep(NamedTuple):
    """The deep taps' loss, and its gradient to the last shallow tap, times the scaler's scale."""

    loss: Tensor
    gradient: Tensor
    scale: float

"""One frame at one size: targets and a start in, pixels out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

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

    `grams`: tap → (1, C, C). `content`: (1, C, H', W'). `carried`: the previous result along the
    flow, `trust`: (1, 1, H, W) in [0, 1].
    """

    grams: Mapping[str, Tensor]
    content: Tensor
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
        want, taps = self.settings, self.net.style_taps
        with self.compute.autocast():
            features = self.net(image, {*taps, self.net.content_tap})
        style = sum(gram_loss(gram_matrix(features[t]), goal.grams[t]) for t in taps)
        total = want.style_weight * style
        total = total + want.content_weight * content_loss(
            features[self.net.content_tap], goal.content
        )
        if want.tv_weight:
            total = total + want.tv_weight * tv_loss(image)
        if goal.carried is not None and goal.trust is not None and want.temporal_weight:
            total = total + want.temporal_weight * temporal_loss(image, goal.carried, goal.trust)
        return torch.as_tensor(total)

    def descend(
        self,
        start: Tensor,
        goal: Goal,
        rates: Sequence[Tensor | float],
        moments: Moments | None = None,
        on_step: Callable[[int, Tensor], None] = lambda step, loss: None,
    ) -> tuple[Tensor, Moments]:
        """One Adam step a rate, from `start` (1, 3, H, W); a rate is a number or (1, 1, H, W).

        Gives the picture, in [0, 1], and Adam's moments to carry on.
        """
        image = start.clone(memory_format=torch.channels_last).requires_grad_()
        adam = PixelAdam(image, moments)
        for step, rate in enumerate(rates):
            adam.rate = rate
            image.grad = None
            loss = self.loss(image, goal)
            self.scaler.scale(loss).backward()
            self.scaler.step(cast(torch.optim.Optimizer, adam))
            self.scaler.update()
            on_step(step, loss.detach())
        return image.detach(), adam.moments

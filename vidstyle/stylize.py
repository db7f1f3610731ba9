"""The temporal loop over one shot: flow, warp, optimise, remember."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vidstyle.device import Compute
from vidstyle.features import TapNet
from vidstyle.flow import FlowEstimator
from vidstyle.flow.trust import trust_mask
from vidstyle.flow.warp import resize_flow, still_to_zero, warp
from vidstyle.images import fit_side, resize, scaled, to_array, to_tensor
from vidstyle.optimize import Goal, OnStep, Optimizer, Step
from vidstyle.settings import StyleSettings

COARSEST_SIDE = 112  # pixels, long side of a first frame's first scale
SOLVE_SIDE = 640  # pixels: above it strokes would shrink; larger frames are lifted from it
FIRST_RATE, LATER_RATE, LAST_RATE = 0.02, 0.02, 0.002
UNCOVERED_GAIN = 2.0
HALF = 0


class FrameStyler(Protocol):
    """What turns the frames of a shot, one after the other, into stylised frames."""

    def start_shot(self) -> None:
        """Forget the frames before: the next one follows a cut."""

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 RGB in [0, 1] → the same shape and range, stylised."""
        ...


def falling(first: float, last: float, steps: int) -> list[float]:
    """Learning rates in geometric descent."""
    return [float(r) for r in np.geomspace(first, last, steps)]


def scales(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes (h, w) from coarse to the given one: √2 apart up to SOLVE_SIDE, then doubling."""
    sizes, factor = [(height, width)], 1.0
    while max(height, width) * factor > COARSEST_SIDE * 1.2:
        factor /= 2.0 if max(height, width) * factor > SOLVE_SIDE * 1.2 else 2**0.5
        sizes.append(scaled((height, width), factor))
    return sizes[::-1]


class StyleTargets:
    """Gram matrices of the paintings, averaged, made once for each size they are compared at."""

    def __init__(self, paintings: Sequence[Tensor], optimizer: Optimizer) -> None:
        self.paintings, self.optimizer = paintings, optimizer
        self.known: dict[int, dict[str, Tensor]] = {}

    def at(self, side: int) -> dict[str, Tensor]:
        """The target for a picture whose long side is `side` pixels."""
        if side not in self.known:
            each = [self.optimizer.grams(fit_side(p, side)) for p in self.paintings]
            self.known[side] = {
                tap: torch.stack([grams[tap] for grams in each]).mean(0) for tap in each[0]
            }
        return self.known[side]


@dataclass
class _Past:
    """What a frame leaves to the next."""

    source: np.ndarray
    result: Tensor
    moments: dict[tuple[int, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Correspondence:
    """A frame against the one before: `flow` (1, 2, H, W) leads back, `trust` (1, 1, H, W)."""

    flow: Tensor
    trust: Tensor


class OptimizingStyler:
    """Optimises each frame, started from and held to the previous one along the flow."""

    def __init__(
        self,
        net: TapNet,
        paintings: Sequence[np.ndarray],
        compute: Compute,
        settings: StyleSettings,
        flow: FlowEstimator | None,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self.compute, self.settings, self.flow, self.on_step = compute, settings, flow, on_step
        self.optimizer = Optimizer(net, compute, settings)
        tensors = [to_tensor(p, compute.device) for p in paintings]
        self.targets = StyleTargets(tensors, self.optimizer)
        self.past: _Past | None = None

    def start_shot(self) -> None:
        self.past = None

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        content = to_tensor(image, self.compute.device)
        if self.past is None or self.flow is None:
            result, moments = self._first(content)
        else:
            link = self._correspond(self.past.source, image)
            result, moments = self._later(content, self.past, link)
        self.past = _Past(image, result, moments)
        return to_array(result)

    def _correspond(self, previous: np.ndarray, current: np.ndarray) -> Correspondence:
        assert self.flow is not None
        device = self.compute.device
        back = to_tensor(self.flow(current, previous), device)
        forth = to_tensor(self.flow(previous, current), device)
        return Correspondence(still_to_zero(back), trust_mask(back, forth))

    def _first(self, content: Tensor) -> tuple[Tensor, dict]:
        sizes = scales(*content.shape[2:])
        result = resize(content, sizes[0])
        moments: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for level, size in enumerate(sizes):
            rates = falling(FIRST_RATE, LAST_RATE*2, self.settings.first_steps)
            goal = self._goal(resize(content, size))
            result, moments[size] = self.optimizer.descend(
                resize(result, size), goal, rates, None, self._report(level, len(rates))
            )
        return result, moments

    def _goal(self, content: Tensor, **temporal: Tensor) -> Goal:
        grams = self.targets.at(max(content.shape[2:]))
        return Goal(grams, self.optimizer.content(content), **temporal)

    def _report(self, level: int, steps: int) -> Callable[[int, Tensor], None]:
        return lambda step, loss: self.on_step(Step(level, step, steps, loss))

    def _later(self, content: Tensor, past: _Past, link: Correspondence) -> tuple[Tensor, dict]:
        full = tuple(content.shape[2:])
        half = scaled(full, 0.5)
        carried = warp(past.result, link.flow)
        start = self.fill(content, carried, link.trust)
        moments: dict = {}
        for level, (size, steps, rate) in enumerate(
            ((half, HALF or 2 * self.settings.steps, LATER_RATE), (full, self.settings.steps, LATER_RATE/2))
        ):
            trust = resize(link.trust, size)
            goal = self._goal(resize(content, size), carried=resize(carried, size), trust=trust)
            gain = 1 + UNCOVERED_GAIN * (1 - trust)
            rates = [r * gain for r in falling(rate, LAST_RATE, steps)]
            begin = resize(start, size)
            result, moments[size] = self.optimizer.descend(
                begin, goal, rates, self._carry_moments(past, link, size),
                self._report(level, steps),
            )
            if size != full:
                # Lift the change, not the picture: the full-size detail of the start is kept.
                change = F.interpolate(result - begin, full, mode="bicubic")
                start = (start + change).clamp(0, 1)
        return result, moments

    def _carry_moments(self, past: _Past, link: Correspondence, size: tuple[int, int]):
        if size not in past.moments:
            return None
        flow, trust = resize_flow(link.flow, *size), resize(link.trust, size)
        first, second = past.moments[size]
        return warp(first, flow) * trust, warp(second, flow) * trust

    def fill(self, content, carried, trust):
        return carried

"""Optical flow: a registry of name → estimator, and what is done with the fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from vidstyle.errors import SettingsError
from vidstyle.flow.classic import load_dis, load_farneback
from vidstyle.flow.estimator import FlowEstimator, remember
from vidstyle.flow.raft import load_raft

__all__ = ["FLOWS", "FlowEstimator", "load_flow", "remember"]

Loader = Callable[[Path | None, torch.device], FlowEstimator]


def _classic(name: str, build: Callable[[], FlowEstimator]) -> Loader:
    def load(weights: Path | None, device: torch.device) -> FlowEstimator:
        if weights is not None:
            raise SettingsError(f"--flow-weights {weights}: {name} has none; add --flow raft")
        return build()

    return load


FLOWS: dict[str, Loader] = {
    "dis": _classic("dis", load_dis),
    "farneback": _classic("farneback", load_farneback),
    "raft": load_raft,
}


def load_flow(
    name: str, weights: Path | None = None, device: torch.device | str = "cpu"
) -> FlowEstimator:
    """An estimator by name. Only `raft` has weights, which it downloads if given none.

    `device` is where a network runs; OpenCV's methods run on the CPU always.
    """
    if name not in FLOWS:
        raise SettingsError(f"--flow {name}: known are {', '.join(FLOWS)}, none")
    return FLOWS[name](weights, torch.device(device))

"""What comes of measuring: figures, series a frame, the worst pair, a slice through time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WHITE = 0.2  # of the values' range: a change this large is white in an error map

Figures = dict[str, float | str]
Series = dict[str, list[float | None]]


@dataclass(frozen=True)
class WorstPair:
    """The neighbours between which the result changes most beyond its source, or its baseline.

    Frames count from 0, seconds from the result's first frame. `pictures` are the result's,
    (H, W, 3) in [0, 1]; `change` is (H, W), their squared difference along the motion, mean over
    RGB, times how far the motion can be trusted.
    """

    frames: tuple[int, int]
    seconds: tuple[float, float]
    warp_error: float
    warp_error_source: float
    pictures: tuple[np.ndarray, np.ndarray]
    change: np.ndarray

    def __str__(self) -> str:
        (first, second), (since, until) = self.frames, self.seconds
        return f"frames {first} and {second} ({since:.3f} s, {until:.3f} s)"

    def error_map(self) -> np.ndarray:
        """`change` as a grey (H, W, 3) picture: its root, white from `WHITE` on."""
        grey = np.sqrt(self.change) / WHITE
        return np.repeat(grey.clip(0, 1)[..., None], 3, axis=2)

    def as_dict(self) -> dict[str, object]:
        return {
            "worst_pair_frames": list(self.frames),
            "worst_pair_seconds": list(self.seconds),
            "worst_pair_warp_error": self.warp_error,
            "worst_pair_warp_error_source": self.warp_error_source,
        }


@dataclass(frozen=True)
class Slices:
    """x-t slices: pixel row `row` of the frames from `first` on, (frames, W, 3) uint8 each."""

    row: int
    first: int
    source: np.ndarray
    result: np.ndarray


@dataclass(frozen=True)
class Measurement:
    """A result's figures; what could not be measured is absent.

    `figures` are single values, `series` one value a frame with `None` where there is none; the
    README explains both. `worst` is `None` where no two frames could be compared.
    """

    result: str
    source: str
    figures: Figures
    series: Series
    worst: WorstPair | None
    slices: Slices

    @property
    def ratio(self) -> float | None:
        """`warp_error_ratio`, `None` where no two frames could be compared."""
        return float(self.figures["warp_error_ratio"]) if self.worst else None

    def as_dict(self) -> dict[str, object]:
        """Flat, as `--json` writes it."""
        names = {"result": self.result, "source": self.source}
        worst = self.worst.as_dict() if self.worst else {}
        return {**names, **self.figures, **worst, **self.series}

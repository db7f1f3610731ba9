"""A measurement as one picture: series, x-t slices, the worst pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle.errors import EncodeError
from vidstyle.measure.measurement import Measurement, Slices, WorstPair
from vidstyle.video.target import PartialFile

if TYPE_CHECKING:  # a second of start-up that few commands need
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

INCHES, DPI = (13, 8.5), 120
SOURCE_COLOUR, RESULT_COLOUR, MARK = "#8b8b8b", "#c2410c", "#1d4ed8"


def save_plot(path: Path | str, measurement: Measurement, overwrite: bool = False) -> None:
    """Write the plot as a PNG; it appears under its name only when complete.

    Raises `OutputError` for a name that exists, `EncodeError` if the disk fails.
    """
    figure = draw(measurement)
    partial = PartialFile(Path(path), overwrite)
    try:
        figure.savefig(partial.path, format="png")
        partial.commit()
    except OSError as error:
        raise EncodeError(f"{path}: could not be written ({error.strerror})") from error
    finally:
        partial.discard()


def draw(measurement: Measurement) -> Figure:
    """Left, over time: warp error, drift, source above result as x-t slices; right: worst pair."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(INCHES, DPI, layout="constrained")
        figure.suptitle(_headline(measurement), x=0.01, ha="left", fontsize=11, weight="bold")
        panes: Any = figure.subfigures(1, 2, width_ratios=[1.7, 1])
        left, right = panes
        errors, drift, *slices = left.subplots(4, 1, height_ratios=[1.1, 0.8, 1.3, 1.3])
        _draw_errors(errors, measurement)
        _draw_drift(drift, measurement)
        _draw_slices(slices, measurement.slices)
        if measurement.worst is not None:
            _draw_worst(right, measurement.worst, measurement.slices.row)
    return figure


def _headline(measurement: Measurement) -> str:
    names = f"{Path(measurement.result).name} against {Path(measurement.source).name}"
    if measurement.ratio is None:
        return names
    return f"{names}: warp error {measurement.ratio:.2f} x the source's own"


def _values(measurement: Measurement, name: str) -> np.ndarray:
    """A series with NaN, which leaves a gap in a line, for `None`."""
    return np.array(measurement.series[f"{name}_series"], np.float64)


def _draw_errors(axes: Axes, measurement: Measurement) -> None:
    for name, colour, label in (
        ("warp_error_source", SOURCE_COLOUR, "source"),
        ("warp_error", RESULT_COLOUR, "result"),
    ):
        axes.plot(_values(measurement, name), ".-", color=colour, label=label, lw=1, ms=3)
    worst = measurement.worst
    if worst is not None:
        axes.plot(worst.frames[1], worst.warp_error, "o", mfc="none", mec=MARK, label="worst pair")
    for cut in np.flatnonzero(np.diff(_values(measurement, "shot"))):
        axes.axvline(cut + 0.5, color="black", lw=0.5, ls=":")
    axes.set_ylim(bottom=0)
    _legend(axes)
    _label(axes, "warp error against the frame before", measurement)


def _draw_drift(axes: Axes, measurement: Measurement) -> None:
    for name, colour, label in (
        ("luminance_drift", RESULT_COLOUR, "luminance"),
        ("colour_drift", MARK, "colour"),
    ):
        values = _values(measurement, name)
        if np.isfinite(values).any():
            axes.plot(values, ".-", color=colour, label=label, lw=1, ms=3)
    axes.axhline(0, color=SOURCE_COLOUR, lw=0.5)
    if axes.get_legend_handles_labels()[0]:
        _legend(axes)
    else:
        axes.text(0.5, 0.6, "nothing stands still", ha="center", transform=axes.transAxes)
    _label(axes, "drift of still pixels since the shot's first frame, 8-bit levels", measurement)


def _label(axes: Axes, title: str, measurement: Measurement) -> None:
    _title(axes, title)
    axes.set_xlim(-0.5, len(measurement.series["shot_series"]) - 0.5)


def _draw_slices(pair: list[Axes], slices: Slices) -> None:
    hint = "through time; flicker is stripes from top to bottom"
    for axes, rows, name in zip(
        pair, (slices.source, slices.result), ("source", "result"), strict=True
    ):
        frames, width, _ = rows.shape
        sides = (slices.first - 0.5, slices.first + frames - 0.5, width - 0.5, -0.5)
        axes.imshow(rows.transpose(1, 0, 2), aspect="auto", extent=sides, interpolation="nearest")
        _title(axes, f"{name}, pixel row {slices.row} {hint}")
        axes.set_ylabel("x, pixels")
    pair[-1].set_xlabel("frame")


def _draw_worst(figure: FigureBase, worst: WorstPair, row: int) -> None:
    panels = figure.subplots(3, 1)
    first, second = worst.frames
    levels = np.sqrt(worst.change) * 255
    top = max(float(np.percentile(levels, 99.5)), 1.0)
    panels[0].imshow(worst.pictures[0])
    panels[1].imshow(worst.pictures[1])
    shown = panels[2].imshow(levels, cmap="inferno", vmin=0, vmax=top)
    figure.colorbar(shown, cax=panels[2].inset_axes((1.02, 0, 0.03, 1)))
    _title(panels[0], f"worst pair: frame {first}, {worst.seconds[0]:.3f} s")
    _title(panels[1], f"frame {second}, {worst.seconds[1]:.3f} s; dotted: row {row}")
    _title(panels[2], "their difference along the motion, 8-bit levels")
    for axes in panels:
        axes.set_anchor("W")
        axes.set_axis_off()
    for axes in panels[:2]:
        axes.axhline(row, color="white", lw=0.6, ls=":")


def _legend(axes: Axes) -> None:
    # Beside the title: inside it would hide what rises.
    axes.legend(ncols=3, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.97), borderpad=0)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9)

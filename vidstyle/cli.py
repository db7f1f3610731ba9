"""The command line: options in, progress out. Heavy imports wait until there is work."""

from __future__ import annotations

import _thread
import json
import math
import os
import signal
import socket
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand

from vidstyle import __version__
from vidstyle.errors import EncodeError, OutputError, RequestError, SettingsError, VidstyleError
from vidstyle.options import (
    FEATURES,
    FLOWS,
    RenderSettings,
    clip_settings,
    clip_stem,
    feature_settings,
    render_settings,
)
from vidstyle.settings import (
    PRECISIONS,
    ClipSettings,
    ComputeSettings,
    FeatureSettings,
    OutputSettings,
    StyleSettings,
    WorkSettings,
)

if TYPE_CHECKING:
    from vidstyle.batch.sharing import Executor
    from vidstyle.measure import Measurement
    from vidstyle.progress import ClipProgress
    from vidstyle.render import Report

_DEFAULT: dict[str, Any] = {
    field.name: field.default
    for settings in (
        ClipSettings,
        ComputeSettings,
        FeatureSettings,
        OutputSettings,
        StyleSettings,
        WorkSettings,
    )
    for field in fields(settings)
}
ENGINES = ("local", "ray")
PATIENCE = 4.0  # seconds from a signal to the end
TRIES = 16  # to be heard meanwhile
_STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_ENVIRONMENT = (
    "Every option can come from the environment: VIDSTYLE_SIZE=640 for all commands, "
    "VIDSTYLE_RUN_SIZE=640 for run alone. VIDSTYLE_STYLE takes several files as PATH does."
)


class PanelledCommand(TyperCommand):
    """Lists options under their panels' names, in plain text: it starts fast and pipes well."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                name, text = record
                # Some versions of typer escape it for rich, wanted or not.
                records = panels.setdefault(_panel_of(parameter), [])
                records.append((name, text.replace("\\[", "[")))
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


def _panel_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return getattr(parameter, "rich_help_panel", None) or "Messages"


app = typer.Typer(
    help="Turn a clip into a moving painting.",
    epilog=f"vidstyle COMMAND --help lists a command's options. {_ENVIRONMENT}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_command = app.command(cls=PanelledCommand, epilog=_ENVIRONMENT)


def _number(option: str, kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            rule = "whole number" if kind is int else "number"
            raise RequestError(f"{option} {text}: must be a {rule}") from None

    return parse


def _one_of(option: str, names: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise RequestError(f"{option} {text}: must be one of {', '.join(names)}")
        return text

    return parse


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_envvar=False, **more)


def _whole(name: str, help: str, panel: str) -> Any:
    return _option(name, help=help, panel=panel, metavar="N", parser=_number(name, int))


def _real(name: str, help: str, panel: str) -> Any:
    return _option(name, help=help, panel=panel, metavar="F", parser=_number(name, float))


def _choice(name: str, names: tuple[str, ...], help: str, panel: str) -> Any:
    return _option(
        name, help=help, panel=panel, metavar="|".join(names), parser=_one_of(name, names)
    )


def _text(name: str, metavar: str, help: str, panel: str) -> Any:
    return _option(name, help=help, panel=panel, metavar=metavar)


def _file(help: str) -> Any:
    return _option("-o", "--out", help=help, panel="File", metavar="FILE")


Styles = Annotated[
    list[Path],
    _option("--style", help="A painting; repeat to blend several.", panel="Look", metavar="IMAGE"),
]
FeatureName = Annotated[
    str, _choice("--features", FEATURES, "Network whose features are compared.", "Look")
]
Weights = Annotated[
    Path | None, _text("--weights", "FILE", "Its weights: .pth or .safetensors.", "Look")
]
StyleLayers = Annotated[
    str | None, _text("--style-layers", "A,B,C", "Layers of the style loss.", "Look")
]
ContentLayer = Annotated[
    str | None, _text("--content-layer", "X", "Layer of the content loss.", "Look")
]
Size = Annotated[
    int | None, _whole("--size", "Long side of the result in pixels; never enlarges.", "Look")
]
Steps = Annotated[int, _whole("--steps", "Full-size steps a frame; more is finer.", "Look")]
FirstSteps = Annotated[
    int, _whole("--first-steps", "Steps at each scale of a shot's first frame.", "Look")
]
StyleWeight = Annotated[float, _real("--style-weight", "Pull towards the painting.", "Look")]
ContentWeight = Annotated[
    float, _real("--content-weight", "Pull towards the source's forms.", "Look")
]
TvWeight = Annotated[float, _real("--tv-weight", "Pull towards smoothness.", "Look")]
TemporalWeight = Annotated[
    float, _real("--temporal-weight", "Pull towards the frame before: more is steadier.", "Look")
]
Brush = Annotated[
    float, _real("--brush", "Strokes' breadth, times the usual; finer if below 1.", "Look")
]
Strength = Annotated[
    float, _real("--strength", "Share of the painting: 0 is the source, 1 all paint.", "Look")
]
Passes = Annotated[
    int, _whole("--passes", "Times over each shot, back and forth: steadier, slower.", "Look")
]
Loop = Annotated[
    bool, _option("--loop", help="Have the clip's end meet its beginning.", panel="Look")
]
PaintBars = Annotated[
    bool, _option("--paint-bars", help="Paint black bars around the picture too.", panel="Look")
]
FlowName = Annotated[
    str, _choice("--flow", FLOWS, "Motion estimate; none paints each frame alone.", "Look")
]
FlowWeights = Annotated[
    Path | None, _text("--flow-weights", "FILE", "Of --flow raft: .pth or .safetensors.", "Look")
]
Start = Annotated[
    str | None, _text("--start", "T", "First moment: seconds or HH:MM:SS.mmm.", "Part")
]
End = Annotated[str | None, _text("--end", "T", "Moment to stop before.", "Part")]
Duration = Annotated[str | None, _text("--duration", "T", "Length, instead of --end.", "Part")]
Fps = Annotated[
    str | None,
    _text("--fps", "F", "Frame rate of an image sequence, e.g. 24, 23.976, 24000/1001.", "Part"),
]
Count = Annotated[int, _whole("--count", "Frames to show.", "Part")]
Device = Annotated[
    str, _text("--device", "NAME", "auto, cpu, cuda or cuda:N; `run` takes several.", "Machine")
]
Precision = Annotated[
    str, _choice("--precision", PRECISIONS, "Of the network's convolutions.", "Machine")
]
Threads = Annotated[int, _whole("--threads", "CPU threads; 0 lets torch choose.", "Machine")]
Seed = Annotated[int, _whole("--seed", "For what is random.", "Machine")]
Codec = Annotated[str | None, _text("--codec", "NAME", "FFmpeg encoder, e.g. libx265.", "File")]
Crf = Annotated[
    float | None, _real("--crf", "Quality on the codec's scale; lower is better.", "File")
]
PixFmt = Annotated[str | None, _text("--pix-fmt", "NAME", "E.g. yuv420p10le.", "File")]
Overwrite = Annotated[
    bool, _option("-y", "--overwrite", help="Replace an existing result.", panel="File")
]
Resume = Annotated[
    bool,
    _option("--resume/--no-resume", help="Store finished work, and go on from it.", panel="File"),
]
WorkDir = Annotated[
    Path | None, _text("--work-dir", "DIR", "Where; else hidden beside the result.", "File")
]
KeepWork = Annotated[bool, _option("--keep-work", help="Leave it there at success.", panel="File")]
ReportFile = Annotated[
    Path | None,
    _text("--report", "FILE", "Measure the result and write its figures here, as JSON.", "File"),
]
Judge = Annotated[
    str | None,
    _choice("--features", FEATURES, "Judging network; else vgg19 if it is here, or lite.", "Look"),
]
Quiet = Annotated[
    bool, _option("-q", "--quiet", help="Print warnings and errors only.", panel="Messages")
]


class _Said:
    """What `main` must still know of the options when the command has failed."""

    verbose = False


def _remember_verbose(value: bool) -> bool:
    _Said.verbose = value
    return value


Verbose = Annotated[
    bool,
    _option(
        "-v",
        "--verbose",
        help="Print losses, and tracebacks of errors.",
        panel="Messages",
        is_eager=True,
        callback=_remember_verbose,
    ),
]


def _rendered(
    clip: Path, styles: list[Path], target: Path, settings: RenderSettings, progress: ClipProgress
) -> Report:
    if "," in settings.compute.device:
        from vidstyle.batch.devices import stylize_on_devices

        return stylize_on_devices(clip, styles, target, settings, progress)
    from vidstyle.render import stylize_clip

    return stylize_clip(clip, styles, target, settings, progress)


def _default_target(source: Path, styles: list[Path], ending: str) -> Path:
    return Path(f"{clip_stem(source)}-{styles[0].stem}{ending}")


@_command
def run(
    context: typer.Context,
    clip: Annotated[Path, typer.Argument(help="The clip to stylise.", metavar="CLIP")],
    style: Styles,
    out: Annotated[Path | None, _file("The result; else CLIP-STYLE.mp4 in this folder.")] = None,
    features: FeatureName = _DEFAULT["name"],
    weights: Weights = None,
    style_layers: StyleLayers = None,
    content_layer: ContentLayer = None,
    size: Size = _DEFAULT["size"],
    steps: Steps = _DEFAULT["steps"],
    first_steps: FirstSteps = _DEFAULT["first_steps"],
    style_weight: StyleWeight = _DEFAULT["style_weight"],
    content_weight: ContentWeight = _DEFAULT["content_weight"],
    tv_weight: TvWeight = _DEFAULT["tv_weight"],
    brush: Brush = _DEFAULT["brush"],
    temporal_weight: TemporalWeight = _DEFAULT["temporal_weight"],
    flow: FlowName = _DEFAULT["flow"],
    flow_weights: FlowWeights = None,
    strength: Strength = _DEFAULT["strength"],
    passes: Passes = _DEFAULT["passes"],
    loop: Loop = _DEFAULT["loop"],
    paint_bars: PaintBars = _DEFAULT["paint_bars"],
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    fps: Fps = None,
    device: Device = _DEFAULT["device"],
    precision: Precision = _DEFAULT["precision"],
    threads: Threads = _DEFAULT["threads"],
    seed: Seed = _DEFAULT["seed"],
    codec: Codec = _DEFAULT["codec"],
    crf: Crf = _DEFAULT["crf"],
    pix_fmt: PixFmt = _DEFAULT["pix_fmt"],
    overwrite: Overwrite = False,
    resume: Resume = _DEFAULT["resume"],
    work_dir: WorkDir = None,
    keep_work: KeepWork = _DEFAULT["keep"],
    report: ReportFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stylise a clip, steadily, sound and all."""
    settings = render_settings(context.params)

    from vidstyle.progress import ClipProgress

    with ClipProgress(quiet, verbose, settings.look) as progress:
        from vidstyle.video import default_ending

        target = out or _default_target(clip, style, default_ending(clip, codec))
        _check_figures("--report", report, overwrite, [target, clip, *style])
        result = _rendered(clip, style, target, settings, progress)
    progress.close_with(result)
    if report is not None:
        try:
            measured = _measure(target, clip, style, settings.part, None, quiet)
        except VidstyleError as error:
            raise VidstyleError(f"--report {report}: {error}; {_COMPLETE}") from error
        except _Stopped as stop:
            stop.add_note(_COMPLETE)
            raise
        facts = result.as_dict() | measured.as_dict()
        _write_json("--report", report, facts, overwrite, f"; {_COMPLETE}")


@_command
def image(
    photo: Annotated[Path, typer.Argument(help="The still to stylise.", metavar="PHOTO")],
    style: Styles,
    out: Annotated[Path | None, _file("The result; else PHOTO-STYLE.png in this folder.")] = None,
    features: FeatureName = _DEFAULT["name"],
    weights: Weights = None,
    style_layers: StyleLayers = None,
    content_layer: ContentLayer = None,
    size: Size = _DEFAULT["size"],
    first_steps: FirstSteps = _DEFAULT["first_steps"],
    style_weight: StyleWeight = _DEFAULT["style_weight"],
    content_weight: ContentWeight = _DEFAULT["content_weight"],
    tv_weight: TvWeight = _DEFAULT["tv_weight"],
    brush: Brush = _DEFAULT["brush"],
    device: Device = _DEFAULT["device"],
    precision: Precision = _DEFAULT["precision"],
    threads: Threads = _DEFAULT["threads"],
    seed: Seed = _DEFAULT["seed"],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stylise a still with the same engine."""
    look = _still_look(first_steps, style_weight, content_weight, tv_weight, brush)
    ClipSettings(size=size)  # the same rule as for clips
    network = feature_settings(features, weights, style_layers, content_layer)
    compute = ComputeSettings(device, precision, threads, seed)
    target = out or _default_target(photo, style, ".png")

    from vidstyle.progress import StepProgress

    with StepProgress(quiet, verbose) as progress:
        from vidstyle.render import stylize_picture

        stylize_picture(
            photo,
            style,
            target,
            size=size,
            overwrite=overwrite,
            look=look,
            features=network,
            compute=compute,
            on_event=progress,
        )
    progress.close_with(str(target))


@_command
def preview(
    clip: Annotated[Path, typer.Argument(help="The clip to look into.", metavar="CLIP")],
    style: Styles,
    out: Annotated[Path | None, _file("The result; else CLIP-STYLE.png in this folder.")] = None,
    count: Count = 4,
    features: FeatureName = _DEFAULT["name"],
    weights: Weights = None,
    style_layers: StyleLayers = None,
    content_layer: ContentLayer = None,
    size: Size = 320,
    first_steps: FirstSteps = _DEFAULT["first_steps"],
    style_weight: StyleWeight = _DEFAULT["style_weight"],
    content_weight: ContentWeight = _DEFAULT["content_weight"],
    tv_weight: TvWeight = _DEFAULT["tv_weight"],
    brush: Brush = _DEFAULT["brush"],
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    fps: Fps = None,
    device: Device = _DEFAULT["device"],
    precision: Precision = _DEFAULT["precision"],
    threads: Threads = _DEFAULT["threads"],
    seed: Seed = _DEFAULT["seed"],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a few frames, source above result, before a long render."""
    part = clip_settings(start, end, duration, size, threads, fps)
    look = _still_look(first_steps, style_weight, content_weight, tv_weight, brush)
    network = feature_settings(features, weights, style_layers, content_layer)
    compute = ComputeSettings(device, precision, threads, seed)
    target = out or _default_target(clip, style, ".png")

    from vidstyle.progress import StepProgress

    with StepProgress(quiet, verbose) as progress:
        from vidstyle.preview import preview_clip

        preview_clip(
            clip,
            style,
            target,
            count=count,
            part=part,
            overwrite=overwrite,
            look=look,
            features=network,
            compute=compute,
            on_event=progress,
        )
    progress.close_with(str(target))


@_command
def measure(
    result: Annotated[Path, typer.Argument(help="The clip to measure.", metavar="RESULT")],
    source: Annotated[Path, _text("--source", "CLIP", "What it was made from.", "Part")],
    style: Annotated[
        list[Path] | None,
        _text("--style", "IMAGE", "The painting, for style distances; repeat for several.", "Look"),
    ] = None,
    features: Judge = None,
    weights: Weights = None,
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    fps: Fps = None,
    json_file: Annotated[
        Path | None, _text("--json", "FILE|-", "Write all figures here; - prints them.", "File")
    ] = None,
    plot: Annotated[
        Path | None, _text("--plot", "FILE.png", "Draw series, worst pair, x-t slices.", "File")
    ] = None,
    max_ratio: Annotated[
        float | None,
        _real("--max-ratio", "Exit with 1 if the warp error ratio is above this.", "Messages"),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how steady and how painted a clip is, whoever made it."""
    part = clip_settings(start, end, duration, fps=fps)
    styles = style or []
    to_stdout = json_file == Path("-")
    _check_max_ratio(max_ratio)
    _check_plot(plot)
    taken = [result, source, *styles]
    _check_figures("--plot", plot, overwrite, taken)
    if not to_stdout:
        _check_figures("--json", json_file, overwrite, [*taken, plot] if plot else taken)
    judge = _judge(features, weights)

    measured = _measure(result, source, styles, part, judge, quiet)
    if to_stdout:
        print(_json(measured.as_dict()))
    elif json_file is not None:
        _write_json("--json", json_file, measured.as_dict(), overwrite)
    if plot is not None:
        from vidstyle.measure.plot import save_plot

        save_plot(plot, measured, overwrite)
    if not quiet and not to_stdout:
        _print_measurement(measured)
    if max_ratio is not None:
        _hold_to(max_ratio, measured)


@_command
def batch(
    jobs: Annotated[Path, typer.Argument(help="The job file.", metavar="JOBS.toml")],
    engine: Annotated[
        str,
        _choice("--engine", ENGINES, "Whose workers: this machine's, or a cluster's.", "Machine"),
    ] = "local",
    address: Annotated[
        str | None,
        _option(
            "--address",
            help="The Ray cluster's; auto: this machine's; else that, or one is started here.",
            panel="Machine",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _whole(
            "--workers",
            "Clips, or parts of long ones, at a time; else one a GPU, or one for two cores.",
            "Machine",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        _option("--dry-run", help="Print the plan: frames, disk, time.", panel="Part"),
    ] = False,
    retry_failed: Annotated[
        bool,
        _option("--retry-failed", help="Only the jobs that failed last time.", panel="Part"),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stylise a list of clips; again, those that are missing."""
    from vidstyle.batch.jobs import read_jobs
    from vidstyle.batch.plan import plan
    from vidstyle.batch.run import run_batch
    from vidstyle.batch_progress import BatchProgress, print_plan

    _check_machine(engine, address, workers)
    job_file = read_jobs(jobs)
    if dry_run:
        failed = print_plan(plan(job_file), workers or 1).states["failed"]
    else:
        with BatchProgress(quiet) as progress:
            executor = _executor(engine, address, workers)
            summary = run_batch(job_file, executor, retry_failed, progress.begin, progress)
        progress.close_with(summary)
        failed = summary.failed
    if failed:
        raise typer.Exit(1)


def _check_machine(engine: str, address: str | None, workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise SettingsError(f"--workers {workers}: must be 1 or more")
    if address is not None and engine != "ray":
        raise SettingsError(f"--address {address}: is of a Ray cluster; add --engine ray")


def _executor(engine: str, address: str | None, workers: int | None) -> Executor:
    if engine == "ray":
        from vidstyle.batch.cluster import RayExecutor

        return RayExecutor(address, workers)
    from vidstyle.batch.local import LocalExecutor, default_workers

    return LocalExecutor(workers or default_workers())


def _measure(
    result: Path,
    source: Path,
    styles: list[Path],
    part: ClipSettings,
    judge: FeatureSettings | None,
    quiet: bool,
) -> Measurement:
    from vidstyle.progress import MeasureProgress

    with MeasureProgress(quiet) as progress:
        from vidstyle.measure import measure_video

        return measure_video(result, source, styles, part=part, features=judge, on_event=progress)


def _judge(name: str | None, weights: Path | None) -> FeatureSettings | None:
    if weights is not None and name is None:
        raise SettingsError(f"--weights {weights}: say whose they are, e.g. --features vgg19")
    return FeatureSettings(name, weights) if name else None


def _check_max_ratio(limit: float | None) -> None:
    if limit is not None and not 0 < limit < math.inf:
        raise SettingsError(f"--max-ratio {limit:g}: must be more than 0, e.g. 1.5")


def _check_plot(path: Path | None) -> None:
    if path is not None and path.suffix.lower() != ".png":
        raise SettingsError(f"--plot {path}: its name must end in .png")


def _print_measurement(measured: Measurement) -> None:
    from vidstyle.measure.table import table
    from vidstyle.progress import drift_warning, verdict

    for line in table(measured):
        print(line)
    if measured.ratio is not None:
        drift = float(measured.figures.get("luminance_drift", 0.0))
        print(f"{verdict(measured.ratio)}{drift_warning(drift)}")


def _hold_to(limit: float, measured: Measurement) -> None:
    if measured.ratio is None:
        raise VidstyleError(
            f"--max-ratio {limit:g}: {measured.result} has no two frames to compare; name a "
            "longer clip"
        )
    if measured.ratio > limit:
        raise VidstyleError(
            f"{measured.result}: warp error ratio {measured.ratio:.3f} is above "
            f"--max-ratio {limit:g}; worst between {measured.worst}; see it with --plot"
        )


def _still_look(steps: int, style: float, content: float, tv: float, brush: float) -> StyleSettings:
    # No frame follows another, so no flow, and OpenCV is not needed.
    return StyleSettings(
        first_steps=steps,
        style_weight=style,
        content_weight=content,
        tv_weight=tv,
        brush=brush,
        flow="none",
    )


@_command
def info(
    as_json: Annotated[
        bool, _option("--json", help="Print one JSON object.", panel="Messages")
    ] = False,
) -> None:
    """Devices, networks, encoders and versions, for a bug report."""
    from vidstyle.machine import describe_machine

    facts = describe_machine()
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        print(f"{name.replace('_', ' '):{width}}  {text or 'none'}")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"vidstyle {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def build_command() -> Any:
    """The whole command line, every option with its two environment variables."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                words = parameter.opts[-1].lstrip("-").replace("-", "_").upper()
                parameter.envvar = [f"VIDSTYLE_{name.upper()}_{words}", f"VIDSTYLE_{words}"]
    return group


_COMPLETE = "the clip itself is complete"


def _check_figures(option: str, path: Path | None, overwrite: bool, taken: list[Path]) -> None:
    """Refused before any work: a place for the figures that could not be written after it."""
    from vidstyle.video.target import check_target

    if path is None:
        return
    if path.resolve() in [other.resolve() for other in taken]:
        raise OutputError(f"{option} {path}: is also the clip, a painting or a result; rename it")
    check_target(path, overwrite, option)


def _json(facts: dict[str, object]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in facts.items()
    }
    return json.dumps(finite, indent=2)


def _write_json(
    option: str, path: Path, facts: dict[str, object], overwrite: bool, comfort: str = ""
) -> None:
    from vidstyle.video.target import write_text

    try:
        write_text(path, _json(facts) + "\n", overwrite)
    except OSError as error:
        raise EncodeError(
            f"{option} {path}: could not be written ({error.strerror}){comfort}"
        ) from error


class _Stopped(BaseException):
    """A signal to end, raised so that partial files are removed on the way out.

    For Ctrl-C as well: some versions of typer swallow `KeyboardInterrupt`.
    """

    on_their_way: ClassVar[weakref.WeakSet[_Stopped]] = weakref.WeakSet()

    def __init__(self, number: int) -> None:
        self.number = number
        self.on_their_way.add(self)


def _stop(number: int, frame: FrameType | None) -> None:
    if _Stopped.on_their_way:
        return  # a second one would disturb the tidying up
    importer = _importer(frame)
    if importer is None:
        raise _Stopped(number)
    if importer == __name__:  # nothing has been begun
        _end_at_once(number, "; no unfinished file is left")
    # Else in the middle of work: `_insist` tries again.


def _importer(frame: FrameType | None) -> str | None:
    """The name of the module that is waiting for an import, the outermost one.

    An exception would be lost there in a callback, or end the process in torch's C++.
    """
    found = None
    while frame is not None and frame.f_back is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            found = frame.f_back.f_globals.get("__name__")
        frame = frame.f_back
    return found


def _end_at_once(number: int, more: str) -> None:
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # the bar has hidden it
    _say(f"{cursor}{_word(number)}{more}", 0)
    os._exit(128 + number)


def _word(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else "terminated"


@contextmanager
def _signals_caught() -> Iterator[None]:
    for number in _STOPPING:
        # What the caller ignores, as nohup does, stays ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    hook, sys.unraisablehook = sys.unraisablehook, _say_unless_stopped
    heard, told = socket.socketpair()  # not a pipe: Windows takes none
    told.setblocking(False)
    threading.Thread(target=_insist, args=[heard], daemon=True).start()
    with told:
        signal.set_wakeup_fd(told.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            sys.unraisablehook = hook
            _raise_no_more()


def _raise_no_more() -> None:
    """All is tidied up."""
    for number in _STOPPING:
        if signal.getsignal(number) == _stop:
            signal.signal(number, signal.SIG_DFL)


def _say_unless_stopped(lost: sys.UnraisableHookArgs) -> None:
    if not isinstance(lost.exc_value, _Stopped):
        sys.__unraisablehook__(lost)


def _insist(heard: socket.socket) -> None:
    """Has a signal raised again where it was lost, and ends what it has not ended in time.

    What is raised in a destructor, a callback or before a bare `except` goes no further: then
    nobody holds the `_Stopped` any more. All this in a thread, since `_stop` is not called while
    a library is at work, as an encoder is on its last frames for minutes. Finished work is safe.
    """
    with heard:
        for number in iter(lambda: heard.recv(1), b""):
            if number[0] in _STOPPING:
                for _ in range(TRIES):
                    time.sleep(PATIENCE / TRIES)
                    _thread.interrupt_main(signal.Signals(number[0]))
                said = " by force; hidden, unfinished files may be left"
                threading.Thread(target=_end_at_once, args=[number[0], said], daemon=True).start()
                time.sleep(0.1)  # at most: nobody may read what is said
                os._exit(128 + number[0])


def main() -> None:
    """The `vidstyle` command: runs, and turns what goes wrong into a line and an exit status."""
    with _signals_caught():
        try:
            status = _run_command()
        except _Stopped as stop:
            _raise_no_more()  # while `stop` is still held: `_insist` goes on
            said = _with_notes(f"{_word(stop.number)}; no unfinished file is left", stop)
            status = _say(said, 128 + stop.number)
    sys.exit(status)


def _run_command() -> int:
    _Said.verbose = False
    try:
        status = build_command()(prog_name="vidstyle", standalone_mode=False)
        sys.stdout.flush()  # a closed pipe shows here, not as noise at exit
        return status or 0
    except VidstyleError as error:
        return _fail(_with_notes(str(error), error), error.exit_status)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    format_message: Callable[[], str] | None = getattr(error, "format_message", None)
    if format_message is not None:  # click's usage errors, wherever typer keeps click
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "vidstyle"
        return _say(f"error: {format_message().rstrip('.')}; see {command} --help", 2)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, OSError) and error.filename:
        return _fail(f"{error.filename}: {error.strerror}; name another file", 1)
    reason = str(error).splitlines()[0] if str(error) else "no message"
    return _fail(
        f"unexpected {type(error).__name__}: {reason}; run again with -v and report the "
        "traceback with the output of vidstyle info",
        1,
    )


def _with_notes(message: str, error: BaseException) -> str:
    return "; ".join([message, *getattr(error, "__notes__", ())])


def _fail(message: str, status: int) -> int:
    if _Said.verbose:
        traceback.print_exc()
    return _say(f"error: {message}", status)


def _say(message: str, status: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return status

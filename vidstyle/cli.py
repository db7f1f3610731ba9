"""The command line: options in, progress out. Heavy imports wait until there is work."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vidstyle import __version__
from vidstyle.errors import OutputError, SettingsError, VidstyleError
from vidstyle.settings import (
    ClipSettings,
    ComputeSettings,
    FeatureSettings,
    OutputSettings,
    StyleSettings,
)

app = typer.Typer(
    help="Turn a clip into a moving painting.",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "VIDSTYLE"},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_DEFAULT = {
    field.name: field.default
    for settings in (ClipSettings, ComputeSettings, FeatureSettings, OutputSettings, StyleSettings)
    for field in fields(settings)
}


def parse_time(text: str) -> float:
    """Seconds, MM:SS or HH:MM:SS.mmm, as seconds."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
        raise SettingsError(f"time {text}: write seconds or HH:MM:SS.mmm, e.g. 1:02.5")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


class Features(StrEnum):
    lite = "lite"
    vgg19 = "vgg19"
    vgg16 = "vgg16"


class Flow(StrEnum):
    dis = "dis"
    none = "none"


class Precision(StrEnum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


Styles = Annotated[
    list[Path], _option("--style", help="A painting; several are blended.", panel="Look")
]
FeatureName = Annotated[
    Features, _option("--features", help="Network whose features are compared.", panel="Look")
]
Weights = Annotated[
    Path | None, _option("--weights", help="Its weights: .pth or .safetensors.", panel="Look")
]
StyleLayers = Annotated[
    str, _option("--style-layers", help="Layers of the style loss: a,b,c.", panel="Look")
]
ContentLayer = Annotated[
    str | None, _option("--content-layer", help="Layer of the content loss.", panel="Look")
]
Size = Annotated[
    int | None,
    _option("--size", help="Long side of the result in pixels; never enlarges.", panel="Look"),
]
Steps = Annotated[
    int, _option("--steps", help="Full-size steps a frame; more is finer.", panel="Look")
]
FirstSteps = Annotated[
    int, _option("--first-steps", help="Steps a scale of a shot's first frame.", panel="Look")
]
StyleWeight = Annotated[
    float, _option("--style-weight", help="Pull towards the painting.", panel="Look")
]
ContentWeight = Annotated[
    float, _option("--content-weight", help="Pull towards the source's forms.", panel="Look")
]
TvWeight = Annotated[float, _option("--tv-weight", help="Pull towards smoothness.", panel="Look")]
TemporalWeight = Annotated[
    float, _option("--temporal-weight", help="Pull towards the frame before.", panel="Look")
]
FlowName = Annotated[
    Flow, _option("--flow", help="Optical flow; none makes each frame alone.", panel="Look")
]
Start = Annotated[str | None, _option("--start", help="Seconds or HH:MM:SS.mmm.", panel="Part")]
End = Annotated[str | None, _option("--end", help="Seconds or HH:MM:SS.mmm.", panel="Part")]
Duration = Annotated[str | None, _option("--duration", help="Instead of --end.", panel="Part")]
Device = Annotated[
    str, _option("--device", help="auto, cpu, cuda or cuda:N.", panel="Machine")
]
PrecisionName = Annotated[
    Precision, _option("--precision", help="Of the network's convolutions.", panel="Machine")
]
Threads = Annotated[
    int, _option("--threads", help="CPU threads; 0 lets torch choose.", panel="Machine")
]
Seed = Annotated[int, _option("--seed", help="For what is random.", panel="Machine")]
Codec = Annotated[
    str | None, _option("--codec", help="FFmpeg's encoder, e.g. libx265.", panel="File")
]
Crf = Annotated[
    float | None, _option("--crf", help="Quality, lower is better.", panel="File")
]
PixFmt = Annotated[
    str | None, _option("--pix-fmt", help="E.g. yuv420p10le.", panel="File")
]
Overwrite = Annotated[
    bool, _option("-y", "--overwrite", help="Replace an existing result.", panel="File")
]
ReportFile = Annotated[
    Path | None, _option("--report", help="Write the figures as JSON.", panel="File")
]
Quiet = Annotated[
    bool, _option("-q", "--quiet", help="Print errors only.", panel="Messages")
]
Verbose = Annotated[
    bool, _option("-v", "--verbose", help="Print steps and tracebacks.", panel="Messages")
]


def _part(
    start: str | None, end: str | None, duration: str | None, size: int | None, threads: int
) -> ClipSettings:
    begin = parse_time(start) if start else 0.0
    if end and duration:
        raise SettingsError(f"--end {end} and --duration {duration}: give one of the two")
    stop = parse_time(end) if end else None
    if duration:
        stop = begin + parse_time(duration)
    return ClipSettings(start=begin, end=stop, size=size, threads=threads)


def _features(
    name: str, weights: Path | None, layers: str, content: str | None
) -> FeatureSettings:
    split = tuple(layer.strip() for layer in layers.split(",") if layer.strip())
    return FeatureSettings(name, weights, split, content)


def _default_target(source: Path, styles: list[Path], ending: str) -> Path:
    return Path(f"{source.stem}-{styles[0].stem}{ending}")


@app.command()
def run(
    clip: Annotated[Path, typer.Argument(help="The clip to stylise.", show_default=False)],
    style: Styles,
    out: Annotated[
        Path | None, _option("-o", "--out", help="CLIP-STYLE.mp4 if not given.", panel="File")
    ] = None,
    features: FeatureName = Features(_DEFAULT["name"]),
    weights: Weights = None,
    style_layers: StyleLayers = "",
    content_layer: ContentLayer = None,
    size: Size = _DEFAULT["size"],
    steps: Steps = _DEFAULT["steps"],
    first_steps: FirstSteps = _DEFAULT["first_steps"],
    style_weight: StyleWeight = _DEFAULT["style_weight"],
    content_weight: ContentWeight = _DEFAULT["content_weight"],
    tv_weight: TvWeight = _DEFAULT["tv_weight"],
    temporal_weight: TemporalWeight = _DEFAULT["temporal_weight"],
    flow: FlowName = Flow(_DEFAULT["flow"]),
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    device: Device = _DEFAULT["device"],
    precision: PrecisionName = Precision(_DEFAULT["precision"]),
    threads: Threads = _DEFAULT["threads"],
    seed: Seed = _DEFAULT["seed"],
    codec: Codec = _DEFAULT["codec"],
    crf: Crf = _DEFAULT["crf"],
    pix_fmt: PixFmt = _DEFAULT["pix_fmt"],
    overwrite: Overwrite = False,
    report: ReportFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stylise a clip, steadily, sound and all."""
    part = _part(start, end, duration, size, threads)
    look = StyleSettings(
        steps, first_steps, style_weight, content_weight, tv_weight, temporal_weight, flow.value
    )
    compute = ComputeSettings(device, precision.value, threads, seed)
    output = OutputSettings(codec, crf, pix_fmt, overwrite)
    _check_report(report, overwrite)

    from vidstyle.progress import ClipProgress
    from vidstyle.render import stylize_video
    from vidstyle.video import default_ending

    target = out or _default_target(clip, style, default_ending(clip, codec))
    with ClipProgress(quiet, verbose) as progress:
        result = stylize_video(
            clip,
            style,
            target,
            part=part,
            look=look,
            features=_features(features.value, weights, style_layers, content_layer),
            compute=compute,
            output=output,
            on_event=progress,
        )
    progress.close_with(result)
    if report is not None:
        _write_report(report, result.as_dict())


@app.command()
def image(
    photo: Annotated[Path, typer.Argument(help="The still to stylise.", show_default=False)],
    style: Styles,
    out: Annotated[
        Path | None, _option("-o", "--out", help="PHOTO-STYLE.png if not given.", panel="File")
    ] = None,
    features: FeatureName = Features(_DEFAULT["name"]),
    weights: Weights = None,
    style_layers: StyleLayers = "",
    content_layer: ContentLayer = None,
    size: Size = _DEFAULT["size"],
    first_steps: FirstSteps = _DEFAULT["first_steps"],
    style_weight: StyleWeight = _DEFAULT["style_weight"],
    content_weight: ContentWeight = _DEFAULT["content_weight"],
    tv_weight: TvWeight = _DEFAULT["tv_weight"],
    device: Device = _DEFAULT["device"],
    precision: PrecisionName = Precision(_DEFAULT["precision"]),
    threads: Threads = _DEFAULT["threads"],
    seed: Seed = _DEFAULT["seed"],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stylise a still with the same engine."""
    look = StyleSettings(
        first_steps=first_steps,
        style_weight=style_weight,
        content_weight=content_weight,
        tv_weight=tv_weight,
    )
    ClipSettings(size=size)  # the same rule as for clips
    compute = ComputeSettings(device, precision.value, threads, seed)

    from vidstyle.progress import StepProgress
    from vidstyle.render import stylize_picture

    target = out or _default_target(photo, style, ".png")
    with StepProgress(quiet) as progress:
        stylize_picture(
            photo,
            style,
            target,
            size=size,
            overwrite=overwrite,
            look=look,
            features=_features(features.value, weights, style_layers, content_layer),
            compute=compute,
            on_event=progress,
        )
    progress.close_with(str(target))


@app.command()
def preview(
    clip: Annotated[Path, typer.Argument(help="The clip to look into.", show_default=False)],
    style: Styles,
    out: Annotated[
        Path | None, _option("-o", "--out", help="CLIP-STYLE.png if not given.", panel="File")
    ] = None,
    count: Annotated[int, _option("--count", help="Frames to show.", panel="Part", min=1)] = 4,
    features: FeatureName = Features(_DEFAULT["name"]),
    weights: Weights = None,
    style_layers: StyleLayers = "",
    content_layer: ContentLayer = None,
    size: Size = 320,
    first_steps: FirstSteps = _DEFAULT["first_steps"],
    style_weight: StyleWeight = _DEFAULT["style_weight"],
    content_weight: ContentWeight = _DEFAULT["content_weight"],
    tv_weight: TvWeight = _DEFAULT["tv_weight"],
    start: Start = None,
    end: End = None,
    duration: Duration = None,
    device: Device = _DEFAULT["device"],
    precision: PrecisionName = Precision(_DEFAULT["precision"]),
    threads: Threads = _DEFAULT["threads"],
    seed: Seed = _DEFAULT["seed"],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a few frames, source above result, before a long render."""
    part = _part(start, end, duration, size, threads)
    look = StyleSettings(
        first_steps=first_steps,
        style_weight=style_weight,
        content_weight=content_weight,
        tv_weight=tv_weight,
    )
    compute = ComputeSettings(device, precision.value, threads, seed)

    from vidstyle.preview import preview_clip
    from vidstyle.progress import StepProgress

    target = out or _default_target(clip, style, ".png")
    with StepProgress(quiet) as progress:
        preview_clip(
            clip,
            style,
            target,
            count=count,
            part=part,
            overwrite=overwrite,
            look=look,
            features=_features(features.value, weights, style_layers, content_layer),
            compute=compute,
            on_event=progress,
        )
    progress.close_with(str(target))


@app.command()
def info(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Devices, networks, encoders and versions, for a bug report."""
    from vidstyle.machine import describe_machine

    facts = describe_machine()
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name.replace('_', ' '):15} {text if text != '' else 'none'}")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"vidstyle {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def _check_report(path: Path | None, overwrite: bool) -> None:
    if path is None:
        return
    if not path.parent.is_dir():
        raise OutputError(f"--report {path}: there is no folder {path.parent}; create it first")
    if path.exists() and not overwrite:
        raise OutputError(f"--report {path}: exists already; pass --overwrite or another name")


def _write_report(path: Path, facts: dict[str, object]) -> None:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in facts.items()
    }
    path.write_text(json.dumps(finite, indent=2) + "\n", encoding="utf-8")


class _Terminated(BaseException):
    """SIGTERM, raised so that partial files are removed on the way out."""


def _raise_terminated(number: int, frame: object) -> None:
    raise _Terminated


def main() -> None:
    """The `vidstyle` command: runs, and turns what goes wrong into a line and an exit status."""
    signal.signal(signal.SIGTERM, _raise_terminated)
    verbose = bool({"-v", "--verbose"} & set(sys.argv[1:]))
    try:
        status = app(standalone_mode=False)
    except KeyboardInterrupt:
        status = _say("interrupted; nothing was written", 130)
    except _Terminated:
        status = _say("terminated; nothing was written", 143)
    except VidstyleError as error:
        status = _fail(str(error), error.exit_status, verbose)
    except Exception as error:
        status = _unexpected(error, verbose)
    sys.exit(status or 0)


def _unexpected(error: Exception, verbose: bool) -> int:
    format_message: Callable[[], str] | None = getattr(error, "format_message", None)
    if format_message is not None:  # click's usage errors, wherever typer keeps click
        return _fail(f"{format_message()} See vidstyle --help.", 2, verbose=False)
    if type(error).__name__ == "Abort":
        return _say("interrupted; nothing was written", 130)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    reason = str(error).splitlines()[0] if str(error) else "no message"
    return _fail(
        f"unexpected {type(error).__name__}: {reason}; run again with -v and report the "
        "traceback with the output of vidstyle info",
        1,
        verbose,
    )


def _fail(message: str, status: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    return _say(f"error: {message}", status)


def _say(message: str, status: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return status

"""What this machine has: what to paste into a bug report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import av
import torch
from av.video.codeccontext import VideoCodecContext

from vidstyle import __version__
from vidstyle.device import half_precision
from vidstyle.errors import VidstyleError
from vidstyle.features import FEATURES
from vidstyle.flow import FLOWS
from vidstyle.opencv import opencv
from vidstyle.video.encoders import ENCODERS, quiet_libraries

PACKAGES = ("torchvision", "av", "numpy", "pillow", "typer", "scenedetect", "matplotlib")


def describe_machine() -> dict[str, object]:
    """Flat facts, in the order they are read."""
    facts: dict[str, object] = {
        "vidstyle": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "not in this torch",
        "cuda_devices": [_cuda(i) for i in range(torch.cuda.device_count())],
    }
    facts |= {package: _version(package) for package in PACKAGES}
    facts["opencv"] = _opencv()
    facts["ffmpeg_libavcodec"] = ".".join(map(str, av.library_versions["libavcodec"]))
    facts["features"] = list(FEATURES)
    facts["flows"] = list(FLOWS)
    facts["encoders"] = [name for name in ENCODERS if _opens(name)]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    facts["weights_folder"] = str(folder)
    facts["weights"] = sorted(path.name for path in folder.glob("*.pth"))
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _opencv() -> str:
    try:
        return str(opencv().__version__)
    except VidstyleError as error:
        return str(error)


def _opens(name: str) -> bool:
    """Whether the encoder works here: hardware ones are listed by FFmpeg on any machine."""
    quiet_libraries()
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
        context.width, context.height, context.framerate = 256, 144, 25  # type: ignore[assignment]
        context.pix_fmt = (context.codec.video_formats or [])[0].name
        context.options = dict(ENCODERS[name].options)  # x265 is talkative without
        context.open()
    except (av.FFmpegError, ValueError, IndexError):
        return False
    return True


def _cuda(index: int) -> str:
    device = torch.cuda.get_device_properties(index)
    half = half_precision(torch.device("cuda", index))
    return f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {half}"

"""What this machine has: what to paste into a bug report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import av
import torch

from vidstyle import __version__
from vidstyle.features import FEATURES
from vidstyle.flow import FLOWS

PACKAGES = ("torch", "torchvision", "av", "opencv-python", "numpy", "typer", "scenedetect")
ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1", "h264_nvenc")


def describe_machine() -> dict[str, object]:
    """Flat facts, in the order they are read."""
    facts: dict[str, object] = {
        "vidstyle": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }
    facts |= {package: _version(package) for package in PACKAGES}
    facts["ffmpeg"] = ".".join(map(str, av.library_versions["libavcodec"]))
    facts["cuda_devices"] = [_cuda(i) for i in range(torch.cuda.device_count())]
    facts["features"] = list(FEATURES)
    facts["flows"] = list(FLOWS)
    facts["encoders"] = [name for name in ENCODERS if name in av.codecs_available]
    facts["weights_folder"] = os.path.join(torch.hub.get_dir(), "checkpoints")
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cuda(index: int) -> str:
    device = torch.cuda.get_device_properties(index)
    half = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {half}"

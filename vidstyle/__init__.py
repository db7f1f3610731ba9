"""vidstyle turns a clip into a moving painting.

    report = vidstyle.stylize_video("clip.mp4", ["scream.jpg"], "out.mp4")

Names are imported on first use, so that importing the package costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidstyle.errors import (
        DecodeError,
        DeviceMemoryError,
        EncodeError,
        InputError,
        OutputError,
        RequestError,
        SettingsError,
        VidstyleError,
    )
    from vidstyle.frame import ClipInfo, Frame
    from vidstyle.measure.clips import FrameMeasured, measure_video
    from vidstyle.measure.measurement import Measurement, WorstPair
    from vidstyle.measure.plot import save_plot
    from vidstyle.render import (
        FrameDone,
        Report,
        Resumed,
        Started,
        Warned,
        make_styler,
        stylize_frames,
        stylize_image,
        stylize_picture,
        stylize_video,
    )
    from vidstyle.settings import (
        ClipSettings,
        ComputeSettings,
        FeatureSettings,
        OutputSettings,
        StyleSettings,
        WorkSettings,
    )
    from vidstyle.stylize import FrameStyler

__version__ = "0.20.0"

_HOMES = {
    "errors": [
        "DecodeError",
        "DeviceMemoryError",
        "EncodeError",
        "InputError",
        "OutputError",
        "RequestError",
        "SettingsError",
        "VidstyleError",
    ],
    "frame": ["ClipInfo", "Frame"],
    "measure.clips": ["FrameMeasured", "measure_video"],
    "measure.measurement": ["Measurement", "WorstPair"],
    "measure.plot": ["save_plot"],
    "render": [
        "FrameDone",
        "Report",
        "Resumed",
        "Started",
        "Warned",
        "make_styler",
        "stylize_frames",
        "stylize_image",
        "stylize_picture",
        "stylize_video",
    ],
    "settings": [
        "ClipSettings",
        "ComputeSettings",
        "FeatureSettings",
        "OutputSettings",
        "StyleSettings",
        "WorkSettings",
    ],
    "stylize": ["FrameStyler"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ClipInfo",
    "ClipSettings",
    "ComputeSettings",
    "DecodeError",
    "DeviceMemoryError",
    "EncodeError",
    "FeatureSettings",
    "Frame",
    "FrameDone",
    "FrameMeasured",
    "FrameStyler",
    "InputError",
    "Measurement",
    "OutputError",
    "OutputSettings",
    "Report",
    "RequestError",
    "Resumed",
    "SettingsError",
    "Started",
    "StyleSettings",
    "VidstyleError",
    "Warned",
    "WorkSettings",
    "WorstPair",
    "make_styler",
    "measure_video",
    "save_plot",
    "stylize_frames",
    "stylize_image",
    "stylize_picture",
    "stylize_video",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vidstyle' has no attribute {name!r}")
    return getattr(import_module(f"vidstyle.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""OpenCV, imported late: on a bare server its shared libraries are often missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from vidstyle.errors import VidstyleError


def opencv() -> ModuleType:
    """`cv2`; raises `VidstyleError` that says what to install where it cannot be loaded."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise VidstyleError(missing_library(error)) from error


def missing_library(error: ImportError) -> str:
    """One line for the user, from the loader's message (`libGL.so.1: cannot open …`)."""
    return (
        f"OpenCV cannot be loaded ({str(error).splitlines()[0]}): install the library it names "
        "(apt-get install libgl1 libglib2.0-0), or use opencv-python-headless instead"
    )

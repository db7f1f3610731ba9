"""Clips and pictures in and out: reader, writer, colour, shots."""

from vidstyle.video.encoders import check_output, default_ending
from vidstyle.video.picture import (
    Paths,
    check_picture_output,
    load_paintings,
    load_picture,
    save_picture,
)
from vidstyle.video.reader import ClipReader, find_bars, probe
from vidstyle.video.shots import ShotDetector, list_shots, split_shots
from vidstyle.video.target import check_not_source, take_back
from vidstyle.video.writer import ClipWriter

__all__ = [
    "ClipReader",
    "ClipWriter",
    "Paths",
    "ShotDetector",
    "check_not_source",
    "check_output",
    "check_picture_output",
    "default_ending",
    "find_bars",
    "list_shots",
    "load_paintings",
    "load_picture",
    "probe",
    "save_picture",
    "split_shots",
    "take_back",
]

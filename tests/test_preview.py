"""Which frames of a clip stand for it."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY, Vidstyle
from tests.video.made_clips import encoded, make_clip
from tests.video.test_bars import barred
from tests.video.test_shots import moving
from vidstyle.preview import GAP, sample_frames
from vidstyle.settings import ClipSettings
from vidstyle.video import load_picture


@pytest.mark.parametrize(
    ("frames", "count", "part", "expected"),
    [
        (1, 3, ClipSettings(), [0]),
        (3, 3, ClipSettings(), [0, 1, 2]),
        (4, 3, ClipSettings(), [0, 2, 3]),
        (12, 2, ClipSettings(), [3, 9]),
        (12, 2, ClipSettings(start=0.16, end=0.32), [5, 7]),
    ],
)
def test_frames_from_the_middles_of_stretches(
    tmp_path: Path, frames: int, count: int, part: ClipSettings, expected: list[int]
) -> None:
    """Of 25 a second; frame n has level 40 + 4n, 40 more in a quarter of it."""
    clip = make_clip(tmp_path / "a.mkv", frames, codec="ffv1")
    levels = [frame.image.mean() * 255 for frame in sample_frames(clip, count, part)]
    assert [round((level - 50) / 4) for level in levels] == expected


def test_black_bars_are_left_out(vidstyle: Vidstyle, tmp_path: Path, painting: Path) -> None:
    source = encoded(tmp_path / "a.mp4", barred(moving(1, 8)))
    done = vidstyle("preview", source, "--style", painting, "--count", "1", "-o", "b.png", *TINY)
    assert done.status == 0, done.err
    sheet = load_picture(Path("b.png"))
    below = sheet[120 + GAP :]
    assert below.shape == (120, 160, 3) and below[16:104].mean() > 0.2
    for bar in (slice(16), slice(104, 120)):
        assert np.array_equal(below[bar], sheet[:120][bar])

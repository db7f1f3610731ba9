"""Interlaced clips: two moments in every frame, of which one is kept whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.made_clips import make_clip, picture_times
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader

WIDTH, HEIGHT, SPEED = 128, 64, 4  # pixels a field


def field(moment: int) -> np.ndarray:
    """(H, W): a bright bar on grey, `SPEED` further to the right at every moment."""
    picture = np.full((HEIGHT, WIDTH), 80, np.uint8)
    picture[:, 8 + SPEED * moment :][:, :24] = 200
    return picture


def interlaced(path: Path, frames: int = 10, pts: list[int] | None = None) -> Path:
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("libx264", rate=25, options={"x264-params": "bff=1", "crf": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = video.codec_context
        context.time_base, context.gop_size = Fraction(1, 1000), 4
        context.colorspace = context.color_primaries = context.color_trc = 1
        for index in range(frames):
            # The lower field comes first: that is what x264 writes of unmarked frames.
            luma = field(2 * index + 1)
            luma[1::2] = field(2 * index)[1::2]
            planes = np.concatenate([luma, np.full((HEIGHT // 2, WIDTH), 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts = pts[index] if pts else 40 * index
            frame.time_base = Fraction(1, 1000)
            clip.mux(video.encode(frame))
        clip.mux(video.encode(None))
    return path


def combing(picture: np.ndarray) -> float:
    """How unlike neighbouring rows are."""
    return float(np.abs(np.diff(picture[8:-8], axis=0)).mean())


def test_fields_become_one_picture_at_the_same_time(tmp_path: Path) -> None:
    pts = [0, 40, 81, 120, 177, 200, 240, 280, 333, 360]
    path = interlaced(tmp_path / "a.mp4", pts=pts)
    with av.open(str(path)) as clip:
        raw = [frame.to_ndarray()[:HEIGHT] / 255 for frame in clip.decode(video=0)]
    with ClipReader(path) as reader:
        frames = list(reader)
        assert [frame.pts * frame.time_base for frame in frames] == picture_times(path)
        assert reader.warnings == [
            "the clip is interlaced: its fields were made one picture a frame (bwdif)"
        ]
        assert (reader.info.colour.matrix, reader.info.colour.full_range) == (1, False)
    for index, (coded, frame) in enumerate(zip(raw, frames, strict=True)):
        assert combing(frame.image[..., 1]) < 0.25 * combing(coded)
        if 0 < index < 9:
            bar = frame.image[HEIGHT // 2, :, 1] > 0.55  # of 80 and 200, both in limited range
            assert abs(np.flatnonzero(bar)[0] - (8 + 2 * SPEED * index)) <= SPEED / 2


@pytest.mark.parametrize("start", [0.08, 0.2, 0.36])
def test_a_part_begins_where_it_should(tmp_path: Path, start: float) -> None:
    with ClipReader(interlaced(tmp_path / "a.mp4"), ClipSettings(start=start)) as reader:
        frames = list(reader)
    assert frames[0].pts_seconds == pytest.approx(start)
    assert len(frames) == 10 - round(start * 25)


def test_progressive_clips_are_left_alone(tmp_path: Path) -> None:
    with ClipReader(make_clip(tmp_path / "a.mp4", 5)) as reader:
        assert len(list(reader)) == 5
    assert reader.warnings == []

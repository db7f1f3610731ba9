"""Where colour samples lie among the others (chroma siting), by FFmpeg's names.

swscale goes by frames' marks, which PyAV neither shows nor sets: a filter sets them, and what
swscale does with a planted ramp shows them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter

from vidstyle.video.planes import PixelLayout, read_planes, resample

LEFT: Final = "left"  # on the left of two columns, between two rows: what silence means
CENTRE: Final = "center"
_PLACES: Final = {
    (0.0, 0.5): LEFT,
    (0.5, 0.5): CENTRE,
    (0.0, 0.0): "topleft",
    (0.5, 0.0): "top",
    (0.0, 1.0): "bottomleft",
    (0.5, 1.0): "bottom",
}
_HALVED: Final = ((2, 1), (2, 2))  # 4:2:2 and 4:2:0; others are left as swscale takes them
# Codecs whose decoders do not say, and swscale takes silence for the centre. Decoders of others
# that are in the centre do say so.
_SILENT: Final = frozenset({
    "vp8", "vp9", "av1", "prores", "dnxhd", "cfhd", "ffv1", "huffyuv", "ffvhuff", "utvideo",
    "magicyuv", "v210", "rawvideo",
})  # fmt: skip
_CENTRED: Final = frozenset({"mpeg1video", "mjpeg", "h261", "h263", "h263p", "flv", "libtheora"})
_STEP: Final = 8  # levels between neighbouring samples of the ramp: a half is seen in 8 bits


class Marker:
    """Frames → the same samples, marked."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._graph = Graph()
        self._kind: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._kind:
            self._graph, self._kind = self._build(frame), kind
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        graph.threads = 1  # no pixel is touched
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
        )
        mark = graph.add("setparams", f"chroma_location={self._place}")
        graph.link_nodes(source, mark, graph.add("buffersink")).configure()
        return graph


def is_halved(layout: PixelLayout) -> bool:
    """Whether two pixels beside one another share a colour sample."""
    return layout.unit in _HALVED


def place_read(frame: av.VideoFrame, codec: str, container: str) -> str | None:
    """Where a decoded frame's samples lie; none where its layout has no choice."""
    layout = PixelLayout(frame.format.name)
    if not is_halved(layout):
        return None
    place = _marked_place(frame)
    silent = codec in _SILENT and container != "yuv4mpegpipe"  # whose headers say
    silent = silent or (codec == "hevc" and layout.unit == (2, 1))
    return LEFT if silent and place == CENTRE else place


def place_written(codec: str) -> str:
    """Where players look unless the file says otherwise."""
    return CENTRE if codec in _CENTRED else LEFT


def _marked_place(frame: av.VideoFrame) -> str:
    reformatter, side = VideoReformatter(), 16
    ramp = reformatter.reformat(frame, 2 * side, 2 * side, "yuv420p")  # it keeps the mark
    luma, down, across = read_planes(ramp)
    levels = np.arange(side, dtype=np.uint8) * _STEP + 64
    luma[:], down[:], across[:] = 128, levels[:, None], levels
    whole = read_planes(resample(reformatter, ramp, "yuv444p"))
    below, right = (float(whole[part][side, side]) - 64 for part in (1, 2))
    x, y = (round(2 * (side - 2 * found / _STEP)) / 2 for found in (right, below))
    return _PLACES.get((x, y), CENTRE)

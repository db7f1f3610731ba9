"""Full colour → 256 colours, for GIF."""

from __future__ import annotations

from typing import cast

import av
from av.filter import Graph


class Palette:
    """FFmpeg's palettegen and paletteuse: each frame gets the palette that suits it best."""

    def __init__(self) -> None:
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Any R'G'B' frame, of the first one's size and format → pal8."""
        if self._graph is None:
            self._graph = _build(frame)
        self._graph.vpush(frame)
        return cast(av.VideoFrame, self._graph.vpull())


def _build(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    split, choose = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    # An ordered pattern: error diffusion would crawl from frame to frame.
    use, sink = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(choose, 0, 0)
    split.link_to(use, 1, 0)
    choose.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph

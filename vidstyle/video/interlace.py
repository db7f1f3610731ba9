"""Two fields woven into one frame, apart in time, become one picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph


class Deinterlacer:
    """FFmpeg's bwdif: a picture for every frame, at its own time.

    Frames pass untouched until the first that is marked interlaced, and all that are not so
    marked; from there on one frame is held back.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.active = False
        self._time_base = time_base
        self._graph: Graph | None = None
        self._kind: tuple[int, int, str] | None = None

    def feed(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """A frame with its `pts` → those that have become ready."""
        self.active = self.active or frame.interlaced_frame
        if not self.active:
            yield frame
            return
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._kind:
            yield from self.finish()
            self._graph, self._kind = self._build(frame), kind
        assert self._graph is not None
        frame.time_base = self._time_base
        self._graph.vpush(frame)
        yield from self._ready()

    def finish(self) -> Iterator[av.VideoFrame]:
        """What is held back."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        weave = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        graph.link_nodes(source, weave, graph.add("buffersink")).configure()
        return graph

    def _ready(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            # The filter counts in half ticks, for the second field.
            assert frame.pts is not None and frame.time_base is not None
            frame.pts = int(frame.pts * frame.time_base / self._time_base)
            frame.duration = int(frame.duration * frame.time_base / self._time_base)
            frame.time_base = self._time_base
            yield frame

"""A function of tensors, recorded as a CUDA graph and played again: one launch for hundreds.

What a small network's step costs a large GPU is the launching, and Python's way to each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

WARM_UP = 3  # calls before one is recorded, in which libraries choose kernels and get room for them
WORTH = 16  # calls that are to come: to record takes as long as some, and memory
CLOSE = 1e-2  # of the largest value: what a recording may differ, its sums being in another order

RECORDING = Lock()  # one at a time, in all of the process

Tensors = Mapping[str, Tensor]
Call = Callable[[Tensors], Sequence[Tensor]]


class Room(NamedTuple):
    """What recordings share: their memory, and the stream they are made on."""

    pool: Any
    stream: torch.cuda.Stream

    @classmethod
    def on(cls, device: torch.device) -> Room:
        with torch.cuda.device(device):
            return cls(torch.cuda.graph_pool_handle(), torch.cuda.Stream())

    def leave(self) -> None:
        """After a recording that failed: torch before 2.13 would go on filling its memory."""
        with suppress(AttributeError, RuntimeError):
            torch._C._cuda_endAllocateToPool(self.stream.device.index, self.pool)
            torch._C._cuda_releasePool(self.stream.device.index, self.pool)


class Replay:
    """`call` of tensors shaped as `inputs`, all on one CUDA device, recorded.

    Nothing in it may wait for the device. Raises `RuntimeError` where that cannot be recorded, or
    where what is played differs from what was called.
    """

    def __init__(self, call: Call, inputs: Tensors, room: Room) -> None:
        self._inputs = {name: tensor.detach().clone() for name, tensor in inputs.items()}
        self._graph = torch.cuda.CUDAGraph()
        pool, stream = room
        with torch.cuda.device(stream.device):
            usual = torch.cuda.current_stream()
            try:
                expected = self._warmed_up(call, usual, stream)
                # Others may use the device meanwhile: to look for motion, and to judge.
                mode = "thread_local"
                with torch.cuda.graph(self._graph, pool, stream, capture_error_mode=mode):
                    self._outputs = list(call(self._inputs))
            finally:
                torch.cuda.set_stream(usual)  # which a recording that fails does not
        for made, once in zip(self(inputs), expected, strict=True):
            # Not `>`: nothing that is no number is close.
            if not float((made - once).abs().max()) <= CLOSE * float(once.abs().max()):
                raise RuntimeError("what was recorded gives another result than what was called")

    def _warmed_up(
        self, call: Call, usual: torch.cuda.Stream, stream: torch.cuda.Stream
    ) -> list[Tensor]:
        """What is called on the stream that will be recorded."""
        stream.wait_stream(usual)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                outputs = list(call(self._inputs))
        usual.wait_stream(stream)
        return outputs

    def __call__(self, inputs: Tensors) -> list[Tensor]:
        """`call` of these and, for what is not given, the last ones that were.

        Gives the same tensors every time, which the next call overwrites.
        """
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor.detach())
        self._graph.replay()
        return self._outputs


class Replays:
    """Recordings of calls that their settings tell apart, in memory that they share.

    They are played one at a time. A call is recorded when it is WORTH it at once, or is asked for
    the second time: before that it may not come again. Where one cannot be, none is any more, and
    `warnings` says so.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._asked = set[Hashable]()
        self._made: dict[Hashable, Replay] = {}
        self._room: Room | None = None

    def find(
        self, settings: Hashable, call: Call, inputs: Tensors, times: int = 1
    ) -> Replay | None:
        """For so many calls now. None where there is no recording yet, or cannot be."""
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in inputs.items())
        key = (settings, shapes)
        if self.warnings:
            return None
        if key in self._made:
            return self._made[key]
        if key not in self._asked and times < WORTH:
            self._asked.add(key)
            return None
        try:
            self._room = self._room or Room.on(next(iter(inputs.values())).device)
            with RECORDING:
                self._made[key] = Replay(call, inputs, self._room)
        except RuntimeError as error:
            self._give_up(error)
            return None
        return self._made[key]

    def _give_up(self, error: RuntimeError) -> None:
        # What leaving a recording raises says only that something was raised before.
        cause = error.__context__ or error
        reason = str(cause).splitlines()[0].partition(". ")[0]
        self.warnings.append(f"without CUDA graphs, which is slower: {reason}")
        self.forget()

    def forget(self) -> None:
        """Gives back the memory of all recordings: what is asked for again is recorded again."""
        self._made.clear()
        if self._room is not None:
            self._room.leave()
            self._room = None

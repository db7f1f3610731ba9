"""Stages that work at the same time, so that a frame costs the slowest of them, not their sum.

Decoding, optical flow, encoding and judging are compiled code, which lets other threads run. Each
stage has one thread, so that its order is that of a loop; what waits between two is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Final, ParamSpec, TypeVar

ROOM: Final = 3  # frames between two stages: enough to even out slow ones, small beside a step

T = TypeVar("T")
P = ParamSpec("P")
_END: Final = object()


@contextmanager
def ahead(items: Iterable[T], room: int = ROOM) -> Iterator[Iterator[T]]:
    """`items`, made by a thread, at most `room` before they are asked for.

    What making one raises is raised where it is asked for. On leaving the thread has ended: by
    then at most the item at hand is finished, those that wait are forgotten.
    """
    source = iter(items)
    with _one_thread() as thread:
        waiting = deque(thread.submit(next, source, _END) for _ in range(room))

        def taken() -> Iterator[T]:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, source, _END))
                yield item  # type: ignore[misc]  # mypy cannot tell _END from a T

        yield taken()


@contextmanager
def behind(consume: Callable[P, object], room: int = ROOM) -> Iterator[Callable[P, None]]:
    """A function that has `consume` called by a thread, in order, while at most `room` calls wait.

    What a call raises is raised by one of the next, or on leaving, and none is made after it. On
    leaving all have been made; with an exception those that wait are forgotten.
    """
    waiting: deque[Future[None]] = deque()
    failed = Event()

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        if failed.is_set():
            return
        try:
            consume(*arguments, **named)
        except BaseException:
            failed.set()
            raise

    with _one_thread() as thread:

        def put(*arguments: P.args, **named: P.kwargs) -> None:
            while waiting and (len(waiting) >= room or waiting[0].done()):
                waiting.popleft().result()
            waiting.append(thread.submit(call, *arguments, **named))

        yield put
        while waiting:
            waiting.popleft().result()


@contextmanager
def _one_thread() -> Iterator[ThreadPoolExecutor]:
    """Ended on leaving: what it has not begun, it never will."""
    thread = ThreadPoolExecutor(1)
    try:
        yield thread
    finally:
        thread.shutdown(cancel_futures=True)

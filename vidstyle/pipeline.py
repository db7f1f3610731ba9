"""Stages that work at the same time, so that a frame costs the slowest of them, not their sum.

Decoding, optical flow, encoding and judging are compiled code, which lets other threads run. Each
stage has one thread, so that its order is that of a loop; what waits between two is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Final, ParamSpec, TypeVar

ROOM: Final = 3  # frames between two stages: enough to even out slow ones, small beside a step

T = TypeVar("T")
P = ParamSpec("P")
_END: Final = object()


@contextmanager
def ahead(items: Iterable[T], room: int = ROOM) -> Iterator[Iterator[T]]:
    """`items`, made by a thread, at most `room` before they are asked for.

    The first is made when it is asked for, by who asks: finding it may take long, as the way to a
    late start in a clip does, and only the main thread can be stopped by a signal. What making one
    raises is raised where it is asked for. On leaving the thread has ended: the item at hand is
    finished, those that wait are forgotten.
    """
    source = iter(items)
    with _thread() as begin:

        def taken() -> Iterator[T]:
            item = next(source, _END)
            waiting = deque(begin(next, source, _END) for _ in range(room))
            while item is not _END:
                yield item  # type: ignore[misc]  # mypy cannot tell _END from a T
                item = waiting.popleft().result()
                waiting.append(begin(next, source, _END))

        yield taken()


@contextmanager
def behind(consume: Callable[P, object], room: int = ROOM) -> Iterator[Callable[P, None]]:
    """A function that has `consume` called by a thread, in order, while at most `room` calls wait.

    What a call raises is raised by one of the next, or on leaving, and none is made after it. On
    leaving all have been made; with an exception those that wait are forgotten.
    """
    waiting: deque[Future[Any]] = deque()
    failed = Event()

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        if failed.is_set():
            return
        try:
            consume(*arguments, **named)
        except BaseException:
            failed.set()
            raise

    with _thread() as begin:

        def put(*arguments: P.args, **named: P.kwargs) -> None:
            while waiting and (len(waiting) >= room or waiting[0].done()):
                waiting.popleft().result()
            waiting.append(begin(call, *arguments, **named))

        yield put
        while waiting:
            waiting.popleft().result()


@contextmanager
def _thread() -> Iterator[Callable[..., Future[Any]]]:
    """A function that has calls made by one thread; on leaving it has ended.

    `concurrent.futures` has its threads refuse work as soon as the main thread has ended, which
    would break off a render in another thread.
    """
    calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
    left = Event()

    def begin(call: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        calls.put((future, lambda: call(*arguments, **named)))
        return future

    def work() -> None:
        while (given := calls.get()) is not None:
            future, call = given
            if left.is_set():
                continue  # nobody asks for it any more
            try:
                future.set_result(call())
            except BaseException as error:  # raised where the result is asked for
                future.set_exception(error)
            del given, future, call  # or a frame is kept while nothing is asked for

    thread = Thread(target=work, name="vidstyle stage")
    try:
        thread.start()
        yield begin
    finally:
        calls.put(None)  # first: a signal may come between the two, and then it still ends
        left.set()
        if thread.ident is not None:
            thread.join()

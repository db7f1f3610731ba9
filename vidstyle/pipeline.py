"""Stages that work at the same time, so that a frame costs the slowest of them, not their sum.

Decoding, optical flow, encoding and judging are compiled code, which lets other threads run. Each
stage keeps the order of a loop, by one thread or in turns; what waits between two is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Final, Generic, ParamSpec, TypeVar

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
    try:
        with _thread() as begin:

            def taken() -> Iterator[T]:
                item = next(source, _END)
                waiting = deque(begin(next, source, _END) for _ in range(room))
                while item is not _END:
                    yield item  # type: ignore[misc]  # mypy cannot tell _END from a T
                    item = waiting.popleft().result()
                    waiting.append(begin(next, source, _END))

            yield taken()
    finally:
        if isinstance(source, Generator):  # or it would wait, with threads of its own, to be found
            with suppress(ValueError):  # it is at work: a signal has come while that was waited for
                source.close()


class Behind(Generic[P]):
    """Has calls made by a thread, in order, while at most `room` wait: see `behind`."""

    def __init__(
        self, consume: Callable[P, object], room: int, begin: Callable[..., Future[Any]]
    ) -> None:
        self.room = room
        self._consume, self._begin = consume, begin
        self._waiting: deque[Future[Any]] = deque()
        self._failed = Event()

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> None:
        while self._waiting and (len(self._waiting) >= self.room or self._waiting[0].done()):
            self._wait_for_one()
        self._waiting.append(self._begin(self._call, *arguments, **named))

    def wait(self) -> None:
        """Until all calls have been made; raises what one of them has raised."""
        while self._waiting:
            self._wait_for_one()

    def _wait_for_one(self) -> None:
        first = self._waiting[0]
        try:
            first.result()
        finally:
            if first.done():  # else a signal has come
                self._waiting.popleft()

    def _call(self, *arguments: P.args, **named: P.kwargs) -> None:
        if self._failed.is_set():
            return
        try:
            self._consume(*arguments, **named)
        except BaseException:
            self._failed.set()
            raise


@contextmanager
def behind(consume: Callable[P, object], room: int = ROOM) -> Iterator[Behind[P]]:
    """A function that has `consume` called by a thread, in order, while at most `room` calls wait.

    What a call raises is raised by one of the next, or on leaving, and none is made after it. On
    leaving all have been made; with an exception those that wait are forgotten.
    """
    with _thread() as begin:
        put = Behind(consume, room, begin)
        yield put
        put.wait()


@contextmanager
def side_by_side(
    prepare: Callable[[T], object], items: Iterable[T], threads: int
) -> Iterator[Iterator[T]]:
    """`items` in order, each when `prepare` has been called with it: by so many threads at once.

    What that raises, or making an item, is raised where the item is asked for.
    """
    with ExitStack() as stack:
        workers = cycle([stack.enter_context(_thread()) for _ in range(threads)])

        def prepared() -> Iterator[T]:
            waiting = deque[tuple[T, Future[Any]]]()
            source, broken = iter(items), None
            while True:
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:  # raised in its turn, after what came before it
                    broken = error
                    break
                waiting.append((item, next(workers)(prepare, item)))
                if len(waiting) > threads:
                    yield _when_done(*waiting.popleft())
            while waiting:
                yield _when_done(*waiting.popleft())
            if broken is not None:
                raise broken

        yield prepared()


def _when_done(item: T, done: Future[Any]) -> T:
    done.result()
    return item


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

    # A daemon: who drops a generator half way must not find the end of Python waiting for it.
    thread = Thread(target=work, name="vidstyle stage", daemon=True)
    try:
        thread.start()
        yield begin
    finally:
        calls.put(None)  # first: a signal may come between the two, and then it still ends
        left.set()
        if thread.ident is not None:
            thread.join()

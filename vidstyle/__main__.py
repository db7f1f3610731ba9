"""The `vidstyle` command, also as python -m vidstyle."""

import atexit
import os
import signal
import sys
from contextlib import suppress


def start() -> None:
    """Ctrl-C ends it quietly even before the command line can be read."""
    stopped: list[int] = []
    atexit.register(_skip_the_rest, stopped)  # the first to be registered is the last to run
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from vidstyle.cli import main

    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:
            stopped.append(stop.code)
        raise


def _end(number: int, frame: object) -> None:
    # Not by an exception: some that are raised while modules load are lost.
    sys.stderr.write("interrupted\n")
    os._exit(128 + number)


def _skip_the_rest(stopped: list[int]) -> None:
    """After a signal: taking torch apart is a second of computing, ten on a busy machine."""
    if stopped:
        with suppress(OSError, ValueError):  # nobody may read it any more
            sys.stdout.flush()
        os._exit(stopped[0])


if __name__ == "__main__":
    start()

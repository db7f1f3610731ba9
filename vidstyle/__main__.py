"""The `vidstyle` command, also as python -m vidstyle."""

import os
import signal
import sys


def start() -> None:
    """Ctrl-C ends it quietly even before the command line can be read."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from vidstyle.cli import main

    main()


def _end(number: int, frame: object) -> None:
    # Not by an exception: some that are raised while modules load are lost.
    sys.stderr.write("interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    start()

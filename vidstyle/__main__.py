"""The `vidstyle` command, also as python -m vidstyle."""

import sys


def start() -> None:
    """Ctrl-C ends it quietly even before the command line can be read."""
    try:
        from vidstyle.cli import main
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()

"""`python -m ttfs_analog` is the same as `ttfs-analog`."""

from __future__ import annotations

import os
import signal
import sys

STOPS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Entry point of both.

    Modules take a while to load, and nothing is lost by ending there: a signal does so at once, with the exit
    code that it has later on.
    """
    before = {stop: signal.getsignal(stop) for stop in STOPS}
    for stop, handler in before.items():
        if handler is not signal.SIG_IGN:  # of a job in the background
            signal.signal(stop, _leave)
    from ttfs_analog.cli.app import main as run

    for stop, handler in before.items():
        signal.signal(stop, handler)
    return run()


def _leave(signum: int, frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())

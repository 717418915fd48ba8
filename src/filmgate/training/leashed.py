"""Runs a module of ours as ``python -m`` does, until it ends or until whoever started it is gone.

    python -m filmgate.training.leashed MODULE [OPTION ...]

Standard input is a pipe of which nobody else holds the other end: when it closes, the program is told to end, and a
little later it has ended. So a driver that is killed leaves nothing that goes on training, and holds a GPU, for nobody.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 10.0
"""Seconds from being told to being gone: a program that has others of its own ends them in that time."""


def end_with(pipe: int) -> None:
    """End this process when the other end of ``pipe`` is closed."""
    while os.read(pipe, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def main() -> None:
    """Command line."""
    threading.Thread(target=end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    sys.argv[:] = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

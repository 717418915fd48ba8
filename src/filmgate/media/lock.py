"""A directory that one process at a time holds.

The operating system takes the lock back when the process ends, however that happens: nobody has to ask whether a
process with some number still lives, and a number that was given to another one misleads nobody.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from filmgate.media.publish import writable

LOCK = "lock"
"""Name of the locked file in the directory."""


def hold(folder: Path, *, mode: int = 0o777) -> IO[bytes] | None:
    """Hold a directory until what is returned is closed; None while somebody else does, in this process or another.

    Args:
        folder: It is made if it is not there, its parents too.
        mode: Its permissions if it is made.

    Raises:
        OutputError: it cannot be written.
    """
    while True:
        with writable(folder):
            folder.mkdir(mode, parents=True, exist_ok=True)
            try:
                lock = (folder / LOCK).open("ab")
            except FileNotFoundError:
                continue  # whoever held it threw it away in between
        if not _locked(lock):
            lock.close()
            return None
        if _is_at(lock, folder / LOCK):
            return lock
        lock.close()


def _locked(file: IO[bytes]) -> bool:
    """Lock an open file, if nobody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file still has its name: it may have been thrown away before it was locked."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

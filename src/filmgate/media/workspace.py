"""The hidden directory beside a video in which its files are made, and what killed processes left of such.

It is called ``.STEM.HEX.part`` and held by its process, so that the next one sees by the lock alone which of those
beside a name are given up, whether a run was written down or not.
"""

from __future__ import annotations

import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filmgate.media.deliver import interrupted, settle
from filmgate.media.lock import hold
from filmgate.media.publish import writable
from filmgate.spec import OutputError

_TRIES = 3
_SCRATCH = ("mp4", "png", "json", "preview.png")
"""Endings of files that are written beside a video before they get their name."""


class Workspace:
    """A directory that this process holds; made by :func:`open_workspace`."""

    def __init__(self, path: Path, lock: IO[bytes] | None) -> None:
        self.path = path
        self._lock = lock

    def remove(self) -> None:
        """Take it away, and all that is in it."""
        _remove(self.path, self._lock)
        self._lock = None


def open_workspace(video: Path) -> Workspace:
    """A workspace for ``video``, empty but for its lock.

    Raises:
        OutputError: it cannot be written there.
    """
    for _ in range(_TRIES):  # a name is lost to who sweeps between its making and its locking
        path = _fresh(video)
        with writable(video):  # refused by the name that was asked for
            path.mkdir(mode=0o700)
        lock = hold(path)
        if lock is not None:
            return Workspace(path, lock)
    # A file system without locks: nobody can hold anything there, and so nobody sweeps.
    path = _fresh(video)
    with writable(video):
        path.mkdir(mode=0o700)
    return Workspace(path, None)


def sweep(video: Path) -> None:
    """Take away every workspace of ``video`` that nobody holds, its delivery put right, and files half written beside
    it if nobody holds any.

    Raises:
        OutputError: half a delivery cannot be taken back.
    """
    alive = False
    for path in _workspaces(video):
        try:
            lock = hold(path)
        except OutputError:
            lock = None  # somebody else's, who may enter it
        if lock is None:
            alive = True
            continue
        try:
            settle(path)
        finally:
            _remove(path, lock)
    if not alive:
        endings = "|".join(map(re.escape, _SCRATCH))
        for path in _siblings(video, rf"\.(?:{endings})\.[0-9a-f]{{8}}\.part"):
            if path.is_file():
                path.unlink(missing_ok=True)


def half_delivered(video: Path) -> bool:
    """Whether a delivery of ``video`` was begun and its workspace is there yet: files that are in the way may go when
    it is put right."""
    return any(interrupted(path) for path in _workspaces(video))


def _fresh(video: Path) -> Path:
    return video.with_name(f".{video.stem}.{secrets.token_hex(4)}.part")


def _workspaces(video: Path) -> list[Path]:
    return [path for path in _siblings(video, r"\.[0-9a-f]{8}\.part") if path.is_dir()]


def _siblings(video: Path, pattern: str) -> Iterator[Path]:
    """Hidden entries beside ``video`` that are called after it, by what follows its stem."""
    if not video.parent.is_dir():
        return
    wanted = re.compile(rf"\.{re.escape(video.stem)}{pattern}")
    yield from sorted(path for path in video.parent.iterdir() if wanted.fullmatch(path.name))


def _remove(path: Path, lock: IO[bytes] | None) -> None:
    if lock is not None and sys.platform == "win32":
        lock.close()  # a directory with open files has a name for ever there
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        lock.close()

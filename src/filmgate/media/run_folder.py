"""The directory of a run that is not finished: who is at it, where its files were to go, and what is kept of it.

It is called after the fingerprint of its plan. One process at a time holds it, by a lock that the operating system
takes back when the process ends, however that happens. What backends keep in it is theirs.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from filmgate.media.lock import LOCK, hold
from filmgate.media.publish import write_bytes
from filmgate.spec import Frozen, Plan

_NOTE, _DISCARDED = "run.json", ".discarded-"
_KEY_LENGTH = 40
KEPT_DAYS = 7
"""A run that nobody went on with for so long is thrown away when the next one begins."""


class RunNote(Frozen):
    """What was to become of a run. Paths are absolute. ``workspace`` is the directory of unfinished files, which may be
    gone already or not be there yet; ``delivered`` the manifest, once all files have their names."""

    plan: Plan
    output: str
    sheet: str | None
    overwrite: bool
    workspace: str
    delivered: str | None = None


class RunFolder:
    """A run's directory while this process holds it; made by :func:`claim`."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock

    def note(self) -> RunNote | None:
        """What an earlier process, or this one, wrote down."""
        return read_note(self.path)

    def write_note(self, note: RunNote) -> None:
        """Write down what is to become of the run.

        Raises:
            OutputError: the disk is full.
        """
        write_bytes(self.path / _NOTE, note.model_dump_json().encode())

    @property
    def holds_state(self) -> bool:
        """Whether a backend left anything to go on from."""
        return any(entry.name not in (_NOTE, LOCK) and not entry.name.startswith(".") for entry in self.path.iterdir())

    def release(self) -> None:
        """Let another process have it."""
        self._lock.close()

    def discard(self) -> None:
        """Throw it away. It is gone in one moment; that its contents go takes longer and may be finished by others."""
        gone = self.path.with_name(_DISCARDED + secrets.token_hex(8))
        if sys.platform == "win32":
            self._lock.close()  # a directory with open files has a name for ever there
        with contextlib.suppress(OSError):
            self.path.rename(gone)
        self._lock.close()
        shutil.rmtree(gone, ignore_errors=True)


def folder_of(runs: Path, plan: Plan) -> Path:
    """Where the run of a plan is kept among all ``runs``."""
    return runs / plan.fingerprint[:_KEY_LENGTH]


def read_note(folder: Path) -> RunNote | None:
    """The note of a run; None if there is none that this version can read."""
    try:
        return RunNote.model_validate_json((folder / _NOTE).read_bytes())
    except (OSError, ValidationError):
        return None


def claim(folder: Path) -> RunFolder | None:
    """Hold a run's directory, which is made if it is not there; None while another process, or another run in this one,
    holds it.

    Raises:
        OutputError: it cannot be written.
    """
    lock = hold(folder)
    if lock is None:
        return None
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
    return RunFolder(folder, lock)


def stale(runs: Path, *, days: float = KEPT_DAYS) -> Iterator[RunFolder]:
    """Runs that nobody holds or went on with for some days, held now. What is left of discarded ones is taken away."""
    if not runs.is_dir():
        return
    for entry in sorted(runs.iterdir()):
        if entry.name.startswith(_DISCARDED):
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.is_dir() and time.time() - entry.stat().st_mtime > days * 86400:
            folder = claim(entry)
            if folder is not None:
                yield folder


def notes(runs: Path) -> list[RunNote]:
    """Every run that is not finished and that nobody holds, the latest last."""
    folders = [entry for entry in runs.iterdir() if read_note(entry) is not None] if runs.is_dir() else []
    found = []
    for path in sorted(folders, key=lambda path: (path.stat().st_mtime, path.name)):
        folder = claim(path)
        if folder is not None:
            found.append(folder.note())
            folder.release()
    return [note for note in found if note is not None]

"""A file appears complete or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filmgate.spec import OutputError


@contextmanager
def scratch(destination: Path) -> Iterator[Path]:
    """An empty file in the destination's directory, for as long as the body runs; the body may rename it away.

    Raises:
        OutputError: the directory is missing or not writable, or the destination has no name.
    """
    if not destination.name:
        raise OutputError(f"{destination} cannot be written: it is a directory", allowed="a file in a directory")
    part = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
    with writable(destination):
        part.touch(exist_ok=False)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def replace(part: Path, destination: Path) -> None:
    """Give a finished file its name, once its bytes are on the disk.

    Raises:
        OutputError: the disk is full after all, or ``destination`` is a directory.
    """
    with writable(destination):
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(destination)


def write_bytes(destination: Path, data: bytes) -> None:
    """Publish ``data`` at ``destination``; a file that is there is replaced.

    Raises:
        OutputError: the directory is missing or not writable, or the disk is full.
    """
    with scratch(destination) as part:
        with writable(destination):
            part.write_bytes(data)
        replace(part, destination)


@contextmanager
def writable(destination: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn what the operating system (or a library, by the classes ``also``) says about a write into OutputError."""
    kinds: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OutputError(
            f"{destination} cannot be written: {reason}",
            allowed="an existing, writable directory with enough free space",
        ) from error

"""SHA-256 of weight files, remembered between runs. Without torch.

A hash is remembered with the file's size and time of change. A file that changed less than two seconds ago is hashed
but not remembered: it could change again without its time telling.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TypedDict

from filmgate.engine.checkpoints.describe import place_in, read_parts
from filmgate.engine.checkpoints.records import file_size
from filmgate.media.publish import write_bytes
from filmgate.spec.errors import DamagedFile, OutputError
from filmgate.spec.model import ModelDescription
from filmgate.spec.take import FileRecord

CACHE = "sha256.json"
_SETTLED_NS = 2_000_000_000


class _Entry(TypedDict):
    size: int
    mtime_ns: int
    sha256: str


def weight_records(model: ModelDescription, cache: Path | None = None) -> tuple[FileRecord, ...]:
    """Every weight file of a model with its size and hash, in the order of their paths.

    Args:
        model: Its directory is read again.
        cache: Directory in which hashes are remembered; None: hash everything.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    parts = read_parts(Path(model.path))
    root = parts.layout.root
    networks = [*parts.experts.values(), parts.text_encoder, parts.vae]
    networks += [] if parts.image_encoder is None else [parts.image_encoder]
    files = {file for records in networks for file in records.files}
    return tuple(
        FileRecord(
            role="weights",
            path=place_in(root, file),
            bytes=file.stat().st_size,
            sha256=sha256_of(file, cache),
        )
        for file in sorted(files)
    )


def sha256_of(path: Path, cache: Path | None = None) -> str:
    """SHA-256 of a file in hexadecimal, from ``cache`` (a directory) if it was hashed before and has not changed.

    A cache that cannot be read or written only costs time.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it changed while it was read.
    """
    file_size(path)
    key, before = str(path.resolve()), path.stat()
    known = _remembered(cache).get(key)
    if known is not None and (known["size"], known["mtime_ns"]) == (before.st_size, before.st_mtime_ns):
        return known["sha256"]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DamagedFile(path, "changed while it was read")
    if cache is not None and time.time_ns() - after.st_mtime_ns > _SETTLED_NS:
        _remember(cache, key, {"size": after.st_size, "mtime_ns": after.st_mtime_ns, "sha256": digest})
    return digest


def _remembered(cache: Path | None) -> dict[str, _Entry]:
    """All entries that are of the right form; none if the file is not there or was damaged."""
    if cache is None:
        return {}
    try:
        entries = json.loads((cache / CACHE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: entry for key, entry in entries.items() if _is_entry(entry)} if isinstance(entries, dict) else {}


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and {name: type(value) for name, value in entry.items()} == {
        "size": int,
        "mtime_ns": int,
        "sha256": str,
    }


def _remember(cache: Path, key: str, entry: _Entry) -> None:
    # Read again: another process may have added to it. If both write at once, one entry is lost and made again later.
    text = json.dumps(_remembered(cache) | {key: entry}, indent=1, sort_keys=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        write_bytes(cache / CACHE, text.encode())
    except (OSError, OutputError):
        return

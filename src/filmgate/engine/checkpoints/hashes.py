"""SHA-256 of weight files, remembered between runs. Without torch.

A hash is remembered with the file's size and time of change. A file that changed less than two seconds ago is hashed
but not remembered: it could change again without its time telling.

Places are remembered after their files have gone. So a file that says nothing of itself is known by one with the same
bytes whose name or folder told which expert it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from filmgate.engine.checkpoints.evidence import Evidence, comes_in_pairs, evidence_of, words
from filmgate.engine.checkpoints.records import WeightRecords, file_size
from filmgate.media.publish import write_bytes
from filmgate.spec.errors import DamagedFile, OutputError, WrongVariant
from filmgate.spec.model import ExpertName

CACHE = "sha256.json"
_SETTLED_NS = 2_000_000_000


class _Entry(TypedDict):
    size: int
    mtime_ns: int
    sha256: str


def sha256_of(path: Path, cache: Path | None = None) -> str:
    """SHA-256 of a file in hexadecimal, from ``cache`` (a directory) if it was hashed before and has not changed.

    A cache that cannot be read or written only costs time.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it changed while it was read.
    """
    file_size(path)
    key, before = str(path.resolve()), path.stat()
    if (known := _known(path, _remembered(cache))) is not None:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DamagedFile(path, "changed while it was read")
    if cache is not None and time.time_ns() - after.st_mtime_ns > _SETTLED_NS:
        _remember(cache, key, {"size": after.st_size, "mtime_ns": after.st_mtime_ns, "sha256": digest})
    return digest


def evidence_by_hash(records: WeightRecords, cache: Path | None) -> Evidence | None:
    """Which expert of a pair a transformer is, by what other places told that had a file of the same bytes; None if
    none did, if they contradict each other, or if its own files were never hashed. Nothing is hashed for it."""
    entries = _remembered(cache)
    if not entries or not comes_in_pairs(records.shapes):
        return None
    found = {}
    for file in records.files:
        own, digest = str(file.resolve()), _known(file, entries)
        for place, entry in entries.items():
            told = evidence_of(Path(place)) if place != own and entry["sha256"] == digest else None
            if told is not None:
                found[told.expert] = Evidence(told.expert, f"hash, which {place} had too")
    return next(iter(found.values())) if len(found) == 1 else None


def check_expert_by_hash(name: ExpertName, records: WeightRecords, cache: Path | None) -> None:
    """A file that says nothing of itself must not be used as one expert if its bytes are known as the other's.

    Raises:
        WrongVariant: they are.
    """
    if name == "dense" or evidence_of(records.source, records.metadata) is not None:
        return
    told = evidence_by_hash(records, cache)
    if told is not None and told.expert != name:
        raise WrongVariant(
            records.source, "the experts are exchanged", expected=words(name),
            found=f"{words(told.expert)} by its {told.by}",
        )  # fmt: skip


def _known(path: Path, entries: Mapping[str, _Entry]) -> str | None:
    """The hash that is remembered of a file, if it has not changed."""
    entry = entries.get(str(path.resolve()))
    if entry is None:
        return None
    now = path.stat()
    return entry["sha256"] if (entry["size"], entry["mtime_ns"]) == (now.st_size, now.st_mtime_ns) else None


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

"""The weight files of a model, each with its hash: what a video was made with. Without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from filmgate.engine.checkpoints.describe import Parts, place_in, read_parts
from filmgate.engine.checkpoints.hashes import check_expert_by_hash, sha256_of
from filmgate.engine.checkpoints.sidecar import SIDECAR
from filmgate.spec.errors import MissingFile
from filmgate.spec.model import ModelDescription
from filmgate.spec.take import FileRecord


def weight_records(model: ModelDescription, cache: Path | None = None) -> tuple[FileRecord, ...]:
    """Every weight file of a model with its size and hash, in the order of their paths.

    Args:
        model: Its directory is read again.
        cache: Directory in which hashes are remembered; None: hash everything.

    Raises:
        CheckpointError: a file is missing or damaged.
        WrongVariant: one expert is known by its hash as the other.
    """
    parts = read_parts(Path(model.path))
    root = parts.layout.root
    found = tuple(
        FileRecord(
            role="weights",
            path=place_in(root, file),
            bytes=file.stat().st_size,
            sha256=sha256_of(file, cache),
        )
        for file in _files(parts)
    )
    for name, records in parts.experts.items():
        check_expert_by_hash(name, records, cache)
    return found


def file_states(model: ModelDescription, others: Iterable[Path] = ()) -> tuple[tuple[str, int, int], ...]:
    """Path, size and time of change (ns) of every weight file of a model, its tokenizer and generation.json, and of
    ``others``: as long as these are equal, what was loaded is what would be loaded again.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    parts = read_parts(Path(model.path))
    files = [*_files(parts), parts.layout.tokenizer, parts.layout.root / SIDECAR, *others]
    try:
        stats = [(str(path), path.stat()) for path in files if path.exists()]
    except OSError as error:
        raise MissingFile(model.path, f"cannot be read: {error.strerror or error}") from error
    return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _files(parts: Parts) -> list[Path]:
    """The weight files, by path."""
    networks = [*parts.experts.values(), parts.text_encoder, parts.vae]
    networks += [] if parts.image_encoder is None else [parts.image_encoder]
    return sorted({file for records in networks for file in records.files})


def experts_hash(model: ModelDescription, cache: Path | None = None) -> str:
    """One SHA-256 for the transformers of a model: over those of their files, by expert.

    Args:
        model: Its directory is read again.
        cache: Directory in which hashes are remembered; None: hash everything.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    experts = read_parts(Path(model.path)).experts
    lines = [
        f"{name} {' '.join(sha256_of(file, cache) for file in sorted(records.files))}"
        for name, records in sorted(experts.items())
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

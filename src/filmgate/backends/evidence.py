"""Gates and calibrations on disk: those that come with a model, and those that were measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from filmgate.backends.hardware import hardware_line
from filmgate.backends.measurements import computing_versions
from filmgate.direction.acceleration import Evidence
from filmgate.direction.gates import rests_on_as_much
from filmgate.direction.gating import Facts
from filmgate.engine.checkpoints.hashed_weights import experts_hash
from filmgate.media.publish import write_bytes
from filmgate.spec import Calibration, Gate, ModelDescription, Plan

GATES, CALIBRATIONS = "gates", "calibrations"
"""Folders in the cache, with one file for each; and names of the lists that lie beside a model (``gates.json``)."""
Document = TypeVar("Document", Gate, Calibration)


def evidence_for(model: ModelDescription, cache: Path, beside: Sequence[Path] = ()) -> Evidence:
    """All that was measured with models of an architecture, and the hash of this one's weights.

    The weights are hashed only if there is anything to compare with; whoever measured it has hashed them, and hashes
    are remembered.

    Args:
        model: What will paint.
        cache: Where measurements of this machine lie.
        beside: Directories of models that come with some.

    Raises:
        CheckpointError: a file of the model is missing or damaged.
    """
    gates = [gate for gate in _all(Gate, GATES, cache, beside) if gate.scope.model == model.variant]
    calibrations = [one for one in _all(Calibration, CALIBRATIONS, cache, beside) if one.scope.model == model.variant]
    if not gates or not model.here:
        return Evidence("", gates, calibrations)
    return Evidence(experts_hash(model, cache), gates, calibrations)


def keep(document: Gate | Calibration, cache: Path) -> Path:
    """Store a measurement and return where. One of the same scope, and of the same recipe and profile, is replaced,
    unless it rests on more: then both stay, and whoever reads them weighs them.

    Raises:
        OutputError: the cache cannot be written.
    """
    path = place_of(document, cache)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    for other in sorted(folder.glob("*.json")):
        known = _read(Gate, other) if isinstance(document, Gate) else _read(Calibration, other)
        if any(_replaces(document, one) for one in known):
            other.unlink(missing_ok=True)
    write_bytes(path, (json.dumps(document.model_dump(mode="json"), indent=1) + "\n").encode())
    return path


def place_of(document: Gate | Calibration, cache: Path) -> Path:
    """Where a measurement is stored."""
    return cache / (GATES if isinstance(document, Gate) else CALIBRATIONS) / f"{document.id}.json"


def _replaces(new: Gate | Calibration, old: Gate | Calibration) -> bool:
    if new.scope != old.scope:
        return False
    if isinstance(new, Gate) and isinstance(old, Gate):
        return (new.recipe, new.profile) == (old.recipe, old.profile) and rests_on_as_much(new, old)
    return isinstance(new, Calibration) and isinstance(old, Calibration) and new.prompts >= old.prompts


def _all(kind: type[Document], name: str, cache: Path, beside: Sequence[Path]) -> Iterator[Document]:
    """Those that come with models first, so that what was measured here is newer."""
    for directory in beside:
        yield from _read(kind, directory / f"{name}.json")
    for path in sorted((cache / name).glob("*.json")):
        yield from _read(kind, path)


def _read(kind: type[Document], path: Path) -> list[Document]:
    """One document of a file, or a list of them. A file of another version says nothing: what it would allow is off,
    and the plan says that no gate was measured."""
    try:
        data = json.loads(path.read_bytes())
        found: tuple[Document, ...] = TypeAdapter(tuple[kind, ...]).validate_json(  # type: ignore[valid-type]
            json.dumps(data if isinstance(data, list) else [data])
        )
    except (OSError, ValueError, ValidationError):
        return []
    return list(found)


def facts_of(plan: Plan, cache: Path | None) -> Facts:
    """By what, when and where something is measured with a plan's model.

    Raises:
        CheckpointError: a file of the model is missing or damaged.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Facts(experts_hash(plan.model, cache), now, computing_versions(), hardware_line(plan.device))

"""What a roadmap is made from: the JSON that other commands print. Read with care, since people edit files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, cast

from pydantic import ValidationError

from filmgate.direction.upgrade import Upgrade
from filmgate.economics.assess import Assessment
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.shape import Frozen

_STATES = ("unchanged", "complete", "incomplete", "conflict", "error")
_COVERED = ("kept_exact", "kept_synonym", "approximated", "moved_to_request", "moved_to_negative")
_LARGEST = 256 * 1024 * 1024


class PromptFacts(Frozen):
    """What came of migrating prompts: how many of each state, and the lowest and mean share of required parts that came
    through, 0 ... 1."""

    unchanged: int = 0
    complete: int = 0
    incomplete: int = 0
    conflict: int = 0
    error: int = 0
    lowest_coverage: float = 1.0
    mean_coverage: float = 1.0

    @property
    def count(self) -> int:
        """All of them."""
        return self.unchanged + self.complete + self.incomplete + self.conflict + self.error

    @property
    def for_people(self) -> int:
        """Those that need a person."""
        return self.incomplete + self.conflict + self.error


class Inputs(Frozen):
    """Everything that is known; None: not given, and then assumed, and said so."""

    assessment: Assessment | None = None
    prompts: PromptFacts | None = None
    upgrade: Upgrade | None = None


def read_assessment(text: str) -> Assessment:
    """What ``filmgate assess --json`` prints.

    Raises:
        InvalidRequest: it is something else, or of another version.
    """
    return cast(Assessment, _noun(Assessment, text, "assessment", "filmgate assess --json"))


def read_upgrade(text: str) -> Upgrade:
    """What ``filmgate migrate config --json`` prints.

    Raises:
        InvalidRequest: it is something else, or of another version.
    """
    return cast(Upgrade, _noun(Upgrade, text, "config", "filmgate migrate config --json"))


def read_prompts(text: str) -> PromptFacts:
    """What ``filmgate migrate prompt`` prints with ``--json``, of one prompt or of a batch, or a batch's ``.jsonl``.

    Raises:
        InvalidRequest: it is something else.
    """
    records = _records(text)
    states: Counter[str] = Counter()
    coverages = []
    for number, record in enumerate(records, 1):
        state = record.get("status")
        if state not in _STATES:
            raise _wrong("prompts", f"prompt {number} has the status {state!r:.40}", "filmgate migrate prompt --json")
        states[str(state)] += 1
        if state != "error":
            coverages.append(_coverage(record, number))
    if not records:
        raise _wrong("prompts", "there are none", "filmgate migrate prompt --json")
    return PromptFacts(
        **{state: states[state] for state in _STATES},
        lowest_coverage=min(coverages, default=1.0),
        mean_coverage=fmean(coverages) if coverages else 1.0,
    )


def _noun(kind: Any, text: str, field: str, command: str) -> Any:
    if len(text) > _LARGEST:
        raise _wrong(field, f"it has {len(text)} characters", command)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise _wrong(field, what, command) from None


def _records(text: str) -> Sequence[Mapping[str, Any]]:
    """The prompts of a file: of a batch, of a batch written line by line, or the only one."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if isinstance(given, dict) and "prompts" in given:
        found = given["prompts"]
    elif isinstance(given, dict):
        found = [given.get("migration", given)]
    else:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise _wrong("prompts", f"it is no JSON: {error}", "filmgate migrate prompt --json") from None
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise _wrong("prompts", "it holds no prompts", "filmgate migrate prompt --json")
    return found


def _coverage(record: Mapping[str, Any], number: int) -> float:
    """The share that a record states, or that its ledger's entries amount to."""
    stated = record.get("coverage")
    if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 <= stated <= 1:
        return float(stated)
    ledger = record.get("ledger")
    entries: Iterable[Any] = ledger.get("entries", ()) if isinstance(ledger, dict) else ()
    required = [entry for entry in entries if isinstance(entry, dict) and entry.get("required")]
    if not isinstance(ledger, dict):
        raise _wrong("prompts", f"prompt {number} says nothing of its coverage", "filmgate migrate prompt --json")
    return sum(entry.get("fate") in _COVERED for entry in required) / len(required) if required else 1.0


def _wrong(field: str, what: str, command: str) -> InvalidRequest:
    return InvalidRequest(field, what, allowed=f"the output of `{command}`, of this version of Filmgate")

"""What is done of a roadmap, read back from what was written: people tick in Markdown, programs in JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from filmgate.spec.shape import Frozen

_TICK = re.compile(
    r"^\s*[-*+]\s+\[(?P<mark>[ xX])\]\s+(?P<words>.*?)\s*<!--\s*(?P<id>[\w.-]+)(?:\s+(?P<plan>[0-9a-f]{8}))?\s*-->\s*$",
    re.MULTILINE,
)
_START = re.compile(r"<!--\s*roadmap starts (\d{4}-\d{2}-\d{2})\s*-->")
_ESCAPED = re.compile(r"\\([\\`*_\[\]<>#|])")


class Done(Frozen):
    """A task or gate that was ticked: its id, the words that it was ticked by, and the :func:`plan_mark` that it had
    then; empty: that is not known, and it counts whatever the plan is."""

    id: str
    words: str
    plan: str = ""


class Earlier(NamedTuple):
    """An earlier roadmap as far as it counts: its first day, and what is ticked."""

    start: date | None
    done: tuple[Done, ...]


def plan_mark(*parts: str) -> str:
    """Eight digits that differ where a task of the same id is another one: of another model, size or machine."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def earlier_of(text: str) -> Earlier:
    """What an earlier roadmap says, as Markdown or as JSON. What cannot be read as either says nothing."""
    given = _object(text)
    if given is None:
        match = _START.search(text)
        return Earlier(_date(match[1]) if match else None, _each_once(_ticked(text)))
    return Earlier(_date(given.get("start")), _each_once(_done(given)))


def start_mark(start: date) -> str:
    """The line of Markdown that keeps the first day."""
    return f"<!-- roadmap starts {start} -->"


def _each_once(found: Iterator[Done]) -> tuple[Done, ...]:
    return tuple({(one.id, one.plan): one for one in found}.values())


def _ticked(text: str) -> Iterator[Done]:
    for match in _TICK.finditer(text):
        if match["mark"] != " ":
            yield Done(id=match["id"], words=_ESCAPED.sub(r"\1", match["words"]), plan=match["plan"] or "")


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _done(given: Mapping[str, Any]) -> Iterator[Done]:
    """What is done in a roadmap's JSON, wherever it stands."""
    phases = given.get("phases")
    for phase in phases if isinstance(phases, list) else []:
        for kind, mark, words in (("tasks", "done", "words"), ("gates", "passed", "measure")):
            items = phase.get(kind) if isinstance(phase, dict) else None
            for item in items if isinstance(items, list) else []:
                if isinstance(item, dict) and item.get(mark) is True:
                    yield from _one(item, words)
    for kind in ("no_longer", "other_plan"):
        items = given.get(kind)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict):
                yield from _one(item, "words")


def _one(item: Mapping[str, Any], words: str) -> Iterator[Done]:
    if isinstance(item.get("id"), str):
        plan = item.get("plan")
        yield Done(id=item["id"], words=str(item.get(words, "")), plan=plan if isinstance(plan, str) else "")


def _date(text: Any) -> date | None:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        return None

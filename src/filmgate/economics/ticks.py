"""What is done of a roadmap, read back from what was written: people tick in Markdown, programs in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

_TICK = re.compile(r"^\s*[-*+]\s+\[(?P<mark>[ xX])\]\s+(?P<words>.*?)\s*<!--\s*(?P<id>[\w.-]+)\s*-->\s*$", re.MULTILINE)
_START = re.compile(r"<!--\s*roadmap starts (\d{4}-\d{2}-\d{2})\s*-->")
_ESCAPED = re.compile(r"\\([\\`*_\[\]<>#|])")


class Earlier(NamedTuple):
    """An earlier roadmap as far as it counts: its first day, and what is ticked, with the words it was ticked by."""

    start: date | None
    done: Mapping[str, str]


def earlier_of(text: str) -> Earlier:
    """What an earlier roadmap says, as Markdown or as JSON. What cannot be read as either says nothing."""
    given = _object(text)
    if given is None:
        match = _START.search(text)
        return Earlier(_date(match[1]) if match else None, dict(_ticked(text)))
    done = dict(_done(given))
    return Earlier(_date(given.get("start")), done)


def start_mark(start: date) -> str:
    """The line of Markdown that keeps the first day."""
    return f"<!-- roadmap starts {start} -->"


def _ticked(text: str) -> Iterator[tuple[str, str]]:
    for match in _TICK.finditer(text):
        if match["mark"] != " ":
            yield match["id"], _ESCAPED.sub(r"\1", match["words"])


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _done(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Ids that are done in a roadmap's JSON, wherever they stand."""
    phases = given.get("phases")
    for phase in phases if isinstance(phases, list) else []:
        for kind, mark, words in (("tasks", "done", "words"), ("gates", "passed", "measure")):
            items = phase.get(kind) if isinstance(phase, dict) else None
            for item in items if isinstance(items, list) else []:
                if isinstance(item, dict) and item.get(mark) is True and isinstance(item.get("id"), str):
                    yield item["id"], str(item.get(words, ""))
    gone = given.get("no_longer")
    for pair in gone if isinstance(gone, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            yield pair[0], pair[1]


def _date(text: Any) -> date | None:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        return None

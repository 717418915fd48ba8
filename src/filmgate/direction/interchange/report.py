"""What happened to each setting on its way from one tool to another. Nothing is swapped in silence."""

from __future__ import annotations

from typing import Any, Literal

from filmgate.spec.adapters import LoraChoice
from filmgate.spec.request import Request
from filmgate.spec.shape import Frozen

Fate = Literal["kept", "translated", "approximated", "dropped"]
"""Same number and meaning; same meaning, other words; nearly the same; not carried over."""


class Entry(Frozen):
    """One setting: its name here or there, its value before and after, as JSON writes them, and why it changed."""

    field: str
    fate: Fate
    before: str
    after: str = ""
    reason: str = ""


class Imported(Frozen):
    """A wish that was read from another tool's settings; ``variant`` is the published model that they say they are for,
    where they do (the model's own name may say it too)."""

    dialect: str
    request: Request
    entries: tuple[Entry, ...]
    variant: str | None = None

    @property
    def differing(self) -> tuple[Entry, ...]:
        """What does not mean the same."""
        return differing(self.entries)


class Exported(Frozen):
    """A wish in another tool's words: ``text`` is the content of its file, or its command line."""

    dialect: str
    text: str
    entries: tuple[Entry, ...]

    @property
    def differing(self) -> tuple[Entry, ...]:
        """What does not mean the same."""
        return differing(self.entries)


def differing(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries that are only approximated or dropped."""
    return tuple(entry for entry in entries if entry.fate in ("approximated", "dropped"))


class Ledger:
    """Collects entries while a dialect is read or written."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def note(self, field: str, fate: Fate, before: Any, after: Any = "", reason: str = "") -> None:
        """Add an entry."""
        entry = Entry(field=field, fate=fate, before=_shown(before), after=_shown(after), reason=reason)
        self._entries.append(entry)

    def kept(self, field: str, value: Any) -> None:
        """Add a setting that is the same on both sides."""
        self.note(field, "kept", value, value)

    def dropped(self, field: str, value: Any, reason: str) -> None:
        """Add a setting that is left out."""
        self.note(field, "dropped", value, reason=reason)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in order."""
        return tuple(self._entries)


def _shown(value: Any) -> str:
    text = "none" if value is None else _listed(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _listed(value: Any) -> str:
    """A value as the command line writes it: files and LoRAs one after the other, a LoRA with its strength."""
    if isinstance(value, LoraChoice):
        return f"{value.path}:{value.strength:g}"
    if isinstance(value, tuple) and all(isinstance(part, str | LoraChoice) for part in value):
        return ", ".join(map(_listed, value))
    return str(value)

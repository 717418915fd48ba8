"""What became of a prompt, for people: old beside new, as wide as the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from filmgate.direction.migration.language_model import Assisted
    from filmgate.direction.migration.migrate import Migration

_COLOURS = {
    "kept_exact": "green", "kept_synonym": "green", "approximated": "yellow", "moved_to_request": "cyan",
    "moved_to_negative": "cyan", "unsupported": "red", "dropped": "red", "conflict": "red",
}  # fmt: skip


def describe(made: Assisted | Migration, stream: TextIO) -> None:
    """Print state, parts, settings, negative prompt and notes of a migration."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from filmgate.direction.migration.comparison import LABELS, headline, rows_of, settings_text
    from filmgate.direction.migration.migrate import Migration

    migration = made if isinstance(made, Migration) else made.migration
    console = Console(file=stream, highlight=False)
    console.print(Text(headline(migration)), soft_wrap=True)
    if migration.status != "unchanged" and migration.ledger.entries:
        table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
        for name in ("before", "became", "after", "why"):
            table.add_column(name, overflow="fold")
        for row in rows_of(migration):
            label = Text(LABELS[row.fate], style=_COLOURS[row.fate])
            table.add_row(Text(row.before), label, Text(row.after), Text(row.reason))
        console.print(table)
    if settings := settings_text(migration):
        console.print(Text(f"Settings: {settings}"), soft_wrap=True)
    if migration.negative:
        console.print(Text(f"Negative prompt: {migration.negative}"), soft_wrap=True)
    objections = [*migration.ledger.faults, *(f"{word!r} comes from nowhere" for word in migration.ledger.invented)]
    for objection in objections:
        console.print(Text(f"Audit: {objection}", style="red"), soft_wrap=True)
    for line in (*migration.defaults, *migration.notes, *_assistance(made)):
        console.print(Text(f"Note: {line}"), soft_wrap=True)


def _assistance(made: Assisted | Migration) -> list[str]:
    from filmgate.direction.migration.migrate import Migration

    if isinstance(made, Migration):
        return []
    if made.rejected:
        return [f"{made.language_model} was not used to {made.service}: {made.rejected}"]
    lines = [f"{made.language_model} was used to {made.service}, and its answer passed the check."]
    return lines + ([f"Added by {made.language_model}: {', '.join(made.added)}"] if made.added else [])

"""Old prompt and new prompt beside each other: which piece became which, as rows and as one HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from filmgate.direction.migration.ledger import Entry, Fate
from filmgate.direction.migration.migrate import Migration, Status

LABELS: dict[Fate, str] = {
    "kept_exact": "kept",
    "kept_synonym": "same, in Wan's words",
    "approximated": "nearly",
    "moved_to_request": "setting",
    "moved_to_negative": "negative prompt",
    "unsupported": "not possible",
    "dropped": "left out",
    "conflict": "contradiction",
}
"""What people are told of a fate."""
_COLOURS: dict[Fate, str] = {
    "kept_exact": "keep", "kept_synonym": "keep", "approximated": "near", "moved_to_request": "move",
    "moved_to_negative": "move", "unsupported": "lost", "dropped": "lost", "conflict": "lost",
}  # fmt: skip


class Row(NamedTuple):
    """A part before, what became of it, and after, with the reason."""

    before: str
    fate: Fate
    after: str
    reason: str


def rows_of(migration: Migration) -> list[Row]:
    """A row for every part, in the order of the source. Parts that came from one place stand below each other."""
    return [Row(_before(entry, migration), entry.fate, entry.after, entry.reason) for entry in migration.ledger.entries]


def _before(entry: Entry, migration: Migration) -> str:
    if not entry.raw:
        default = next((text for text in migration.defaults if text.endswith(entry.after)), "")
        return f"(allowed default) {default}" if default and entry.after else entry.path
    return " ".join(entry.raw.split())


def headline(migration: Migration) -> str:
    """One line: the state of a migration and its gates."""
    state = {
        "unchanged": "Plain language already: unchanged",
        "complete": "Complete",
        "incomplete": f"Incomplete: {', '.join(migration.missing)}",
        "conflict": "Contradictory: nothing was written",
    }[migration.status]
    if migration.status == "conflict":
        return state
    about = "" if migration.length.exact else "about "
    invented = _counted(len(migration.ledger.invented), "word")
    long = f"{_counted(migration.length.words, 'word')}, {about}{_counted(migration.length.tokens, 'token')}"
    return f"{state}; coverage {migration.ledger.coverage:.0%}, invented {invented}; {long}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def summary(migrations: Sequence[Migration]) -> dict[str, int | float]:
    """Counts over a batch: by status, by fate (``fate:...``), prompts that pass, and the mean coverage."""
    found: Counter[str] = Counter()
    for migration in migrations:
        found["prompts"] += 1
        found[migration.status] += 1
        found["passed"] += migration.passed
        found.update(f"fate:{entry.fate}" for entry in migration.ledger.entries)
        found.update(f"dialect:{dialect}" for dialect in migration.dialects)
    mean = sum(migration.ledger.coverage for migration in migrations) / len(migrations) if migrations else 1.0
    return {**dict(sorted(found.items())), "coverage": round(mean, 4)}


STATES: tuple[Status, ...] = ("unchanged", "complete", "incomplete", "conflict")
"""In the order in which people are told of them."""


def facts_text(facts: Mapping[str, int | float], more: Iterable[str] = ()) -> str:
    """A summary in words: how many of each state, ``more`` of what no migration has, and the mean coverage."""
    states = [f"{facts[name]} {name}" for name in STATES if facts.get(name)]
    return f"{', '.join([*states, *more])}; mean coverage {facts['coverage']:.1%}"


def settings_text(migration: Migration) -> str:
    """The settings that left the prompt, as ``seed 7, steps 30``."""
    settings = migration.request.model_dump(mode="json", exclude_defaults=True, exclude={"prompt", "negative"})
    return ", ".join(f"{name} {_value(value)}" for name, value in settings.items())


def _value(value: object) -> str:
    """A setting for people; LoRAs as ``cat at 0.8``."""
    if isinstance(value, list):
        return " and ".join(_value(item) for item in value)
    if isinstance(value, dict) and "path" in value:
        return f"{value['path']} at {value.get('strength', 1):g}"
    return str(value)


def html_page(migrations: Sequence[Migration], title: str = "Prompt migration") -> str:
    """One page that needs nothing else: old beside new, the ledger below, for every prompt."""
    facts = summary(migrations)
    many = "" if len(migrations) == 1 else f"<p>{facts['prompts']} prompts: {escape(facts_text(facts))}</p>"
    sections = "\n".join(_section(migration, number) for number, migration in enumerate(migrations, 1))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{many}<p>{_legend()}</p>\n{sections}\n</body></html>\n"
    )


def _legend() -> str:
    names = {"keep": "kept", "near": "approximated", "move": "moved", "lost": "left out or contradictory"}
    return " ".join(f'<mark class="{css}">{name}</mark>' for css, name in names.items())


def _section(migration: Migration, number: int) -> str:
    rows = "\n".join(
        f'<tr><td>{escape(row.before)}</td><td><mark class="{_COLOURS[row.fate]}">{LABELS[row.fate]}</mark></td>'
        f"<td>{escape(row.after)}</td><td>{escape(row.reason)}</td></tr>"
        for row in rows_of(migration)
    )
    negative = f"<h3>Negative prompt</h3><p>{escape(migration.negative)}</p>" if migration.negative else ""
    settings = settings_text(migration)
    set_ = f"<h3>Settings</h3><p>{escape(settings)}</p>" if settings else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*map(str, migration.conflicts), *migration.notes))
    return (
        f'<section><h2>{number}. {escape(headline(migration))}</h2><div class="pair">'
        f"<div><h3>Before ({escape(', '.join(migration.dialects))})</h3><p>{_marked_source(migration)}</p></div>"
        f"<div><h3>After</h3><p>{_marked_text(migration)}</p></div></div>{negative}{set_}"
        f"{f'<ul>{notes}</ul>' if notes else ''}"
        "<table><thead><tr><th>before</th><th>became</th><th>after</th><th>why</th></tr></thead>"
        f"<tbody>\n{rows}\n</tbody></table></section>"
    )


def _marked_source(migration: Migration) -> str:
    spans = [(*entry.span, _COLOURS[entry.fate]) for entry in migration.ledger.entries if entry.raw]
    return _marked(migration.read, spans)


def _marked_text(migration: Migration) -> str:
    text, spans = migration.text, []
    folded = text.casefold()
    if len(folded) != len(text):  # some letters fold to two; places would shift
        return _marked(text, [])
    for entry in migration.ledger.entries:
        start = folded.find(entry.after.casefold()) if entry.after else -1
        if start >= 0 and entry.fate in ("kept_exact", "kept_synonym", "approximated"):
            spans.append((start, start + len(entry.after), _COLOURS[entry.fate]))
    return _marked(text, spans)


def _marked(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Text as HTML with marks; where spans overlap, the innermost later one is not nested but left out."""
    pieces: list[str] = []
    place = 0
    for start, end, css in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if start < place or end <= start:
            continue
        pieces += [escape(text[place:start]), f'<mark class="{css}">{escape(text[start:end])}</mark>']
        place = end
    return "".join([*pieces, escape(text[place:])]).replace("\n", "<br>")


_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
@media(max-width:40rem){.pair{grid-template-columns:1fr}}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8886;overflow-wrap:anywhere}
section{border-top:2px solid #8886;margin-top:2rem}
mark{color:#111;padding:0 .2em;border-radius:.2em}
.keep{background:#b7e4c7}.near{background:#ffe8a3}.move{background:#bfdcff}.lost{background:#f7c1c1}
h2{font-size:1.1rem}h3{font-size:1rem;margin:.5rem 0 0}
"""

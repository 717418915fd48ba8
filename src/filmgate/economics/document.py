"""A report as a value: written once, shown as text, Markdown or one HTML page that needs no network.

What is shown is data of the caller and may hold anything: HTML is escaped, and a table's cells keep to their cells.
"""

from __future__ import annotations

import html
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

_WIDTH = 100
"""Columns that text is wrapped to."""
_CELL = 56
"""Columns that a cell of a table is wrapped to."""


class Block(Protocol):
    """A part of a report, in three forms."""

    def text(self) -> str:
        """For a terminal."""
        ...

    def markdown(self) -> str:
        """In GitHub's Markdown; empty: it has no such form."""
        ...

    def html(self) -> str:
        """As HTML, escaped."""
        ...


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    title: str

    def text(self) -> str:
        return f"{self.title}\n{'-' * len(self.title)}"

    def markdown(self) -> str:
        return f"## {_inline(self.title)}"

    def html(self) -> str:
        return f"<h2>{_escaped(self.title)}</h2>"


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    words: str

    def text(self) -> str:
        return textwrap.fill(self.words, _WIDTH, break_long_words=False, break_on_hyphens=False)

    def markdown(self) -> str:
        return _inline(self.words)

    def html(self) -> str:
        return f"<p>{_coded(self.words)}</p>"


@dataclass(frozen=True)
class Table:
    """Rows under a head; every row is as long as it. The columns ``right`` are aligned so, as numbers are."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()

    def text(self) -> str:
        lines = [tuple(_wrapped(cell) for cell in line) for line in (self.head, *self.rows)]
        widths = [max(_columns(part) for cell in column for part in cell) for column in zip(*lines, strict=True)]
        return "\n".join(
            self._line(parts, widths) for line in lines for parts in zip_longest(*line, fillvalue="")
        )  # fmt: skip

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        gaps = [" " * (width - _columns(cell)) for cell, width in zip(cells, widths, strict=True)]
        aligned = (
            gap + cell if place in self.right else cell + gap
            for place, (cell, gap) in enumerate(zip(cells, gaps, strict=True))
        )
        return "  ".join(aligned).rstrip()

    def markdown(self) -> str:
        rule = ("---:" if place in self.right else "---" for place in range(len(self.head)))
        lines = (_cells(self.head), rule, *map(_cells, self.rows))
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def html(self) -> str:
        lines = "\n".join(self._row("td", row) for row in self.rows)
        head = self._row("th", self.head)
        return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{lines}\n</tbody></table></div>'

    def _row(self, kind: str, cells: Sequence[str]) -> str:
        classes = (' class="right"' if place in self.right else "" for place in range(len(cells)))
        made = (f"<{kind}{added}>{_coded(cell)}</{kind}>" for added, cell in zip(classes, cells, strict=True))
        return f"<tr>{''.join(made)}</tr>"


@dataclass(frozen=True)
class Bullets:
    """Points of equal weight."""

    items: tuple[str, ...]

    def text(self) -> str:
        return "\n".join(_hanging(f"- {item}", "  ") for item in self.items)

    def markdown(self) -> str:
        return "\n".join(f"- {_inline(item)}" for item in self.items)

    def html(self) -> str:
        return "<ul>\n" + "\n".join(f"<li>{_coded(item)}</li>" for item in self.items) + "\n</ul>"


@dataclass(frozen=True)
class Ticks:
    """Things to do: (id, words, done). The id comes back when the report is read again."""

    items: tuple[tuple[str, str, bool], ...]

    def text(self) -> str:
        return "\n".join(_hanging(f"[{'x' if done else ' '}] {words}", "    ") for _, words, done in self.items)

    def markdown(self) -> str:
        marks = ((key, words, "x" if done else " ") for key, words, done in self.items)
        return "\n".join(f"- [{mark}] {_inline(words)} <!-- {key} -->" for key, words, mark in marks)

    def html(self) -> str:
        lines = "\n".join(
            f'<li id="{_escaped(key.replace(" ", "-"))}"><span aria-hidden="true">{"☑" if done else "☐"}</span> '
            f"{'<s>' if done else ''}{_coded(words)}{'</s>' if done else ''}</li>"
            for key, words, done in self.items
        )
        return f'<ul class="ticks">\n{lines}\n</ul>'


@dataclass(frozen=True)
class Verdict:
    """What it all comes to: a line that can stand alone, and what it rests on."""

    line: str
    because: str = ""

    def text(self) -> str:
        return "\n".join(_hanging(words, "  ") for words in (f"> {self.line}", f"  {self.because}") if words.strip())

    def markdown(self) -> str:
        return "\n>\n".join(f"> {words}" for words in (f"**{_inline(self.line)}**", _inline(self.because)) if words)

    def html(self) -> str:
        why = f"<p>{_coded(self.because)}</p>" if self.because else ""
        return f'<section class="verdict"><p class="line">{_coded(self.line)}</p>{why}</section>'


@dataclass(frozen=True)
class Drawing:
    """A picture as SVG, and what it shows in words; ``file`` is where it lies beside the Markdown, if it does."""

    svg: str
    caption: str
    file: str | None = None

    def text(self) -> str:
        return f"{self.caption}: {self.file}" if self.file else ""

    def markdown(self) -> str:
        return f"![{_inline(self.caption)}]({self.file})" if self.file else ""

    def html(self) -> str:
        label = f'role="img" aria-label="{_escaped(self.caption)}"'
        return f"<figure {label}>{self.svg}<figcaption>{_coded(self.caption)}</figcaption></figure>"


@dataclass(frozen=True)
class Document:
    """A report. ``subtitle`` says what it is about and as of when."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]


def text_of(document: Document) -> str:
    """A report for a terminal, at most about a hundred columns wide but for tables."""
    return _joined((document.title, document.subtitle, *(block.text() for block in document.blocks)))


def markdown_of(document: Document) -> str:
    """A report in Markdown, tables and ticks in GitHub's form."""
    head = (f"# {_inline(document.title)}", _inline(document.subtitle))
    return _joined((*head, *(block.markdown() for block in document.blocks))) + "\n"


def html_of(document: Document) -> str:
    """A report as one page: no script, nothing that is loaded from elsewhere."""
    body = "\n".join(block.html() for block in document.blocks)
    title, subtitle = _escaped(document.title), _escaped(document.subtitle)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{title}</h1>\n<p class="subtitle">{subtitle}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _columns(text: str) -> int:
    """Columns that a terminal shows a text in: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _wrapped(cell: str) -> list[str]:
    return textwrap.wrap(cell, _CELL, break_long_words=False, break_on_hyphens=False) or [""]


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _hanging(line: str, indent: str) -> str:
    return textwrap.fill(
        line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip


_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")


def _inline(text: str) -> str:
    """Text that Markdown shows as it is, on one line; what is between backticks stays code."""
    pieces = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(piece if number % 2 else _SPECIAL.sub(r"\\\1", piece) for number, piece in enumerate(pieces))


def _cells(row: Sequence[str]) -> Iterator[str]:
    # Inside a table a bar ends the cell even between backticks.
    return (re.sub(r"(?<!\\)\|", r"\\|", _inline(cell)) for cell in row)


def _escaped(text: str) -> str:
    return html.escape("".join(c for c in text if c.isprintable() or c in "\n\t"))


def _coded(text: str) -> str:
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", _escaped(text))


_STYLE = """\
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6570; --line: #d5dae0; --paper: #fff; --mark: #eef4fb;
  --edge: #1f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #a0a9b2; --line: #3a4149; --paper: #14171a; --mark: #1c2733; --edge: #6bb0ea; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { margin-bottom: 0.2rem; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); padding-bottom: 0.2rem; }
.subtitle, figcaption { color: var(--soft); }
.verdict { background: var(--mark); border-left: 4px solid var(--edge); padding: 0.6rem 1rem; margin: 1.2rem 0; }
.verdict .line { font-size: 1.2rem; font-weight: 600; margin: 0.2rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.92rem; }
th, td { padding: 0.3rem 0.7rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
.right { text-align: right; font-variant-numeric: tabular-nums; } .ticks { list-style: none; padding-left: 0; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { max-width: 100%; height: auto; }
@media print { main { max-width: none; } h2 { break-after: avoid; } tr, figure { break-inside: avoid; } }
"""

"""A stretch of the text that is read: what parsers are handed and what their leaves point back to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from filmgate.direction.migration.form import Dialect, Leaf

V = TypeVar("V")

_BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "【": "】"}
_QUOTES = {'"': '"', "“": "”", "「": "」", "『": "』"}
_CLOSING = frozenset(_BRACKETS.values())
_SIGN = re.compile("\\\\.|[" + re.escape("".join((*_BRACKETS, *_CLOSING, *_QUOTES))) + "]", re.DOTALL)
_DEEPEST = 64
"""Nested brackets beyond this are plain characters: no author writes them, and recursion has an end."""


_QUOTATION = re.compile(r'(?<![\w"])"[^"\n]+"(?![\w"])|“[^”\n]+”|「[^」\n]+」')


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Characters ``start`` to ``end`` of ``whole``.

    ``decoded`` is what they stand for where that is something else. ``places`` then says of each of its characters
    where it stands in ``whole``; without them (a string literal with escapes, for example) every part points at all of
    the excerpt.
    """

    whole: str
    start: int
    end: int
    decoded: str | None = None
    places: tuple[int, ...] | None = None

    @classmethod
    def of(cls, text: str) -> Excerpt:
        """All of a text."""
        return cls(text, 0, len(text))

    @property
    def words(self) -> str:
        """What it says."""
        return self.whole[self.start : self.end] if self.decoded is None else self.decoded

    @property
    def raw(self) -> str:
        """The characters of the text that it stands for."""
        return self.whole[self.start : self.end]

    def part(self, start: int, end: int) -> Excerpt:
        """Characters ``start`` to ``end`` of :attr:`words`."""
        if self.decoded is None:
            return Excerpt(self.whole, self.start + start, self.start + end)
        if self.places is None:
            return Excerpt(self.whole, self.start, self.end, self.decoded[start:end])
        places = self.places[start:end]
        if not places:
            at = self.places[start] if start < len(self.places) else self.end
            return Excerpt(self.whole, at, at)
        return Excerpt(self.whole, places[0], places[-1] + 1, self.decoded[start:end], places)

    def without(self, stretches: list[tuple[int, int]]) -> Excerpt:
        """The excerpt with stretches of its :attr:`words`, in order and apart, taken out."""
        if not stretches:
            return self
        words = self.words
        kept = [index for start, end in gaps(stretches, len(words)) for index in range(start, end)]
        text = "".join(words[index] for index in kept)
        if self.decoded is not None and self.places is None:
            return Excerpt(self.whole, self.start, self.end, text)
        places = self.places or range(self.start, self.end)
        return Excerpt(self.whole, self.start, self.end, text, tuple(places[index] for index in kept))

    def strip(self, also: str = "") -> Excerpt:
        """Without white space, and without the characters of ``also``, at both ends."""
        words = self.words
        start, end = 0, len(words)
        while start < end and (words[start].isspace() or words[start] in also):
            start += 1
        while end > start and (words[end - 1].isspace() or words[end - 1] in also):
            end -= 1
        return self.part(start, end)

    def leaf(self, value: V, dialect: Dialect, *, confidence: float = 1.0, required: bool = True) -> Leaf[V]:
        """A leaf that came from here."""
        span = (self.start, self.end)
        return Leaf(
            value=value, span=span, raw=self.raw, dialect=dialect, confidence=confidence,
            required=required,
        )  # fmt: skip

    def split(self, pattern: re.Pattern[str]) -> Iterator[Excerpt]:
        """Its non-empty pieces between separators that stand outside brackets and quotation marks, stripped."""
        words = self.words
        closed = shelters(words)
        begin = 0
        for match in pattern.finditer(words):
            if match.start() < begin or sheltered(closed, match.start()):
                continue
            piece = self.part(begin, match.start()).strip()
            if piece.start < piece.end and piece.words:
                yield piece
            begin = match.end()
        piece = self.part(begin, len(words)).strip()
        if piece.words:
            yield piece


def gaps(stretches: list[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """What of 0 to ``length`` lies between stretches that are in order and apart."""
    at = 0
    for start, end in stretches:
        if at < start:
            yield at, start
        at = end
    if at < length:
        yield at, length


def shelters(text: str) -> tuple[tuple[int, int], ...]:
    """Stretches of a text from an opening bracket or quotation mark to its closing one, outermost only, in order.

    A bracket or mark that is never closed shelters nothing; a backslash takes its meaning from the next character.
    """
    found: list[tuple[int, int]] = []
    open_at: list[tuple[int, str]] = []
    resume = 0
    for match in _SIGN.finditer(text):
        index, char = match.start(), match[0]
        if index < resume or char[0] == "\\":
            continue
        if char in _QUOTES:
            close = text.find(_QUOTES[char], index + 1)
            if close > 0:
                found.append((index, close + 1))
                resume = close + 1
        elif char in _BRACKETS:
            if len(open_at) < _DEEPEST:
                open_at.append((index, _BRACKETS[char]))
        elif open_at and char in _CLOSING:
            depth = next((d for d in range(len(open_at) - 1, -1, -1) if open_at[d][1] == char), None)
            if depth is not None:
                begin = open_at[depth][0]
                del open_at[depth:]
                while found and found[-1][0] > begin:
                    found.pop()
                found.append((begin, index + 1))
    return tuple(found)


def sheltered(stretches: tuple[tuple[int, int], ...], index: int) -> bool:
    """Whether a character lies inside one of the stretches."""
    low, high = 0, len(stretches)
    while low < high:
        middle = (low + high) // 2
        if stretches[middle][1] <= index:
            low = middle + 1
        else:
            high = middle
    return low < len(stretches) and stretches[low][0] < index


def quotations(text: str) -> tuple[tuple[int, int], ...]:
    """Stretches of a text in double quotation marks: words to be read or heard, whatever they look like. A text that is
    one quotation as a whole has none: its marks are only wrapping."""
    found = [(match.start(), match.end()) for match in _QUOTATION.finditer(text)]
    return () if len(found) == 1 and text.strip() == text[slice(*found[0])] else tuple(found)

"""How words are compared: case, spelling, plural and one wrong letter do not matter. Knows no vocabulary."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")

SHORTEST_MENDED = 5
"""Shorter words are never taken for misspelt: too many of them are words of their own."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+(?:['’&][^\W_]+)*")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_BRITISH = {
    "colour": "color", "colours": "colors", "coloured": "colored", "grey": "gray", "centre": "center",
    "centred": "centered", "greyscale": "grayscale", "watercolour": "watercolor", "stylisation": "stylization",
    "levelled": "leveled", "travelling": "traveling",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class Word:
    """A word of a text: as it is compared, and where it stands."""

    text: str
    start: int
    end: int
    mended: bool = False


def is_chinese(text: str) -> bool:
    """Whether a text has Chinese characters."""
    return _CHINESE.search(text) is not None


def words_of(text: str, *, singular: bool = True) -> list[Word]:
    """The words of a text, snake_case and camelCase taken apart, in lower case, American spelling and singular."""
    found = []
    for match in _WORD.finditer(text):
        edges = [0, *(cut.start() for cut in _CAMEL.finditer(match[0])), len(match[0])]
        for start, end in itertools.pairwise(edges):
            plain = unicodedata.normalize("NFKC", match[0][start:end]).casefold().replace("’", "'")
            plain = _BRITISH.get(plain, plain)
            text_of_word = _singular(plain) if singular else plain
            found.append(Word(text_of_word, match.start() + start, match.start() + end))
    return found


def normal(text: str, *, singular: bool = True) -> str:
    """A phrase as it is compared: its words, articles left out, joined by one space."""
    words = [word.text for word in words_of(text, singular=singular)]
    return " ".join(word for word in words if word not in _ARTICLES) or " ".join(words)


def verb_forms(verb: str) -> Iterator[str]:
    """The forms of a regular verb as :func:`words_of` gives them: pan, panning, panned; dolly, dollies, dollying."""
    doubled = verb + verb[-1]
    forms = {verb, verb + "s", verb + "es", verb + "ing", verb + "ed", doubled + "ing", doubled + "ed"}
    if verb.endswith("e"):
        forms |= {verb[:-1] + "ing", verb + "d"}
    if verb.endswith("y"):
        forms |= {verb[:-1] + "ies", verb[:-1] + "ied"}
    for form in forms:
        yield from (word.text for word in words_of(form))


class Index(Generic[V]):
    """Phrases and what they stand for. The first that claims a phrase keeps it.

    Args:
        pairs: Phrases with their meanings.
        trimmed: Last words that may be missing.
    """

    def __init__(self, pairs: Iterable[tuple[str, V]], *, trimmed: frozenset[str] = frozenset()) -> None:
        self._found: dict[str, V] = {}
        given = list(pairs)
        self._literal: dict[str, V] = {}
        for phrase, value in given:
            self._literal.setdefault(normal(phrase, singular=False), value)
        listed = [(normal(phrase), value) for phrase, value in given]
        for phrase, value in listed:
            self._found.setdefault(phrase, value)
        for phrase, value in listed:
            self._found.setdefault(_trim(phrase, trimmed), value)
        self._damaged: dict[str, list[str]] = {}
        for phrase in self._found:
            for damaged in _without_one(phrase):
                self._damaged.setdefault(damaged, []).append(phrase)

    def exact(self, phrase: str) -> V | None:
        """What a phrase stands for that is already normal."""
        return self._found.get(phrase)

    def find(self, words: str, *, trimmed: frozenset[str] = frozenset()) -> tuple[V, bool] | None:
        """What words stand for, and whether a letter had to be mended."""
        literal = normal(words, singular=False)
        if literal in self._literal:
            return self._literal[literal], False
        phrase = normal(words)
        for candidate in (phrase, _trim(phrase, trimmed)):
            if candidate in self._found:
                return self._found[candidate], False
        mended = self._mended(phrase)
        return None if mended is None else (self._found[mended], True)

    def mend(self, word: str) -> V | None:
        """What a word of five or more letters with exactly one wrong letter stands for."""
        if word in self._found:
            return None
        mended = self._mended(word)
        return None if mended is None else self._found[mended]

    def _mended(self, phrase: str) -> str | None:
        if len(phrase) < SHORTEST_MENDED or is_chinese(phrase):
            return None
        near = {
            candidate
            for damaged in _without_one(phrase)
            for candidate in self._damaged.get(damaged, ())
            if len(candidate) >= SHORTEST_MENDED and one_edit(phrase, candidate)
        }
        return near.pop() if len({id(self._found[candidate]) for candidate in near}) == 1 else None


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


def _trim(phrase: str, trimmed: frozenset[str]) -> str:
    words = phrase.split()
    while len(words) > 1 and words[-1] in trimmed:
        words.pop()
    return " ".join(words)


def _without_one(phrase: str) -> Iterator[str]:
    yield phrase
    yield from (phrase[:index] + phrase[index + 1 :] for index in range(len(phrase)))


def one_edit(first: str, second: str) -> bool:
    """Whether one insertion, deletion, substitution or swap of neighbours makes one of the other."""
    if len(first) > len(second):
        first, second = second, first
    same = 0
    while same < len(first) and first[same] == second[same]:
        same += 1
    if len(first) < len(second):
        return first[same:] == second[same + 1 :]
    rest, other = first[same:], second[same:]
    return rest[1:] == other[1:] or (rest[:2] == other[1::-1] and rest[2:] == other[2:])

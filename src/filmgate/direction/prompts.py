"""What a prompt says to a model: cleaning, words that it cannot know, and what of a long prompt it would never see."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

from filmgate.engine.checkpoints.tokenizer import clean

__all__ = ["CountTokens", "clean", "cut_off", "unknown_words"]

CountTokens = Callable[[str], int]
"""Tokens of a text as the model counts them, end mark included."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SHORT_FORM = re.compile(r"['’](?:s|re|ve|ll|d|m)$")
_VOWEL = re.compile(r"[aeiouy]")
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a an the and is are am be been being was were has have had it its he she they them his her their this that"
        " these those which who whose there while as then also so some"
    )
)
"""Words that show nothing of their own; a prompt may hold them whatever the vocabulary says."""
_NUMBERS = _WORD.findall(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
_SHORTEST_STEM = 3
_BEGUN_WORD = re.compile(r"\S+$")
_LONGEST_WORD = 40
"""Longer runs without a space are not one word."""


def unknown_words(prompt: str, vocabulary: Iterable[str]) -> tuple[str, ...]:
    """Words of a prompt that a model with this vocabulary cannot know, in their order, each once, in lower case.

    Forgiven are case, punctuation, hyphens, short forms (``ball's``), inflection of regular words in both directions
    (``marbles``, ``rolling``, ``stopped``, ``bigger``, ``slowly``), digits for number words and the other way round,
    and words without a picture (``the``, ``is``). Entries of more than one word count as their words.
    """
    known, stems = _known(tuple(vocabulary))
    found = dict.fromkeys(_words(prompt))
    return tuple(word for word in found if word not in known and stems.isdisjoint(_stems(word)))


def cut_off(text: str, text_len: int, count_tokens: CountTokens) -> str:
    """The end of a cleaned text that a model which reads ``text_len`` tokens would not see; empty if it fits.

    A word that is only partly read counts as cut; scripts that do not separate words are cut anywhere.
    """
    cleaned = clean(text)
    if count_tokens(cleaned) <= text_len:
        return ""
    fitting, too_many = 0, len(cleaned)
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        if count_tokens(cleaned[:middle]) <= text_len:
            fitting = middle
        else:
            too_many = middle
    torn = _BEGUN_WORD.search(cleaned, 0, fitting)
    if torn and cleaned[fitting] != " " and len(torn[0]) <= _LONGEST_WORD:
        fitting = torn.start()
    return cleaned[fitting:].lstrip()


@lru_cache(maxsize=8)
def _known(vocabulary: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Words of a vocabulary, numbers in both ways of writing them, and all stems."""
    words = {word for entry in vocabulary for word in _words(entry)}
    digits = {str(number): name for number, name in enumerate(_NUMBERS)}
    words |= {digits[word] for word in words if word in digits} | {d for d, name in digits.items() if name in words}
    return frozenset(words | _FUNCTION_WORDS), frozenset(stem for word in words for stem in _stems(word))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", clean(text)).casefold()
    return [_SHORT_FORM.sub("", word) for word in _WORD.findall(folded)]


def _stems(word: str) -> frozenset[str]:
    """What a regular word may be a form of, itself included."""
    if len(word) < _SHORTEST_STEM:
        return frozenset({word})
    plain = {word}
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        plain.add(word[:-1])
        if word.endswith("es"):
            plain.add(word[:-2])
        if word.endswith("ies"):
            plain.add(word[:-3] + "y")
    stems = set(plain)
    for form in plain:
        for ending in ("ing", "ed", "er", "est", "ly"):
            stem = form.removesuffix(ending)
            if stem != form and len(stem) >= _SHORTEST_STEM and _VOWEL.search(stem):
                stems.update({stem, stem + "e"})
                if stem.endswith("i"):
                    stems.add(stem[:-1] + "y")
                if stem[-1] == stem[-2] and len(stem) > _SHORTEST_STEM:
                    stems.add(stem[:-1])
    return frozenset(stems)

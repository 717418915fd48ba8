"""Words that are kept because nobody knows them, and that one letter makes known: told of, never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice, product

from filmgate.direction.migration.dialects import phrases
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.form import Form, Leaf, leaves
from filmgate.direction.migration.spelling import one_edit, words_of
from filmgate.direction.migration.vocabulary import SLOTS, Slot, vocabulary

_Reads = Callable[[Excerpt], object]
_MOST_WORDS = 5
_SHORTEST = 4
_MOST_READINGS = 50
_CAMERA = ("prose", "actions", "leftovers")
"""Slots in which a camera move ends that was not understood."""


def misspelt_notes(form: Form) -> Iterator[str]:
    """A note for every part in words of its own that would mean something but for one letter."""
    for path, leaf in leaves(form):
        slot = path.rpartition("content.")[2].partition("[")[0]
        if not isinstance(leaf.value, str) or len(leaf.value.split()) > _MOST_WORDS:
            continue
        reads = _readers().get("lights" if slot == "lights" else slot)
        meant = None if reads is None else _meant(leaf.value, reads)
        if meant is not None:
            yield f"{_words(leaf)!r} is not in the vocabulary and was kept word for word; {meant!r} is."


def _words(leaf: Leaf[object]) -> str:
    return " ".join(leaf.raw.split()) or str(leaf.value)


@lru_cache(maxsize=1)
def _readers() -> Mapping[str, _Reads]:
    """What understands the words of a slot."""

    def term(slot: Slot) -> _Reads:
        return lambda excerpt: phrases.term(slot, excerpt, "natural")

    readers: dict[str, _Reads] = {slot: term(slot) for slot in phrases.TERM_SLOTS}
    readers["lights"] = lambda excerpt: phrases.runs(excerpt, "natural", phrases.of_light)
    return readers | dict.fromkeys(_CAMERA, lambda excerpt: phrases.moves(excerpt, "natural"))


@lru_cache(maxsize=4096)
def _meant(text: str, reads: _Reads) -> str | None:
    """The same words with one letter mended in those that are unknown, where they then mean something."""
    if reads(Excerpt.of(text)):
        return None
    words = [_mended(word.text) for word in words_of(text)]
    candidates = (" ".join(mended) for mended in islice(product(*words), _MOST_READINGS))
    return next((candidate for candidate in candidates if reads(Excerpt.of(candidate))), None)


@lru_cache(maxsize=4096)
def _mended(word: str) -> tuple[str, ...]:
    """A known word itself; of another one the known words that one letter makes of it, then itself.

    The first letter has to be right: "bright light" is no "right light".
    """
    if word in _known() or len(word) < _SHORTEST:
        return (word,)
    near = (known for known in _known() if known[0] == word[0] and len(known) >= _SHORTEST and one_edit(word, known))
    return (*sorted(near), word)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """All words of terms, moves and speeds, and of whom lights are named after."""
    told = vocabulary()
    entries = [entry for slot in SLOTS for entry in told.terms[slot].values()]
    entries += [*told.moves.values(), *told.speeds.values()]
    spoken = {word.text for entry in entries for phrase in entry.understood for word in words_of(phrase)}
    spoken |= {word.text for phrase in phrases.ROLES for word in words_of(phrase)} | {"left", "right", "light"}
    return frozenset(spoken)

"""Weights in words: what is weighted strongly is said once more, weakly as subtle, at zero and below not at all.

Only the weighted words are touched, never what stands beside them. Weights on the same words are multiplied, as the
tools do that nest them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from filmgate.direction.migration import rules
from filmgate.direction.migration.form import Emphasis, Leaf
from filmgate.direction.migration.ledger import Entry
from filmgate.direction.migration.scribe import Phrase, Scribe
from filmgate.direction.migration.spelling import is_chinese
from filmgate.direction.migration.wording import chained, first_lower

_KEPT = ("kept_exact", "kept_synonym", "approximated")
_ARTICLE = re.compile(r"^(?:a|an|the)\s+", re.IGNORECASE)
_EDGES = " \t,，;；"
_EMPTY = re.compile(r"([,，;；])(?:\s*[,，;；])+")


def say_weights(scribe: Scribe, weights: Sequence[tuple[str, Leaf[Emphasis]]]) -> None:
    """Apply every weight of a form to its phrases, strongest wishes last written."""
    by_words: dict[str, list[tuple[str, Leaf[Emphasis]]]] = {}
    for path, leaf in weights:
        by_words.setdefault(scribe.plain(leaf.value.words).casefold(), []).append((path, leaf))
    for words, listed in by_words.items():
        weight = math.prod(leaf.value.weight for _, leaf in listed)
        if any(leaf.value.weight <= 0 for _, leaf in listed):
            weight = min(leaf.value.weight for _, leaf in listed)
        place = _place(scribe, words)
        if place is None:
            for path, leaf in listed:
                reason = f"weight {leaf.value.weight:g} on words that are not in the prompt"
                scribe.note(path, leaf, "unsupported", reason=reason)
            continue
        _say_weight(scribe, place, words, weight, listed)


def _place(scribe: Scribe, words: str) -> int | None:
    """The first phrase that has the words: as a whole, else within."""
    if not words:
        return None
    phrases = scribe.made.phrases
    for test in (lambda phrase: _is_whole(scribe, phrase, words), lambda phrase: _find(phrase.words, words)):
        found = next((index for index, phrase in enumerate(phrases) if test(phrase)), None)
        if found is not None:
            return found
    return None


def _is_whole(scribe: Scribe, phrase: Phrase, words: str) -> bool:
    """Whether a phrase is these words, articles aside, or was written as them."""
    bare = _ARTICLE.sub("", words)
    texts = (phrase.words, scribe.plain(phrase.raw) if phrase.section in ("style", "tag") else "")
    return any(_ARTICLE.sub("", text.casefold()) == bare for text in texts)


def _find(text: str, words: str) -> re.Match[str] | None:
    edge = "" if is_chinese(words) else r"(?<!\w)"
    return re.search(f"{edge}{re.escape(words)}{edge.replace('<!', '!')}", text, re.IGNORECASE)


def _say_weight(
    scribe: Scribe, index: int, words: str, weight: float, listed: Sequence[tuple[str, Leaf[Emphasis]]]
) -> None:
    phrase = scribe.made.phrases[index]
    found = _find(phrase.words, words)
    whole = found is None or _is_whole(scribe, phrase, words)
    spoken = phrase.words if whole or found is None else found[0]
    told = f"weight {weight:g}"
    if weight <= 0:
        _remove(scribe, index, None if whole else found, spoken, told)
        for path, leaf in listed:
            scribe.note(path, leaf, "moved_to_negative", spoken, f"{told}: unwanted")
        return
    reason = f"{told} is too close to 1 to be said"
    if weight >= rules.STRONG:
        scribe.made.phrases[index] = replace(phrase, strong=(*phrase.strong, spoken), weight=weight if whole else 1.0)
        first = "named first" if whole else ""
        again = "" if phrase.section in ("style", "tag") else "named once more"
        reason = f"{told}: {' and '.join(filter(None, (first, again)))}"
    elif weight <= rules.WEAK:
        reason = f"{told}: named {'late, ' if whole else ''}as subtle"
        if whole or found is None:
            scribe.made.phrases[index] = replace(phrase, weight=weight)
        else:
            _rewrite(scribe, index, found, _subtle(scribe, spoken))
    for path, leaf in listed:
        scribe.note(path, leaf, "approximated", spoken, reason)


def _subtle(scribe: Scribe, words: str) -> str:
    return chained("细微的", words) if scribe.language == "zh" else f"subtle {first_lower(words)}"


def _rewrite(scribe: Scribe, index: int, found: re.Match[str], instead: str) -> None:
    """Put other words in the place of some, in a phrase and in what the entries say of it."""
    phrase = scribe.made.phrases[index]
    text = phrase.words[: found.start()] + instead + phrase.words[found.end() :]
    text = _EMPTY.sub(r"\1", " ".join(text.split())).strip(_EDGES).replace(" ,", ",")
    scribe.made.phrases[index] = replace(phrase, words=text)
    scribe.made.entries = [
        _reworded(entry, found[0], instead) if entry.path in phrase.paths and entry.fate in _KEPT else entry
        for entry in scribe.made.entries
    ]


def _reworded(entry: Entry, words: str, instead: str) -> Entry:
    place = _find(entry.after, words.casefold())
    if place is None:
        return entry
    after = entry.after[: place.start()] + instead + entry.after[place.end() :]
    after = _EMPTY.sub(r"\1", " ".join(after.split())).strip(_EDGES).replace(" ,", ",")
    reason = f"{words!r} has a weight of its own"
    if not after:
        return entry.model_copy(update={"fate": "moved_to_negative", "after": words, "reason": reason})
    return entry.model_copy(update={"fate": "approximated", "after": after, "reason": reason})


def _remove(scribe: Scribe, index: int, found: re.Match[str] | None, words: str, told: str) -> None:
    """Take unwanted words out of the text and into the negative prompt; the rest of their phrase stays."""
    scribe.made.unwanted.append(words)
    if found is not None:
        _rewrite(scribe, index, found, "")
        if scribe.made.phrases[index].words:
            return
    phrase = scribe.made.phrases.pop(index)
    scribe.made.entries = [
        entry.model_copy(update={"fate": "moved_to_negative", "after": words, "reason": f"{told}: unwanted"})
        if entry.path in phrase.paths and entry.fate in _KEPT
        else entry
        for entry in scribe.made.entries
    ]

"""Weights in brackets, as Stable Diffusion's interfaces read them: (word:1.3), ((word)), [word], <lora:x:0.8>.

Numbers follow ComfyUI, whose tokenizer of umT5 inherits them (comfy/sd1_clip.py, comfy/text_encoders/wan.py): a bracket
multiplies by 1.1, a number in a bracket stands for itself. Square brackets divide by 1.1, as in AUTOMATIC1111's web UI;
``[from:to:when]`` and ``[a|b]``, its changes between sampling steps, have no counterpart: the later words stay in the
text and the bracket is left over. A backslash makes a bracket a plain character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt, quotations, sheltered
from filmgate.direction.migration.form import Dialect, Emphasis, Parameter
from filmgate.direction.migration.vocabulary import vocabulary

UP, DOWN = 1.1, 1 / 1.1
_NETWORK = re.compile(
    r"<(lora|lyco|lycoris|hypernet):([^:<>]+)(?::([^:<>]+))?(?::([^<>]*))?>|\bembedding:[\w./-]+", re.IGNORECASE
)
_WEIGHT = re.compile(r"\s*[:：]\s*([+-]?(?:\d+(?:\.\d+)?|\.\d+))\s*$")
_CHANGE = re.compile(r"([^:\[\]|]*):([^:\[\]|]*):\s*(\d*\.?\d+)\s*")
_STARTS_OR_ENDS = re.compile(r"([^:\[\]|]+)(::?)\s*(\d*\.?\d+)\s*")
_ALTERNATE = re.compile(r"[^|\[\]]*(?:\|[^|\[\]]*)+")
_BARE_WEIGHT = re.compile(
    r"(?<![\w(\[:：])([^\W\d_][\w' -]{0,60}?)\s?:\s?(\d(?:\.\d{1,3})|\.\d{1,3})(?=\s*(?:,|，|;|\n|$))"
)
_JOINTS = re.compile(r"\s*\b(?:BREAK|AND)\b\s*")
_BRACKET = re.compile(r"\\[()\[\]]|[()\[\]（）]")
_PARTNER = {"(": ")", "[": "]", "（": "）"}
_DEEPEST = 32
_LONGEST = 4000
"""Characters in brackets of which a weight is looked for."""
_LARGEST = 100.0


@dataclass(frozen=True, slots=True)
class Weighted:
    """Words with another weight than 1: where they stand in the text that was read, ends without brackets."""

    start: int
    end: int
    weight: float


@dataclass(slots=True)
class _Marks:
    """What a scan found: stretches to take out, and weighted words; ``strength`` is how sure the grammar is."""

    removed: list[tuple[int, int]]
    weighted: list[Weighted]
    changes: list[tuple[int, int]]
    strength: float = 0.0


def evidence(text: str) -> float:
    """How much a text looks like weights, from 0 to 1; single brackets alone are found in prose as well."""
    if not any(mark in text for mark in "([（<:") and " AND " not in text and "BREAK" not in text:
        return 0.0
    score = _scan(text).strength
    if _NETWORK.search(text):
        score = max(score, 0.95)
    if any(True for _ in _bare(text)):
        score = max(score, 0.8)
    if re.search(r"\bBREAK\b|[a-z)\]]\s+AND\s+[a-z(\[]", text):
        score = max(score, 0.55)
    return score


def networks(excerpt: Excerpt, draft: Draft) -> tuple[Excerpt, list[Excerpt]]:
    """Take ``<lora:x:0.8>`` out of an excerpt into the settings; what remains, and where they stood."""
    places: list[Excerpt] = []
    stretches: list[tuple[int, int]] = []
    for match in _NETWORK.finditer(excerpt.words):
        place = excerpt.part(match.start(), match.end())
        number = _float(match[3]) if match[3] else None
        name = (match[2] or "").strip()
        if (match[1] or "").lower() == "lora" and name:
            draft.add("parameters", place.leaf(Parameter(name="lora", value=name, strength=number), "weighted"))
        else:
            draft.add("leftovers", place.leaf(match[0], "weighted"))
        stretches.append((match.start(), match.end()))
        places.append(place)
    return excerpt.without(stretches), places


def unweighted(excerpt: Excerpt, draft: Draft, dialect: Dialect) -> Excerpt:
    """The words of an excerpt without the signs of their weights, which go to the emphasis."""
    words = excerpt.words
    marks = _scan(words)
    gone = bytearray(len(words))
    for start, end in marks.removed:
        gone[start:end] = b"\x01" * (end - start)
    for start, end, number in _bare(words):
        cut = re.search(r"\s?:\s?[\d.]+$", words[start:end])
        if cut and not any(gone[start:end]):
            marks.weighted.append(Weighted(start, start + cut.start(), number))
            marks.removed.append((start + cut.start(), end))
    for start, end in marks.changes:
        place = excerpt.part(start, end)
        draft.add("leftovers", place.leaf(place.words, dialect))
    for item in sorted(marks.weighted, key=lambda item: (item.start, item.end)):
        plain = without_weights(words[item.start : item.end]).strip(" ,")
        if plain and item.weight != 1:
            place = excerpt.part(item.start, item.end)
            emphasis = Emphasis(words=plain, weight=round(item.weight, 4))
            draft.add("emphasis", place.leaf(emphasis, dialect, required=not vocabulary().is_booster(plain)))
    return excerpt.without(_merged(marks.removed))


def kept_of_change(text: str) -> str | None:
    """The words that stay of ``[from:to:when]`` or ``[a|b]``; None if a text is no change between sampling steps."""
    kept = _change(text[1:-1]) if text[:1] == "[" and text[-1:] == "]" else None
    return None if kept is None else text[1:-1][kept[0] : kept[1]].strip()


def prompts(excerpt: Excerpt) -> list[Excerpt]:
    """The parts of ``a AND b`` and of ``a BREAK b``."""
    return list(excerpt.split(_JOINTS)) if _JOINTS.search(excerpt.words) else [excerpt]


def without_weights(text: str) -> str:
    """A text without the signs of weights."""
    if not any(mark in text for mark in "([（"):
        return text
    return Excerpt.of(text).without(_merged(_scan(text).removed)).words


def _merged(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same stretches in order and apart."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _bare(text: str) -> list[tuple[int, int, float]]:
    """``word:1.2`` between commas, without brackets."""
    found = []
    quoted = quotations(text)
    for match in _BARE_WEIGHT.finditer(text):
        if sheltered(quoted, match.start()):
            continue
        before = text[max(0, match.start() - 8) : match.start()].rstrip()
        if before and before[-1] not in ",，;\n":
            continue
        found.append((match.start(), match.end(), float(match[2])))
    return found


@dataclass(slots=True)
class _Pair:
    """Two brackets that belong together: where they stand, the pair around them, and the weight that they give."""

    start: int
    end: int
    parent: _Pair | None = None
    weight: float = 1.0
    wraps: bool = False
    """Whether it holds nothing but another pair, so that the weights multiply on the same words."""


def _scan(text: str) -> _Marks:
    """Brackets that match, from the outside inwards."""
    marks = _Marks([], [], [])
    pairs = _pairs(text, marks)
    for pair in pairs:
        if pair.parent is not None and _only_brackets(text, pair.parent, pair):
            pair.parent.wraps = True
    for pair in pairs:
        _read_pair(text, pair, marks)
    return marks


def _pairs(text: str, marks: _Marks) -> list[_Pair]:
    """Pairs of brackets in the order of their beginnings; a backslash in front makes a plain character."""
    stack: list[int] = []
    found: list[tuple[int, int]] = []
    quoted = quotations(text)
    for match in _BRACKET.finditer(text):
        index, char = match.start(), match[0]
        if sheltered(quoted, index):
            continue
        if char[0] == "\\":
            marks.removed.append((index, index + 1))
            marks.strength = max(marks.strength, 0.6)
        elif char in "([（" and len(stack) < _DEEPEST:
            stack.append(index)
        elif stack and char in ")]）" and _PARTNER[text[stack[-1]]] == char:
            found.append((stack.pop(), index))
    pairs: list[_Pair] = []
    around: list[_Pair] = []
    for start, end in sorted(found):
        while around and around[-1].end < start:
            around.pop()
        pairs.append(_Pair(start, end, around[-1] if around else None))
        around.append(pairs[-1])
    return pairs


def _read_pair(text: str, pair: _Pair, marks: _Marks) -> None:
    start, end = pair.start, pair.end
    square = text[start] == "["
    inner = text[start + 1 : end] if end - start < _LONGEST else ""
    outside = pair.parent.weight if pair.parent is not None else 1.0
    changed = _change(inner) if square else None
    number = None if square else _WEIGHT.search(inner)
    value = _float(number[1]) if number and inner[: number.start()].strip() else None
    if changed is not None:
        pair.weight = outside
        marks.changes.append((start, end + 1))
        marks.removed += [(start, start + 1 + changed[0]), (start + 1 + changed[1], end + 1)]
        marks.strength = max(marks.strength, 0.85)
    elif number is not None and value is not None:
        pair.weight = value
        stop = start + 1 + number.start()
        marks.removed += [(start, start + 1), (stop, end + 1)]
        marks.weighted.append(Weighted(start + 1, stop, value))
        marks.strength = max(marks.strength, 0.95)
    else:
        pair.weight = outside * (DOWN if square else UP)
        marks.removed += [(start, start + 1), (end, end + 1)]
        if not pair.wraps:
            marks.weighted.append(Weighted(start + 1, end, pair.weight))
        nested = pair.wraps or (pair.parent is not None and pair.parent.wraps)
        marks.strength = max(marks.strength, 0.75 if nested else 0.45 if _is_a_tag(text, start, end) else 0.2)


def _change(inner: str) -> tuple[int, int] | None:
    """Where the words stand that a change between sampling steps ends with; None if it is none."""
    if match := _CHANGE.fullmatch(inner):
        return match.span(2)
    if match := _STARTS_OR_ENDS.fullmatch(inner):
        return match.span(1)
    return (0, inner.index("|")) if "|" in inner and _ALTERNATE.fullmatch(inner) else None


def _only_brackets(text: str, outer: _Pair, inner: _Pair) -> bool:
    before, behind = text[outer.start + 1 : inner.start], text[inner.end + 1 : outer.end]
    return len(before) < 8 and len(behind) < 8 and not before.strip() and not behind.strip()


def _is_a_tag(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 4) : start].rstrip(), text[end + 1 : end + 5].lstrip()
    return (not before or before[-1] in ",，\n") and (not after or after[0] in ",，\n.")


def _float(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and abs(value) <= _LARGEST else None

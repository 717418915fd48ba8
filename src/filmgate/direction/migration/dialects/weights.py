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
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.form import Dialect, Emphasis, Parameter

UP, DOWN = 1.1, 1 / 1.1
_NETWORK = re.compile(r"<(lora|lyco|lycoris|hypernet):([^:<>]+)(?::([^:<>]+))?(?::([^<>]*))?>", re.IGNORECASE)
_WEIGHT = re.compile(r"\s*[:：]\s*([+-]?(?:\d+(?:\.\d+)?|\.\d+))\s*$")
_CHANGE = re.compile(r"([^:\[\]|]*):([^:\[\]|]*):\s*(\d*\.?\d+)\s*")
_STARTS_OR_ENDS = re.compile(r"([^:\[\]|]+)(::?)\s*(\d*\.?\d+)\s*")
_ALTERNATE = re.compile(r"[^|\[\]]*(?:\|[^|\[\]]*)+")
_BARE_WEIGHT = re.compile(
    r"(?<![\w(\[:：])([^\W\d_][\w' -]{0,60}?)\s?:\s?(\d(?:\.\d{1,3})|\.\d{1,3})(?=\s*(?:,|，|;|\n|$))"
)
_JOINTS = re.compile(r"\s*\b(?:BREAK|AND)\b\s*")
_DEEPEST = 32
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
    if not any(mark in text for mark in "([<:") and " AND " not in text and "BREAK" not in text:
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
        name = match[2].strip()
        if match[1].lower() == "lora" and name:
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
    for start, end, number in _bare(words):
        cut = re.search(r"\s?:\s?[\d.]+$", words[start:end])
        if cut and not any(a < end and start < b for a, b in marks.removed):
            marks.weighted.append(Weighted(start, start + cut.start(), number))
            marks.removed.append((start + cut.start(), end))
    for joint in _JOINTS.finditer(words):
        if joint.start() and not any(a <= joint.start() < b for a, b in marks.removed):
            marks.removed.append((joint.start(), joint.end()))
    for start, end in marks.changes:
        place = excerpt.part(start, end)
        draft.add("leftovers", place.leaf(place.words, dialect))
    for item in sorted(marks.weighted, key=lambda item: (item.start, item.end)):
        plain = without_weights(words[item.start : item.end]).strip(" ,")
        if plain and item.weight != 1:
            place = excerpt.part(item.start, item.end)
            emphasis = Emphasis(words=plain, weight=round(item.weight, 4))
            draft.add("emphasis", place.leaf(emphasis, dialect))
    return _joined(excerpt, sorted(marks.removed))


def _joined(excerpt: Excerpt, stretches: list[tuple[int, int]]) -> Excerpt:
    merged: list[tuple[int, int]] = []
    for start, end in stretches:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    words = excerpt.words
    kept = [(a, b) for a, b in merged if not _JOINTS.fullmatch(words[a:b])]
    joints = [(a, b) for a, b in merged if _JOINTS.fullmatch(words[a:b])]
    # of "a AND b" a comma's worth stays: the first character of the joint becomes the border of two tags
    kept += [(a + 1, b) for a, b in joints]
    result = excerpt.without(sorted(kept))
    if joints and result.decoded is not None and result.places is not None:
        text = list(result.decoded)
        at = {place: index for index, place in enumerate(result.places)}
        for a, _ in joints:
            place = excerpt.part(a, a + 1).start
            if place in at and text[at[place]].isspace():
                text[at[place]] = ","
        return Excerpt(result.whole, result.start, result.end, "".join(text), result.places)
    return result


def without_weights(text: str) -> str:
    """A text without the signs of weights."""
    excerpt = Excerpt.of(text)
    return _joined(excerpt, sorted(_scan(text).removed)).words if any(mark in text for mark in "([") else text


def _bare(text: str) -> list[tuple[int, int, float]]:
    """``word:1.2`` between commas, without brackets."""
    found = []
    for match in _BARE_WEIGHT.finditer(text):
        before = text[: match.start()].rstrip()
        if before and before[-1] not in ",，;\n":
            continue
        found.append((match.start(), match.end(), float(match[2])))
    return found


def _scan(text: str) -> _Marks:
    """Brackets that match, from the outside inwards."""
    marks = _Marks([], [], [])
    stack: list[tuple[str, int]] = []
    pairs: list[tuple[int, int, int]] = []
    index = 0
    while index < len(text):
        char = text[index]
        if char == "\\" and index + 1 < len(text) and text[index + 1] in "()[]":
            marks.removed.append((index, index + 1))
            index += 2
            continue
        if char in "([（" and len(stack) < _DEEPEST:
            stack.append((char, index))
        elif stack and char in ")]）" and {"(": ")", "[": "]", "（": "）"}[stack[-1][0]] == char:
            _, start = stack.pop()
            pairs.append((start, index, len(stack)))
        index += 1
    for start, end, _ in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        _read_pair(text, start, end, pairs, marks)
    if any(text[a:b] == "\\" for a, b in marks.removed):
        marks.strength = max(marks.strength, 0.6)
    return marks


def _read_pair(text: str, start: int, end: int, pairs: list[tuple[int, int, int]], marks: _Marks) -> None:
    inner = text[start + 1 : end]
    square = text[start] == "["
    outer = [(a, b) for a, b, _ in pairs if a < start and b > end]
    if square and (match := (_CHANGE.fullmatch(inner) or _STARTS_OR_ENDS.fullmatch(inner))):
        groups = match.groups()
        later = (match.start(1), match.end(1)) if groups[1] in (":", "::") else (match.start(2), match.end(2))
        marks.changes.append((start, end + 1))
        marks.removed += [(start, start + 1 + later[0]), (start + 1 + later[1], end + 1)]
        marks.strength = max(marks.strength, 0.85)
        return
    if square and _ALTERNATE.fullmatch(inner) and "|" in inner:
        marks.changes.append((start, end + 1))
        marks.removed += [(start, start + 1), (start + 1 + inner.index("|"), end + 1)]
        marks.strength = max(marks.strength, 0.7)
        return
    weight = None if square else _WEIGHT.search(inner)
    number = _float(weight[1]) if weight else None
    if weight is not None and number is not None and inner[: weight.start()].strip():
        marks.removed += [(start, start + 1), (start + 1 + weight.start(), end + 1)]
        marks.weighted.append(Weighted(start + 1, start + 1 + weight.start(), number))
        marks.strength = max(marks.strength, 0.95)
        return
    factor = DOWN if square else UP
    for a, b in outer:
        if text[a] in "(（[" and _only_brackets(text, a, b, start, end):
            factor *= DOWN if text[a] == "[" else UP
    around = any(_only_brackets(text, start, end, a, b) for a, b, _ in pairs if start < a and b < end)
    marks.removed += [(start, start + 1), (end, end + 1)]
    if not around:
        marks.weighted.append(Weighted(start + 1, end, factor))
    nested = around or any(_only_brackets(text, a, b, start, end) for a, b in outer)
    alone = _is_a_tag(text, start, end)
    marks.strength = max(marks.strength, 0.75 if nested else 0.45 if alone else 0.2)


def _only_brackets(text: str, outer_start: int, outer_end: int, start: int, end: int) -> bool:
    """Whether one pair of brackets holds nothing but the other, so that their weights multiply."""
    return not text[outer_start + 1 : start].strip("([（ ") and not text[end + 1 : outer_end].strip(")]） ")


def _is_a_tag(text: str, start: int, end: int) -> bool:
    before, after = text[:start].rstrip(), text[end + 1 :].lstrip()
    return (not before or before[-1] in ",，\n") and (not after or after[0] in ",，\n.")


def _float(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and abs(value) <= _LARGEST else None

"""Phrases of the field inside a value or a tag: camera moves, lights, terms and quantities.

A phrase counts only if all of its words were understood; otherwise it stays in the author's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from filmgate.direction.migration.dialects.amounts import read_amount
from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.form import Amount, CameraMove, Dialect, Leaf, Light, Move, Term
from filmgate.direction.migration.spelling import is_chinese
from filmgate.direction.migration.vocabulary import Match, Slot, vocabulary

COMMA = re.compile(r"[,，、]")
LIST = re.compile(r"[,，、;；\n]")
_THEN = re.compile(r"[,，;；]?\s*(?:\b(?:and\s+)?then\b|->|→|然后|接着|随后|再)\s*,?\s*", re.IGNORECASE)
_TOGETHER = re.compile(
    r"\s*(?:[,，、;；+&]|\b(?:and(?!\s+stop\b)|while|with(?!\s+a\s+gentle\b))\b|同时|并且?)\s*", re.IGNORECASE
)
_FIRST = re.compile(r"(?:first|先|首先)[,，]?\s*", re.IGNORECASE)
_OPENING = re.compile(r"\s*(?:(?:the\s+)?camera\s+|镜头|摄像机|相机)?(?:first\s+|先)?", re.IGNORECASE)
_TOKEN = re.compile(r"(?:(?<![\w])[-+](?=[\d.]))?(?:\d+(?:\.\d+)?[:：]\d+|[^\s_\-,，、;；]+)")
_LONGEST_PHRASE = 80
_MOST_TOKENS = 12
_LONGEST_RUN = 6

ROLES = {
    "key": "key", "main": "key", "fill": "fill", "kicker": "kicker", "hair": "hair", "accent": "accent",
    "background": "background", "bounce": "bounce", "主光": "key", "主光源": "key", "补光": "fill", "辅光": "fill",
    "辅助光": "fill", "发丝光": "hair", "背景光": "background",
}  # fmt: skip
_ROLE = re.compile(rf"({'|'.join(sorted(ROLES, key=len, reverse=True))})(?:[\s_-]*lights?(?:ing)?)?", re.IGNORECASE)
_SIDE = re.compile(
    r"(?:from\s+)?(?:the\s+)?(?:camera\s+|screen\s+|frame\s+)?(left|right)(?:[\s-]+(?:side|hand side))?"
    r"|(?:从|来自)?(左|右)[侧边面]?",
    re.IGNORECASE,
)
_ELEVATION = re.compile(
    r"(?:elevation|elevated|height)\s*(?:at|of|:)?\s*(.+)|(.+?)\s*(?:elevation|up|high|above)", re.IGNORECASE
)
_AZIMUTH = re.compile(r"(?:(?:azimuth|angle|at)\s*(?:at|of|:)?\s*)?(.+?)(?:\s*(?:azimuth|angle))?", re.IGNORECASE)
_RATIO = re.compile(r"(?:(?:contrast\s+|lighting\s+)?ratio\s*(?:of|:)?\s*)?(.+?)(?:\s+ratio)?", re.IGNORECASE)
_CAMERA_FILLER = re.compile(r"lens|shot|camera|镜头", re.IGNORECASE)
_LIGHT_FILLER = re.compile(r"lights?|lighting|from|with|the|and|a|of|光线?|灯光", re.IGNORECASE)
_SLOTS_OF_LIGHT: dict[Slot, Literal["source", "quality", "angle", "contrast"]] = {
    "quality": "quality", "source": "source", "light_angle": "angle", "contrast": "contrast",
}  # fmt: skip
_CHINESE_ENDINGS: dict[Slot, str] = {"style": "风格", "composition": "构图", "tone": "色调", "angle": "角度"}
"""What Chinese words lack where their slot is known: ``风格：写实``."""
_LASTING = re.compile(r"(?:over|for|within|during)\s+(.+)", re.IGNORECASE)
_CHINESE_MOVES: dict[str, Move] = {
    "推": Move(kind="dolly", direction="in"), "拉": Move(kind="dolly", direction="out"), "摇": Move(kind="pan"),
    "移": Move(kind="truck"), "跟": Move(kind="follow"), "升": Move(kind="crane", direction="up"),
    "降": Move(kind="crane", direction="down"), "甩": Move(kind="whip_pan"),
}  # fmt: skip
"""Single characters that are moves where nothing else is said: 镜头：推, 运镜：推拉摇移."""
_EXTENTS = {"deg": "magnitude", "m": "magnitude", "percent": "magnitude", "deg/s": "speed", "m/s": "speed"}
"""What a quantity behind a move says, by its unit."""
TERM_SLOTS: tuple[Slot, ...] = ("shot", "angle", "lens", "focus", "composition", "style", "time", "tone")
CAMERA_SLOTS: tuple[Slot, ...] = ("shot", "angle", "lens", "focus", "composition")


@lru_cache(maxsize=16384)
def _find_term(slot: Slot, words: str) -> Match | None:
    """The vocabulary's answer, remembered: the same words are asked for in slot after slot, prompt after prompt."""
    return vocabulary().find_term(slot, words)


def term(slot: Slot, excerpt: Excerpt, dialect: Dialect) -> Leaf[Term | str] | None:
    """The term of a slot that an excerpt is."""
    words = excerpt.words
    found = _find_term(slot, words) if 0 < len(words) <= _LONGEST_PHRASE else None
    if found is None and slot in _CHINESE_ENDINGS and is_chinese(words) and len(words) <= _LONGEST_PHRASE:
        found = _find_term(slot, words + _CHINESE_ENDINGS[slot])
    if found is None:
        return None
    return excerpt.leaf(Term(name=found.name), dialect, confidence=found.confidence)


def term_or_words(slot: Slot, excerpt: Excerpt, dialect: Dialect) -> Leaf[Term | str]:
    """The term that an excerpt is, or the author's words."""
    return term(slot, excerpt, dialect) or excerpt.leaf(excerpt.words, dialect)


def tag(excerpt: Excerpt, dialect: Dialect) -> tuple[Slot, Leaf[Term | str]] | None:
    """The slot and term of words that stand alone."""
    words = excerpt.words
    found = vocabulary().find_tag(words) if 0 < len(words) <= _LONGEST_PHRASE else None
    if found is None:
        return None
    return found.slot, excerpt.leaf(Term(name=found.name), dialect, confidence=found.confidence)


def light_of_term(slot: Slot, leaf: Leaf[Term | str]) -> Light:
    """A light of which only a term is known."""
    return Light(**{_SLOTS_OF_LIGHT[slot]: leaf})  # type: ignore[arg-type]


def is_of_light(slot: Slot) -> bool:
    """Whether terms of a slot say something about a light."""
    return slot in _SLOTS_OF_LIGHT


def speed(excerpt: Excerpt, dialect: Dialect) -> Leaf[Amount]:
    """How fast, as a quantity or in words."""
    amount = read_amount(excerpt.words)
    return excerpt.leaf(amount or Amount(unit="word", word=excerpt.words), dialect)


def moves(excerpt: Excerpt, dialect: Dialect) -> list[CameraMove] | None:
    """The camera moves that an excerpt says and nothing else; None if it says anything else.

    "slowly pans left and tilts up, then zooms in" are three moves in two groups.
    """
    words = excerpt.words
    if not words or len(words) > 4 * _LONGEST_PHRASE:
        return None
    if 1 < len(words) <= 4 and all(character in _CHINESE_MOVES for character in words):
        parts = [excerpt.part(index, index + 1) for index in range(len(words))]
        return [CameraMove(move=part.leaf(_CHINESE_MOVES[part.words], dialect)) for part in parts]
    found: list[CameraMove] = []
    for group, step in enumerate(excerpt.split(_THEN)):
        whole = _move(step, dialect, group)
        if whole is not None:
            found.append(whole)
            continue
        opening = _OPENING.match(step.words)
        for piece in step.part(opening.end() if opening else 0, len(step.words)).split(_TOGETHER):
            move = _move(piece, dialect, group)
            if move is None:
                return None
            found.append(move)
    return found or None


def _move(excerpt: Excerpt, dialect: Dialect, group: int) -> CameraMove | None:
    first = _FIRST.match(excerpt.words)
    if first:
        excerpt = excerpt.part(first.end(), len(excerpt.words))
    words = excerpt.words
    if not words or len(words) > 2 * _LONGEST_PHRASE:
        return None
    if words in _CHINESE_MOVES:
        return CameraMove(move=excerpt.leaf(_CHINESE_MOVES[words], dialect), group=group)
    found = vocabulary().find_move(words)
    if found is None:
        return _move_behind_speed(excerpt, dialect, group)
    manner: dict[str, Leaf[object]] = {}
    if found.rest:
        at = words.rfind(found.rest)
        rest = excerpt.part(at, at + len(found.rest)) if at >= 0 else excerpt
        said = _manner(rest, dialect)
        if said is None or ("speed" in said and found.speed is not None):
            return None
        manner = said
    if found.speed is not None:
        place = _words_of_speed(excerpt, found.speed)
        manner["speed"] = place.leaf(Amount(unit="word", word=place.words), dialect)
    leaf: Leaf[Move] = excerpt.leaf(found.move, dialect, confidence=found.confidence)
    return CameraMove(move=leaf, group=group, **manner)  # type: ignore[arg-type]


def _move_behind_speed(excerpt: Excerpt, dialect: Dialect, group: int) -> CameraMove | None:
    """A move behind an adverb of several words: "at a moderate pace pans left"."""
    words = excerpt.words
    opening = re.match(r"\s*(?:the\s+)?camera\s+", words, re.IGNORECASE)
    begin = opening.end() if opening else 0
    for space in list(re.finditer(r"\s+", words[begin:]))[1:5]:
        speed_part = excerpt.part(begin, begin + space.start())
        if " " in speed_part.words.strip() and vocabulary().find_speed(speed_part.words):
            move = _move(excerpt.part(begin + space.end(), len(words)), dialect, group)
            if move is None or move.speed is not None:
                return None
            speed_leaf = speed_part.leaf(Amount(unit="word", word=speed_part.words), dialect)
            whole = move.move.model_copy(update={"span": (excerpt.start, excerpt.end), "raw": excerpt.raw})
            return move.model_copy(update={"speed": speed_leaf, "move": whole})
    return None


def _manner(excerpt: Excerpt, dialect: Dialect) -> dict[str, Leaf[object]] | None:
    """How fast, how far and how evenly, said behind a move; None if the words say anything else, or one of it twice."""
    found = runs(excerpt, dialect, _of_manner)
    if found is None:
        return None
    said = {item.slot: item.leaf for item in found if isinstance(item.leaf, Leaf)}
    return said if len(said) == sum(item.leaf is not None for item in found) else None


def _of_manner(excerpt: Excerpt, dialect: Dialect) -> Found | None:
    words = excerpt.words
    easing = term("easing", excerpt, dialect)
    if easing is not None:
        return Found("easing", easing)
    if vocabulary().find_speed(words):
        return Found("speed", excerpt.leaf(Amount(unit="word", word=words), dialect))
    if (match := _LASTING.fullmatch(words)) and (time := read_amount(match[1])) and time.unit in ("s", "frame"):
        return Found("end", excerpt.leaf(time, dialect))
    amount = read_amount(words)
    if amount is not None and amount.unit in _EXTENTS:
        return Found(_EXTENTS[amount.unit], excerpt.leaf(amount, dialect))
    return Found("", None) if words.lower() in ("by", "at", "and", ",") else None


def _words_of_speed(excerpt: Excerpt, name: str) -> Excerpt:
    """Where the words stand that say a speed."""
    words = excerpt.words.lower().replace("_", " ").replace("-", " ")
    entry = next(entry for speed_name, entry in vocabulary().speeds.items() if speed_name == name)
    for phrase in sorted(entry.understood, key=len, reverse=True):
        match = re.search(rf"(?<![a-z]){re.escape(phrase.lower())}(?![a-z])", words)
        if match and len(words) == len(excerpt.words):
            return excerpt.part(match.start(), match.end())
    return excerpt


@dataclass(frozen=True, slots=True)
class Found:
    """What a run of words was understood as: ``slot`` of the form or of a light, and the leaf; no leaf for fillers."""

    slot: str
    leaf: Leaf[object] | CameraMove | None


Reader = Callable[[Excerpt, Dialect], Found | None]


def runs(excerpt: Excerpt, dialect: Dialect, reader: Reader) -> list[Found] | None:
    """An excerpt cut into runs of words that a reader understands, longest first; None if some words remain."""
    words = excerpt.words
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(words)]
    if not tokens or len(tokens) > _MOST_TOKENS or len(words) > 2 * _LONGEST_PHRASE:
        return None
    found: list[Found] = []
    index = 0
    while index < len(tokens):
        for stop in range(min(len(tokens), index + _LONGEST_RUN), index, -1):
            piece = excerpt.part(tokens[index][0], tokens[stop - 1][1])
            understood = reader(piece, dialect)
            if understood is not None:
                found.append(understood)
                index = stop
                break
        else:
            return None
    return found


def of_camera(excerpt: Excerpt, dialect: Dialect) -> Found | None:
    """Reader of what may stand under a key ``camera``: moves, how fast and how far, shots, angles, lenses, ..."""
    amount = read_amount(excerpt.words)
    if amount is not None:
        slot = {"mm": "lens", "f": "focus", **_EXTENTS}.get(amount.unit)
        return None if slot is None else Found(slot, excerpt.leaf(amount, dialect))
    for term_slot in CAMERA_SLOTS:
        leaf = term(term_slot, excerpt, dialect)
        if leaf is not None:
            return Found(term_slot, leaf)
    move = _move(excerpt, dialect, 0)
    if move is not None:
        return Found("camera", move)
    if vocabulary().find_speed(excerpt.words):
        return Found("speed", speed(excerpt, dialect))
    easing = term("easing", excerpt, dialect)
    filler = easing is None and _CAMERA_FILLER.fullmatch(excerpt.words)
    return Found("", None) if filler else None if easing is None else Found("easing", easing)


def of_lens(excerpt: Excerpt, dialect: Dialect) -> Found | None:
    """Reader of lenses: focal lengths and terms, and the aperture that is often named with them."""
    return _of_optics("lens", "mm", excerpt, dialect)


def of_focus(excerpt: Excerpt, dialect: Dialect) -> Found | None:
    """Reader of apertures and depth of field, and the focal length that is often named with them."""
    return _of_optics("focus", "f", excerpt, dialect)


def _of_optics(
    slot: Literal["lens", "focus"], unit: Literal["mm", "f"], excerpt: Excerpt, dialect: Dialect
) -> Found | None:
    """A number, with its unit or in that of the slot; or a term of either slot."""
    amount = read_amount(excerpt.words)
    if amount is not None and amount.unit in ("", "mm", "f"):
        known: Literal["mm", "f"] = "mm" if amount.unit == "mm" else "f" if amount.unit == "f" else unit
        leaf = excerpt.leaf(amount.model_copy(update={"unit": known}), dialect)
        return Found("lens" if known == "mm" else "focus", leaf)
    other: Literal["lens", "focus"] = "focus" if slot == "lens" else "lens"
    for name in (slot, other):
        term_leaf = term(name, excerpt, dialect)
        if term_leaf is not None:
            return Found(name, term_leaf)
    return Found("", None) if excerpt.words.lower() in ("lens", "镜头") else None


def of_light(excerpt: Excerpt, dialect: Dialect) -> Found | None:
    """Reader of what may be said of a light."""
    words = excerpt.words
    fields: dict[Slot, str] = {**_SLOTS_OF_LIGHT, "tone": "tone", "time": "time"}
    for slot, field in fields.items():
        leaf = term(slot, excerpt, dialect)
        if leaf is not None and leaf.confidence == 1:
            return Found(field, leaf)
    if match := _ROLE.fullmatch(words):
        return Found("role", excerpt.leaf(ROLES[match[1].lower()], dialect))
    if match := _SIDE.fullmatch(words):
        side = "left" if (match[1] or "").lower() == "left" or match[2] == "左" else "right"
        return Found("side", excerpt.leaf(side, dialect))
    quantity = light_quantity(excerpt, dialect)
    return Found("", None) if quantity is None and _LIGHT_FILLER.fullmatch(words) else quantity


def light_quantity(excerpt: Excerpt, dialect: Dialect) -> Found | None:
    """A light's angle, height, colour temperature or contrast ratio."""
    words = excerpt.words
    if match := _ELEVATION.fullmatch(words):
        amount = read_amount(match[1] or match[2])
        if amount is not None and amount.unit in ("deg", ""):
            return Found("elevation", excerpt.leaf(amount.model_copy(update={"unit": "deg"}), dialect))
    if (match := _RATIO.fullmatch(words)) and (amount := read_amount(match[1])) and amount.unit == "ratio":
        return Found("ratio", excerpt.leaf(amount, dialect))
    amount = read_amount(words)
    if amount is not None and amount.unit == "kelvin":
        return Found("kelvin", excerpt.leaf(amount, dialect))
    if (match := _AZIMUTH.fullmatch(words)) and (amount := read_amount(match[1])) and amount.unit == "deg":
        return Found("azimuth", excerpt.leaf(amount, dialect))
    return None


def add_lights(found: list[Found], draft: Draft) -> None:
    """Add the lights that were found, and the tone and time that were named with them."""
    for light in lights(found):
        draft.add("lights", light)
    for item in found:
        if item.slot in ("tone", "time") and isinstance(item.leaf, Leaf):
            draft.add("tone" if item.slot == "tone" else "time", item.leaf)


def lights(found: list[Found]) -> Iterator[Light]:
    """Lights of what was found, a new one wherever a field would be said twice."""
    fields: dict[str, Leaf[object]] = {}
    for item in found:
        if not isinstance(item.leaf, Leaf) or item.slot in ("tone", "time"):
            continue
        if item.slot in fields:
            yield Light(**fields)  # type: ignore[arg-type]
            fields = {}
        fields[item.slot] = item.leaf
    if fields:
        yield Light(**fields)  # type: ignore[arg-type]

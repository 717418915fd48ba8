"""Lists of keys and values: ``camera_movement: dolly_forward, speed: 2.5``, with ``:``, ``=``, ``->`` or ``=>``.

Also in the manner of Runway (``Horizontal: 2, Pan: -3``), of Deforum's fields (``zoom: 0:(1.04)``) and of the line of
settings that AUTOMATIC1111's web UI writes (``Steps: 20, Seed: 5``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from filmgate.direction.migration.dialects import axes, camera_files, deforum, phrases
from filmgate.direction.migration.dialects.excerpt import Excerpt, sheltered, shelters
from filmgate.direction.migration.dialects.keys import meaning
from filmgate.direction.migration.dialects.parameters import is_setting
from filmgate.direction.migration.dialects.prose import is_abbreviation
from filmgate.direction.migration.dialects.tree import Node, is_number, read_object, read_string, typed
from filmgate.direction.migration.form import Dialect
from filmgate.direction.migration.vocabulary import vocabulary

_KEY = re.compile(
    r"(?<![\w.])(?:[\"']?)"
    r"([A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff-]*(?:\.[\w\u4e00-\u9fff-]+)*(?: [A-Za-z][\w-]*){0,3})[\"']?"
    r"\s*(:(?!//)|：|=>|->|=(?!=)|→|(?<=[A-Z] )[-–—](?= ))\s*"
)
_SNAKE = re.compile(r"[a-z0-9]_[a-z0-9]|[a-z][A-Z]|\w\.\w")
_SHORTEST_HEADING = 4
_HEADING = re.compile(r"[A-Z][a-z]+(?: [A-Za-z]+)+")
_OTHER_NOTATION = re.compile(r"\n|\s(?=\{|--[A-Za-z]|<lora:)")
_VALUE_END = re.compile(r"[.!?。！？]\s+(?=\S)|" + _OTHER_NOTATION.pattern)
_FREE = frozenset({"prompt", "scene", "action", "audio", "negative", "subject", "mood"})
"""Fields whose values may be sentences, in a list that goes on behind a comma."""
_NUMBER = re.compile(r"[-+]?\d")
_KEYFRAME = re.compile(r"\d+\s*:\s*\(")
_QUANTITIES = frozenset({"camera.speed", "camera.magnitude", "camera.begin", "camera.end", "subject.count"})
_CLOSED = frozenset({
    "camera", "camera.move", "camera.speed", "camera.magnitude", "camera.easing", "camera.begin", "camera.end",
    "camera.direction", "shot", "angle", "lens", "focus", "composition", "light", "time", "tone", "style",
    "subject.count",
})  # fmt: skip
"""Fields whose words are known, so that it shows where a value ends and the next words begin."""


@dataclass(frozen=True, slots=True)
class Item:
    """A key with its value."""

    key: Excerpt
    value: Excerpt
    name: str | None
    separator: str = ":"

    def node(self) -> Node:
        """The value as a node: an object where it is written as one, a number where it is one."""
        words = self.value.words
        if words[:1] in ("{", "["):
            found = read_object(self.value, 0)
            if found is not None and found[1] == len(words):
                return found[0]
        return read_string(self.value) or typed(self.value)


@dataclass(frozen=True, slots=True)
class Run:
    """Items that follow one another, ``start`` to ``end`` in the excerpt's own count."""

    start: int
    end: int
    items: tuple[Item, ...]
    dialect: Dialect
    score: float


def find_runs(excerpt: Excerpt) -> Iterator[Run]:
    """Lists of keys and values in a text, with how surely each is one."""
    words = excerpt.words
    if not any(sign in words for sign in (":", "：", "=", "->", "→", " - ", " – ", " — ")):
        return
    starts = list(_keys(excerpt))
    index = 0
    while index < len(starts):
        items: list[Item] = []
        begin = starts[index].start(1)
        while True:
            match = starts[index]
            following = starts[index + 1] if index + 1 < len(starts) else None
            item, end, joined = _item(excerpt, match, following)
            items.append(item)
            index += 1
            if not joined or following is None:
                break
        dialect, score = _judge(excerpt, begin, end, items)
        yield Run(begin, end, tuple(items), dialect, score)


def _keys(excerpt: Excerpt) -> Iterator[re.Match[str]]:
    """Where keys stand: at the beginning, or behind a separator or the end of a sentence."""
    words = excerpt.words
    closed = shelters(words)
    for match in _KEY.finditer(words):
        at = match.start()
        before = words[:at].rstrip(" \t\"'-*•")
        opens = not before or before[-1] in ",，;；\n|.。!！?？{}]`" or _follows_a_setting(before, match)
        if not opens or sheltered(closed, match.start(1)) or (match[2] == "=" and len(match[1].split()) > 2):
            continue
        key = match[1]
        if match[2] in "-–—" and not (key.isupper() and len(key) >= _SHORTEST_HEADING):
            continue
        known = meaning(key, "", numeric=True) is not None or axes.axis_of(key) is not None
        if known or _SNAKE.search(key) or key.strip().lower() in deforum.NAMES:
            yield match


def _follows_a_setting(before: str, match: re.Match[str]) -> bool:
    """Whether a key with a number is one of the job's settings and stands behind a number, where people write no comma:
    ``cfg: 7 Steps: 30``."""
    if not before[-1].isdigit() or not _NUMBER.match(match.string, match.end()):
        return False
    return (meaning(match[1], "", numeric=True) or "").startswith("parameter.")


def _item(excerpt: Excerpt, match: re.Match[str], following: re.Match[str] | None) -> tuple[Item, int, bool]:
    """The item that begins at a key, where it ends, and whether the next key belongs to the same list."""
    words = excerpt.words
    limit = following.start() if following is not None else len(words)
    key = excerpt.part(match.start(1), match.end(1))
    start = match.end()
    listed = following is not None and words[:limit].rstrip(" \t\"'-*•")[-1:] in ",，;；|"
    free = meaning(match[1], "", numeric=False)
    whole = free == "prompt" or (listed and free in _FREE)
    stop = start + _stop(words[start:limit], across_sentences=whole)
    value = excerpt.part(start, stop).strip(",，|*;；")
    if (
        value.words.endswith((".", "。"))
        and free != "prompt"
        and not is_abbreviation(value.words, len(value.words) - 1)
    ):
        value = value.part(0, len(value.words) - 1)
    numeric = is_setting(value.words)
    name = meaning(match[1], "", numeric=numeric)
    end = start + _length(excerpt.part(start, stop), value)
    kind = name if name is not None else "parameter." if _is_numeric_key(match[1], value) else None
    if kind is not None:
        shorter = _closed_value(value, kind)
        if shorter is not None:
            value, end = shorter, start + _length(excerpt.part(start, stop), shorter)
    between = words[end:limit].strip(" \t\r\n,，;；|.。-*•\"'")
    joined = following is not None and not between
    return Item(key, value, name, separator=match[2]), end, joined


def _stop(words: str, *, across_sentences: bool) -> int:
    """Where a value ends at the latest: at the end of its line, of a sentence, or before another notation."""
    closed = shelters(words)
    for cut in (_OTHER_NOTATION if across_sentences else _VALUE_END).finditer(words):
        if sheltered(closed, cut.start()) or is_abbreviation(words, cut.start()):
            continue
        return cut.start()
    return len(words)


def _length(whole: Excerpt, part: Excerpt) -> int:
    """How far into an excerpt a part of it reaches."""
    if whole.decoded is None:
        return part.end - whole.start
    at = whole.words.find(part.words)
    return at + len(part.words) if at >= 0 else len(whole.words)


def _closed_value(value: Excerpt, name: str) -> Excerpt | None:
    """Where only the first pieces between commas are of the key's kind: those; None if all of the value is."""
    if name not in _CLOSED and not name.startswith(("parameter.", "light.")):
        return None
    pieces = list(value.split(phrases.LIST))
    fitting = [index for index, piece in enumerate(pieces) if _fits(piece, name)]
    if pieces and not fitting:
        return _leading_number(pieces[0], name) or (
            value.part(0, _length(value, pieces[0])) if len(pieces) > 1 else None
        )
    several = name in ("light", "camera")
    last = (
        fitting[-1]
        if several and fitting
        else next((i for i in range(len(pieces)) if i not in fitting), len(pieces)) - 1
    )
    return None if last >= len(pieces) - 1 else value.part(0, _length(value, pieces[max(last, 0)])).strip()


def _leading_number(piece: Excerpt, name: str) -> Excerpt | None:
    """The quantity that a value begins with, where other words follow it without a comma: ``speed: 3 a cat jumps``."""
    if not (name in _QUANTITIES or name.startswith("parameter.")):
        return None
    for space in reversed(list(re.finditer(r"\s+", piece.words))):
        head = piece.part(0, space.start())
        if _fits(head, name):
            return head
    return None


def _is_numeric_key(key: str, value: Excerpt) -> bool:
    """Whether a key that the vocabulary does not know asks for a number: a camera's axis, DiffSynth's speed."""
    return (axes.axis_of(key) is not None and not _KEYFRAME.match(value.words)) or camera_files.is_speed(key)


def _fits(piece: Excerpt, name: str) -> bool:
    """Whether words are of the kind that a key asks for."""
    if name.startswith("parameter.") or name in ("subject.count", "camera.begin", "camera.end"):
        return is_setting(piece.words)
    if name in ("camera.speed", "camera.magnitude"):
        return is_setting(piece.words) or vocabulary().find_speed(piece.words) is not None
    if name == "light" or name.startswith("light."):
        return phrases.runs(piece, "key_value", phrases.of_light) is not None
    if name in ("shot", "angle", "composition", "time", "tone", "style"):
        return phrases.term(name, piece, "key_value") is not None  # type: ignore[arg-type]
    reader = {"lens": phrases.of_lens, "focus": phrases.of_focus}.get(name, phrases.of_camera)
    return phrases.runs(piece, "key_value", reader) is not None or phrases.moves(piece, "key_value") is not None


def _judge(excerpt: Excerpt, begin: int, end: int, items: list[Item]) -> tuple[Dialect, float]:
    """Whose list it is, and how surely it is one: sentences have colons, too."""
    schedules = sum(deforum.is_channel(item.key.words, item.node()) for item in items)
    if schedules:
        return "deforum", min(1.0, 0.85 + 0.05 * schedules)
    if any(camera_files.is_key(item.key.words) for item in items):
        return "camera_files", 0.9
    axis = [item for item in items if axes.axis_of(item.key.words) and is_number(item.node())]
    if len(axis) >= 2:
        return "runway", 0.9
    known = sum(item.name not in (None, "comment") for item in items)
    if all(item.name in ("comment", "audio") for item in items):
        known = 0  # "Note: ...", "Dialogue: ..." are prose where nothing else is said in keys
    if known == 0:
        snake = sum(bool(_SNAKE.search(item.key.words)) for item in items)
        return "key_value", 0.3 + 0.1 * min(snake, 4)
    score = 0.3 + 0.12 * min(known, 4) + 0.08 * min(len(items) - known, 2)
    if any(_SNAKE.search(item.key.words) or _SNAKE.search(item.value.words) for item in items):
        score += 0.25
    if any(is_setting(item.value.words) for item in items):
        score += 0.2
    if any(item.separator not in (":", "：") for item in items):
        score += 0.1
    if any(item.name in _CLOSED and _fits(item.value, item.name) for item in items):
        score += 0.15
    if items[0].name == "prompt" and not excerpt.words[:begin].strip(" \t\"'-*•\n"):
        score += 0.3
    share = (end - begin) / max(1, len(excerpt.words))
    score += 0.2 * share
    headings = all(_HEADING.fullmatch(item.key.words) for item in items)
    if len(items) <= 2 and headings and re.search(r"\w{2}[.!?。] ?", excerpt.words[:begin]):
        score -= 0.3  # the last words of a description, such as "Shot scale: medium shot."
    return "key_value", min(score, 1.0)

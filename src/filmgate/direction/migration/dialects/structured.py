"""Objects in a prompt: where they stand, and how surely they describe a video."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from filmgate.direction.migration.dialects import axes, deforum
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.keys import meaning, plain
from filmgate.direction.migration.dialects.parameters import is_setting
from filmgate.direction.migration.dialects.tree import (
    Listing,
    Mapping,
    Node,
    Scalar,
    is_number,
    read_object,
    read_yaml,
    typed,
)
from filmgate.direction.migration.form import Dialect

_FENCE = re.compile(r"```[ \t]*(\w*)[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*\s*=\s*$")
_YAML_LINE = re.compile(
    r"[ \t]*(?:-[ \t]+\S.*|(?:-[ \t]+)?[\"']?[\w\u4e00-\u9fff][^:\n{}\[\],]{0,60}[\"']?:(?:[ \t].*)?|#.*|---|\.\.\.)?"
)
_NESTED = re.compile(r"^(?:[ \t]+\S|-[ \t]+\S)", re.MULTILINE)
_WRAPPED = re.compile(
    r"<(?P<xml>[A-Za-z_][\w-]{0,30})>(?P<inside>[^<>]{1,400})</(?P=xml)>"
    r"|\[[ ]?(?P<key>[A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff ]{1,30}?)\s*[:：=]\s*(?P<value>[^\[\]]{1,200})\]"
)
_STEP = re.compile(r":[^:]*:\s*\d*\.?\d+\s*\]$")
"""``[from:to:0.5]`` is a change between sampling steps."""
_MOST_OBJECTS = 32
_KLING_KEYS = frozenset({"camera control", "advanced camera control"})


@dataclass(frozen=True, slots=True)
class Block:
    """An object: ``start`` to ``end`` with its fence, in the excerpt's own count."""

    start: int
    end: int
    node: Mapping | Listing
    dialect: Dialect
    score: float


def find_blocks(excerpt: Excerpt) -> Iterator[Block]:
    """Objects in braces or brackets, in fences, or in YAML's block style."""
    words = excerpt.words
    taken: list[tuple[int, int]] = []
    for fence in _FENCE.finditer(words):
        inner = excerpt.part(fence.start(2), fence.end(2))
        node = _whole(inner)
        if node is not None:
            taken.append((fence.start(), fence.end()))
            yield _block(node, fence.start(), fence.end(), fenced=True)
    tried = 0
    at = 0
    while (opening := _OPENING.search(words, at)) and tried < _MOST_OBJECTS:
        at = opening.start() + 1
        if any(start <= opening.start() < end for start, end in taken):
            continue
        tried += 1
        found = read_object(excerpt, opening.start())
        if found is None:
            continue
        node, end = found
        assigned = _ASSIGNED.search(words[: opening.start()])
        start = assigned.start() if assigned and isinstance(node, Mapping) else opening.start()
        taken.append((start, end))
        at = end
        yield _block(node, start, end)
    yield from _yaml_blocks(excerpt, taken)
    yield from _wrapped_blocks(excerpt, taken)


def _whole(inner: Excerpt) -> Mapping | Listing | None:
    """The object that fills the inside of a fence."""
    trimmed = inner.strip()
    if trimmed.words[:1] in ("{", "["):
        found = read_object(trimmed, 0)
        return found[0] if found is not None and found[1] == len(trimmed.words) else None
    assigned = re.match(r"[A-Za-z_]\w*\s*=\s*(?=[{\[])", trimmed.words)
    if assigned:
        found = read_object(trimmed, assigned.end())
        return found[0] if found is not None else None
    return read_yaml(inner)


def _wrapped_blocks(excerpt: Excerpt, taken: list[tuple[int, int]]) -> Iterator[Block]:
    """``<camera>pan left</camera>`` and ``[camera: pan left]``, as many as follow one another."""
    words = excerpt.words
    entries: list[tuple[Excerpt, Node]] = []
    start = end = 0
    for match in _WRAPPED.finditer(words):
        key, value = ("xml", "inside") if match["xml"] else ("key", "value")
        numeric = is_setting(match[value])
        known = meaning(match[key], "", numeric=numeric) is not None
        if not known or _STEP.search(match[0]) or any(a < match.end() and match.start() < b for a, b in taken):
            continue
        if entries and words[end : match.start()].strip(" ,;\n"):
            yield Block(start, end, Mapping(excerpt.part(start, end), tuple(entries)), "key_value", 0.9)
            entries = []
        start = match.start() if not entries else start
        end = match.end()
        place = excerpt.part(match.start(value), match.end(value)).strip()
        entries.append((excerpt.part(match.start(key), match.end(key)), typed(place)))
    if entries:
        yield Block(start, end, Mapping(excerpt.part(start, end), tuple(entries)), "key_value", 0.9)


def _yaml_blocks(excerpt: Excerpt, taken: list[tuple[int, int]]) -> Iterator[Block]:
    """Runs of lines in YAML's style; flat ones are lists of keys, which have a grammar of their own."""
    words = excerpt.words
    if ":" not in words or "\n" not in words:
        return
    start, at = None, 0
    lines = [*words.splitlines(keepends=True), None]
    for line in lines:
        fits = line is not None and _YAML_LINE.fullmatch(line.rstrip("\r\n")) is not None
        if fits and start is None and line is not None and line.strip():
            start = at
        if start is not None and not fits:
            text = words[start:at]
            outside = not any(a < at and start < b for a, b in taken)
            node = read_yaml(excerpt.part(start, at)) if outside and _NESTED.search(text) else None
            if node is not None and any(not isinstance(value, Scalar) for _, value in node.entries):
                yield _block(node, start, start + len(text.rstrip()))
            start = None
        at += len(line or "")


def _block(node: Mapping | Listing, start: int, end: int, *, fenced: bool = False) -> Block:
    dialect, score = judge(node)
    return Block(start, end, node, dialect, max(score, 0.7) if fenced and isinstance(node, Mapping) else score)


def judge(node: Node) -> tuple[Dialect, float]:
    """Whose object it is and how surely it describes a video; lists and sets of words are prose more often."""
    if isinstance(node, Scalar):
        return "json", 0.0
    if isinstance(node, Listing) or not node.entries:
        inner = [judge(item) for item in node.items if isinstance(item, Mapping)] if isinstance(node, Listing) else []
        return max(inner, key=lambda item: item[1], default=("json", 0.2))
    names = {plain(key.words) for key, _ in node.entries}
    if any(name in _KLING_KEYS for name in names):
        return "kling", 0.95
    scheduled = any(deforum.is_channel(key.words, value) or is_prompts_by_frame(value) for key, value in node.entries)
    if scheduled or is_prompts_by_frame(node):
        return "deforum", 0.95
    axis = [key for key, value in node.entries if axes.axis_of(key.words) and is_number(value)]
    if axis and len(axis) + bool(names & {"static", "static camera"}) == len(node.entries):
        return "runway", 0.9
    known = any(meaning(key.words, "", numeric=is_number(value)) is not None for key, value in node.entries)
    nested = [judge(value)[1] for _, value in node.entries if isinstance(value, Mapping | Listing)]
    return "json", 0.95 if known else max([*nested, 0.55 if len(node.entries) > 1 else 0.4])


def is_prompts_by_frame(node: Node) -> bool:
    """Whether an object is ``{"0": "...", "30": "..."}``."""
    return (
        isinstance(node, Mapping)
        and bool(node.entries)
        and all(key.words.strip().isdecimal() and len(key.words) <= 7 for key, _ in node.entries)
        and all(isinstance(value, Scalar) and isinstance(value.value, str) for _, value in node.entries)
        and not all(deforum.is_schedule(value) for _, value in node.entries)
    )

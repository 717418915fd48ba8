"""Objects written into prompts: JSON, its relaxed relatives, literals of Python and YAML, read with their places.

Read by a small parser that knows only data: nothing is evaluated, nothing is constructed. It forgives what people write
by hand: comments, trailing commas, single quotation marks, bare words, ``None`` and ``True``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from filmgate.direction.migration.dialects.excerpt import Excerpt

Value = str | int | float | bool | None

_NOTHING = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|#[^\n]*)*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?(?=\s*(?:[,\]})\n]|//|/\*|#|$))")
_STRING = re.compile(r"[rRuU]?(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)')", re.DOTALL)
_BARE = re.compile(r"[^\s,:{}\[\]()\"'][^,:{}\[\]()\n\"']*")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_NAMED: dict[str, Value] = {"true": True, "false": False, "null": None, "none": None}
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": ""}
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_DEEPEST = 48
_LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; ``excerpt`` is what stands for it, without quotation marks."""

    excerpt: Excerpt
    value: Value


@dataclass(frozen=True, slots=True)
class Listing:
    """Values in order."""

    excerpt: Excerpt
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Named values in order; a name may occur twice."""

    excerpt: Excerpt
    entries: tuple[tuple[Excerpt, Node], ...]


Node = Scalar | Listing | Mapping


def read_object(source: Excerpt, start: int) -> tuple[Mapping | Listing, int] | None:
    """The object whose opening bracket is character ``start`` of ``source``, and where it ends; None if it is none."""
    try:
        node, end = _Reader(source).value(start, 0)
    except (_Malformed, RecursionError):
        return None
    return None if isinstance(node, Scalar) else (node, end)


def read_string(source: Excerpt) -> Scalar | None:
    """The string whose literal fills an excerpt; None if none does."""
    if not _STRING.fullmatch(source.words):
        return None
    return _Reader(source).scalar(0)[0]


class _Malformed(Exception):
    """What stands there is no object."""


class _Reader:
    """Reads values of one excerpt."""

    def __init__(self, source: Excerpt) -> None:
        self.source = source
        self.text = source.words

    def skip(self, index: int) -> int:
        """Behind white space and comments."""
        match = _NOTHING.match(self.text, index)
        return match.end() if match else index

    def value(self, index: int, depth: int) -> tuple[Node, int]:
        """A value and where it ends."""
        if depth > _DEEPEST or index >= len(self.text):
            raise _Malformed
        char = self.text[index]
        if char == "{":
            return self.mapping(index, depth)
        if char in "[(":
            return self.listing(index, depth)
        return self.scalar(index)

    def mapping(self, index: int, depth: int) -> tuple[Mapping, int]:
        """An object in braces and where it ends."""
        entries: list[tuple[Excerpt, Node]] = []
        at = self.skip(index + 1)
        while not self.text.startswith("}", at):
            key, at = self.scalar(at, bare=True)
            at = self.skip(at)
            separator = next((s for s in ("=>", ":", "：", "=") if self.text.startswith(s, at)), None)
            if separator is None:
                raise _Malformed
            node, at = self.value(self.skip(at + len(separator)), depth + 1)
            entries.append((key.excerpt, node))
            at = self.between(at, "}")
        return Mapping(self.source.part(index, at + 1), tuple(entries)), at + 1

    def listing(self, index: int, depth: int) -> tuple[Listing, int]:
        """A list in brackets and where it ends."""
        close = _CLOSING[self.text[index]]
        items: list[Node] = []
        at = self.skip(index + 1)
        while not self.text.startswith(close, at):
            node, at = self.value(at, depth + 1)
            items.append(node)
            at = self.between(at, close)
        return Listing(self.source.part(index, at + 1), tuple(items)), at + 1

    def between(self, at: int, close: str) -> int:
        """Behind the comma or line break after an entry, or at the closing bracket."""
        after = self.skip(at)
        if self.text.startswith(",", after) or self.text.startswith("，", after):
            return self.skip(after + 1)
        if self.text.startswith(close, after) or "\n" in self.text[at:after]:
            return after
        raise _Malformed

    def scalar(self, index: int, *, bare: bool = False) -> tuple[Scalar, int]:
        """A string, number or word; as a name every word stands for itself."""
        if quoted := _STRING.match(self.text, index):
            group = 1 if quoted[1] is not None else 2
            inner = self.source.part(quoted.start(group), quoted.end(group))
            if "\\" in quoted[group]:
                inner = Excerpt(inner.whole, inner.start, inner.end, _unescape(quoted[group]))
            return Scalar(inner, inner.words), quoted.end()
        number = None if bare else _NUMBER.match(self.text, index)
        if number and len(number[0]) <= _LONGEST_NUMBER:
            return Scalar(self.source.part(index, number.end()), _number(number[0])), number.end()
        word = _BARE.match(self.text, index)
        if word is None:
            raise _Malformed
        inner = self.source.part(index, word.end()).strip()
        named = inner.words.lower() if not bare else ""
        return Scalar(inner, _NAMED.get(named, inner.words)), word.end()


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise _Malformed
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else value


def _unescape(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code is None:
            return _PLAIN_ESCAPES.get(match[4], match[4])
        number = int(code, 16)
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"

    joined = re.sub(
        r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})",
        lambda pair: chr(0x10000 + ((int(pair[1], 16) - 0xD800) << 10) + int(pair[2], 16) - 0xDC00),
        text,
        flags=re.IGNORECASE,
    )
    return _ESCAPE.sub(replaced, joined)


def read_yaml(source: Excerpt) -> Mapping | None:
    """The mapping that an excerpt in YAML's block style holds; None if it is none, or uses aliases or tags."""
    import yaml

    text = source.words
    if not text.isprintable() and not all(char.isprintable() or char in "\n\r\t" for char in text):
        return None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    try:
        node = _converted(source, root, 0, set())
    except _Malformed:
        return None
    return node if isinstance(node, Mapping) else None


def _converted(source: Excerpt, node: object, depth: int, seen: set[int]) -> Node:
    import yaml

    if depth > _DEEPEST or id(node) in seen or str(getattr(node, "tag", "")).startswith("!"):
        raise _Malformed
    seen.add(id(node))  # an alias is the node that it stands for, again
    if isinstance(node, yaml.ScalarNode):
        return _yaml_scalar(source, node)
    if not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
        raise _Malformed
    whole = source.part(node.start_mark.index, node.end_mark.index)
    if isinstance(node, yaml.SequenceNode):
        return Listing(whole, tuple(_converted(source, item, depth + 1, seen) for item in node.value))
    entries: list[tuple[Excerpt, Node]] = []
    for key, value in node.value:
        name = _converted(source, key, depth + 1, seen)
        if not isinstance(name, Scalar):
            raise _Malformed
        entries.append((name.excerpt, _converted(source, value, depth + 1, seen)))
    return Mapping(whole, tuple(entries))


def _yaml_scalar(source: Excerpt, node: object) -> Scalar:
    import yaml

    assert isinstance(node, yaml.ScalarNode)
    inner = source.part(node.start_mark.index, node.end_mark.index)
    value: str = node.value
    at = inner.words.find(value)
    if inner.decoded is None and at >= 0 and value:
        inner = inner.part(at, at + len(value))
    elif inner.words != value:
        inner = Excerpt(inner.whole, inner.start, inner.end, value)
    if node.style is not None:
        return Scalar(inner, value)
    if value.lower() in _NAMED or value in ("", "~"):
        return Scalar(inner, _NAMED.get(value.lower()))
    if len(value) <= _LONGEST_NUMBER and re.fullmatch(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", value):
        return Scalar(inner, _number(value))
    return Scalar(inner, value)


def text_of(node: Node) -> str:
    """The characters that a node was written with."""
    return node.excerpt.whole[node.excerpt.start : node.excerpt.end]


def is_number(node: Node | None) -> bool:
    """Whether a node is a number; true and false are none."""
    return isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def typed(excerpt: Excerpt) -> Scalar:
    """A value without quotation marks: a number or a truth where it is written as one, else words."""
    words = excerpt.words
    lowered = words.lower()
    value: Value = words
    if lowered in ("true", "false"):
        value = lowered == "true"
    elif len(words) <= _LONGEST_NUMBER and re.fullmatch(r"[+-]?\d+", words):
        value = int(words)
    elif len(words) <= _LONGEST_NUMBER and re.fullmatch(r"[+-]?(?:\d+\.\d*|\.\d+)", words):
        value = float(words)
    return Scalar(excerpt, value)

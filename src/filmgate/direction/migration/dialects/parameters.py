"""Settings of a job that stand in a prompt."""

from __future__ import annotations

import re

from filmgate.direction.migration.dialects.amounts import read_amount
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.tree import Listing, Mapping, Node, Scalar
from filmgate.direction.migration.form import Dialect, Leaf, Parameter

_WHOLE = frozenset({"seed", "steps", "frames", "width", "height", "fps"})
_DECIMAL = frozenset({"guidance", "guidance_high", "guidance_low", "shift", "seconds", "boundary"})
_SIZE = re.compile(r"(\d{2,5})\s*[x×*X]\s*(\d{2,5})|\d{3,4}p")
_RATIO = re.compile(r"(\d{1,5}(?:\.\d+)?)\s*[:：/]\s*(\d{1,5}(?:\.\d+)?)")
_COUNTED = re.compile(
    r"([+-]?\d+(?:\.\d+)?(?:e[+-]?\d{1,2})?)\s*(?:fps|frames?|steps?|s|secs?|seconds?|px|帧|秒|步|帧每秒)?",
    re.IGNORECASE,
)
_LORA = re.compile(r"(.+?)\s*[:@]\s*([+-]?\d+(?:\.\d+)?)")


def is_setting(text: str) -> bool:
    """Whether a text is a number with or without a unit, a size or a ratio."""
    trimmed = text.strip()
    return any(form.fullmatch(trimmed) for form in (_SIZE, _RATIO, _COUNTED)) or read_amount(trimmed) is not None


def parameter(name: str, node: Node, dialect: Dialect) -> tuple[Leaf[Parameter], ...]:
    """The settings that a value gives ``name``: one, several for LoRAs, none if it makes no sense there."""
    if isinstance(node, Listing):
        return tuple(leaf for item in node.items for leaf in parameter(name, item, dialect))
    if isinstance(node, Mapping):
        return _lora(node, dialect) if name == "lora" else ()
    value = setting(name, node)
    if value is None:
        return ()
    return (node.excerpt.leaf(value, dialect),)


def setting(name: str, node: Scalar) -> Parameter | None:
    """One setting from a single value."""
    value = node.value.strip() if isinstance(node.value, str) else node.value
    if value is None or value == "":
        return None
    if name in _WHOLE | _DECIMAL:
        number = _number(value)
        if number is not None and name in _WHOLE and number == int(number):
            number = int(number)
        return None if number is None else Parameter(name=name, value=number)
    match = _LORA.fullmatch(value) if name == "lora" and isinstance(value, str) else None
    if match is not None:
        return Parameter(name=name, value=match[1], strength=float(match[2]))
    return Parameter(name=name, value=value)


def _number(value: str | int | float | bool) -> int | float | None:
    if isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return value
    match = _COUNTED.fullmatch(value.strip())
    if match is None or len(match[1]) > 24:
        return None
    return int(match[1]) if match[1].lstrip("+-").isdecimal() else float(match[1])


def _lora(node: Mapping, dialect: Dialect) -> tuple[Leaf[Parameter], ...]:
    """``{"name": "x", "strength": 0.8}``, or names with their strengths."""
    named: dict[str, Scalar] = {key.words.lower(): value for key, value in node.entries if isinstance(value, Scalar)}
    name = next((named[key] for key in ("name", "path", "file", "lora") if key in named), None)
    strength = next((named[key] for key in ("strength", "weight", "scale", "multiplier") if key in named), None)
    if name is not None and isinstance(name.value, str):
        value = strength.value if strength is not None else None
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        return (_place(node).leaf(Parameter(name="lora", value=name.value, strength=number), dialect),)
    found = []
    for key, item in node.entries:
        if not isinstance(item, Scalar) or not isinstance(item.value, int | float) or isinstance(item.value, bool):
            return ()
        found.append(item.excerpt.leaf(Parameter(name="lora", value=key.words, strength=float(item.value)), dialect))
    return tuple(found)


def _place(node: Node) -> Excerpt:
    return Excerpt(node.excerpt.whole, node.excerpt.start, node.excerpt.end)

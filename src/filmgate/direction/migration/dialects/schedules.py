"""Schedules of Deforum: values at frames, linear between them, each a number or an expression of the frame.

Source: the wiki page "Animation Settings" of deforum-art/deforum-for-automatic1111-webui, which names numexpr's
grammar. Expressions are taken apart and calculated here; nothing is evaluated as code.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_KEYFRAME = re.compile(r"\s*[\"']?(\d{1,7})[\"']?\s*:\s*\(")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")
_CHARACTERS = re.compile(r"[0-9A-Za-z_.+\-*/%()<>=!,\s]+")
_LONGEST = 400
"""Characters of an expression, and with that the depth of what is walked."""
_LARGEST = 1e9

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv, ast.Pow: math.pow,
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "arcsin": math.asin, "arccos": math.acos,
    "arctan": math.atan, "tanh": math.tanh, "sqrt": math.sqrt, "exp": math.exp, "log": math.log,
    "log10": math.log10, "abs": abs, "floor": math.floor, "ceil": math.ceil, "min": min, "max": max,
    "where": lambda condition, then, otherwise: then if condition else otherwise,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schedule:
    """Keyframes in order of their frames. ``text`` is the expression of each as written."""

    frames: tuple[int, ...]
    text: tuple[str, ...]

    def values(self, count: int) -> tuple[float, ...] | None:
        """The value at each of ``count`` frames; None if an expression is none, or leaves the finite numbers."""
        try:
            compiled = [_parsed(text) for text in self.text]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        found: list[float] = []
        key = 0
        try:
            for frame in range(count):
                while key + 1 < len(self.frames) and self.frames[key + 1] <= frame:
                    key += 1
                found.append(self._at(compiled, key, frame, count))
        except (ArithmeticError, ValueError, TypeError, RecursionError):
            return None
        return tuple(found)

    def _at(self, compiled: list[ast.expr], key: int, frame: int, count: int) -> float:
        """Deforum calculates keyframes at their own frames and joins them with lines; a last one goes on alone."""
        names = {"t": float(frame), "max_f": float(max(count - 1, 1)), "s": 0.0, "pi": math.pi, "e": math.e}
        if key + 1 >= len(self.frames) or frame < self.frames[key]:
            return _calculate(compiled[key], names)
        start, end = self.frames[key], self.frames[key + 1]
        first = _calculate(compiled[key], names | {"t": float(start)})
        last = _calculate(compiled[key + 1], names | {"t": float(end)})
        return first + (last - first) * (frame - start) / (end - start)

    @property
    def constant(self) -> float | None:
        """The one number that it always is, if it is."""
        if not all(_NUMBER.fullmatch(text.strip()) for text in self.text):
            return None
        numbers = {float(text) for text in self.text}
        return numbers.pop() if len(numbers) == 1 else None


def read_schedule(text: str) -> Schedule | None:
    """The schedule that a text is, such as ``0:(1.04), 60:(2*sin(t/10))``; None if it is none."""
    keyframes: dict[int, str] = {}
    index = 0
    while match := _KEYFRAME.match(text, index):
        close = _closing(text, match.end())
        if close is None or close - match.end() > _LONGEST:
            return None
        keyframes[int(match[1])] = text[match.end() : close]
        index = close + 1
        while index < len(text) and text[index] in " \t\r\n,":
            index += 1
    if not keyframes or index < len(text):
        return None
    frames = tuple(sorted(keyframes))
    return Schedule(frames, tuple(keyframes[frame] for frame in frames))


def _closing(text: str, index: int) -> int | None:
    """Where the bracket closes that was opened just before ``index``."""
    depth = 1
    for at in range(index, len(text)):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return at
    return None


def _parsed(text: str) -> ast.expr:
    if not _CHARACTERS.fullmatch(text):
        raise ValueError(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "1or 2" is told apart below, not by Python's advice
        return ast.parse(text.strip(), mode="eval").body


def _calculate(node: ast.expr, names: Mapping[str, float]) -> float:
    """The value of an expression of numbers, the frame ``t`` and functions.

    Raises:
        ValueError: it holds anything else, or a number that is not finite.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = float(node.value)
    elif isinstance(node, ast.Name) and node.id in names:
        value = names[node.id]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        inner = _calculate(node.operand, names)
        value = -inner if isinstance(node.op, ast.USub) else inner
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        value = _BINARY[type(node.op)](_calculate(node.left, names), _calculate(node.right, names))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        left, right = _calculate(node.left, names), _calculate(node.comparators[0], names)
        value = float(_COMPARISONS[type(node.ops[0])](left, right))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise ValueError(node.func.id)
        value = float(_FUNCTIONS[node.func.id](*(_calculate(argument, names) for argument in node.args)))
    else:
        raise ValueError(ast.dump(node))
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise ValueError(value)
    return value

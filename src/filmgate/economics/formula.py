"""Formulas as text, reckoned without ever running them as code: numbers, names, + - * / **, and a few functions.

Over ranges a formula is evaluated at every combination of ends and middles. That gives its exact range where it rises
or falls steadily in each name, as prices, times and rates do.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from filmgate.spec.errors import InvalidRequest, UnknownName

Range = tuple[float, float]
_LONGEST = 500
_MOST_NAMES = 8
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: math.pow,
}  # fmt: skip
_ALLOWED = "numbers, names, + - * / **, brackets, min(), max(), ceil() and payback(price, saving)"


def payback(price: float, saving: float) -> float:
    """Months until a monthly saving has paid a price; infinite where nothing is saved."""
    return price / saving if saving > 0 else math.inf


_FUNCTIONS: Mapping[str, Callable[..., float]] = {"min": min, "max": max, "ceil": math.ceil, "payback": payback}


class Outcome(NamedTuple):
    """A value, with the values of the names that gave it."""

    value: float
    names: dict[str, float]


@dataclass(frozen=True)
class Formula:
    """A checked formula. ``text`` is as it was written, ``names`` what has to be known, in order of appearance."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def value(self, names: Mapping[str, float]) -> float:
        """Its value; infinite where it divides by nothing.

        Raises:
            InvalidRequest: the numbers have no value (UnknownName: a name is not known).
        """
        try:
            return float(_value(self.tree, names))
        except ZeroDivisionError:
            return math.inf
        except (OverflowError, ValueError, TypeError) as error:
            raise InvalidRequest("formula", f"{self.text} has no value for {dict(names)}: {error}") from error

    def span(self, ranges: Mapping[str, Range]) -> tuple[Outcome, Outcome]:
        """The least and the greatest value over ranges, with the numbers that give them."""
        points = [sorted({low, (low + high) / 2, high}) for low, high in (ranges[name] for name in self.names)]
        outcomes = []
        for corner in itertools.product(*points):
            names = dict(zip(self.names, corner, strict=True))
            outcomes.append(Outcome(self.value(names), names))
        return min(outcomes, key=lambda one: one.value), max(outcomes, key=lambda one: one.value)

    def filled(self, names: Mapping[str, float]) -> str:
        """The formula with numbers for its names, as ``4,000 / (200 * (0.2 - 0.02))``."""
        tree = _Filled(names).visit(ast.parse(self.text, mode="eval").body)
        return ast.unparse(tree).replace("'", "")


def parse(text: str) -> Formula:
    """A formula from its text.

    Raises:
        InvalidRequest: it is none, or says something that formulas cannot.
    """
    if len(text) > _LONGEST:
        raise InvalidRequest("formula", f"has {len(text)} characters", allowed=f"at most {_LONGEST}")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidRequest("formula", f"{text!r} is not a formula", allowed=_ALLOWED) from error
    names: dict[str, None] = {}
    _check(tree, text, names)
    if len(names) > _MOST_NAMES:
        raise InvalidRequest("formula", f"{text!r} has {len(names)} names", allowed=f"at most {_MOST_NAMES}")
    return Formula(text, tuple(names), tree)


def _check(node: ast.expr, text: str, names: dict[str, None]) -> None:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float()):
            return
        case ast.Name(id=name):
            names[name] = None
            return
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check(left, text, names)
            _check(right, text, names)
            return
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand, text, names)
            return
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and args:
            if name == "payback" and len(args) != 2:
                raise InvalidRequest("formula", f"{ast.unparse(node)} has {len(args)} arguments", allowed=_ALLOWED)
            for argument in args:
                _check(argument, text, names)
            return
    raise InvalidRequest("formula", f"{text!r} says what a formula cannot: {ast.unparse(node)}", allowed=_ALLOWED)


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=value):
            return float(value)  # type: ignore[arg-type]  # checked when parsed
        case ast.Name(id=name):
            if name not in names:
                raise UnknownName("formula", name, names, noun="input")
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(operand=operand):
            return -_value(operand, names)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(argument, names) for argument in args))
    raise AssertionError(ast.dump(node))


class _Filled(ast.NodeTransformer):
    """Numbers in place of names."""

    def __init__(self, names: Mapping[str, float]) -> None:
        self._names = names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """What a function is given; a payback is read as the division that it is."""
        node.args = [self.visit(argument) for argument in node.args]
        if isinstance(node.func, ast.Name) and node.func.id == "payback":
            return ast.BinOp(left=node.args[0], op=ast.Div(), right=node.args[1])
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A number as it is read."""
        return ast.Name(f"{self._names[node.id]:,.10g}")


def number_text(value: float) -> str:
    """A number for people: ``4,000``, ``0.155``, ``111``, ``never``."""
    if math.isinf(value):
        return "never"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

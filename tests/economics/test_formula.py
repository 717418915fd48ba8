"""Formulas are reckoned without being run, over numbers and over ranges."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.formula import number_text, parse
from filmgate.spec.errors import InvalidRequest, UnknownName


@pytest.mark.parametrize(
    ("text", "names", "value"),
    [
        ("1 + 2 * 3", {}, 7),
        ("-(a - b) / 2 ** 2", {"a": 9, "b": 1}, -2),
        ("payback(4000, 100 * (0.15 - 0.02))", {}, 307.6923),
        ("payback(4000, a - a)", {"a": 1}, math.inf),
        ("ceil(max(a, b) / min(a, b))", {"a": 2, "b": 5}, 3),
        ("1 / a", {"a": 0}, math.inf),
    ],
)
def test_values(text, names, value):
    assert parse(text).value(names) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "a.b", "a[0]", "lambda: 1", "[1]", "'a'", "True", "a if b else c", "f(1)",
        "min()", "max(a, key=b)", "a < b", "a and b", "1j", "a @ b", "a % b", "", "1 +", "payback(1)", "min(*a)",
        "x := 1", "(" * 300, "a" * 600, "a+b+c+d+e+f+g+h+i",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(InvalidRequest):
        parse(text)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    try:
        formula = parse(text)
        formula.value(dict.fromkeys(formula.names, 2.0))
    except InvalidRequest:
        pass


@given(
    ends=st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)).map(sorted), min_size=4, max_size=4),
    at=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_no_value_lies_outside_of_the_span(ends, at):
    formula = parse("a * b / (c + 1) - d")
    names = formula.names
    ranges = dict(zip(names, map(tuple, ends), strict=True))
    low, high = formula.span(ranges)
    inside = {name: a + (b - a) * t for (name, (a, b)), t in zip(ranges.items(), at, strict=True)}
    assert low.value - 1e-6 <= formula.value(inside) <= high.value + 1e-6
    corners = [formula.value(dict(zip(names, corner, strict=True))) for corner in itertools.product(*ends)]
    assert (low.value, high.value) == (min(corners), max(corners))


def test_the_arithmetic_can_be_read():
    formula = parse("payback(price, volume * (before - after))")
    low, high = formula.span(
        {"price": (4000, 4000), "volume": (100, 200), "before": (0.15, 0.2), "after": (0.02, 0.04)}
    )
    assert formula.filled(low.names) == "4,000 / (200 * (0.2 - 0.02))"
    assert formula.filled(high.names) == "4,000 / (100 * (0.15 - 0.04))"
    assert parse("max(a, 2) * -b").filled({"a": 1837.9, "b": 0.4}) == "max(1,837.9, 2) * -0.4"


def test_an_unknown_name():
    with pytest.raises(UnknownName, match="Nearest valid: price"):
        parse("prise").value({"price": 1.0})


def test_what_has_no_value_says_so():
    with pytest.raises(InvalidRequest, match="has no value"):
        parse("(0 - 1) ** 0.5").value({})


@pytest.mark.parametrize(
    ("value", "text"), [(111.11, "111"), (3, "3"), (0.1552, "0.155"), (5555.6, "5,556"), (math.inf, "never")]
)
def test_numbers_for_people(value, text):
    assert number_text(value) == text

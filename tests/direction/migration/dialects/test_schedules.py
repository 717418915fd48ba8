"""Deforum's schedules: lines between keyframes, expressions of the frame, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.direction.migration.dialects.schedules import read_schedule


def values(text: str, count: int) -> tuple[float, ...]:
    """The values of a schedule."""
    schedule = read_schedule(text)
    assert schedule is not None
    found = schedule.values(count)
    assert found is not None
    return found


def test_values_move_in_lines_from_keyframe_to_keyframe():
    assert values("0:(0), 1:(1), 5:(5), 10:(10)", 12) == (*map(float, range(11)), 10.0)
    assert values("0: (-2), 100: (4)", 101)[50] == 1.0
    assert values('"0":(1.5)', 3) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("2*t+1", [1, 3, 5, 7]),
        ("10*sin(2*3.14*t/10)", [10 * math.sin(2 * 3.14 * t / 10) for t in range(4)]),
        ("t%2", [0, 1, 0, 1]),
        ("where(t<2, 5, -5)", [5, 5, -5, -5]),
        ("max_f - t", [3, 2, 1, 0]),
        ("-(t**2)", [0, -1, -4, -9]),
        ("min(t, 2) + abs(-1)", [1, 2, 3, 3]),
    ],
)
def test_expressions_of_the_frame(expression, expected):
    assert values(f"0:({expression})", 4) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "0", "0:", "0:1", "0:(1", "a:(1)", "0:(1) x", "0:(1)) ", ":(1)", "zoom"])
def test_what_is_no_schedule(text):
    assert read_schedule(text) is None


@pytest.mark.parametrize(
    "expression",
    [
        "x",
        "import os",
        "().__class__",
        "'a'",
        "[1]",
        "1 if t else 2",
        "t.real",
        "1/0",
        "9**9**9",
        "sin(1, 2)",
        "1e400",
        "f(1)",
    ],
)
def test_expressions_that_are_refused(expression):
    schedule = read_schedule(f"0:({expression})")
    assert schedule is None or schedule.values(3) is None


def test_constants_are_known_as_such():
    for text, expected in (("0:(1)", 1.0), ("0:(2), 9:(2.0)", 2.0), ("0:(1), 9:(2)", None), ("0:(t)", None)):
        schedule = read_schedule(text)
        assert schedule is not None
        assert schedule.constant == expected


@given(st.text(st.sampled_from("0123456789.:(), t+-*/sincoabx"), max_size=30))
def test_no_text_breaks_it(text):
    schedule = read_schedule(text)
    if schedule is not None:
        found = schedule.values(5)
        assert found is None or all(math.isfinite(value) for value in found)

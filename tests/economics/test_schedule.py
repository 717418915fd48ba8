"""When tasks begin and end."""

import itertools
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.schedule import Piece, mondays, scheduled, working_day

dates = st.dates(date(2000, 1, 1), date(2100, 1, 1))


@given(dates, st.integers(0, 400))
def test_working_days_are_counted_one_by_one(start, number):
    day = start
    while day.weekday() >= 5:
        day += timedelta(days=1)
    for _ in range(number):
        day += timedelta(days=1)
        while day.weekday() >= 5:
            day += timedelta(days=1)
    assert working_day(start, number) == day


@given(dates, st.integers(0, 300))
def test_there_is_a_monday_in_every_week(first, days):
    last = first + timedelta(days=days)
    found = list(mondays(first, last))
    assert all(day.weekday() == 0 for day in found)
    assert found[0] <= first
    assert found[-1] <= last < found[-1] + timedelta(days=7)


def test_a_person_does_one_thing_after_the_other_and_a_machine_does_not_hold_anybody_up():
    pieces = [
        Piece("a", "x", 2), Piece("b", "x", 0.2), Piece("c", "y", 1), Piece("d", "x", 3, unattended=True),
        Piece("e", "x", 1, ("c",)), Piece("f", "y", 1, ("d", "a")), Piece("g", "z", 1, earliest=9),
    ]  # fmt: skip
    assert scheduled(pieces) == {
        "a": (0, 1), "b": (2, 2), "c": (0, 0), "d": (0, 2), "e": (3, 3), "f": (3, 3), "g": (9, 9)
    }  # fmt: skip


@pytest.mark.parametrize("pieces", [[Piece("a", "x", 1, ("b",)), Piece("b", "x", 1)], [Piece("a", "x", 1)] * 2])
def test_an_order_that_cannot_be_is_refused(pieces):
    with pytest.raises(ValueError, match="a needs"):
        scheduled(pieces)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.floats(0.1, 9), st.integers(0, 20), st.booleans()), max_size=25),
       st.randoms(use_true_random=False))  # fmt: skip
def test_nothing_overlaps_and_nothing_comes_too_early(tasks, random):
    pieces = []
    for number, (role, days, earliest, unattended) in enumerate(tasks):
        after = tuple(str(k) for k in random.sample(range(number), min(number, random.randrange(3))))
        pieces.append(Piece(str(number), role, days, after, earliest, unattended))
    found = scheduled(pieces)
    for piece in pieces:
        first, last = found[piece.id]
        assert first >= piece.earliest
        assert last - first + 1 >= piece.days
        assert all(found[name][1] < first for name in piece.after)
    for role in "xyz":
        own = sorted(found[p.id] for p in pieces if p.role == role and not p.unattended)
        assert all(one[1] < two[0] for one, two in itertools.pairwise(own))

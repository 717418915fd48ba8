"""At which volumes an option is cheaper: by formula where it is a line, by trying where it has steps."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics import terms
from filmgate.economics.costs import usable_cost
from filmgate.economics.crossing import MACHINES, cheaper_volumes, line_of, volume_matrix, volumes_text
from filmgate.economics.options import Overhead

CARD = local(overhead=Overhead(language_model=0.05))


def monthly(option, volume):
    return usable_cost(scenario(option), option, volume).amortised * volume


def test_fixed_costs_over_what_a_video_saves():
    start = scenario(hosted(price=0.30), CARD)
    assert cheaper_volumes(start, CARD, hosted(price=0.30)) == ((pytest.approx(4000 / 24 / 0.25), math.inf),)
    assert cheaper_volumes(start, hosted(price=0.30), CARD) == ((0, pytest.approx(4000 / 24 / 0.25)),)
    assert cheaper_volumes(start, CARD, hosted(price=0.05)) == ()
    assert cheaper_volumes(start, hosted(price=0.04), CARD) == ((0, math.inf),)
    assert cheaper_volumes(start, hosted(price=0.04), hosted(price=0.05)) == ((0, math.inf),)
    assert cheaper_volumes(start, hosted(price=0.05), hosted(price=0.05)) == ()
    served = hosted(price=0.05, overhead=Overhead(services=10))
    assert cheaper_volumes(start, served, hosted(price=0.06)) == ((pytest.approx(1000), math.inf),)


def test_a_second_card_makes_it_dearer_for_a_while():
    card = local(seconds=terms.capacity(1.0, 1, 1) / 1000)  # 166.67 a month for every thousand videos
    found = cheaper_volumes(scenario(card), card, hosted(price=0.22))
    each = 4000 / 24 / 0.22
    assert found == ((pytest.approx(each), pytest.approx(1000)), (pytest.approx(2 * each), pytest.approx(2000)),
                     (pytest.approx(3 * each), pytest.approx(3000)), (pytest.approx(4 * each), math.inf))  # fmt: skip
    assert cheaper_volumes(scenario(card), hosted(price=0.22), card)[:2] == (
        (0, pytest.approx(each)), (pytest.approx(1000), pytest.approx(2 * each))
    )  # fmt: skip


def test_a_line_is_what_a_month_costs():
    card = local(watts=450.0, machine={"idle_watts": 80.0, "site": 20.0}, overhead=Overhead(services=7.0))
    line = line_of(scenario(card), card)
    for volume in (1, 500, 4000):
        assert line.fixed(volume) + line.video * volume == pytest.approx(monthly(card, volume))
    two = line.capacity * 1.5
    assert line.fixed(two) + line.video * two == pytest.approx(monthly(card, two))


CARDS = st.builds(
    lambda price, seconds, owned, video: local(
        "card", price, seconds, machine={"owned": float(owned)}, overhead=Overhead(language_model=video)
    ),
    st.floats(100, 2e4), st.floats(1e3, 1e6), st.integers(0, 2), st.floats(0, 0.2),
)  # fmt: skip
RENTED = st.builds(
    lambda price, services: hosted("sold", price, overhead=Overhead(services=services)),
    st.floats(0.01, 3),
    st.sampled_from([0.0, 50.0]),
)


@settings(deadline=None)
@given(one=st.one_of(CARDS, RENTED), other=st.one_of(CARDS, RENTED), part=st.floats(1e-4, 0.99))
def test_at_each_volume_but_ties_exactly_one_is_cheaper(one, other, part):
    start = scenario(one, other)
    limits = [line.capacity for line in (line_of(start, one), line_of(start, other)) if math.isfinite(line.capacity)]
    volume = part * MACHINES * min(limits, default=1.0)
    costs = monthly(one, volume), monthly(other, volume)
    if math.isclose(*costs, rel_tol=1e-6):
        return
    here, there = (
        any(low < volume <= high for low, high in cheaper_volumes(start, *pair))
        for pair in ((one, other), (other, one))
    )
    assert (here, there) == (costs[0] < costs[1], costs[1] < costs[0])


def test_two_kinds_of_machines():
    small, large = local("small", 1000.0, 40_000.0), local("large", 9000.0, 4_000.0)
    found = cheaper_volumes(scenario(small, large), large, small)
    assert len(found) > 1
    assert found[-1].high == math.inf
    for low, high in found:
        assert monthly(large, low * 1.001) < monthly(small, low * 1.001)
        assert monthly(large, low * 0.999) >= monthly(small, low * 0.999) - 1e-9
        assert high == math.inf or monthly(large, high * 1.001) >= monthly(small, high * 1.001) - 1e-9
    others = cheaper_volumes(scenario(small, large), small, large)
    assert others[0].low == 0
    assert all(end <= low or high <= start for start, end in others for low, high in found)


@pytest.mark.parametrize(
    ("intervals", "text"),
    [
        ([], "never"),
        ([(0, math.inf)], "always"),
        ([[0, None]], "always"),
        ([(0, 39.4)], "up to 39"),
        ([(39.4, None)], "from 39"),
        ([(2331.2, 3318), (6994, math.inf)], "2,331 to 3,318; from 6,994"),
        ([(0, 1.25), (4, 5), (6, 7), (8, 9), (10, 11)], "up to 1.2; 4 to 5; 2 more; 10 to 11"),
    ],
)
def test_volumes_in_words(intervals, text):
    assert volumes_text(intervals) == text


def test_a_card_that_is_there_costs_only_its_energy():
    card = local(watts=450.0, machine={"owned": 1.0})
    start = scenario(hosted(price=0.30), card)
    assert cheaper_volumes(start, card, hosted(price=0.30))[0].low == 0
    line = line_of(start, card)
    for volume in (1, 4000, line.capacity * 1.5):
        assert line.fixed(volume) + line.video * volume == pytest.approx(monthly(card, volume))


def test_every_pair():
    found = volume_matrix(scenario(rented(), hosted(), CARD))
    assert set(found) == {"rented", "hosted", "local"}
    assert set(found["rented"]) == {"hosted", "local"}
    assert found["hosted"]["rented"] == ((0, math.inf),)
    assert found["rented"]["hosted"] == ()

"""From which volume on an option is cheaper: by formula where it is a line, by trying where it has steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics import terms
from filmgate.economics.costs import usable_cost
from filmgate.economics.crossing import MACHINES, break_even_volume, line_of, volume_matrix
from filmgate.economics.options import Overhead

CARD = local(overhead=Overhead(language_model=0.05))


def monthly(option, volume):
    return usable_cost(scenario(option), option, volume).amortised * volume


def test_fixed_costs_over_what_a_video_saves():
    start = scenario(hosted(price=0.30), CARD)
    assert break_even_volume(start, CARD, hosted(price=0.30)) == pytest.approx(4000 / 24 / 0.25)
    assert break_even_volume(start, CARD, hosted(price=0.05)) is None
    assert break_even_volume(start, hosted(price=0.04), CARD) == 0
    assert break_even_volume(start, hosted(price=0.04), hosted(price=0.05)) == 0
    assert break_even_volume(start, hosted(price=0.05), hosted(price=0.05)) is None
    assert break_even_volume(start, hosted(price=0.05, overhead=Overhead(services=10)), hosted(price=0.06)) == (
        pytest.approx(1000)
    )


def test_a_line_is_what_a_month_costs():
    card = local(watts=450.0, machine={"idle_watts": 80.0, "site": 20.0}, overhead=Overhead(services=7.0))
    line = line_of(scenario(card), card)
    for volume in (1, 500, 4000):
        assert line.fixed(volume) + line.video * volume == pytest.approx(monthly(card, volume))
    two = line.capacity * 1.5
    assert line.fixed(two) + line.video * two == pytest.approx(monthly(card, two))


@settings(deadline=None)
@given(price=st.floats(0.01, 1), seconds=st.floats(1e3, 1e6))
def test_from_there_on_it_is_cheaper_steps_and_all(price, seconds):
    other, card = hosted(price=price), local(seconds=seconds, overhead=Overhead(language_model=0.05))
    volume = break_even_volume(scenario(other, card), card, other)
    most = MACHINES * terms.capacity(seconds, 1, 1)
    if volume is None:
        assert monthly(card, most) >= monthly(other, most) - 1e-6
        return
    for factor in (1.0001, 1.3, 2.0, 5.0):
        if volume * factor < most:
            assert monthly(card, volume * factor) <= monthly(other, volume * factor) * (1 + 1e-9) + 1e-6
    if volume > 1e-3:
        just = volume * (1 - 1e-8)
        assert monthly(card, just) >= monthly(other, just) * (1 - 1e-6)


def test_two_kinds_of_machines():
    small, large = local("small", 1000.0, 40_000.0), local("large", 9000.0, 4_000.0)
    volume = break_even_volume(scenario(small, large), large, small)
    assert monthly(large, volume * 1.001) <= monthly(small, volume * 1.001)
    assert monthly(large, volume * 0.999) > monthly(small, volume * 0.999)
    assert break_even_volume(scenario(small, large), small, large) is None


def test_a_card_that_is_there_costs_only_its_energy():
    card = local(watts=450.0, machine={"owned": 1.0})
    start = scenario(hosted(price=0.30), card)
    assert break_even_volume(start, card, hosted(price=0.30)) == 0
    line = line_of(start, card)
    for volume in (1, 4000, line.capacity * 1.5):
        assert line.fixed(volume) + line.video * volume == pytest.approx(monthly(card, volume))


def test_every_pair():
    found = volume_matrix(scenario(rented(), hosted(), CARD))
    assert set(found) == {"rented", "hosted", "local"}
    assert set(found["rented"]) == {"hosted", "local"}
    assert found["hosted"]["rented"] == 0
    assert found["rented"]["hosted"] is None

"""How many attempts it takes: against published values, scipy where it is, and simulation."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.economics.samples import attempts_for_cost, attempts_for_share, half_width, pairs_for_no_worse, wilson


@pytest.mark.parametrize(
    ("share", "attempts", "low", "high"), [(0.70, 100, 0.604, 0.781), (0.70, 200, 0.633, 0.759), (0, 10, 0, 0.278)]
)
def test_wilsons_interval(share, attempts, low, high):
    assert wilson(share, attempts) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@given(st.floats(0, 1), st.floats(0.005, 0.3))
def test_so_many_attempts_are_enough_and_one_fewer_is_not(share, off):
    count = attempts_for_share(share, off)
    assert half_width(share, count) <= off
    assert count == 1 or half_width(share, count - 1) > off


def test_the_cost_is_known_as_well_as_the_share():
    count = attempts_for_cost(0.67, 0.15)
    assert count == 85
    draw = random.Random(3)
    costs = sorted(1 / (max(1, sum(draw.random() < 0.67 for _ in range(count))) / count) for _ in range(4000))
    inside = sum(abs(cost * 0.67 - 1) <= 0.15 for cost in costs) / len(costs)
    assert inside == pytest.approx(0.95, abs=0.015)
    assert attempts_for_cost(1.0, 0.15) == 1


def test_pairs_exclude_the_margin_four_times_in_five():
    differing, gain, margin = 0.35, 0.05, 0.05
    pairs = pairs_for_no_worse(differing, gain, margin)
    assert pairs == 273
    better, worse = (differing + gain) / 2, (differing - gain) / 2
    draw, excluded, rounds = random.Random(5), 0, 2000
    for _ in range(rounds):
        outcomes = [1 if x < better else -1 if x < better + worse else 0 for x in (draw.random() for _ in range(pairs))]
        mean = sum(outcomes) / pairs
        deviation = (sum(o * o for o in outcomes) / pairs - mean * mean) ** 0.5
        excluded += mean - 1.96 * deviation / pairs**0.5 > -margin
    assert excluded / rounds == pytest.approx(0.8, abs=0.035)


@given(st.floats(0.05, 0.9), st.floats(0, 0.2), st.floats(0.01, 0.2))
def test_a_larger_gain_needs_fewer_pairs(differing, gain, margin):
    assert pairs_for_no_worse(differing, gain + 0.05, margin) <= pairs_for_no_worse(differing, gain, margin)

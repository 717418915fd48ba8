"""Drawn comparisons: the same as one by one, the same for the same seed, and right where the truth is known."""

import math

import numpy as np
import pytest
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics.cash_flow import compare
from filmgate.economics.costs import amortised_cost, usable_cost
from filmgate.economics.monte_carlo import drivers, month_text, simulate
from filmgate.economics.options import Overhead
from filmgate.economics.uncertainty import Uncertain, draw
from filmgate.spec.errors import InvalidRequest

START = scenario(rented(), local(watts=450.0, review=0.8), usable=60, search=60)
UNSURE = [
    Uncertain("rented.price", "triangular", low=1, mode=2, high=5),
    Uncertain("rented.quality.review", "pert", low=0.3, mode=0.5, high=0.8),
    Uncertain("local.machine.price", "uniform", low=3000, high=5000),
    Uncertain("workload.usable", "uniform", low=20, high=200),
    Uncertain("local.machine.residual", "uniform", low=0, high=0.5),
    Uncertain("finance.discount", "uniform", low=0.01, high=0.3),
]


def test_every_draw_is_the_comparison_of_its_numbers():
    found = simulate(START, UNSURE, draws=40, seed=5)
    drawn = draw(UNSURE, [], 40, 5)
    for number in range(40):
        one = START
        for path, values in drawn.items():
            one = one.changed(path, float(values[number, 0]))
        alone = compare(one)
        assert found.values[number] == pytest.approx(alone.npv)
        month = alone.break_even.month
        assert found.months[number] == (math.inf if month is None else month)


def test_summaries_are_those_of_the_draws():
    found = simulate(START, UNSURE, draws=2000, seed=1)
    assert found.npv.p50 == pytest.approx(np.median(found.values))
    assert found.positive == (found.values > 0).mean()
    assert found.by_month[12] == (found.months <= 12).mean()
    assert found.never == np.isinf(found.months).mean()
    chances = [found.by_month[month] for month in sorted(found.by_month)]
    assert chances == sorted(chances)
    assert found.npv.p10 < found.npv.p50 < found.npv.p90


def test_the_same_seed_gives_the_same_numbers():
    first, second, other = (simulate(START, UNSURE, draws=500, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.values, second.values)
    assert first.npv == second.npv
    assert first.npv != other.npv


def test_the_guides_numbers_never_pay_within_two_years():
    start = scenario(hosted(price=0.175), local(overhead=Overhead(language_model=0.03)), usable=150)
    unsure = [
        Uncertain("hosted.price", "uniform", low=0.15, high=0.20),
        Uncertain("local.overhead.language_model", "uniform", low=0.02, high=0.04),
        Uncertain("workload.usable", "uniform", low=100, high=200),
    ]
    found = simulate(start, unsure, draws=10_000)
    assert found.by_month[4] == found.by_month[24] == 0
    assert found.positive == 0
    assert math.isinf(found.break_even.p90)
    assert month_text(found.break_even.p90).startswith("not within")


def test_a_coin_is_a_coin():
    """The price at which nothing is gained is the middle of the range: half of the draws are above it."""
    start = scenario(hosted(price=1.0), hosted("other", price=1.0), usable=10)
    unsure = [Uncertain("hosted.price", "uniform", low=0.5, high=1.5)]
    found = simulate(start, unsure, draws=4096, sobol=True)
    assert found.positive == pytest.approx(0.5, abs=0.001)
    assert found.npv.p90 == pytest.approx(-found.npv.p10, rel=0.01)


def test_costs_are_those_of_one_option():
    for option in START.options:
        assert float(amortised_cost(START, option)) == pytest.approx(usable_cost(START, option).amortised)


def test_drivers_share_the_variance():
    start = scenario(hosted(price=1.0), hosted("other", price=1.0), usable=10)
    unsure = [
        Uncertain("hosted.price", "uniform", low=0.8, high=1.2),
        Uncertain("other.price", "uniform", low=0.9, high=1.1),
    ]
    found = drivers(start, unsure)
    assert list(found) == ["hosted.price", "other.price"]
    assert found["hosted.price"] == pytest.approx(0.8, abs=0.02)
    assert found["other.price"] == pytest.approx(0.2, abs=0.02)


def test_a_single_input_makes_all_of_it():
    assert drivers(START, UNSURE[:1]) == {"rented.price": 1.0}
    assert drivers(START, []) == {}


def test_draws_are_counted():
    for draws in (0, -1, 2_000_000):
        with pytest.raises(InvalidRequest, match="draws"):
            simulate(START, UNSURE, draws=draws)


def test_one_draw_and_no_uncertainty():
    assert simulate(START, UNSURE, draws=1).positive in (0.0, 1.0)
    certain = simulate(START, [Uncertain("local.machine.upkeep", "uniform", low=0, high=1e-9)], draws=10)
    assert certain.npv.p10 == pytest.approx(compare(START).npv, rel=1e-6)

"""Money month by month, held against numbers worked out by hand, numpy-financial and scipy."""

import math

import numpy as np
import numpy_financial
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics import terms
from filmgate.economics.cash_flow import (
    break_even,
    break_even_months,
    cash_flow,
    compare,
    discounted,
    internal_rate,
    net_present_value,
    savings,
)
from filmgate.economics.options import Move, Overhead

CENTS = st.integers(100, 1_000_000).map(lambda cents: cents / 100)
MILLS = st.integers(1, 2000).map(lambda mills: mills / 1000)
FLOWS = st.lists(st.floats(-1000, 1000), min_size=2, max_size=40).map(np.array)


def guide(price, own, usable, **finance):
    """A card for 4,000 that makes a video for ``own``, instead of paying ``price``."""
    return scenario(hosted(price=price), local(overhead=Overhead(language_model=own)), usable=usable,
                    **{"search": 400, **finance})  # fmt: skip


@pytest.mark.parametrize(
    ("price", "own", "usable", "month"),
    [
        (0.15, 0.04, 100, 364), (0.15, 0.02, 100, 308), (0.20, 0.04, 100, 250), (0.20, 0.02, 100, 223),
        (0.15, 0.04, 200, 182), (0.15, 0.02, 200, 154), (0.20, 0.04, 200, 125), (0.20, 0.02, 200, 112),
    ],
)  # fmt: skip
def test_the_guides_numbers_break_even_after_decades(price, own, usable, month):
    found = compare(guide(price, own, usable))
    assert str(found.break_even) == f"month {month}"
    assert math.ceil(found.payback - 1e-9) == month


def test_the_saving_that_four_months_need():
    found = compare(guide(5.02, 0.02, 200))
    assert found.break_even.month == 4
    assert compare(guide(5.01, 0.02, 200)).break_even.month == 5


@pytest.mark.parametrize(
    ("price", "review", "npv"),
    [(0.30, 0.67, -1447), (0.40, 0.67, -960), (0.405, 0.80, -1256), (0.66, 0.80, -216), (0.05, 0.75, -2691)],
)
def test_net_present_values_of_hosted_baselines(price, review, npv):
    card = local(watts=450.0, review=0.75, machine={"host_watts": 150.0, "residual": 0.35})
    found = compare(scenario(hosted(price=price, review=review), card, usable=150, discount=0.10))
    assert found.npv == pytest.approx(npv, abs=2)


@pytest.mark.parametrize(("price", "npv", "months"), [(2.99, 7132, (13, 7)), (10.08, 30943, (4, 2))])
def test_where_the_guides_sentence_would_hold(price, npv, months):
    card = local(watts=450.0, review=0.75, machine={"host_watts": 150.0, "residual": 0.35})
    base = rented(price=price, seconds=1837.9, review=0.67, overhead=Overhead(share=0.35))
    assert compare(scenario(base, card, usable=150)).npv == pytest.approx(npv, abs=3)
    for usable, month in zip((100, 200), months, strict=True):
        assert compare(scenario(base, card, usable=usable)).payback == pytest.approx(month, rel=0.08)


def test_present_values_of_other_horizons_are_those_of_other_scenarios():
    found = compare(guide(1.0, 0.2, 300, horizon=12)).npv_by_horizon
    assert list(found) == [12, 24, 36]
    for months, npv in found.items():
        assert npv == pytest.approx(compare(guide(1.0, 0.2, 300, horizon=months)).npv)


@settings(deadline=None)
@given(net=FLOWS, interest=st.floats(0, 2))
def test_present_value_is_that_of_numpy_financial(net, interest):
    found = net_present_value(net, 0.0, interest)
    assert found == pytest.approx(numpy_financial.npv(terms.monthly_rate(interest), net), abs=1e-6)


@settings(deadline=None)
@given(upfront=CENTS, inflows=st.lists(st.one_of(st.just(0.0), CENTS), min_size=2, max_size=36))
def test_internal_rate_is_where_the_present_value_vanishes(upfront, inflows):
    net = np.array([-upfront, *inflows])
    assume(sum(inflows) > 1)
    rate = internal_rate(net)
    assert rate is not None
    assume(rate > -0.99)  # nearly everything is lost: too ill-conditioned to compare
    assert net_present_value(net, 0.0, rate) == pytest.approx(0, abs=1e-4 * upfront)
    monthly = terms.monthly_rate(rate)
    if -0.5 < monthly < 5:
        root = brentq(lambda r: float(net @ (1 + r) ** -np.arange(net.size)), -0.9, 10)
        assert monthly == pytest.approx(root, abs=1e-6)
        assert monthly == pytest.approx(numpy_financial.irr(net), abs=1e-4)


@pytest.mark.parametrize("net", [[-1, 3, -2], [1, 2, 3], [-1, -2], [0, 0, 0], [-100, 230, -132]])
def test_no_rate_and_several_rates_are_no_rate(net):
    assert internal_rate(np.array(net, float)) is None


def test_internal_rate_counts_what_remains():
    found = compare(scenario(hosted(price=10.0), local(machine={"residual": 0.5}), usable=20))
    assert found.irr == pytest.approx((1 + numpy_financial.irr([-4000, *[200] * 23, 2200])) ** 12 - 1)


@settings(deadline=None)
@given(net=FLOWS)
def test_break_even_is_the_first_month_without_debt(net):
    found = break_even(net)
    owed = np.cumsum(net)
    if found.status == "month":
        assert owed[found.month] >= -1e-5
        assert (owed[: found.month] < 0).all()
        assert found.lasting == bool((owed[found.month :] >= -1e-6).all())
    elif found.status == "at_once":
        assert net[0] >= -1e-5
    elif found.status == "never":
        assert (net[1:] <= 1e-5).all()
    else:
        assert owed.max() < 1e-5 or net[0] >= -1e-5
    month = break_even_months(net[None])[0]
    assert month == (found.month if found.month is not None else math.inf)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ([-100, 50, 50], "month 2"),
        ([-100, 50, 49.99, 1], "month 3"),
        ([-100, 0, -1], "never"),
        ([-100, 10, 10], "not within the months looked at"),
        ([0, 1], "at once"),
        ([0, -1], "never"),
        ([0, 0], "never"),
        ([5, -1], "at once"),
        ([5, -9], "at once, but not for good"),
        ([-100, 60, 60, -80, 70], "month 2, undone by a later purchase"),
    ],
)
def test_break_even_in_words(net, said):
    assert str(break_even(np.array(net, float))) == said


@settings(deadline=None)
@given(price=MILLS, own=MILLS, usable=st.floats(1, 4000))
def test_never_where_nothing_is_saved(price, own, usable):
    found = compare(guide(price, own, usable, search=60))
    if price <= own:
        assert found.break_even.status == "never"
        assert found.payback is None
    else:
        assert found.payback == pytest.approx(4000 / (usable * (price - own)))
        if found.break_even.status == "month":
            assert found.break_even.month == pytest.approx(found.payback, abs=1.001)
            assert found.break_even.month >= found.payback - 1e-6


@settings(deadline=None)
@given(cheap=st.floats(0.1, 5), more=st.floats(0, 5), usable=st.floats(1, 4000))
def test_a_dearer_baseline_is_never_paid_off_later(cheap, more, usable):
    first, second = (compare(guide(price, 0.05, usable, search=120)) for price in (cheap, cheap + more))
    assert second.npv >= first.npv - 1e-6
    if first.break_even.month is not None:
        assert second.break_even.month <= first.break_even.month


def test_later_money_pays_later():
    found = compare(guide(1.0, 0.0, 400, discount=0.5))
    assert found.discounted.month > found.break_even.month == 10
    flow = np.array([0.0, 110.0])
    assert discounted(flow, 1.1**12 - 1)[1] == pytest.approx(100)


def test_growth_buys_machines_when_they_are_needed():
    card = local(seconds=terms.SECONDS_PER_MONTH / 100)
    found = cash_flow(scenario(hosted(), card, usable=100, growth=0.5), card, 4)
    assert list(found.machines) == [1, 2, 3, 4]
    assert list(found.investment) == [4000, 4000, 4000, 4000, 0]
    assert found.volume[-1] == pytest.approx(337.5)
    assert float(found.residual) == pytest.approx(4000 * sum(1 - age / 24 for age in (4, 3, 2, 1)))


def test_a_weak_month_sells_no_machine():
    card = local(seconds=terms.SECONDS_PER_MONTH / 100)
    found = cash_flow(scenario(hosted(), card, usable=200, growth=-0.5), card, 3)
    assert list(found.machines) == [2, 2, 2]


def test_replacement_sells_the_old_one():
    card = local(machine={"replace_every": 12.0, "residual": 0.35})
    found = cash_flow(scenario(hosted(), card), card, 24)
    worth = 4000 * (1 - 0.65 * 12 / 24)
    assert found.investment[0] == 4000
    assert found.investment[12] == pytest.approx(4000 - worth)
    assert found.investment[24] == 0
    assert float(found.residual) == pytest.approx(worth)


def test_moving_and_newer_models_cost_money():
    option = hosted(price=0.1, move=Move(setup=100, labour=200, refresh=50, refresh_every=6))
    found = cash_flow(scenario(hosted(), option), option, 12)
    assert [found.investment[month] for month in (0, 5, 6, 12)] == [300, 0, 50, 50]
    move = Move(setup=95, refresh=60, refresh_every=3)
    late = compare(scenario(hosted(price=1.0), hosted("new", 0.5, move=move)))
    assert (late.break_even.month, late.break_even.lasting) == (2, False)


def test_tax_is_paid_on_machines_too():
    plain, taxed = (compare(guide(1.0, 0.0, 100, tax=tax)) for tax in (0.0, 0.2))
    assert taxed.upfront == pytest.approx(4800)
    assert taxed.payback == pytest.approx(plain.payback)


def test_the_table_adds_up():
    found = compare(guide(1.0, 0.2, 300, horizon=12))
    table = found.table
    assert table["month"] == list(range(13))
    assert table["cumulative"][-1] == pytest.approx(sum(table["net"]))
    assert table["net"][3] == pytest.approx(table["baseline"][3] - table["candidate"][3] - table["invested"][3])
    assert found.roi == pytest.approx((sum(table["net"]) + 4000 - 4000) / 4000)


def test_draws_are_reckoned_at_once_and_the_same():
    start = scenario(rented(), local(watts=450.0), usable=100, growth=0.02)
    prices, reviews = np.array([[1.0], [3.0], [9.0]]), np.array([[0.4], [0.7], [0.9]])
    many = start.drawn("rented.price", prices).drawn("local.quality.review", reviews)
    many = many.drawn("local.machine.price", prices * 1000)
    net, remains = savings(many, many.option("rented"), many.option("local"), 24)
    assert net.shape == (3, 25)
    for draw in range(3):
        one = start.changed("rented.price", float(prices[draw, 0]))
        one = one.changed("local.quality.review", float(reviews[draw, 0]))
        one = one.changed("local.machine.price", float(prices[draw, 0]) * 1000)
        single, left = savings(one, one.option("rented"), one.option("local"), 24)
        assert net[draw] == pytest.approx(single)
        assert remains[draw] == pytest.approx(float(left))

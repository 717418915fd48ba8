"""One input at a time, where the answer turns, and two inputs together: each held against the comparison itself."""

import pytest
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics.cash_flow import compare
from filmgate.economics.costs import usable_cost
from filmgate.economics.sensitivity import heat_map, switches, tornado
from filmgate.economics.uncertainty import Uncertain

START = scenario(rented(), local(watts=450.0, review=0.8), usable=60)
UNSURE = [
    Uncertain("local.machine.kwh", "uniform", low=0.1, high=0.3),
    Uncertain("rented.price", "triangular", low=1, mode=3, high=5),
    Uncertain("local.machine.price", "uniform", low=3000, high=5000),
]


def test_bars_are_comparisons_at_two_values():
    for bar in tornado(START, UNSURE):
        for value, npv, cost in ((bar.low, bar.npv_low, bar.cost_low), (bar.high, bar.npv_high, bar.cost_high)):
            one = START.changed(bar.path, value)
            assert npv == pytest.approx(compare(one).npv)
            assert cost == pytest.approx(usable_cost(one, one.option("local")).amortised)


def test_the_widest_bar_comes_first():
    bars = tornado(START, UNSURE)
    assert [bar.path for bar in bars] == ["rented.price", "local.machine.price", "local.machine.kwh"]
    assert (bars[0].low, bars[0].high) == pytest.approx(UNSURE[1].ppf([0.1, 0.9]))


@pytest.mark.parametrize(
    "path",
    ["rented.price", "local.machine.price", "workload.usable", "rented.quality.review", "rented.attempt.generate"],
)
def test_at_a_switch_the_present_value_is_nothing_and_turns(path):
    found = switches(START, [path])
    assert len(found) == 1
    switch = found[0]
    assert compare(START.changed(path, switch.value)).npv == pytest.approx(0, abs=0.5)
    above, below = (compare(START.changed(path, switch.value * factor)).npv for factor in (1.01, 0.99))
    assert (above > 0) == (switch.pays == "above")
    assert (below > 0) == (switch.pays == "below")


def test_the_saving_of_four_months_is_found_as_a_switch():
    start = scenario(hosted(price=0.2), local(), usable=200, horizon=4, discount=0.0)
    start = start.changed("local.machine.lifetime", 4)
    assert switches(start, ["hosted.price"])[0].value == pytest.approx(5.0)


def test_what_never_turns_has_no_switch():
    assert switches(scenario(hosted(price=0.05), hosted("dear", price=0.06)), ["workload.usable"]) == []


def test_the_nearest_switch_comes_first():
    found = switches(START, ["local.machine.kwh", "rented.price", "local.machine.price"])
    ratios = [max(one.value / one.now, one.now / one.value) for one in found]
    assert ratios == sorted(ratios)


def test_a_heat_map_is_a_table_of_comparisons():
    found = heat_map(START, [10, 60, 300], [0.1, 0.5])
    for row, failure in zip(found.npv, found.failures, strict=True):
        for npv, volume in zip(row, found.volumes, strict=True):
            one = START.changed("workload.usable", volume).changed("rented.quality.review", 1 - failure)
            assert npv == pytest.approx(compare(one).npv)
        assert row == sorted(row)

"""One truth as plain data: what is printed, shown and drawn comes from here."""

import json
from datetime import date

import pytest
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics.cash_flow import compare
from filmgate.economics.costs import usable_cost
from filmgate.economics.options import Finance, Workload
from filmgate.economics.prices import shipped
from filmgate.economics.scenario import standard
from filmgate.economics.summary import Chance, Inputs, cost_data, roi_data
from filmgate.economics.uncertainty import Uncertain, usual

TODAY = date(2026, 11, 30)


@pytest.fixture(scope="module")
def inputs():
    start, left_out = standard(shipped(), Workload(), Finance())
    return Inputs(start, shipped(), TODAY, ("local-5b.machine.residual",), tuple(left_out))


@pytest.fixture(scope="module")
def found(inputs):
    return roi_data(inputs, Chance(tuple(usual(inputs.scenario, shipped())), draws=300, drivers=True))


def test_it_is_plain_data(found):
    data, _ = found
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_costs_are_those_of_the_options(inputs):
    for row in cost_data(inputs)["options"]:
        cost = usable_cost(inputs.scenario, inputs.scenario.option(row["name"]))
        assert (row["marginal"], row["amortised"], row["loaded"]) == (cost.marginal, cost.amortised, cost.loaded)
        assert sum(row["parts"].values()) == pytest.approx(row["loaded"])


def test_every_price_that_went_in_is_there_with_its_age(inputs):
    data = cost_data(inputs)
    ids = {price["id"] for price in data["prices"]}
    assert {name for option in data["options"] for name in option["prices"]} == ids
    energy = next(price for price in data["prices"] if price["id"] == "energy.us")
    assert (energy["age_days"], energy["stale"], energy["as_of"]) == (852, True, "2024-07-31")
    assert sum("days old" in warning for warning in data["warnings"]) == len(ids)


def test_what_was_given_is_no_assumption(inputs):
    data = cost_data(inputs)
    assert data["given"] == {"local-5b.machine.residual": 0.35}
    assert "local-5b.machine.residual" not in {one["path"] for one in data["assumptions"]}


def test_a_busy_machine_is_warned_of():
    start = scenario(hosted(), local(seconds=2.628e6 / 100), usable=80)
    assert any("works 80% of the time" in one for one in cost_data(Inputs(start, shipped(), TODAY))["warnings"])
    calm = scenario(hosted(), local(seconds=2.628e6 / 100), usable=60)
    assert cost_data(Inputs(calm, shipped(), TODAY))["warnings"] == []


def test_the_comparison_is_the_comparison(inputs, found):
    data, _ = found
    alone = compare(inputs.scenario)
    assert data["comparison"]["npv"] == alone.npv
    assert data["comparison"]["break_even"] == {"status": "month", "month": 10, "lasting": True, "text": "month 10"}
    assert data["comparison"]["table"] == alone.table


def test_what_is_cheaper_is_named_the_cheapest_first(found):
    data, _ = found
    costs = {one["name"]: one["amortised"] for one in data["options"]}
    assert data["cheaper"] == sorted((name for name in costs if costs[name] < costs["local-5b"]), key=costs.get)


def test_chances_are_told_for_the_horizon_too(inputs):
    start = scenario(rented(), local(), usable=50, horizon=18)
    unsure = (Uncertain("rented.price", "uniform", low=1, high=4),)
    data, drawn = roi_data(Inputs(start, shipped(), TODAY), Chance(unsure, draws=100))
    chances = data["simulation"]["chance_of_break_even_by_month"]
    assert list(chances) == ["4", "12", "18", "24", "36"]
    assert chances["18"] == (drawn.months <= 18).mean()

"""What a usable video costs: failures on both sides, machines that come whole, parts that add up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.economics.scenarios import hosted, local, rented, scenario

from filmgate.economics import terms
from filmgate.economics.costs import capacity_of, energy_cost, month_costs, usable_cost
from filmgate.economics.options import Finance, Overhead, Staff
from filmgate.spec.errors import InvalidRequest, UnknownName


def cost(option, **changes):
    return usable_cost(scenario(option, **changes), option)


def test_a_rented_gpu_is_paid_for_failures_and_idle_hours_too():
    found = cost(rented(overhead=Overhead(share=0.35)))
    assert found.marginal == found.amortised == found.loaded == pytest.approx(3.0 / 3 * 1.35 / 0.5)
    assert found.attempts == 2
    assert found.parts["overhead"] == pytest.approx(0.7)
    assert cost(rented(busy=0.5)).marginal == pytest.approx(4.0)


def test_serverless_pays_for_cold_starts():
    option = rented()
    option = replace(option, kind="serverless", attempt=replace(option.attempt, cold=600.0, cold_share=0.5))
    assert cost(option).marginal == pytest.approx(3.0 * 1500 / 3600 / 0.5)


def test_a_hosted_clip_costs_its_price_over_what_is_usable():
    found = cost(hosted(price=0.40, review=0.67))
    assert found.marginal == pytest.approx(0.40 / 0.67)
    assert (found.machines, found.capacity, found.utilisation) == (0, None, None)


def test_a_card_of_ones_own_costs_energy_and_its_age():
    found = cost(local(watts=450.0, machine={"host_watts": 150.0, "residual": 0.35}, review=0.75), usable=200)
    energy = 0.6 * 534.7 / 3600 * 0.17 / 0.75
    assert found.marginal == pytest.approx(energy)
    assert found.amortised == pytest.approx(energy + 4000 * 0.65 / 24 / 200)
    assert found.capacity == pytest.approx(2.628e6 / 534.7 * 0.75)
    assert found.utilisation == pytest.approx(200 / found.capacity)


def test_the_guides_best_case_is_four_percent_of_a_card():
    found = cost(local(review=1.0), usable=200)
    assert found.utilisation == pytest.approx(0.0407, abs=0.0001)


def test_a_card_that_is_there_already_costs_no_depreciation():
    assert cost(local(machine={"owned": 1.0})).amortised == 0
    assert cost(local()).parts["depreciation"] == pytest.approx(4000 / 24 / 100)


def test_capital_recovery_costs_interest():
    found = cost(local(machine={"depreciation": "capital_recovery"}), usable=1)
    assert found.parts["depreciation"] == pytest.approx(183.8, abs=0.05)


def test_people_are_shown_by_themselves():
    found = cost(hosted(price=0.3, review=0.5, staff=Staff(hourly=60, review=1, edit=3, operations=10)))
    assert found.amortised == pytest.approx(0.6)
    assert found.parts["people"] == pytest.approx(2 + 3 + 6)
    assert found.loaded == pytest.approx(11.6)
    assert found.monthly == pytest.approx(1160)


def test_language_model_traffic_storage_services_and_tax():
    extras = Overhead(
        share=0.1, language_model=0.01, tokens=2000, token_price=5, egress_gb=0.1, egress_price=0.09, stored_gb=0.05,
        retention=6, storage_price=0.07, services=12, licence=8,
    )  # fmt: skip
    option = hosted(overhead=extras)
    found = cost(option)
    assert found.parts["language model, traffic, storage"] == pytest.approx(0.01 + 0.01 + 0.009 + 0.021)
    assert found.marginal == pytest.approx(0.33 + 0.05)
    assert found.amortised - found.marginal == pytest.approx(0.20)
    taxed = cost(replace(option, staff=Staff(hourly=60, edit=1)), tax=0.2)
    assert taxed.amortised == pytest.approx(found.amortised * 1.2)
    assert taxed.parts["people"] == pytest.approx(1.0)


def test_upkeep_site_and_idling():
    machine = {"upkeep": 0.12, "site": 30.0, "idle_watts": 100.0, "kwh": 0.2, "pue": 1.5}
    found = cost(local(seconds=3600.0, machine=machine))
    waiting = terms.HOURS_PER_MONTH - 100
    assert found.parts["upkeep and site"] * 100 == pytest.approx(40 + 30 + 0.1 * waiting * 0.2 * 1.5)


def test_machines_come_whole():
    option = local(seconds=terms.SECONDS_PER_MONTH / 100)
    for volume, machines in ((1, 1), (100, 1), (101, 2), (1000, 10)):
        assert usable_cost(scenario(option), option, volume).machines == machines


def test_a_server_works_on_several_attempts_at_once():
    server = local(machine={"gpus": 8.0, "gpu_watts": 700.0, "host_watts": 4600.0, "pue": 1.3})
    pairs = replace(server, gpus=2.0)
    assert capacity_of(server) == pytest.approx(8 * capacity_of(local()))
    assert capacity_of(pairs) == pytest.approx(4 * capacity_of(local()))
    watts = 700 * 2 + 4600 / 4
    assert energy_cost(pairs) == pytest.approx(watts / 1000 * 534.7 / 3600 * 0.17 * 1.3)


def test_what_the_machines_cannot_make_goes_elsewhere():
    other = hosted("other", price=0.5)
    option = local(seconds=terms.SECONDS_PER_MONTH / 100, machine={"most": 1.0}, overflow="other")
    found = usable_cost(scenario(option, other), option, 160)
    assert found.machines == 1
    assert found.parts["overflow"] == pytest.approx(60 * 0.5 / 160)
    alone = replace(option, overflow="")
    with pytest.raises(InvalidRequest, match="160 usable videos are wanted in month 1, and 1 machines make 100"):
        usable_cost(scenario(alone, other), alone, 160)
    lost, second = replace(option, overflow="nobody"), replace(option, name="second", overflow="local")
    with pytest.raises(UnknownName):
        usable_cost(scenario(lost, other), lost, 160)
    with pytest.raises(InvalidRequest, match="machines of its own"):
        usable_cost(scenario(option, second), second, 160)


def test_prices_fall_by_the_year():
    option = hosted(price=1.0, price_fall=0.2)
    costs = month_costs(option, np.full(25, 10.0), np.arange(1, 26), Finance())
    assert costs.compute[0] == pytest.approx(10)
    assert costs.compute[12] == pytest.approx(8)
    assert costs.compute[24] == pytest.approx(6.4)


@settings(deadline=None)
@given(review=st.floats(0.05, 1), worse=st.floats(0.1, 0.99), volume=st.floats(1, 3000), share=st.floats(0, 2))
def test_parts_add_up_and_failures_never_make_it_cheaper(review, worse, volume, share):
    for make in (hosted, rented, local):
        option = make(review=review, overhead=Overhead(share=share), staff=Staff(hourly=50, review=2))
        good = usable_cost(scenario(option), option, volume)
        assert sum(good.parts.values()) == pytest.approx(good.loaded)
        assert 0 <= good.marginal <= good.amortised <= good.loaded
        bad = replace(option, quality=replace(option.quality, review=review * worse))
        assert usable_cost(scenario(bad), bad, volume).loaded >= good.loaded - 1e-9


@settings(deadline=None)
@given(volume=st.floats(1, 4000), more=st.floats(1, 100))
def test_more_videos_never_cost_less_altogether(volume, more):
    for option in (hosted(), rented(), local(watts=450.0)):
        some = usable_cost(scenario(option), option, volume).monthly
        assert usable_cost(scenario(option), option, volume + more).monthly >= some - 1e-9


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (replace(local(), machine=None), "local needs machine"),
        (replace(hosted(), machine=local().machine), "hosted has no machine"),
        (rented(seconds=0.0), "0 s is no attempt"),
        (hosted(price=0.0), "has no price"),
        (replace(local(), gpus=2.0), "exceeds a machine of 1"),
    ],
)
def test_contradictions_are_named(option, said):
    with pytest.raises(InvalidRequest, match=said):
        option.check()

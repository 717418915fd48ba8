"""What the recommended model costs in each way, against the same reckoning asked by itself."""

from dataclasses import replace
from datetime import date

import pytest
from tests.economics.cases import TODAY, machine, needs

from filmgate.economics.assess import assess
from filmgate.economics.assessment_document import assessment_document
from filmgate.economics.costs import usable_cost
from filmgate.economics.document import text_of
from filmgate.economics.feasibility import places_of
from filmgate.economics.options import Scenario, Workload
from filmgate.economics.prices import shipped
from filmgate.economics.rents import rates_of
from filmgate.economics.scenario import option_of
from filmgate.economics.ways import WAYS


def priced(wanted, here=None):
    rates = rates_of(shipped(), wanted.cards)
    return assess(wanted, places_of(here, wanted), TODAY, machine=here, rates=rates, prices=shipped())


def test_every_way_that_has_prices_is_reckoned_as_costs_are():
    wanted = needs(150, quality="commercial", usable_rate=0.6, cards=("h100",))
    made = priced(wanted)
    ways = {way.name: way for way in made.ways}
    assert set(ways) == {"local", "pod", "serverless", "hosted"}
    assert ways["local"].on == "1 machine of 8 h100"  # such a card is not sold alone
    workload = Workload(usable=150, seconds=81 / 16)
    for kind in ("pod", "serverless"):
        option = option_of(kind, f"{kind}:wan2.2-t2v-a14b@h100", shipped(), workload)
        option = replace(option, quality=replace(option.quality, review=0.6))
        alone = usable_cost(Scenario((option,), kind, kind, workload), option)
        assert ways[kind].usable == pytest.approx(alone.amortised, rel=0.001)
        assert ways[kind].monthly == pytest.approx(150 * alone.amortised, rel=0.001)
    assert [way.usable for way in made.ways] == sorted(way.usable for way in made.ways)
    assert [way.name for way in made.ways if way.chosen] == ["serverless"]


def test_a_cheaper_way_than_the_recommended_is_told_of_unless_prompts_may_not_go_there():
    made = priced(needs(150, quality="commercial", cards=("h100",)))
    assert any("By cost a hosted service" in note for note in made.notes)
    rented = priced(needs(150, quality="commercial", privacy="rented", cards=("h100",)))
    assert [way.allowed for way in rented.ways if way.name == "hosted"] == [False]
    assert not any("By cost a hosted service" in note for note in rented.notes)
    text = text_of(assessment_document(rented))
    assert "What each way costs" in text
    assert "prompts may not go there" in text
    assert "recommended" in text


def test_a_machine_that_is_here_is_not_bought_and_shares_what_it_cannot_take():
    few = priced(needs(150, cards=("h100",)), machine())
    (here,) = (way for way in few.ways if way.name == "local" and way.on == "here")
    assert (here.chosen, here.upfront) == (True, 0)
    many = priced(needs(6000, cards=("h100",)), machine())
    (hybrid,) = (way for way in many.ways if way.chosen)
    assert (hybrid.name, hybrid.upfront) == ("hybrid", 0)
    assert hybrid.usable > here.usable


def test_a_longer_video_is_several_clips():
    one, two = (priced(needs(150, quality="commercial", seconds=s, cards=("h100",))) for s in (5.0, 10.0))
    pods = [next(way.usable for way in made.ways if way.name == "pod") for made in (one, two)]
    assert pods[1] == pytest.approx(2 * pods[0], rel=0.05)


def test_without_prices_ways_are_not_compared():
    wanted = needs(cards=("h100",))
    made = assess(wanted, places_of(None, wanted), date(2026, 11, 30))
    assert made.ways == ()
    assert "What each way costs" not in text_of(assessment_document(made))
    assert set(WAYS) == {"local", "hybrid", "pod", "serverless", "hosted"}

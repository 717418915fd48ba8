"""Hours of cards out of the price list."""

from dataclasses import replace
from datetime import date

import pytest
from tests.economics.cases import assessed, needs

from filmgate.economics.prices import Price, PriceList, shipped
from filmgate.economics.rents import rates_of
from filmgate.spec import InvalidRequest, UnknownName


def price(name, card, billing, value, **changes):
    return Price(
        id=name, kind="gpu_hour", billing=billing, subject=card, provider="Somebody", value=value, region="EU",
        as_of=date(2026, 5, 1), source="a page", **changes,
    )  # fmt: skip


LIST = PriceList(
    (price("a", "h100", "pod", 2.0), price("b", "h100", "pod", 1.0), price("c", "h100", "serverless", 4.0)), {}
)


def test_the_first_of_each_way_counts():
    found = rates_of(LIST, ("h100", "rtx4090"))
    assert {key: (rate.id, rate.usd) for key, rate in found.items()} == {
        ("h100", "pod"): ("a", 2.0), ("h100", "serverless"): ("c", 4.0)
    }  # fmt: skip
    assert "EU: a page" in found["h100", "pod"].source


def test_a_foreign_price_needs_its_rate():
    euro = PriceList((price("a", "h100", "pod", 2.0, currency="EUR"),), {})
    with pytest.raises(InvalidRequest, match="--exchange EUR"):
        rates_of(euro, ("h100",))
    assert rates_of(euro.with_exchange({"EUR": 1.1}), ("h100",))["h100", "pod"].usd == pytest.approx(2.2)


def test_the_shipped_list_has_the_cards_that_are_compared():
    assert {card for card, _ in rates_of(shipped(), needs().cards)} == set(needs().cards)


def test_prices_are_evidence_with_their_age():
    made = assessed(needs(500, cards=("h100",)), rates=rates_of(LIST, ("h100",)))
    assert made.recommended.usd == pytest.approx(2.0 * made.recommended.work.gpu_hours)
    evidence = made.confidence.evidence[-1]
    assert (evidence.what, evidence.days, evidence.level) == ("a: 2 USD an hour", 213, "low")


def test_prices_of_other_regions_do_not_count():
    rows = (
        price("world", "h100", "pod", 2.0), price("home", "h100", "pod", 3.0), price("away", "rtx4090", "pod", 1.0)
    )  # fmt: skip
    rows = tuple(
        replace(row, region=where) for row, where in zip(rows, ("worldwide", "European Union", "China"), strict=True)
    )
    listed = PriceList(rows, {})
    for name in ("EU", "eu", "European Union", "european union"):
        found = rates_of(listed, ("h100", "rtx4090"), name)
        assert {key: rate.id for key, rate in found.items()} == {("h100", "pod"): "home"}
    assert rates_of(listed, ("h100",), "US")["h100", "pod"].id == "world"
    with pytest.raises(UnknownName, match="Mars"):
        rates_of(listed, ("h100",), "Mars")

"""What an hour of each card costs, out of the dated prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import get_args

from filmgate.economics.decision import Rate, Rates
from filmgate.economics.prices import Billing, PriceList
from filmgate.spec.errors import UnknownName

ANYWHERE = "worldwide"
"""Region of a price that holds in several places: whether there are machines in one of them is to be asked."""
_SHORT: Mapping[str, str] = {"eu": "European Union", "us": "United States", "usa": "United States", "cn": "China"}


def rates_of(prices: PriceList, cards: Iterable[str], region: str | None = None) -> Rates:
    """Prices of an hour by card and way of billing, the first of each in the list; cards that nobody offers are left
    out.

    Args:
        prices: Of everything.
        cards: Names of profiles.
        region: Where machines must stand: offers of other regions are left out, and those of the region itself go
            before those that hold anywhere; None: it does not matter.

    Raises:
        InvalidRequest: a price is in a currency of which the rate is not known (UnknownName: no price names the
            region).
    """
    prices = in_region(prices, region)
    found: dict[tuple[str, str], Rate] = {}
    for card in cards:
        for billing in get_args(Billing):
            offers = prices.matching("gpu_hour", subject=card, billing=billing)
            if offers:
                first = offers[0]
                said = f"{first.provider}, {first.region}: {first.source}"
                found[card, billing] = Rate(prices.amount(first), said, first.as_of, first.id)
    return found


def in_region(prices: PriceList, region: str | None) -> PriceList:
    """Prices without the rents and services of other regions, those of the region itself first; None: as they are.

    Raises:
        UnknownName: no price names the region.
    """
    if region is None:
        return prices
    wanted = region_named(prices, region)
    sold = ("gpu_hour", "clip", "video_second")
    kept = [row for row in prices.rows if row.kind not in sold or row.region == ANYWHERE or _same(row.region, wanted)]
    return replace(prices, rows=tuple(sorted(kept, key=lambda row: not _same(row.region, wanted))))


def region_named(prices: PriceList, region: str) -> str:
    """A region as prices name it; ``EU``, ``US`` and ``CN`` are understood.

    Raises:
        UnknownName: no price names it.
    """
    known = {row.region for row in prices.rows if row.region != ANYWHERE} | set(_SHORT.values())
    wanted = _SHORT.get(region.strip().casefold(), region.strip())
    for name in known:
        if _same(name, wanted):
            return name
    raise UnknownName("region", region, known, noun="region of a price")


def _same(one: str, two: str) -> bool:
    return _SHORT.get(one.casefold(), one).casefold() == _SHORT.get(two.casefold(), two).casefold()

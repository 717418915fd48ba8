"""What an hour of each card costs, out of the dated prices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from filmgate.economics.decision import Rate, Rates
from filmgate.economics.prices import Billing, PriceList


def rates_of(prices: PriceList, cards: Iterable[str]) -> Rates:
    """Prices of an hour by card and way of billing, the first of each in the list; cards that nobody offers are left
    out.

    Raises:
        InvalidRequest: a price is in a currency of which the rate is not known.
    """
    found: dict[tuple[str, str], Rate] = {}
    for card in cards:
        for billing in get_args(Billing):
            offers = prices.matching("gpu_hour", subject=card, billing=billing)
            if offers:
                first = offers[0]
                said = f"{first.provider}, {first.region}: {first.source}"
                found[card, billing] = Rate(prices.amount(first), said, first.as_of, first.id)
    return found

"""The arithmetic of cost, each term by itself. Every function takes numbers, or arrays of draws, and returns the same.

Amounts are in the currency of the reckoning, times in seconds or months as named, rates of interest per year effective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filmgate.economics.quantities import Number

SECONDS_PER_MONTH = 2.628e6
"""A twelfth of 365 days."""
HOURS_PER_MONTH = SECONDS_PER_MONTH / 3600
_HOUR = 3600.0
_KILO = 1000.0
_YEAR = 12.0


def attempts_per_usable(usable: Number) -> Number:
    """A = 1/u: attempts until one is usable, u being the share of usable ones, above 0."""
    return 1.0 / usable


def wishes_fulfilled(usable: Number, tries: Number) -> Number:
    """1 - (1 - u)^K: the share of wishes that end in a usable video where each is tried K times at most."""
    return 1.0 - (1.0 - usable) ** tries


def attempts_per_wish(usable: Number, tries: Number) -> Number:
    """(1 - (1 - u)^K) / u: attempts that a wish takes where it is tried K times at most."""
    return wishes_fulfilled(usable, tries) / usable


def billed_seconds(generate: Number, load: Number, batch: Number, transfer: Number, tail: Number) -> Number:
    """Seconds that an attempt occupies the GPUs: its own, its part of one loading, of transfers and of idling after."""
    return generate + load / batch + transfer + tail


def pod_attempt(hourly: Number, gpus: Number, seconds: Number, busy: Number) -> Number:
    """Rent by the hour; ``busy`` is the share of rented hours in which work is done."""
    return hourly * gpus * seconds / _HOUR / busy


def serverless_attempt(hourly: Number, gpus: Number, seconds: Number, cold: Number, cold_share: Number) -> Number:
    """Rent by the busy second; a part of the attempts waits for a cold start of ``cold`` seconds."""
    return hourly * gpus * (seconds + cold * cold_share) / _HOUR


def energy_attempt(watts: Number, seconds: Number, kwh: Number, pue: Number) -> Number:
    """Electricity of an attempt: ``watts`` at the machine, times what the building adds (PUE)."""
    return watts / _KILO * seconds / _HOUR * kwh * pue


def straight_line(price: Number, residual: Number, months: Number) -> Number:
    """Depreciation per month; ``residual`` is what the machine is worth in the end."""
    return (price - residual) / months


def capital_recovery(price: Number, residual: Number, months: Number, interest: Number) -> Number:
    """Equal payments per month that give back price and interest, and leave ``residual`` in the end."""
    rate = monthly_rate(interest)
    worth = (1.0 + rate) ** -months
    return (price - residual * worth) * rate / (1.0 - worth)


def monthly_rate(interest: Number) -> Number:
    """(1 + r)^(1/12) - 1."""
    return (1.0 + interest) ** (1.0 / _YEAR) - 1.0


def capacity(
    seconds: Number, jobs: Number, availability: Number, usable: Number = 1.0, month: float = SECONDS_PER_MONTH
) -> Number:
    """Usable videos that a machine makes in a month (attempts, where ``usable`` is 1).

    Args:
        seconds: That an attempt occupies it.
        jobs: Attempts that it works on at a time.
        availability: Share of the month in which it can work.
        usable: Share of attempts that are usable.
        month: Seconds of a month.
    """
    return jobs * availability * month / seconds * usable


def simple_payback(upfront: float, saving: float) -> float | None:
    """Months until an equal monthly saving has paid ``upfront``; None: never, since nothing is saved."""
    return max(upfront, 0.0) / saving if saving > 0 else None


def saving_needed(upfront: float, months: float, volume: float) -> float:
    """Saving per video that pays ``upfront`` in so many months at so many videos a month."""
    return upfront / (months * volume)

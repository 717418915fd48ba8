"""What the way itself costs: people's days, and the clips of sample, trial and comparison. That is the price of moving,
which a return has to earn back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from filmgate.economics.roadmap_contradictions import planned_amount, today_amount
from filmgate.economics.roadmap_inputs import Inputs, OptionCost
from filmgate.economics.roadmap_tasks import SAMPLE, TRIAL, Draft
from filmgate.economics.sizing import ARMS, Sizes
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.shape import Frozen

DAY_HOURS = 8.0
"""Paid hours of a person's day."""


class Effort(Frozen):
    """What the way takes and costs, in ``currency``; None: no price is known.

    ``person_days`` are of all tasks that people do, ``gpu_hours`` of all clips that are not work yet; None: it is not
    known how long one takes. ``compute`` and ``labour`` are their prices, ``priced`` says how. ``settings`` are what
    `filmgate roi` is given so that it counts them.
    """

    person_days: float
    gpu_hours: float | None
    currency: str
    compute: float | None
    labour: float | None
    priced: tuple[str, ...]
    settings: tuple[str, ...]


def effort_of(inputs: Inputs, sizes: Sizes, drafts: Sequence[Draft], hourly: float | None = None) -> Effort:
    """What a roadmap's way takes.

    Args:
        inputs: What is known.
        sizes: Of the work.
        drafts: All tasks.
        hourly: What an hour of people's work costs, in the currency of the costs; None: not known.

    Raises:
        InvalidRequest: an hour costs less than nothing, or no number.
    """
    if hourly is not None and not 0 <= hourly < math.inf:
        raise InvalidRequest(
            "hourly", f"{hourly:g} is no price of an hour", allowed="0 or more, in the costs' currency"
        )
    days = sum(draft.days for draft in drafts if not draft.unattended)
    new = (ARMS - 1) * sizes.pairs + SAMPLE + TRIAL
    best = None if inputs.assessment is None else inputs.assessment.recommended
    hours = sizes.machine_hours
    if hours is not None and best is not None:
        hours += (SAMPLE + TRIAL) * best.setup.seconds / 3600
    compute, priced = _compute(inputs, sizes.pairs, new)
    labour = None if hourly is None else hourly * DAY_HOURS * days
    if hourly is None:
        priced += ("people's days have no price: --hourly gives what an hour costs",)
    name = "NAME" if inputs.planned_cost is None else inputs.planned_cost.name
    amounts = (("setup", compute), ("labour", labour))
    return Effort(
        person_days=round(days, 2), gpu_hours=hours, compute=compute, labour=labour, priced=priced,
        currency="USD" if inputs.costs is None else inputs.costs.currency,
        settings=tuple(f"--set {name}.move.{what}={value:.0f}" for what, value in amounts if value is not None),
    )  # fmt: skip


def _compute(inputs: Inputs, old: int, new: int) -> tuple[float | None, tuple[str, ...]]:
    """The price of attempts on Wan 2.1 and on Wan 2.2, and in words how it came about."""
    today, then = _attempt(today_amount(inputs)), _attempt(planned_amount(inputs))
    currency = "USD" if inputs.costs is None else inputs.costs.currency
    if today is not None and then is not None:
        said = (
            f"{old} attempts of Wan 2.1 at {today:.2f} {currency} and {new} of Wan 2.2 at {then:.2f} {currency}: costs"
        )
        return old * today + new * then, (said,)
    return None, ("clips have no price: costs of both models, for the same work as the assessment, are not given",)


def _attempt(option: OptionCost | None) -> float | None:
    """What an attempt costs, of the amount for a usable video."""
    return None if option is None or option.usable is None else option.amount * option.usable

"""What a move takes before it brings anything: clips of the comparison and people's days, and their price where known.

A clip costs what an attempt costs by the reckoning of costs (a usable video by its attempts, without machines of one's
own). People's days are those of the tasks; what a day costs is asked of the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filmgate.economics.roadmap_contradictions import planned_amount, today_amount
from filmgate.economics.roadmap_inputs import Inputs, OptionCost
from filmgate.economics.roadmap_tasks import Draft
from filmgate.economics.sizing import ARMS, Sizes
from filmgate.spec.shape import Frozen

_DECIDED = ("assessment", "prompts", "integration", "validation")
"""Phases that are over when the comparison is decided."""
_BETTER = ("month_1.report", "quarter_1.few_steps", "quarter_1.custom", "quarter_1.cost", "quarter_1.scale")
"""Tasks that improve on what was there: they are no part of the move."""
_ASIDE = "people who improve on it (not counted)"


class Sum(Frozen):
    """A part of the bill: what, how much of it, and the amount, None where a price is not known; ``because`` says what
    that rests on. What is not ``counted`` is shown beside the move."""

    words: str
    count: float
    unit: str
    amount: float | None = None
    because: str = ""
    counted: bool = True


class Bill(Frozen):
    """The parts, in a currency (empty: no costs were given), and the name of the option that they are to be counted
    with. ``setup`` is the sum of what machines take, ``labour`` that of people; None: a part of it has no price."""

    parts: tuple[Sum, ...]
    currency: str = ""
    option: str = ""
    setup: float | None = None
    labour: float | None = None

    @property
    def settings(self) -> str:
        """How ``filmgate roi`` is told of it; empty where nothing has a price."""
        priced = (("setup", self.setup), ("labour", self.labour))
        return " ".join(
            f"--set {self.option}.move.{name}={amount:.0f}" for name, amount in priced if amount is not None
        )


def bill_of(inputs: Inputs, sizes: Sizes, drafts: Sequence[Draft], day_rate: float | None = None) -> Bill:
    """The bill of a roadmap.

    Args:
        inputs: What is known.
        sizes: Of the comparison.
        drafts: All tasks.
        day_rate: What a day of a person costs, in the currency of the costs.
    """
    clips = tuple(_clips(inputs, sizes))
    people = tuple(_people(drafts, day_rate))
    planned = planned_amount(inputs)
    return Bill(
        parts=clips + people, currency="" if inputs.costs is None else inputs.costs.currency,
        option="" if planned is None else planned.name, setup=_sum(clips) if planned is not None else None,
        labour=_sum(people) if planned is not None else None,
    )  # fmt: skip


def _clips(inputs: Inputs, sizes: Sizes) -> Iterator[Sum]:
    new = ARMS - 1
    for words, count, option in (
        ("clips of the comparison, Wan 2.1", sizes.pairs, today_amount(inputs)),
        ("clips of the comparison, Wan 2.2", new * sizes.pairs, planned_amount(inputs)),
    ):
        each = _attempt(option)
        because = "" if option is None or each is None else f"{each:.2f} an attempt ({option.name})"
        yield Sum(
            words=words, count=count, unit="clips", amount=None if each is None else count * each, because=because
        )


def _attempt(option: OptionCost | None) -> float | None:
    return None if option is None else option.attempt


def _people(drafts: Sequence[Draft], day_rate: float | None) -> Iterator[Sum]:
    """Days of people before and after the decision; what machines do alone takes nobody's days."""
    because = "" if day_rate is None else f"{day_rate:g} a day"
    own = [one for one in drafts if not one.unattended]
    for words, days in (
        ("people until the comparison is decided", [one.days for one in own if one.phase in _DECIDED]),
        ("people who bring the rest over", [o.days for o in own if o.phase not in _DECIDED and o.id not in _BETTER]),
        (_ASIDE, [one.days for one in own if one.id in _BETTER]),
    ):
        amount = None if day_rate is None else sum(days) * day_rate
        yield Sum(words=words, count=sum(days), unit="working days", amount=amount, because=because,
                  counted=words != _ASIDE)  # fmt: skip


def _sum(parts: Sequence[Sum]) -> float | None:
    amounts = [part.amount for part in parts if part.counted]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None

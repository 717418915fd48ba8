"""How far a recommendation can be trusted: what its numbers rest on, how old that is, and how far off they may be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from filmgate.economics.decision import Choice, Rate, budget_unknown
from filmgate.economics.flips import Recommend
from filmgate.economics.needs import USABLE_SOURCE, Needs
from filmgate.spec.shape import Frozen

Level = Literal["high", "medium", "low"]
_LEVELS: tuple[Level, ...] = ("low", "medium", "high")
_OLD_SPEEDS, _OLD_PRICES = 365, 90
"""Days after which software has changed what a card reaches, and after which prices have moved."""
SLOWER = 1.5
"""Factor by which a clip may take longer than was planned: measured plans of other cards were off by less."""
_OFF = 0.15
"""Share of attempts by which the usable ones may be off."""


class Evidence(Frozen):
    """What one of the numbers rests on. ``as_of`` is None where it has no date; ``days`` below 0: it is newer than the
    day that is counted from, when nobody could know it, and is not trusted."""

    what: str
    basis: str
    as_of: date | None
    days: int | None
    level: Level


class Confidence(Frozen):
    """``level`` is that of the weakest evidence; one step higher where the recommendation stays the same even if the
    numbers are off as ``tried`` says, unless nobody knows whether it is within the budget."""

    level: Level
    robust: bool
    tried: str
    evidence: tuple[Evidence, ...]


def confidence_in(
    best: Choice, needs: Needs, today: date, recommend: Recommend, slower: Recommend, rates: Sequence[Rate]
) -> Confidence:
    """Confidence in a recommendation.

    Args:
        best: The recommendation.
        needs: What it was made for.
        today: The day from which ages are counted.
        recommend: What is recommended for other needs.
        slower: The same, if every clip took :data:`SLOWER` times as long.
        rates: Prices that took part.
    """
    unpriced = budget_unknown(needs, best)
    evidence = [_speed(best, today), _usable(needs), *(_price(rate, today) for rate in rates)]
    if unpriced:
        said = f"compute within {needs.budget:g} USD a month"
        evidence.append(Evidence(what=said, basis="no price is known", as_of=None, days=None, level="low"))
    weakest = min((_LEVELS.index(one.level) for one in evidence), default=0)
    shares = (max(0.01, needs.usable - _OFF), min(1.0, needs.usable + _OFF))
    others = [slower(needs), *(recommend(needs.model_copy(update={"usable_rate": share})) for share in shares)]
    robust = all(other is not None and other.kind == best.kind for other in others)
    tried = f"clips take {SLOWER:g} times as long; {shares[0]:.0%} of attempts are usable; {shares[1]:.0%} are"
    # What meets a stated need for all that is known of it is not made surer by staying the same.
    level = _LEVELS[min(len(_LEVELS) - 1, weakest + (1 if robust and not unpriced else 0))]
    return Confidence(level=level, robust=robust, tried=tried, evidence=tuple(evidence))


def _speed(best: Choice, today: date) -> Evidence:
    setup = best.setup
    what = f"seconds of a clip on {setup.place}"
    planned = f"counted by the planner; speed of the device: {setup.speed_source}"
    source = setup.seconds_from if setup.basis == "published" else planned
    if setup.basis not in ("analytic", "published"):
        own: Level = "high" if setup.basis == "measured" else "medium"
        return Evidence(what=what, basis=f"{setup.basis} on this machine", as_of=None, days=None, level=own)
    if setup.speed_as_of is None:
        return Evidence(what=what, basis=source, as_of=None, days=None, level="low")
    as_of = date.fromisoformat(setup.speed_as_of)
    days = (today - as_of).days
    level: Level = "medium" if 0 <= days <= _OLD_SPEEDS else "low"
    return Evidence(what=what, basis=source, as_of=as_of, days=days, level=level)


def _usable(needs: Needs) -> Evidence:
    given = needs.usable_rate is not None
    return Evidence(
        what="usable share of attempts", basis="given by you" if given else USABLE_SOURCE, as_of=None, days=None,
        level="high" if given else "low",
    )  # fmt: skip


def _price(rate: Rate, today: date) -> Evidence:
    days = (today - rate.as_of).days
    level: Level = "medium" if 0 <= days <= _OLD_PRICES else "low"
    return Evidence(
        what=f"{rate.id}: {rate.usd:g} USD an hour", basis=rate.source, as_of=rate.as_of, days=days, level=level
    )

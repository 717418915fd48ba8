"""What to run, where, and why: a month's needs and a machine become a recommendation that can be checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from filmgate.direction.calibration import Measured
from filmgate.economics.confidence import SLOWER, Confidence, confidence_in
from filmgate.economics.decision import (
    DEPLOYMENTS,
    Choice,
    Decision,
    Rate,
    Rates,
    budget_unknown,
    clips,
    decide,
    deciding_rule,
    rate_of,
)
from filmgate.economics.feasibility import Place, Setup, able_variants, feasible, least_memory, place_of_card
from filmgate.economics.flips import Flip, Recommend, flips_of
from filmgate.economics.machine import Gpu, MachineFacts
from filmgate.economics.needs import Needs
from filmgate.economics.prices import PriceList
from filmgate.economics.rules import RULES, Reason, Vote
from filmgate.economics.throughput import Work, devices_needed, months_until_full, work_of
from filmgate.economics.ways import WAYS, Way, ways_of
from filmgate.spec.shape import Frozen
from filmgate.spec.units import size_text

VERSION = 1
_HELD = 0.95
"""A card of which less is free is told of."""
_RELAXED: tuple[tuple[str, dict[str, object]], ...] = (
    ("no deadline", {"deadline_minutes": None}),
    ("no budget", {"budget": None}),
    ("4-step weights accepted", {"few_steps_accepted": True}),
    ("resolution 480p", {"resolution": "480p"}),
    ("privacy rented", {"privacy": "rented"}),
    ("24 hours a day", {"hours_per_day": 24.0}),
)


class Today(Frozen):
    """What is used now, with the work that a month would be on it."""

    setup: Setup
    work: Work


class Assessment(Frozen):
    """A recommendation with everything that it rests on.

    ``clips`` are clips of one video. ``recommended`` is None where nothing meets the needs; ``would_do`` then names
    answers that would do. ``deciding`` is the rule by which the recommended goes before the runner-up, ``full_in`` the
    month in which growth exceeds what the recommended devices make. ``least_memory`` is the smallest memory of a card,
    in bytes, on which the recommended model fits in its form. ``ways`` are those to run it, with what each costs.
    """

    version: int = VERSION
    as_of: date
    needs: Needs
    machine: MachineFacts | None
    places: tuple[Place, ...]
    setups: tuple[Setup, ...]
    votes: tuple[Vote, ...]
    reasons: tuple[Reason, ...]
    recommended: Choice | None
    runner_up: Choice | None
    clips: int
    deciding: str
    flips: tuple[Flip, ...]
    confidence: Confidence | None
    least_memory: int | None
    full_in: int | None
    today: Today | None
    would_do: tuple[str, ...]
    ways: tuple[Way, ...] = ()
    notes: tuple[str, ...] = ()


def assess(
    needs: Needs,
    places: Sequence[Place],
    as_of: date,
    *,
    machine: MachineFacts | None = None,
    rates: Rates | None = None,
    measured: Sequence[Measured] = (),
    versions: str = "",
    prices: PriceList | None = None,
) -> Assessment:
    """Assess a month's needs.

    Args:
        needs: What is needed.
        places: Where it may run, as :func:`~filmgate.economics.feasibility.places_of` finds them.
        as_of: The day from which the age of data is counted.
        machine: What was found of this machine; None: it does not count.
        rates: Prices of cards by the hour; None: none are known.
        measured: What this machine has shown.
        versions: Of the packages that compute.
        prices: Of machines, hours, energy and clips, to compare the ways to run what is recommended; None: they are
            not compared.
    """
    setups = feasible(needs, places, measured, versions)
    decision = decide(needs, setups, places, rates)
    asked = _Asked(needs, places, setups, rates, measured, versions)
    best = decision.choices[0] if decision.choices else None
    after = _runner_up(decision)
    ways = () if best is None or prices is None else ways_of(best, needs, setups, places, prices)
    return Assessment(
        as_of=as_of, needs=needs, machine=machine, places=tuple(places), setups=setups, votes=decision.votes,
        reasons=decision.reasons, recommended=best, runner_up=after,
        clips=1 if best is None else clips(needs, best.setup.model),
        deciding=_deciding(best, after, decision, needs, places),
        flips=() if best is None else flips_of(needs, best, asked.recommend),
        confidence=None if best is None else confidence_in(
            best, needs, as_of, asked.recommend, asked.slower, _rates_of(best, after, rates or {})
        ),
        least_memory=None if best is None else _least(best, needs, places),
        full_in=None if best is None or needs.growth <= 0 else months_until_full(
            best.work.capacity, needs.videos, needs.growth
        ),
        today=_today(needs, places, setups),
        would_do=() if best is not None else tuple(_would_do(needs, asked.recommend)),
        ways=ways,
        notes=(*_way_notes(ways), *_budget_notes(needs, decision, rates), *_notes(needs, machine, best)),
    )  # fmt: skip


class _Asked:
    """Recommendations for other needs. What fits where is planned once for every kind, resolution and length."""

    def __init__(
        self,
        needs: Needs,
        places: Sequence[Place],
        setups: tuple[Setup, ...],
        rates: Rates | None,
        measured: Sequence[Measured],
        versions: str,
    ) -> None:
        self._places, self._rates, self._measured, self._versions = places, rates, measured, versions
        self._known = {_planned(needs): setups}

    def recommend(self, needs: Needs) -> Choice | None:
        """The first choice for ``needs``."""
        return self._first(needs, 1.0)

    def slower(self, needs: Needs) -> Choice | None:
        """The first choice if every clip took longer than was planned."""
        return self._first(needs, SLOWER)

    def _first(self, needs: Needs, factor: float) -> Choice | None:
        key = _planned(needs)
        if key not in self._known:
            self._known[key] = feasible(needs, self._places, self._measured, self._versions, able_variants(needs))
        setups = self._known[key]
        if factor != 1:
            setups = tuple(one.model_copy(update={"seconds": factor * one.seconds}) for one in setups)
        choices = decide(needs, setups, self._places, self._rates).choices
        return choices[0] if choices else None


def _planned(needs: Needs) -> tuple[object, ...]:
    return needs.kind, needs.resolution, needs.seconds


def _runner_up(decision: Decision) -> Choice | None:
    """The next choice of another model, form or way; the same on another card only where there is no such."""
    if not decision.choices:
        return None
    best, *rest = decision.choices
    others = (one for one in rest if (one.setup.model, one.setup.form, one.deployment)
              != (best.setup.model, best.setup.form, best.deployment))  # fmt: skip
    return next(others, rest[0] if rest else None)


def _deciding(
    best: Choice | None, after: Choice | None, decision: Decision, needs: Needs, places: Sequence[Place]
) -> str:
    if best is None:
        last = next((reason for reason in decision.reasons if reason.left_nothing), decision.reasons[0])
        return f"{last.says}: {last.found}"
    if after is None:
        return "nothing else is left"
    rule = deciding_rule(best, after, decision, needs, places)
    applied = next(reason for reason in decision.reasons if reason.rule == rule)
    return f"{RULES[rule].text} ({applied.found})"


def _rates_of(best: Choice, after: Choice | None, rates: Rates) -> tuple[Rate, ...]:
    """The prices that took part in choosing between the first two."""
    found = []
    for choice in (best, after):
        if choice is not None:
            setup = choice.setup if choice.overflow is None else choice.overflow
            found.append(rate_of(setup.place, choice.deployment, rates))
    return tuple(dict.fromkeys(rate for rate in found if rate is not None))


def _least(best: Choice, needs: Needs, places: Sequence[Place]) -> int:
    return least_memory(best.setup, needs, next(place for place in places if place.name == best.setup.place))


def _today(needs: Needs, places: Sequence[Place], setups: Sequence[Setup]) -> Today | None:
    """What is used now: the published form of the model, on the card that was named, or on this machine."""
    if needs.now_model is None:
        return None
    if needs.now_card is None:
        found = [one for one in setups if one.place == "here"]
    else:
        found = list(feasible(needs, [place_of_card(needs.now_card, desktop=needs.desktop)]))
    setup = next((one for one in found if (one.model, one.form) == (needs.now_model, "stock")), None)
    if setup is None or not setup.fits:
        return None
    number = clips(needs, setup.model)
    here = next((place.count for place in places if place.name == setup.place and place.count), 0)
    return Today(
        setup=setup, work=work_of(needs, setup.seconds, number, here or devices_needed(needs, setup.seconds, number))
    )


def _would_do(needs: Needs, recommend: Recommend) -> Iterator[str]:
    """Single answers with which something could be recommended."""
    for words, change in _RELAXED:
        other = needs.model_copy(update=change)
        if other == needs or (other.quality == "broadcast" and other.resolution == "480p"):
            continue
        choice = recommend(other)
        if choice is not None:
            yield f"{words}: {choice.name}"


def _way_notes(ways: Sequence[Way]) -> Iterator[str]:
    """Where another way costs less than the one that the rules took."""
    chosen = next((way for way in ways if way.chosen), None)
    least = next((way for way in ways if way.allowed), None)
    if chosen is not None and least is not None and least.usable < chosen.usable:
        yield (
            f"By cost {WAYS[least.name]} ({least.on}) is cheaper than {WAYS[chosen.name]} ({chosen.on}):"
            f" {least.usable:.2f} against {chosen.usable:.2f} USD for a usable video. The rule goes by volume, since a"
            " month's work is not known for years: `filmgate roi` says whether the other one pays off."
        )


def _budget_notes(needs: Needs, decision: Decision, rates: Rates | None) -> Iterator[str]:
    """What a budget could and could not say."""
    best = decision.choices[0] if decision.choices else None
    if needs.budget is None:
        return
    budget = f"{needs.budget:g} USD a month"
    if not rates:
        yield "A budget was given and no prices: nothing was ruled out by it. `filmgate cost` reckons with prices."
    elif best is not None and budget_unknown(needs, best):
        if best.deployment == "own":
            why = "machines of your own have no rent, and `filmgate cost` reckons what they cost"
        else:
            why = f"nobody's price of {best.setup.place} is known {DEPLOYMENTS[best.deployment]}; `--price` gives yours"
        yield f"The recommended is not known to be within {budget}: {why}."
    if decision.over_budget:
        least = min(decision.over_budget, key=lambda choice: choice.usd or 0.0)
        yield f"Of what has a price and is above {budget}, the least is {least.usd:.2f} USD: {least.name}."


def _notes(needs: Needs, machine: MachineFacts | None, best: Choice | None) -> Iterator[str]:
    """What a reader should know beside the recommendation."""
    if needs.usable_rate is None:
        said = "an assumption (said of Wan 2.1 in 2025, measured by nobody)"
        yield f"The usable share of attempts is {needs.usable:g}, {said}. Measure it: everything scales with it."
    if needs.resolution == "1080p":
        yield "No open Wan model paints 1080p: it is painted at 720p and enlarged, which is not counted here."
    elif best is not None and best.setup.native == "smaller":
        yield f"{best.setup.model} paints {best.setup.size}: it must be enlarged to {needs.resolution}."
    if needs.quality == "broadcast":
        said = "4 to 5 usable clips in a hundred (invideo.io, June 2026; a seller's figure)"
        yield f"Broadcast: a field report speaks of {said}. Plan for that, or otherwise."
    if needs.region is not None:
        yield (
            f"Region {needs.region}: prices of other regions did not count. Most prices are worldwide, and do not say"
            " where a machine stands: ask the provider before you rent."
        )
    if machine is not None and not machine.gpus:
        yield "No NVIDIA GPU was found on this machine."
    if machine is not None:
        for gpu in machine.gpus:
            yield from _gpu_notes(gpu)
    if best is not None and best.setup.basis == "analytic" and best.setup.place == "here":
        yield "Times are counted, not measured: `filmgate plan --measure` on this machine makes them exact."


def _gpu_notes(gpu: Gpu) -> Iterator[str]:
    if not gpu.memory_bytes:
        yield f"{gpu.name} does not say how much memory it has, and is left out."
    elif gpu.free_bytes is not None and gpu.free_bytes < _HELD * gpu.memory_bytes:
        held = size_text(gpu.memory_bytes - gpu.free_bytes)
        yield f"{held} of {gpu.name} are held by other programs at the moment, and not planned with."
    if gpu.throttled:
        yield f"{gpu.name} is held back at the moment: {', '.join(gpu.throttled)}."
    if gpu.pcie is not None and gpu.pcie_now is not None and gpu.pcie_now[1] < gpu.pcie[1]:
        lanes = f"{gpu.pcie_now[1]} of {gpu.pcie[1]} PCIe lanes"
        yield f"{gpu.name} uses {lanes}: streamed blocks come more slowly than planned."
    if gpu.mig:
        yield f"{gpu.name} is partitioned (MIG): its memory and speed are those of a part, and plans count the whole."

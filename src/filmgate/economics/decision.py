"""Which setup, how many devices, and in whose hands: candidates are ruled out or put in order, rule by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple

from filmgate.direction.presets import PRESETS
from filmgate.economics.feasibility import Place, Setup, able_setups, clips_of
from filmgate.economics.needs import Needs
from filmgate.economics.rules import (
    BURSTY,
    CLOUD,
    FEW,
    MANY,
    Reason,
    Size,
    Vote,
    forms_allowed,
    preferred_size,
    reason,
    setup_allowed,
    size_class,
    votes_of,
)
from filmgate.economics.throughput import BUSIEST, Work, attempts_of, devices_needed, work_of
from filmgate.spec.shape import Frozen

Deployment = Literal["here", "hybrid", "own", "pay_per_use", "serverless", "rented", "reserved"]
DEPLOYMENTS: Mapping[Deployment, str] = {
    "here": "on this machine",
    "hybrid": "on this machine, and what it cannot take pays per use",
    "own": "on machines of your own",
    "pay_per_use": "paid per use (serverless GPUs, or a hosted service)",
    "serverless": "on serverless GPUs",
    "rented": "on machines rented by the hour, in batches",
    "reserved": "on machines that are reserved, or bought",
}
_MOST_DEVICES = 64


class Rate(NamedTuple):
    """USD per hour of a card, from whom and as of when, and its name in the price list."""

    usd: float
    source: str
    as_of: date
    id: str = "price"


Rates = Mapping[tuple[str, str], Rate]
"""By card and way of billing: ``pod`` or ``serverless``."""


class Choice(Frozen):
    """A setup on a number of devices, run in some way, with what that is for a month.

    ``overflow`` is what a hybrid pays for elsewhere: a setup, and the hours of its devices. ``usd`` is the rent of the
    month without anything else, None: no price is known, or nothing is rented.
    """

    setup: Setup
    deployment: Deployment
    work: Work
    usd: float | None = None
    overflow: Setup | None = None
    overflow_hours: float = 0.0

    @property
    def name(self) -> str:
        """In a few words."""
        form = f" ({self.setup.distilled}, {self.setup.steps} steps)" if self.setup.distilled else ""
        where = "" if self.setup.place == "here" else f" on {self.work.devices} x {self.setup.place}"
        return f"{self.setup.model}{form}{where}, {DEPLOYMENTS[self.deployment]}"

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """What makes two choices different ones."""
        return self.setup.model, self.setup.form, self.setup.place, self.deployment


class Decision(NamedTuple):
    """Choices in order, the recommended one first, and the rules as they were applied; ``over_budget`` were ruled out
    by a known price."""

    choices: tuple[Choice, ...]
    reasons: tuple[Reason, ...]
    votes: tuple[Vote, ...]
    preferred: Size
    over_budget: tuple[Choice, ...] = ()


class Ranked(NamedTuple):
    """A choice with what puts it in its place: smaller is better, in this order."""

    unknown: int
    size: int
    form: int
    resolution: int
    here: int
    usd: float
    memory: float
    seconds: float


_ORDER: Mapping[str, str] = {
    "unknown": "budget", "size": "size", "form": "few_steps", "resolution": "resolution", "here": "deployment",
    "usd": "card", "memory": "card", "seconds": "card",
}  # fmt: skip


def decide(needs: Needs, setups: Sequence[Setup], places: Sequence[Place], rates: Rates | None = None) -> Decision:
    """Choices for a month's work. ``setups`` are those of :func:`~filmgate.economics.feasibility.feasible`."""
    rates = rates or {}
    by_name = {place.name: place for place in places}
    able = tuple(able_setups(setups))
    forms = forms_allowed(needs)
    allowed = [setup for setup in able if setup.form in forms and setup_allowed(needs, setup)]
    every = [choice for setup in allowed for choice in _choices(needs, setup, by_name[setup.place], allowed, rates)]
    kept_up = [choice for choice in every if _keeps_up(choice)]
    timely = [choice for choice in kept_up if _ready(needs, choice.work)]
    paid = [choice for choice in timely if not _over(needs, choice)]
    votes = votes_of(needs, _card_here(places), _large_over(needs, timely))
    preferred = preferred_size(needs, votes)
    ordered = sorted(paid, key=lambda choice: ranked(choice, needs, preferred, forms, by_name))
    reasons = _reasons(needs, setups, (able, allowed), (kept_up, timely, paid), votes, preferred)
    over = tuple(choice for choice in timely if _over(needs, choice))
    return Decision(tuple(ordered), reasons, votes, preferred, over)


def budget_unknown(needs: Needs, choice: Choice) -> bool:
    """Whether a budget was given and no price says that a choice is within it. What is here already has no rent."""
    return needs.budget is not None and choice.usd is None and choice.deployment != "here"


def ranked(choice: Choice, needs: Needs, preferred: Size, forms: Sequence[str], places: Mapping[str, Place]) -> Ranked:
    """What puts a choice in its place."""
    setup = choice.setup
    # Where machines are bought or kept, all of them count; where they are rented, the hours that they work.
    kept = choice.deployment in ("here", "hybrid", "own", "reserved")
    memory = places[setup.place].device.memory_bytes * (choice.work.devices if kept else choice.work.gpu_hours)
    return Ranked(
        unknown=int(budget_unknown(needs, choice)),
        size=int(size_class(setup) != preferred),
        form=forms.index(setup.form),
        resolution=("exact", "larger", "smaller").index(setup.native),
        here={"here": 0, "hybrid": 1}.get(choice.deployment, 2),
        usd=float("inf") if choice.usd is None else round(choice.usd, 2),
        memory=float(memory),
        seconds=setup.seconds,
    )


def deciding_rule(best: Choice, other: Choice, decision: Decision, needs: Needs, places: Sequence[Place]) -> str:
    """The rule by which one choice goes before another one."""
    by_name, forms = {place.name: place for place in places}, forms_allowed(needs)
    one, two = (ranked(choice, needs, decision.preferred, forms, by_name) for choice in (best, other))
    field = next((field for field in Ranked._fields if getattr(one, field) != getattr(two, field)), "seconds")
    return _ORDER[field]


def clips(needs: Needs, model: str) -> int:
    """Clips that one video of a model is."""
    return clips_of(needs.seconds, PRESETS[model])


def _choices(needs: Needs, setup: Setup, place: Place, allowed: Sequence[Setup], rates: Rates) -> Iterable[Choice]:
    number = clips(needs, setup.model)
    wanted = devices_needed(needs, setup.seconds, number)
    if not place.here:
        way = deployment_of(needs)
        devices = _enough(needs, setup, number, wanted)
        work = work_of(needs, setup.seconds, number, devices)
        yield Choice(setup=setup, deployment=way, work=work, usd=_rent(setup.place, way, work.gpu_hours, rates))
        return
    work = work_of(needs, setup.seconds, number, place.count)
    if wanted <= place.count:
        yield Choice(setup=setup, deployment="here", work=work)
    elif needs.privacy != "own":
        yield from _hybrid(needs, setup, work, allowed, rates)


def deployment_of(needs: Needs) -> Deployment:
    """In whose hands machines are that are not here."""
    if needs.privacy == "own":
        return "own"
    if needs.videos < FEW or needs.peak >= BURSTY:
        return "pay_per_use" if needs.privacy == "open" else "serverless"
    return "rented" if needs.videos <= MANY else "reserved"


def _enough(needs: Needs, setup: Setup, number: int, wanted: int) -> int:
    """Devices with which videos are ready in time, if any number is enough."""
    if needs.deadline_minutes is not None:
        alone = work_of(needs, setup.seconds, number, _MOST_DEVICES * wanted)
        if not _ready(needs, alone):
            return wanted
    devices = wanted
    while devices < _MOST_DEVICES and not _ready(needs, work_of(needs, setup.seconds, number, devices)):
        devices += 1
    return devices if _ready(needs, work_of(needs, setup.seconds, number, devices)) else wanted


def _hybrid(needs: Needs, setup: Setup, work: Work, allowed: Sequence[Setup], rates: Rates) -> Iterable[Choice]:
    """This machine as far as it goes, and the rest of the same model and form on the smallest other card."""
    others = [one for one in allowed if (one.model, one.form) == (setup.model, setup.form) and one.place != setup.place]
    if not others:
        return
    rest = 1 - work.capacity / needs.videos
    number = clips(needs, setup.model)

    def hours(one: Setup) -> float:
        return rest * attempts_of(needs, number) * one.seconds / 3600

    def price(one: Setup) -> float | None:
        return _rent(one.place, "serverless", hours(one), rates)

    def order(one: Setup) -> tuple[float, float]:
        usd = price(one)
        return (float("inf") if usd is None else usd, hours(one))

    other = min(others, key=order)
    share = needs.model_copy(update={"videos": max(1, int(work.capacity))})
    base = work_of(share, setup.seconds, number, work.devices)
    yield Choice(
        setup=setup, deployment="hybrid", work=base, usd=price(other), overflow=other, overflow_hours=hours(other)
    )


def rate_of(card: str, way: Deployment, rates: Rates) -> Rate | None:
    """The price of an hour of a card that is rented in some way; None: it is not rented, or nobody's price is known.

    A price of another way is not taken in its place: rented hours run on while nothing is painted.
    """
    if way in ("own", "here"):
        return None
    return rates.get((card, "pod" if way in ("rented", "reserved") else "serverless"))


def _rent(card: str, way: Deployment, hours: float, rates: Rates) -> float | None:
    rate = rate_of(card, way, rates)
    return None if rate is None else rate.usd * hours


def _ready(needs: Needs, work: Work) -> bool:
    if work.ready_seconds is None:
        return False
    return needs.deadline_minutes is None or work.ready_seconds <= 60 * needs.deadline_minutes


def _keeps_up(choice: Choice) -> bool:
    return choice.work.ready_seconds is not None and choice.work.utilisation <= BUSIEST * (1 + 1e-9)


def _over(needs: Needs, choice: Choice) -> bool:
    return needs.budget is not None and choice.usd is not None and choice.usd > needs.budget


def _card_here(places: Sequence[Place]) -> int | None:
    return next((place.device.memory_bytes for place in places if place.here), None)


def _large_over(needs: Needs, choices: Sequence[Choice]) -> bool | None:
    """Whether every way of running the large model costs more than the budget; None: that is not known."""
    large = [choice for choice in choices if size_class(choice.setup) == "large"]
    if needs.budget is None or not large:
        return None
    if any(choice.deployment == "here" for choice in large):
        return False
    priced = [choice for choice in large if choice.usd is not None]
    return all(_over(needs, choice) for choice in priced) if priced else None


def _reasons(
    needs: Needs,
    setups: Sequence[Setup],
    sieved_setups: tuple[Sequence[Setup], Sequence[Setup]],
    sieved: tuple[Sequence[Choice], Sequence[Choice], Sequence[Choice]],
    votes: Sequence[Vote],
    preferred: Size,
) -> tuple[Reason, ...]:
    """Every rule as it was applied, in the order of :data:`~filmgate.economics.rules.RULES`."""
    (able, allowed), (kept_up, timely, paid) = sieved_setups, sieved
    new = [setup for setup in setups if setup.model.startswith("wan2.2")]
    can = [setup for setup in new if setup.able]
    kinds = ", ".join(dict.fromkeys(setup.model for setup in can)) or "none"
    held = [vote for vote in votes if vote.speaks_for == "large" and vote.holds]
    alone = "a cloud alone counts nothing: " if [vote.condition for vote in held] == [CLOUD] else ""
    first = f"{alone}{_SIZES[preferred]} first"
    small, large = (sum(v.holds for v in votes if v.speaks_for == size) for size in ("small", "large"))
    natives = sorted({setup.native for setup in allowed})
    deadline = "none" if needs.deadline_minutes is None else f"{needs.deadline_minutes:g} min"
    priced = sum(choice.usd is not None for choice in timely)
    budget = "none"
    if needs.budget is not None:
        budget = f"{needs.budget:g} USD a month, {priced} of {len(timely)} have a price"
        budget += f" and go before the others; {len(timely) - len(paid)} are above it"
    return (
        reason("able", f"{needs.kind}: {kinds}", len(new), len(can)),
        reason("fits", f"{len(able)} of {len(can)} forms on the places compared", len(can), len(able)),
        reason("size", f"{small} for TI2V-5B, {large} for A14B; {first}", len(able), len(able)),
        reason("few_steps", f"allowed: {' or '.join(forms_allowed(needs)).replace('_', ' ')}", len(able), len(allowed)),
        reason("resolution", f"{needs.resolution}: {', '.join(natives) or 'none'}", len(allowed), len(allowed)),
        reason("busy", f"{needs.videos} videos a month, {needs.usable:.0%} of attempts usable", len(allowed),
               len(kept_up)),
        reason("deadline", f"{deadline}; {len(kept_up) - len(timely)} of {len(kept_up)} choices are too slow",
               len(kept_up), len(timely)),
        reason("privacy", f"{needs.privacy}{f', region {needs.region}' if needs.region else ''}",
               len(timely), len(timely)),
        reason("deployment", f"where no card is here: {DEPLOYMENTS[deployment_of(needs)]}", len(timely), len(timely)),
        reason("budget", budget, len(timely), len(paid)),
        reason("card", "by price" if priced else "no price is known: by memory", len(paid), len(paid)),
    )  # fmt: skip


_SIZES: Mapping[Size, str] = {"small": "TI2V-5B", "large": "A14B"}

"""What the recommended model costs in every way to run it, where prices are known: one's own machine, with others for
what it cannot take, rented by the hour, serverless, hosted. Reckoned as `filmgate cost` does, overhead and energy
counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from filmgate.direction.devices import profile_of
from filmgate.economics.decision import Choice, Deployment, clips
from filmgate.economics.feasibility import Place, Setup
from filmgate.economics.needs import Needs
from filmgate.economics.timings import size_name
from filmgate.spec.errors import FilmgateError
from filmgate.spec.shape import Frozen

if TYPE_CHECKING:
    from filmgate.economics.options import Option, Workload
    from filmgate.economics.prices import PriceList

WayName = Literal["local", "hybrid", "pod", "serverless", "hosted"]
WAYS: Mapping[WayName, str] = {
    "local": "a machine of one's own", "hybrid": "this machine, the rest serverless", "pod": "rented by the hour",
    "serverless": "serverless", "hosted": "a hosted service",
}  # fmt: skip
_CHOSEN: Mapping[Deployment, WayName] = {
    "here": "local", "own": "local", "hybrid": "hybrid", "rented": "pod", "reserved": "pod", "serverless": "serverless",
    "pay_per_use": "serverless",
}  # fmt: skip


class Way(Frozen):
    """One way to run a model for the month that is needed, in USD.

    ``usable`` is what a usable video costs with its part of machines, ``monthly`` all of them, ``upfront`` what is paid
    first. ``allowed``: prompts may go there. ``chosen``: it is the recommended one.
    """

    name: WayName
    on: str
    usable: float
    monthly: float
    upfront: float
    allowed: bool
    chosen: bool


def ways_of(
    best: Choice, needs: Needs, setups: Sequence[Setup], places: Sequence[Place], prices: PriceList
) -> tuple[Way, ...]:
    """Every way that can be priced, each on the card on which it costs least (the recommended one on its own), the
    cheapest first.

    Args:
        best: The recommendation: its model and form are reckoned.
        needs: What is needed.
        setups: What fits where.
        places: Where.
        prices: Of machines, hours, energy and clips.
    """
    alike = [one for one in setups if one.fits and (one.model, one.form) == (best.setup.model, best.setup.form)]
    by_name = {place.name: place for place in places}
    found: list[Way] = []
    names: tuple[WayName, ...] = ("local", "hybrid", "pod", "serverless")
    for name in names:
        chosen = _CHOSEN[best.deployment] == name
        cards = [one for one in alike if not chosen or one.place == best.setup.place]
        made = [way for one in cards for way in _priced(name, one, by_name[one.place], needs, prices, chosen=chosen)]
        found += sorted(made, key=lambda way: way.usable)[:1]
    found += _hosted(best.setup, needs, prices)
    return tuple(sorted(found, key=lambda way: way.usable))


def _workload(needs: Needs, setup: Setup) -> Workload:
    """A month's clips: an attempt is at one of them."""
    from filmgate.economics.options import Workload

    return Workload(
        usable=float(needs.videos * clips(needs, setup.model)), seconds=setup.frames / setup.fps,
        resolution=size_name(min(map(int, setup.size.split("x")))),
    )  # fmt: skip


def _priced(
    name: WayName, setup: Setup, place: Place, needs: Needs, prices: PriceList, *, chosen: bool
) -> Iterator[Way]:
    """A way on a place; nothing where it has no price or makes no sense there."""
    if (name == "hybrid") > place.here or (place.here and name in ("pod", "serverless")):
        return
    card = profile_of(place.device).name
    kind = "local" if name == "hybrid" else name
    workload = _workload(needs, setup)
    try:
        option = _option(kind, setup, card, workload, needs, prices)
        if place.here and option.machine is not None:
            there = float(place.count)
            most = there if name == "hybrid" else 0.0
            option = replace(option, machine=replace(option.machine, owned=there, most=most))
        others: tuple[Option, ...] = ()
        if name == "hybrid":
            others = (_option("serverless", setup, card, workload, needs, prices),)
            option = replace(option, overflow="serverless")
        yield _way(name, place.name, (option, *others), workload, needs, chosen=chosen)
    except FilmgateError:  # what nobody sells there cannot be compared
        return


def _option(kind: str, setup: Setup, card: str, workload: Workload, needs: Needs, prices: PriceList) -> Option:
    from filmgate.economics.scenario import option_of

    form = f"+{setup.distilled}" if setup.distilled else ""
    given = {f"{kind}.attempt.generate": setup.seconds - setup.load_seconds}
    option = option_of(kind, f"{kind}:{setup.model}{form}@{card}", prices, workload, given)
    return replace(option, quality=replace(option.quality, review=needs.usable))


def _hosted(setup: Setup, needs: Needs, prices: PriceList) -> list[Way]:
    from filmgate.economics.scenario import option_of

    workload = _workload(needs, setup)
    if setup.distilled:
        return []
    try:
        option = option_of("hosted", f"hosted:{setup.model}", prices, workload)
    except FilmgateError:
        return []
    option = replace(option, quality=replace(option.quality, review=needs.usable))
    seller = prices.named(option.prices[0]).provider
    return [_way("hosted", seller, (option,), workload, needs, chosen=False)]


def _way(name: WayName, on: str, options: tuple[Option, ...], workload: Workload, needs: Needs, *, chosen: bool) -> Way:
    from filmgate.economics.costs import usable_cost
    from filmgate.economics.options import Scenario

    option = options[0]
    cost = usable_cost(Scenario(options, option.name, option.name, workload), option)
    machine = option.machine
    upfront = 0.0 if machine is None else (cost.machines - machine.owned) * machine.price
    allowed = {"open": True, "rented": name != "hosted", "own": name == "local"}[needs.privacy]
    return Way(
        name=name, on=on if machine is None or on == "here" else _machines(cost.machines, int(machine.gpus), on),
        usable=cost.amortised * workload.usable / needs.videos, monthly=cost.amortised * workload.usable,
        upfront=float(upfront), allowed=allowed, chosen=chosen,
    )  # fmt: skip


def _machines(count: int, gpus: int, card: str) -> str:
    """``2 x rtx4090``, or ``1 machine of 8 h100`` where such a card is not sold alone."""
    return f"{count} x {card}" if gpus == 1 else f"{count} machine{'s' if count > 1 else ''} of {gpus} {card}"

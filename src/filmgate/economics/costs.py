"""What a month of an option costs, term by term, and what a usable video costs by that.

    one usable video = A·(computing·(1 + overhead) + energy + extras)                     marginal
                     + (depreciation + upkeep + site + services) / volume                amortised
                     + people's time                                                     fully loaded

A is attempts per usable video: failures count in every option. Machines come whole: a volume above what one makes
needs another, or goes to the option named as overflow. Arrays of draws may stand for any number; months are the last
axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from filmgate.economics import terms
from filmgate.economics.options import Attempt, Finance, Machine, Option, Scenario
from filmgate.spec.errors import InvalidRequest

if TYPE_CHECKING:
    from filmgate.economics.quantities import Number

_MINUTES = 60.0
_MONTHS = 12.0
_MILLION = 1e6
_ROUNDING = 1e-9


@dataclass(frozen=True)
class MonthCosts:
    """Money of months, by part, without what is invested; [M] or [draws, M] each.

    ``short`` is videos that nobody makes, because there are no more machines and no overflow. ``machines`` are needed
    at that volume, ``hours`` are worked by all of them together.
    """

    volume: Any
    attempts: Any
    machines: Any
    hours: Any
    short: Any
    compute: Any
    energy: Any
    overhead: Any
    extras: Any
    overflow: Any
    site: Any
    services: Any
    staff: Any

    @property
    def variable(self) -> Any:
        """What grows with every video."""
        return self.compute + self.energy + self.overhead + self.extras + self.overflow

    @property
    def fixed(self) -> Any:
        """What is paid whether or not there is work, depreciation apart."""
        return self.site + self.services

    @property
    def operating(self) -> Any:
        """All of it but people's time."""
        return self.variable + self.fixed


@dataclass(frozen=True)
class UsableCost:
    """Cost of a usable video at a steady volume.

    Attributes:
        marginal: Of one more.
        amortised: With its part of machines and of what is paid anyway.
        loaded: With people's time.
        parts: What ``loaded`` is made of, in order.
        attempts: Per usable video.
        given_up: Share of wishes that end without a usable video.
        machines: That the volume needs; 0 where nothing is owned.
        capacity: Usable videos a month that one machine makes; None where nothing is owned.
        utilisation: Share of the available time in which the machines work; None where nothing is owned.
        monthly: Fully loaded, for the volume.
    """

    marginal: float
    amortised: float
    loaded: float
    parts: dict[str, float]
    attempts: float
    given_up: float
    machines: int
    capacity: float | None
    utilisation: float | None
    monthly: float


def seconds_of(attempt: Attempt) -> Number:
    """Seconds that an attempt occupies its GPUs."""
    return terms.billed_seconds(attempt.generate, attempt.load, attempt.batch, attempt.transfer, attempt.tail)


def compute_cost(option: Option) -> Number:
    """Computing of an attempt, as it is paid to others in the first month."""
    seconds = seconds_of(option.attempt)
    match option.kind:
        case "pod":
            return terms.pod_attempt(option.price, option.gpus, seconds, option.busy)
        case "serverless":
            attempt = option.attempt
            return terms.serverless_attempt(option.price, option.gpus, seconds, attempt.cold, attempt.cold_share)
        case "hosted":
            return option.price
        case _:
            return 0.0


def energy_cost(option: Option) -> Number:
    """Electricity of an attempt on a machine of one's own; the rest of the machine is shared by the jobs on it."""
    machine = option.machine
    if machine is None:
        return 0.0
    watts = machine.gpu_watts * option.gpus + machine.host_watts / jobs_of(option)
    return terms.energy_attempt(watts, seconds_of(option.attempt), machine.kwh, machine.pue)


def extras_cost(option: Option) -> Number:
    """Language model, traffic and storage of an attempt, where they are itemised."""
    extra = option.overhead
    model = extra.language_model + extra.tokens * extra.token_price / _MILLION
    return model + extra.egress_gb * extra.egress_price + extra.stored_gb * extra.retention * extra.storage_price


def jobs_of(option: Option) -> Number:
    """Attempts that a machine works on at a time."""
    return 1.0 if option.machine is None else np.floor(option.machine.gpus / option.gpus)


def capacity_of(option: Option) -> Number | None:
    """Usable videos that one machine makes in a month; None where nothing is owned."""
    if option.machine is None:
        return None
    seconds = seconds_of(option.attempt)
    return terms.capacity(seconds, jobs_of(option), option.machine.availability, option.quality.usable)


def month_costs(
    option: Option, volume: Any, month: Any, finance: Finance, overflow: Option | None = None, machines: Any = None
) -> MonthCosts:
    """Costs of months.

    Args:
        option: Of which.
        volume: Usable videos wanted in each month, [M].
        month: Number of each month from 1, [M]: prices of rent fall with it.
        finance: Tax; whether people's time counts is decided by who reads the result.
        overflow: What makes the videos for which there are no machines.
        machines: That are there, where they are not just what the volume needs.
    """
    volume, taxed = np.asarray(volume, float), 1.0 + finance.tax
    usable = option.quality.usable
    needed = machines_needed(option, volume)
    there = needed if machines is None else machines
    capacity = capacity_of(option)
    made = volume if capacity is None else np.minimum(volume, there * capacity * (1 + _ROUNDING))
    excess = np.maximum(volume - made, 0.0) * (volume > made)
    attempts = made * terms.attempts_per_usable(usable)
    fallen = (1.0 - option.price_fall) ** ((np.asarray(month, float) - 1.0) / _MONTHS)
    compute = attempts * compute_cost(option) * fallen * taxed
    energy = attempts * energy_cost(option) * taxed
    hours = attempts * seconds_of(option.attempt) / 3600.0 / jobs_of(option)
    if overflow is None:
        elsewhere = np.zeros_like(made)
    else:
        elsewhere = month_costs(overflow, excess, month, finance).variable
        excess = np.zeros_like(made)
    return MonthCosts(
        volume=volume,
        attempts=attempts,
        machines=there,
        hours=hours,
        short=excess,
        compute=compute,
        energy=energy,
        overhead=(compute + energy) * option.overhead.share,
        extras=attempts * extras_cost(option) * taxed,
        overflow=elsewhere,
        site=_site(option.machine, there, hours) * taxed,
        services=(option.overhead.services + option.overhead.licence) * taxed + 0.0 * volume,
        staff=_staff(option, attempts, made),
    )


def machines_needed(option: Option, volume: Any) -> Any:
    """Machines for a volume: no fewer than are there, and no more than there can be."""
    capacity, machine = capacity_of(option), option.machine
    if capacity is None or machine is None:
        return np.zeros_like(np.asarray(volume, float))
    needed = np.maximum(np.ceil(np.asarray(volume) / capacity - _ROUNDING), machine.owned)
    return np.minimum(needed, np.maximum(machine.most, machine.owned)) if machine.most else needed


def depreciation(machine: Machine) -> Number:
    """What a bought machine loses in a month."""
    residual = machine.price * machine.residual
    if machine.depreciation == "capital_recovery":
        return terms.capital_recovery(machine.price, residual, machine.lifetime, machine.interest)
    return terms.straight_line(machine.price, residual, machine.lifetime)


def usable_cost(scenario: Scenario, option: Option, volume: float | None = None) -> UsableCost:
    """What a usable video of ``option`` costs at a steady volume (default: that of the first month).

    Raises:
        InvalidRequest: the option cannot make the volume.
    """
    volume = scenario.workload.usable if volume is None else volume
    finance, machine = scenario.finance, option.machine
    costs = month_costs(option, np.array([volume]), np.array([1]), finance, overflow_of(scenario, option))
    check_capacity(option, costs)
    bought = 0.0 if machine is None else float(costs.machines[0] - machine.owned)
    lost = 0.0 if machine is None else bought * float(depreciation(machine)) * (1.0 + finance.tax)
    named = {
        "computing": costs.compute,
        "energy": costs.energy,
        "overhead": costs.overhead,
        "language model, traffic, storage": costs.extras,
        "overflow": costs.overflow,
        "depreciation": np.array([lost]),
        "upkeep and site": costs.site,
        "services": costs.services,
        "people": costs.staff,
    }
    parts = {name: float(value[0]) / volume for name, value in named.items()}
    marginal = float(costs.variable[0]) / volume
    amortised = marginal + (lost + float(costs.fixed[0])) / volume
    capacity = capacity_of(option)
    available = 0.0 if machine is None else costs.machines[0] * terms.HOURS_PER_MONTH * machine.availability
    return UsableCost(
        marginal=marginal,
        amortised=amortised,
        loaded=amortised + parts["people"],
        parts=parts,
        attempts=float(terms.attempts_per_usable(option.quality.usable)),
        given_up=1.0 - float(terms.wishes_fulfilled(option.quality.usable, option.quality.tries)),
        machines=int(costs.machines[0]),
        capacity=None if capacity is None else float(capacity),
        utilisation=float(costs.hours[0] / available) if available else None,
        monthly=sum(parts.values()) * volume,
    )


def amortised_cost(scenario: Scenario, option: Option) -> Any:
    """:attr:`UsableCost.amortised` of the first month alone, of every draw: [draws], or a number.

    Raises:
        InvalidRequest: the option cannot make the volume.
    """
    volume, machine = np.asarray(scenario.workload.usable, float).reshape(-1, 1), option.machine
    costs = month_costs(option, volume, np.array([1]), scenario.finance, overflow_of(scenario, option))
    check_capacity(option, costs)
    lost = 0.0 if machine is None else (costs.machines - machine.owned) * depreciation(machine)
    return np.squeeze((costs.operating + lost * (1.0 + scenario.finance.tax)) / volume)


def overflow_of(scenario: Scenario, option: Option) -> Option | None:
    """The option that takes what ``option`` cannot make.

    Raises:
        InvalidRequest: it has machines of its own (UnknownName: it does not exist).
    """
    if not option.overflow:
        return None
    other = scenario.option(option.overflow)
    if other.machine is not None:
        raise InvalidRequest(f"{option.name}.overflow", f"{other.name} has machines of its own",
                             allowed="a rented or hosted option")  # fmt: skip
    return other


def check_capacity(option: Option, costs: MonthCosts) -> None:
    """Refuse a volume that cannot be made.

    Raises:
        InvalidRequest: there are too few machines, and no overflow.
    """
    if not np.any(costs.short > 0) or option.machine is None:
        return
    month = int(np.argmax(np.max(np.atleast_2d(costs.short), axis=0) > 0))
    volume, made = (float(np.max(np.atleast_2d(a)[:, month])) for a in (costs.volume, costs.volume - costs.short))
    there = max(option.machine.most, option.machine.owned)
    raise InvalidRequest(
        f"{option.name}.machine.most",
        f"{volume:.0f} usable videos are wanted in month {month + 1}, and {there:g} machines make {made:.0f}",
        allowed=f"more machines, or {option.name}.overflow with the name of a rented or hosted option",
    )


def _site(machine: Machine | None, machines: Any, hours: Any) -> Any:
    """Upkeep, space and idling of so many machines that work so many hours together."""
    if machine is None:
        return np.zeros_like(hours)
    waiting = np.maximum(machines * terms.HOURS_PER_MONTH - hours, 0.0)
    idling = machine.idle_watts / 1000.0 * waiting * machine.kwh * machine.pue
    return machines * (machine.upkeep * machine.price / _MONTHS + machine.site) + idling


def _staff(option: Option, attempts: Any, made: Any) -> Any:
    staff = option.staff
    minutes = staff.review * attempts + staff.edit * made
    return staff.hourly * (minutes / _MINUTES + staff.operations)

"""Money month by month: what an option takes, what changing to it saves, and when that has paid for itself.

Month 0 is the day of the purchase; operating costs come at the ends of months 1 to M. What is saved is the baseline's
money less the candidate's. Arrays are [M + 1], or [draws, M + 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from filmgate.economics.costs import check_capacity, machines_needed, month_costs, overflow_of
from filmgate.economics.options import Finance, Machine, Option, Scenario
from filmgate.economics.terms import monthly_rate, simple_payback

HORIZONS = (12, 24, 36)
"""Months over which present values are shown beside that of the horizon."""
_CENT = 1e-6
"""Sums of money that differ by less are the same."""


@dataclass(frozen=True)
class CashFlow:
    """What an option takes: running costs, investments, and what its machines are worth after the last month."""

    operating: Any
    investment: Any
    residual: Any
    machines: Any
    volume: Any

    @property
    def months(self) -> int:
        """M."""
        return int(self.operating.shape[-1]) - 1

    @property
    def paid(self) -> Any:
        """Everything that is paid in each month, without the worth that remains."""
        return self.operating + self.investment


@dataclass(frozen=True)
class BreakEven:
    """When the money saved has paid for what was invested.

    Attributes:
        status: ``at_once`` (nothing had to be paid first), ``month``, ``never`` (no month saves anything) or
            ``not_within_horizon``.
        month: The first month at whose end nothing is owed any more.
        lasting: Whether it stays so until the end of the table: a later purchase can undo it.
    """

    status: Literal["at_once", "month", "never", "not_within_horizon"]
    month: int | None = None
    lasting: bool = True

    def __str__(self) -> str:
        if self.status == "month":
            return f"month {self.month}" + ("" if self.lasting else ", undone by a later purchase")
        if self.status == "at_once":
            return "at once" + ("" if self.lasting else ", but not for good")
        return "never" if self.status == "never" else "not within the months looked at"


@dataclass(frozen=True)
class Comparison:
    """The candidate against the baseline over the horizon.

    Attributes:
        break_even: Within the months that are searched, which are more than the horizon's.
        discounted: The same with later money valued less.
        payback: Months by the saving of the first month alone; None: it saves nothing.
        npv: Net present value over the horizon, with what the machines are still worth.
        irr: Internal rate of return per year; None: there is none, more than one, or money comes before it is paid.
        roi: (saved - invested) / invested over the horizon, worth that remains left out; None: nothing is invested.
        npv_by_horizon: The same over 12, 24 and 36 months.
        upfront: Paid before the first month.
        monthly_saving: In the first month.
        table: Columns of the cash-flow table, [M + 1] each.
    """

    break_even: BreakEven
    discounted: BreakEven
    payback: float | None
    npv: float
    npv_by_horizon: dict[int, float]
    irr: float | None
    roi: float | None
    upfront: float
    monthly_saving: float
    table: dict[str, list[float]]


def _npv(scenario: Scenario, baseline: Option, candidate: Option, months: int) -> float:
    net, remains = savings(scenario, baseline, candidate, months)
    return float(net_present_value(net, remains, scenario.finance.discount))


def cash_flow(scenario: Scenario, option: Option, months: int) -> CashFlow:
    """What ``option`` takes in ``months`` months.

    Raises:
        InvalidRequest: it cannot make the volume.
    """
    finance, workload, overflow = scenario.finance, scenario.workload, overflow_of(scenario, option)
    moving = (workload.growth, option.price_fall, 0.0 if overflow is None else overflow.price_fall)
    steady = not any(np.any(one) for one in moving)  # then one month stands for all
    month = np.arange(1, 2 if steady else months + 1)
    volume = workload.usable * (1.0 + workload.growth) ** (month - 1)
    machines = np.maximum.accumulate(machines_needed(option, volume), axis=-1)  # nobody sells one in a weak month
    costs = month_costs(option, volume, month, finance, overflow, machines)
    check_capacity(option, costs)
    operating = _every_month(costs.operating + (costs.staff if finance.staff else 0.0), months)
    machines = _every_month(costs.machines, months)
    invested, residual = _machines(option.machine, machines, finance)
    nothing = np.zeros((*operating.shape[:-1], 1))
    return CashFlow(
        operating=np.concatenate([nothing, operating], axis=-1),
        investment=invested + _moves(option, months),
        residual=residual,
        machines=machines,
        volume=_every_month(costs.volume, months),
    )


def _every_month(values: Any, months: int) -> Any:
    """Values of months, [..., M], where they are of one month that stands for all, [..., 1]."""
    return np.broadcast_to(values, (*values.shape[:-1], months))


def _machines(machine: Machine | None, machines: Any, finance: Finance) -> tuple[Any, Any]:
    """Money for machines in months 0 to M, and what they are worth in the end. One that month m needs is bought at the
    end of month m - 1."""
    months, taxed = machines.shape[-1], 1.0 + finance.tax
    if machine is None:
        return np.zeros(months + 1), 0.0
    price, lifetime, residual = (_per_draw(x) for x in (machine.price * taxed, machine.lifetime, machine.residual))
    lead = np.broadcast_shapes(machines.shape[:-1], price.shape, lifetime.shape, residual.shape)
    before = np.concatenate([np.full((*machines.shape[:-1], 1), float(machine.owned)), machines[..., :-1]], axis=-1)
    bought, every = machines - before, int(machine.replace_every)

    def worth(age: int) -> Any:
        """Of a machine at an age in months: it falls evenly to its residual value, and then stays."""
        return price * (1.0 - (1.0 - residual) * np.minimum(1.0, age / lifetime))

    invested, remains = np.zeros((*lead, months + 1)), np.zeros(lead)
    for start in range(months):
        count, age = bought[..., start], months - start
        if not np.any(count):
            continue
        invested[..., start] += count * price
        if every:
            for again in range(start + every, months, every):
                invested[..., again] += count * (price - worth(every))
            age = (age - 1) % every + 1
        remains = remains + count * worth(age)
    return invested, remains


def _per_draw(value: Any) -> Any:
    """A number as it is, and draws [draws, 1] as [draws]."""
    values = np.asarray(value, float)
    return values[..., 0] if values.ndim else values


def _moves(option: Option, months: int) -> Any:
    """Money for the move itself and for later changes of the model."""
    move = option.move
    paid = np.zeros(months + 1)
    if move.refresh_every:
        paid[int(move.refresh_every) :: int(move.refresh_every)] = 1.0
    first = np.zeros(months + 1)
    first[0] = 1.0
    return first * (move.setup + move.labour) + paid * move.refresh


def savings(scenario: Scenario, baseline: Option, candidate: Option, months: int) -> tuple[Any, Any]:
    """Money that changing to ``candidate`` brings in each month, and the difference of what remains in the end."""
    before, after = cash_flow(scenario, baseline, months), cash_flow(scenario, candidate, months)
    return before.paid - after.paid, after.residual - before.residual


def compare(scenario: Scenario) -> Comparison:
    """The scenario's candidate against its baseline.

    Raises:
        InvalidRequest: one of them cannot make the volume (UnknownName: does not exist).
    """
    finance = scenario.finance
    baseline, candidate = scenario.option(scenario.baseline), scenario.option(scenario.candidate)
    horizon = int(finance.horizon)
    before, after = cash_flow(scenario, baseline, horizon), cash_flow(scenario, candidate, horizon)
    net, remains = before.paid - after.paid, float(after.residual - before.residual)
    far, _ = savings(scenario, baseline, candidate, max(horizon, int(finance.search)))
    invested = after.investment - before.investment
    upfront, saved = float(invested[0]), before.operating - after.operating
    spent = float(np.maximum(invested, 0.0).sum())
    rates = (1.0 + monthly_rate(finance.discount)) ** -np.arange(horizon + 1)
    return Comparison(
        break_even=break_even(far),
        discounted=break_even(discounted(far, finance.discount)),
        payback=simple_payback(upfront, float(saved[1])),
        npv=float(net_present_value(net, remains, finance.discount)),
        npv_by_horizon={months: _npv(scenario, baseline, candidate, months) for months in HORIZONS},
        irr=_return_on(_with_end(net, remains)),
        roi=(float(saved.sum()) - spent) / spent if spent > 0 else None,
        upfront=upfront,
        monthly_saving=float(saved[1]),
        table={
            "month": [float(m) for m in range(horizon + 1)],
            "volume": [0.0, *map(float, after.volume)],
            "baseline": [float(v) for v in before.operating],
            "candidate": [float(v) for v in after.operating],
            "invested": [float(v) for v in invested],
            "net": [float(v) for v in net],
            "cumulative": [float(v) for v in np.cumsum(net)],
            "discounted": [float(v) for v in np.cumsum(net * rates)],
        },
    )


def break_even(net: NDArray[np.float64]) -> BreakEven:
    """When the sum of ``net``, [M + 1], is no longer below 0."""
    month = float(break_even_months(net[None])[0])
    if math.isfinite(month):
        paid = np.cumsum(net) >= -_CENT
        return BreakEven("month" if month else "at_once", int(month), bool(paid[int(month) :].all()))
    return BreakEven("not_within_horizon" if np.any(net[1:] > _CENT) else "never")


def break_even_months(net: NDArray[np.float64]) -> NDArray[np.float64]:
    """The month of :func:`break_even` of every draw, [draws, M + 1] → [draws]; inf where there is none. Where nothing
    had to be paid first, something has to be saved later."""
    paid = np.cumsum(net, axis=-1) >= -_CENT
    gains = (net[..., 1:] > _CENT).any(axis=-1) | (net[..., 0] > _CENT)
    return np.where(paid.any(axis=-1) & gains, np.argmax(paid, axis=-1), math.inf)


def discounted(net: NDArray[np.float64], interest: Any) -> Any:
    """Money of later months valued less, at a rate per year."""
    return net * (1.0 + monthly_rate(interest)) ** -np.arange(net.shape[-1])


def net_present_value(net: NDArray[np.float64], residual: Any, interest: Any) -> Any:
    """Present value of ``net``, [..., M + 1], and of what remains after the last month."""
    months = net.shape[-1] - 1
    worth = _per_draw((1.0 + monthly_rate(interest)) ** -float(months))
    return discounted(net, interest).sum(axis=-1) + residual * worth


def internal_rate(net: NDArray[np.float64]) -> float | None:
    """The rate per year at which ``net``, [M + 1], is worth nothing today.

    None where there is none, or several: money that changes its sign more than once has no single rate. With one change
    of sign there is exactly one (Descartes), and it is found by halving in the discount factor.
    """
    signs = np.sign(net[np.abs(net) > _CENT])
    if signs.size == 0 or int(np.count_nonzero(np.diff(signs))) != 1:
        return None
    powers = np.arange(net.size)

    def worth(rate: float) -> float:
        return float((net * np.exp(-rate * powers)).sum())

    low, high = -1.0, 1.0  # logarithm of 1 + monthly rate
    for _ in range(40):
        if worth(low) * worth(high) <= 0:
            break
        low, high = 2 * low, 2 * high
        if high * powers[-1] > 600:
            return None
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(low) * worth(middle) > 0 else (low, middle)
    return math.expm1(12 * (low + high) / 2) if abs(low) < 50 else None


def _return_on(net: NDArray[np.float64]) -> float | None:
    """The rate that invested money brings; None where money comes first and is given back later: its rate is one that
    is paid, as on a loan."""
    moved = net[np.abs(net) > _CENT]
    return internal_rate(net) if moved.size and moved[0] < 0 else None


def _with_end(net: NDArray[np.float64], residual: float) -> NDArray[np.float64]:
    end = net.copy()
    end[-1] += residual
    return end

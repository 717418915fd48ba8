"""How busy devices are with a month's work, and how long somebody waits for a video.

Attempts are ordered independently of each other and take equally long: a queue M/D/1 for every device. Its waiting time
has a closed form (Erlang, 1909; Tijms, A First Course in Stochastic Models, section 9.6.2). Several devices count as so
many queues that share the work evenly, which is a little worse than one queue for all of them.
"""

from __future__ import annotations

import math

from filmgate.economics.needs import Needs
from filmgate.spec.shape import Frozen

DAYS = 365.25 / 12
"""Of a month."""
BUSIEST = 0.7
"""Devices are not planned to be busier than this share of their hours: beyond, queues grow quickly."""
QUANTILE = 0.95
"""Share of videos that are ready within the time that is told."""
_BISECTIONS = 60


class Work(Frozen):
    """A month's work on devices of one kind.

    ``attempts`` are clips per month, thrown-away ones included. ``gpu_hours`` are spent on them, of ``hours`` that each
    of ``devices`` works; ``utilisation`` is of the average day, ``busiest_day`` of the busiest. ``capacity`` is how
    many usable videos a month the devices make at :data:`BUSIEST` (or less, where the busiest day needs it).
    ``ready_seconds`` is how long a video takes from order to file, but for one in twenty; None: work piles up.
    """

    attempts: float
    gpu_hours: float
    hours: float
    devices: int
    utilisation: float
    busiest_day: float
    capacity: float
    ready_seconds: float | None


def attempts_of(needs: Needs, clips: int) -> float:
    """Clips that are made in a month, usable or not; every clip of a video must be usable."""
    return needs.videos * clips / needs.usable


def work_of(needs: Needs, seconds: float, clips: int, devices: int) -> Work:
    """A month's work.

    Args:
        needs: What is needed.
        seconds: Of one attempt at one clip.
        clips: Of a video.
        devices: That share the work.
    """
    attempts = attempts_of(needs, clips)
    hours = DAYS * needs.hours_per_day
    spent = attempts * seconds / 3600
    busy = spent / (hours * devices)
    peak = busy * needs.peak
    # An attempt waits, and a video is ready when enough attempts at each of its clips are.
    waiting = waiting_seconds(seconds, peak, QUANTILE)
    expected = clips * math.ceil(1 / needs.usable)
    return Work(
        attempts=attempts,
        gpu_hours=spent,
        hours=hours,
        devices=devices,
        utilisation=busy,
        busiest_day=peak,
        capacity=needs.videos * min(BUSIEST / busy, 1 / peak),
        ready_seconds=None if waiting is None else waiting + expected * seconds,
    )


def devices_needed(needs: Needs, seconds: float, clips: int) -> int:
    """The fewest devices that are no busier than :data:`BUSIEST` on average, and less than full on the busiest day."""
    one = work_of(needs, seconds, clips, 1)
    return max(1, math.ceil(one.utilisation / BUSIEST), math.floor(one.busiest_day) + 1)


def waiting_seconds(seconds: float, utilisation: float, quantile: float) -> float | None:
    """How long the ``quantile`` of attempts waits at most before it begins; None: the queue grows for ever."""
    if utilisation >= 1:
        return None
    if utilisation <= 0 or waited_at_most(0.0, seconds, utilisation) >= quantile:
        return 0.0
    low, high = 0.0, seconds
    while waited_at_most(high, seconds, utilisation) < quantile:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = waited_at_most(middle, seconds, utilisation) < quantile
        low, high = (middle, high) if below else (low, middle)
    return high


def waited_at_most(time: float, seconds: float, utilisation: float) -> float:
    """Probability that an attempt of an M/D/1 queue waits no longer than ``time``.

    Exact up to 20 services; beyond, where the alternating sum loses its digits, its exponential tail, which is as good
    there.
    """
    services = time / seconds
    if services > _EXACT:
        tail = 1 - _sum(_EXACT, utilisation)
        return 1 - tail * math.exp(-_decay(utilisation) * (services - _EXACT))
    return _sum(services, utilisation)


_EXACT = 20.0


def _sum(services: float, rho: float) -> float:
    """(1-ρ) Σ_k (-ρ(t-k))^k / k! · e^{ρ(t-k)}, k = 0 ... ⌊t⌋, t in services."""
    total = math.fsum(
        (-rho * (services - k)) ** k / math.factorial(k) * math.exp(rho * (services - k))
        for k in range(math.floor(services) + 1)
    )
    return min(1.0, max(0.0, (1 - rho) * total))


def _decay(rho: float) -> float:
    """The rate per service at which long waits become rarer: the positive root θ of e^θ = 1 + θ/ρ."""
    low, high = 0.0, 1.0
    while math.exp(high) < 1 + high / rho:
        low, high = high, 2 * high
    # 0 is a root too: start right of where the difference is lowest.
    low = max(low, math.log(1 / rho))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = math.exp(middle) < 1 + middle / rho
        low, high = (middle, high) if below else (low, middle)
    return high


def months_until_full(capacity: float, videos: int, growth: float, horizon: int = 60) -> int | None:
    """The first month, this one being 0, in which growth by ``growth`` per cent a month exceeds a capacity; None: not
    within the horizon."""
    volume = float(videos)
    for month in range(horizon + 1):
        if volume > capacity * (1 + 1e-9):
            return month
        volume *= 1 + growth / 100
    return None

"""How many attempts it takes to know something. Two-sided 95 %, power 80 %, unless said otherwise.

Sources: Wilson's interval (1927); the number of pairs for a non-inferiority test of paired proportions as in Tango
(1998) with the variance of the difference, d - g², per pair (d: share of pairs that differ, g: gain).
"""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE, POWER = 0.95, 0.8
_SIDE = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
_LARGEST = 1_000_000


def wilson(share: float, attempts: int) -> tuple[float, float]:
    """Wilson's interval of a share that was seen in ``attempts``."""
    z2 = _SIDE * _SIDE
    middle = (share + z2 / (2 * attempts)) / (1 + z2 / attempts)
    half = _SIDE / (1 + z2 / attempts) * math.sqrt(share * (1 - share) / attempts + z2 / (4 * attempts * attempts))
    return max(0.0, middle - half), min(1.0, middle + half)


def half_width(share: float, attempts: int) -> float:
    """Half the width of :func:`wilson`: by so much the share may be off."""
    low, high = wilson(share, attempts)
    return (high - low) / 2


def attempts_for_share(share: float, off: float) -> int:
    """The fewest attempts after which a share is known to ``off``."""
    low, high = 1, _LARGEST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(share, middle) <= off else (middle + 1, high)
    return low


def attempts_for_cost(usable: float, part: float) -> int:
    """The fewest attempts after which the cost of a usable video is known to ``part`` of it, as far as that hangs on
    the usable share: it is proportional to 1/usable."""
    return math.ceil(_SIDE * _SIDE * (1 - usable) / (usable * part * part)) if usable < 1 else 1


def pairs_for_no_worse(differing: float, gain: float, margin: float) -> int:
    """The fewest pairs after which the interval of a difference excludes ``-margin``, four times in five.

    Args:
        differing: Share of pairs of which only one is usable.
        gain: The difference of the usable shares that there really is; more than ``-margin``.
        margin: What may be lost.
    """
    sides = _SIDE + NormalDist().inv_cdf(POWER)
    return math.ceil(sides * sides * max(differing - gain * gain, 0.0) / (gain + margin) ** 2)

"""What must hold before anything is skipped by default: limits of each profile, and the verdict on what was measured.

Intervals of the mean over prompts are Student's, of 95 %; where prompts are few they are wide, and it is their worse
end that must keep the limit. One prompt has no interval and passes nothing. Pure: numbers in, a verdict out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from filmgate.spec.acceleration import Gate, GateCheck, GateLevel
from filmgate.spec.speed import SpeedProfile

LEAST_PROMPTS = 8
"""A gate of fewer prompts, at any of its levels, may be stored and licenses nothing. An interval knows only of what its
prompts have shown: what spoils a third of all videos stays unseen on 5 prompts in 13 of 100 trials (2/3 to the fifth),
on 8 in 4. Eight is also how many fixed prompts there are, each with a motion of its own."""


class Limit(NamedTuple):
    """One number of a gate: its level, its side, and what it must keep."""

    level: GateLevel
    bound: Literal["at most", "at least"]
    value: float


LIMITS: Mapping[SpeedProfile, Mapping[str, Limit]] = MappingProxyType({
    "balanced": MappingProxyType({
        "velocity_error": Limit("forward", "at most", 0.20),
        "velocity_cosine": Limit("forward", "at least", 0.90),
        "latent_error": Limit("trajectory", "at most", 0.05),
        "truth_points": Limit("truth", "at least", -3.0),
        "flicker_ratio": Limit("truth", "at most", 1.05),
        "warp_error_ratio": Limit("truth", "at most", 1.05),
    }),
    "fast": MappingProxyType({
        "velocity_error": Limit("forward", "at most", 0.30),
        "velocity_cosine": Limit("forward", "at least", 0.85),
        "latent_error": Limit("trajectory", "at most", 0.10),
        "truth_points": Limit("truth", "at least", -5.0),
        "flicker_ratio": Limit("truth", "at most", 1.10),
        "warp_error_ratio": Limit("truth", "at most", 1.10),
    }),
})  # fmt: skip
"""``velocity_error``: mean over skipped steps of ‖a - b‖ / ‖b‖; ``velocity_cosine``: the least of any skipped step,
averaged over prompts; ``latent_error``: of the latent after the last step. ``truth_points``: percentage points of
stated facts that a reader finds, accelerated less exact. The ratios are accelerated over exact. Errors of velocities
are there to find what goes wrong altogether (a cache in Toybox's high-noise expert has 0.33 and 0.6): on single prompts
they say little of the video. What decides is the latent, and the video where it can be read."""


@dataclass
class Numbers:
    """One number per prompt under each name of :data:`LIMITS`, as far as it was measured."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """What one more prompt shows."""
        self.values.setdefault(name, []).append(value)

    def add_steps(self, forward: Sequence[tuple[float, float]], trajectory: Sequence[float]) -> None:
        """Errors and cosines of skipped steps, and errors of the latent after every step."""
        self.add("velocity_error", sum(error for error, _ in forward) / len(forward))
        self.add("velocity_cosine", min(cosine for _, cosine in forward))
        self.add("latent_error", trajectory[-1])

    def add_clips(self, truth: tuple[float, float], flicker: tuple[float, float], warp: tuple[float, float]) -> None:
        """Of the accelerated and of the exact clip: share of facts shown, flicker, and error of warped frames."""
        self.add("truth_points", 100 * (truth[0] - truth[1]))
        for name, (mine, exact) in (("flicker_ratio", flicker), ("warp_error_ratio", warp)):
            # A clip in which nothing is still has no flicker to compare, one in which all jumps no warped frame.
            if mine > 0 and exact > 0:
                self.add(name, mine / exact)


def checks(numbers: Numbers, profile: SpeedProfile) -> tuple[GateCheck, ...]:
    """Every number that was measured, beside the limit of a profile."""
    return tuple(_checks(numbers, profile))


def _checks(numbers: Numbers, profile: SpeedProfile) -> Iterator[GateCheck]:
    for name, limit in LIMITS[profile].items():
        values = numbers.values.get(name)
        if not values:
            continue
        mean, low, high = interval(values)
        worse = high if limit.bound == "at most" else low
        passed = worse <= limit.value if limit.bound == "at most" else worse >= limit.value
        yield GateCheck(
            level=limit.level, name=name, value=mean, bound=limit.bound, limit=limit.value, samples=len(values),
            passed=passed and math.isfinite(worse), low=low if math.isfinite(low) else None,
            high=high if math.isfinite(high) else None,
        )  # fmt: skip


def verdict(found: Sequence[GateCheck]) -> tuple[bool, str]:
    """Whether all limits are kept, and that in words: the first that is not, or what was checked."""
    failed = next((check for check in found if not check.passed), None)
    if failed is not None:
        if failed.low is None:
            return False, f"{failed.name} is {failed.value:.3g} on one prompt, which says nothing of others"
        ends = f" ({failed.low:.3g} to {failed.high:.3g})"
        return False, f"{failed.name} is {failed.value:.3g}{ends}, must be {failed.bound} {failed.limit:g}"
    if not found:
        return False, "nothing was measured"
    levels = list(dict.fromkeys(check.level for check in found))
    prompts = max(check.samples for check in found)
    missing = "" if "truth" in levels else "; what the videos show was not checked"
    return True, f"{', '.join(levels)} within limits on {prompts} prompts{missing}"


def licence(found: Sequence[GateCheck]) -> tuple[bool, str]:
    """As :func:`verdict`, of what may switch something on: a pass on few prompts is none."""
    passed, reason = verdict(found)
    few = too_few(found)
    return passed and not few, f"{reason}, but {few}" if passed and few else reason


def too_few(found: Sequence[GateCheck]) -> str:
    """Why checks license nothing whatever they say: at some level there were too few prompts. Empty if there were
    enough."""
    least = min(_prompts(found).values(), default=0)
    if least >= LEAST_PROMPTS:
        return ""
    return f"{least} {'prompt is' if least == 1 else 'prompts are'} too few: {LEAST_PROMPTS} at least"


def rests_on_as_much(one: Gate, other: Gate) -> bool:
    """Whether a gate was measured at every level that another was, on as many prompts at least."""
    mine = _prompts(one.checks)
    return all(mine.get(level, 0) >= count for level, count in _prompts(other.checks).items())


def outweighs(one: Gate, other: Gate) -> bool:
    """Whether another gate that holds for the same does not count beside this one: it rests on less, or on as much and
    is older. Where each has what the other lacks, both count."""
    if not rests_on_as_much(one, other):
        return False
    return not rests_on_as_much(other, one) or one.created > other.created


def _prompts(found: Sequence[GateCheck]) -> dict[GateLevel, int]:
    """On how many prompts each level was looked at. Not every number of a level is there for each: some clips have no
    flicker."""
    counts: dict[GateLevel, int] = {}
    for check in found:
        counts[check.level] = max(check.samples, counts.get(check.level, 0))
    return counts


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and the ends of its 95 % interval; of a single value they are infinite."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return mean, -math.inf, math.inf
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = student(count - 1) * deviation / math.sqrt(count)
    return mean, mean - half, mean + half


def student(freedom: int) -> float:
    """Student's t that 95 % lie within, on both sides of zero: from a table, and beyond it by the expansion around the
    normal distribution's (Abramowitz and Stegun 26.7.5), which is right to one part in ten thousand there."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL
    terms: tuple[float, ...] = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


_NORMAL = 1.959964
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)

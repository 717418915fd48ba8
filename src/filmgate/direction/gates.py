"""What must hold before anything is skipped by default: limits of each profile, and the verdict on what was measured.

Intervals are of 95 %, by resampling prompts (2000 times, with a fixed seed); where prompts are few they are wide, and
it is their worse end that must keep the limit. Pure: numbers in, a verdict out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from filmgate.spec.acceleration import GateCheck, GateLevel
from filmgate.spec.speed import SpeedProfile

_RESAMPLED = 2000


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
            level=limit.level, name=name, value=mean, bound=limit.bound, limit=limit.value, passed=passed, low=low,
            high=high, samples=len(values),
        )  # fmt: skip


def verdict(found: Sequence[GateCheck]) -> tuple[bool, str]:
    """Whether all limits are kept, and that in words: the first that is not, or what was checked."""
    failed = next((check for check in found if not check.passed), None)
    if failed is not None:
        ends = "" if failed.low is None else f" ({failed.low:.3g} to {failed.high:.3g})"
        return False, f"{failed.name} is {failed.value:.3g}{ends}, must be {failed.bound} {failed.limit:g}"
    if not found:
        return False, "nothing was measured"
    levels = list(dict.fromkeys(check.level for check in found))
    prompts = max(check.samples for check in found)
    missing = "" if "truth" in levels else "; what the videos show was not checked"
    return True, f"{', '.join(levels)} within limits on {prompts} prompts{missing}"


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and the ends of its 95 % interval."""
    draw = random.Random(0)
    count = len(values)
    means = sorted(sum(draw.choices(values, k=count)) / count for _ in range(_RESAMPLED))
    return sum(values) / count, means[round(0.025 * _RESAMPLED)], means[round(0.975 * _RESAMPLED) - 1]

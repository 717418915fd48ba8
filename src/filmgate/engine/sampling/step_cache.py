"""Which steps need not be computed, and what stands in for them. Without torch: decisions, and arithmetic on whatever
has arithmetic.

All decisions depend on numbers that are known before the first step (calibrated ratios, counts), never on what a run
computes. So they are made when a plan is made, are the same on every rank and after every resumption, and a plan can
say what it skips.

Both passes of a guided step are skipped together, or neither is: guidance multiplies the difference of the two, and
the difference between a new prediction and an old one is mostly age. Where the authors of MagCache keep an account for
each branch by itself, here a step is skipped while no branch's account is used up.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

from filmgate.engine.sampling.guidance import Linear, stands_still
from filmgate.spec.acceleration import GuidanceReuse, MagCache, Recipe, StepWork, TaylorSeer
from filmgate.spec.adapters import GuidanceRule
from filmgate.spec.model import ExpertName
from filmgate.spec.plan import Step

Branch = Literal["conditional", "unconditional"]
Ratios = Mapping[tuple[ExpertName, Branch], Mapping[int, float]]
"""By expert and branch: step to the ratio of its residual's magnitude to that of the step before."""
NO_RATIOS: Ratios = {}
Value = TypeVar("Value", bound=Linear)
_ROUNDING = 1e-9
"""A product that is a whole number in decimals may lie a bit above it in binary."""


class Remembered(NamedTuple, Generic[Value]):
    """What a branch keeps of its computed steps: when the last of them was, and its residual with finite differences
    of rising order, at most as many as will be asked for."""

    step: int
    terms: tuple[Value, ...]


def remembered(before: Remembered[Value] | None, value: Value, step: int, order: int) -> Remembered[Value]:
    """What is kept after ``step`` was computed and gave ``value``.

    The difference of order k + 1 is that of order k less what it was at the last computed step, over the number of
    steps between (TaylorSeer, equation 5): exact derivatives of a polynomial where computed steps are evenly spaced.
    """
    terms = [value]
    if before is not None:
        for old in before.terms[:order]:
            terms.append((terms[-1] - old) * (1 / (step - before.step)))
    return Remembered(step, tuple(terms))


def predicted(memory: Remembered[Value], step: int) -> Value:
    """The Taylor polynomial at ``step``: sum over k of the k-th difference · distance^k / k!."""
    distance = step - memory.step
    result = memory.terms[0]
    for order, term in enumerate(memory.terms[1:], 1):
        result = result + term * (distance**order / math.factorial(order))
    return result


def magcache_skips(
    ratios: Sequence[Sequence[float]], rule: MagCache, protected: int, forced: Collection[int] = ()
) -> tuple[bool, ...]:
    """Which of the steps in a row are skipped, by the accounts of all branches.

    Args:
        ratios: Of each branch, one per step; NaN: not known, so that the step is computed.
        rule: Threshold and longest row.
        protected: So many steps at the start are computed; the first one always is.
        forced: Steps that are computed in any case.
    """
    skips: list[bool] = []
    product, error, row = [1.0] * len(ratios), [0.0] * len(ratios), 0
    for index, now in enumerate(zip(*ratios, strict=True)):
        skip = False
        if index >= max(1, protected) and index not in forced:
            product = [before * ratio for before, ratio in zip(product, now, strict=True)]
            error = [before + abs(1 - value) for before, value in zip(error, product, strict=True)]
            row += 1
            skip = row <= rule.longest and all(value < rule.threshold for value in error)
        if not skip:
            product, error, row = [1.0] * len(ratios), [0.0] * len(ratios), 0
        skips.append(skip)
    return tuple(skips)


def taylorseer_skips(count: int, rule: TaylorSeer, protected: int, forced: Collection[int] = ()) -> tuple[bool, ...]:
    """Which of ``count`` steps in a row are predicted: between two computed ones lie ``rule.interval`` - 1 others."""
    skips: list[bool] = []
    row = 0
    for index in range(count):
        computed = index < max(1, protected) or index in forced or row == rule.interval - 1
        row = 0 if computed else row + 1
        skips.append(not computed)
    return tuple(skips)


def skipped_work(
    steps: Sequence[Step], guidance: GuidanceRule, recipe: Recipe, ratios: Ratios = NO_RATIOS
) -> tuple[StepWork, ...]:
    """How every step gets its velocity if a recipe is followed.

    What is remembered ends where the expert, its LoRAs or the number of passes change, and at a step that stands still
    by the rule of guidance; the step after is computed.

    Args:
        steps: Of a plan.
        guidance: Its rule, which may let the first steps stand still.
        recipe: At most one cache of steps and one reuse of guidance for each expert.
        ratios: For MagCache.
    """
    work = [StepWork()] * len(steps)
    for row in rows(steps, guidance):
        expert, passes = steps[row[0]].expert, steps[row[0]].passes
        own = [use.acceleration for use in recipe if use.expert == expert]
        kept = _kept(row, len(steps), own) if passes > 1 else {}
        forced = {place for place, index in enumerate(row) if kept.get(index) is False}
        first = next(step.index for step in steps if step.expert == expert)
        count = sum(step.expert == expert for step in steps)
        skips, name = [False] * len(row), "computed"
        for rule in own:
            if isinstance(rule, MagCache):
                branches: list[Branch] = ["conditional", "unconditional"] if passes > 1 else ["conditional"]
                told = [[ratios.get((expert, branch), {}).get(index, math.nan) for index in row] for branch in branches]
                spared = math.ceil(count * rule.protected - _ROUNDING) - (row[0] - first)
                skips, name = list(magcache_skips(told, rule, spared, forced)), "reused"
            elif isinstance(rule, TaylorSeer):
                skips = list(taylorseer_skips(len(row), rule, rule.protected - (row[0] - first), forced))
                name = "predicted" if rule.order else "reused"
        for index, skip in zip(row, skips, strict=True):
            blocks = name if skip else "computed"
            difference = "kept" if kept.get(index) else "computed"
            work[index] = StepWork.model_validate({"blocks": blocks, "difference": difference})
    return tuple(work)


def rows(steps: Sequence[Step], guidance: GuidanceRule) -> list[list[int]]:
    """Indices of steps in rows within which what one step computed may stand in for the next."""
    found: list[list[int]] = []
    before: tuple[ExpertName, bool, int] | None = None
    for index, step in enumerate(steps):
        kind = (step.expert, step.adapted, step.passes)
        if stands_still(guidance, index):
            before = None
            continue
        if kind != before:
            found.append([])
        found[-1].append(index)
        before = kind
    return found


class Skips(NamedTuple):
    """What a plan skips, by step, and what must be remembered for it.

    Attributes:
        work: How the step gets its velocity.
        starts: Whether nothing from before it counts.
        order: Of how many differences beside the residual itself its expert's predictions are made.
        residual: Whether what the branches' blocks add is asked for after the step.
        difference: Whether that between the branches is.
    """

    work: tuple[StepWork, ...]
    starts: tuple[bool, ...]
    order: tuple[int, ...]
    residual: tuple[bool, ...]
    difference: tuple[bool, ...]


def skips_of(steps: Sequence[Step], guidance: GuidanceRule, recipe: Recipe, work: Sequence[StepWork]) -> Skips | None:
    """What follows from a plan's work; None if all of it is computed."""
    if not work:
        return None
    starts, residual, difference = ([False] * len(steps) for _ in range(3))
    order = [max((use.acceleration.order for use in recipe if use.expert == step.expert
                  and isinstance(use.acceleration, TaylorSeer)), default=0) for step in steps]  # fmt: skip
    for row in rows(steps, guidance):
        starts[row[0]] = True
        for place, index in enumerate(row):
            later = row[place + 1 :]
            asking = later if order[index] else later[:1]  # differences are made of all computed steps
            residual[index] = any(work[other].blocks != "computed" for other in asking)
            difference[index] = any(work[other].difference == "kept" for other in later[:1])
    return Skips(tuple(work), tuple(starts), tuple(order), tuple(residual), tuple(difference))


def _kept(row: Sequence[int], count: int, own: Sequence[object]) -> dict[int, bool]:
    """Steps in which guidance is reused, and whether they keep the difference (or compute it for the others)."""
    rule = next((one for one in own if isinstance(one, GuidanceReuse)), None)
    late = [index for index in row if rule is not None and index >= rule.after * count - _ROUNDING]
    return {} if rule is None else {index: place % rule.interval != 0 for place, index in enumerate(late)}

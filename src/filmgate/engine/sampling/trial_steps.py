"""Which steps of a recipe's plan are walked and compared when it is tried, and how many passes that takes. Pure."""

from __future__ import annotations

from filmgate.spec import EightBit, Plan, SparseAttention, StepWork

_COMPARED = 8
"""Steps of a plan whose velocities are compared, where passes are made lighter."""


def is_lighter(plan: Plan) -> bool:
    """Whether some of a plan's passes are made lighter."""
    return any(isinstance(use.acceleration, EightBit | SparseAttention) for use in plan.acceleration.recipe)


def compared(plan: Plan) -> list[int]:
    """Steps with lighter passes, evenly spaced, at most :data:`_COMPARED`."""
    shares = [
        (use.expert, use.acceleration.protected)
        for use in plan.acceleration.recipe
        if isinstance(use.acceleration, EightBit | SparseAttention)
    ]
    count = len(plan.steps)
    active = [
        step.index
        for step in plan.steps
        if any(step.expert == expert and step.index >= share * count - 1e-9 for expert, share in shares)
    ]
    return active[:: -(-len(active) // _COMPARED)] if active else []


def first_skipped(plan: Plan) -> int:
    """The first step of which a recipe leaves something out, or the number of steps: before it, it walks as exact."""
    work = plan.acceleration.work
    return next((index for index, one in enumerate(work) if one != StepWork()), len(plan.steps))


def beside_passes(plan: Plan, index: int) -> int:
    """Passes that the exact walk makes in a step beside its own, to know what a recipe would have made of it."""
    skips = not is_lighter(plan) and index >= first_skipped(plan) and plan.work_of(index) != StepWork()
    return plan.passes_of(index) if skips else 0


def own_passes(plan: Plan) -> int:
    """Passes of a recipe's own walk, and of the velocities that are compared with exact ones."""
    if not is_lighter(plan):
        return sum(plan.passes_of(index) for index in range(first_skipped(plan), len(plan.steps)))
    return plan.pass_counts.computed + sum(plan.steps[index].passes for index in compared(plan))


def recipe_passes(plan: Plan) -> int:
    """All passes that a recipe costs beside those of the exact walk."""
    return own_passes(plan) + sum(beside_passes(plan, index) for index in range(len(plan.steps)))

"""How long a run will still take: as planned at first, then by what it has shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from filmgate.spec import Plan

_FURTHEST = 4.0
"""A device is taken to be at most this many times slower, or faster, than planned when it comes to decoding."""


def remaining_seconds(plan: Plan, passes: Sequence[float], done: int, *, encoded: bool) -> float:
    """Seconds until the last frame.

    Args:
        plan: What is done.
        passes: Measured seconds of every forward pass so far; half of a step's where it reads two texts.
        done: Steps that are finished.
        encoded: Whether texts and pictures are encoded.
    """
    if not passes and not plan.times.total:
        return plan.seconds
    one = statistics.median(passes) if passes else plan.times.forward
    left = sum(plan.passes_of(index) for index in range(done, len(plan.steps)))
    waiting = _loading(plan, done, encoded=encoded) + (0.0 if encoded else plan.times.encode)
    return waiting + one * left + decoding_seconds(plan, one)


def decoding_seconds(plan: Plan, one: float) -> float:
    """Seconds of decoding, where a forward pass takes ``one``.

    What was planned without a measurement of this very video is as far off as the passes are. A plan that does not say
    what decoding takes gives it what it leaves beside the steps, at most as much as these.
    """
    if plan.times.forward:
        far = 1.0 if plan.times.basis == "measured" else one / plan.times.forward
        return plan.times.decode * min(max(far, 1 / _FURTHEST), _FURTHEST)
    steps = one * plan.pass_counts.computed
    return min(max(0.0, plan.seconds - steps), steps)


def _loading(plan: Plan, done: int, *, encoded: bool) -> float:
    """Seconds of reading the networks that are still to come, by their part of all bytes."""
    model = plan.model
    used = {step.expert for step in plan.steps}
    coming = {step.expert for step in plan.steps[done:]} - ({plan.steps[done - 1].expert} if done else set())
    before = model.text_encoder_bytes + model.image_encoder_bytes
    sizes = {expert.name: expert.bytes for expert in model.experts}
    total = before + model.vae_bytes + sum(sizes[name] for name in used)
    left = (0 if encoded else before) + model.vae_bytes + sum(sizes[name] for name in coming)
    return plan.times.load * left / total if total else 0.0

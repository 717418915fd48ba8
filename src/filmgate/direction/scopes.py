"""What a measurement holds for: the scope of a plan, whether one covers another, and in what they differ. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from filmgate.spec.acceleration import Calibration, Scope, resolution_class
from filmgate.spec.model import Operation
from filmgate.spec.plan import Plan

TRIED: tuple[Operation, ...] = ("t2v", "t2i")
"""Tasks that are measured: from text alone, for the fixed prompts come without pictures and videos."""
_LENGTHS = 2
"""A measurement holds for videos as long as those that it was made with, or shorter, by this factor at most. Longer
ones were never seen: attention has more to leave out there, and errors more frames to grow over. Much shorter ones
neither: the fewer tokens, the more each that is skipped counts, and motion fills all of the video."""


def scope_of(plan: Plan, weights: str) -> Scope:
    """What is measured with a plan holds for."""
    return Scope(
        model=plan.model.variant,
        weights=weights,
        operation=plan.operation,
        shift=plan.shift,
        boundary=plan.boundary,
        solver=plan.solver,
        steps=len(plan.steps),
        grid=_grid(plan),
        guidance=tuple(dict.fromkeys(step.guidance for step in plan.steps)),
        resolution=resolution_class(plan.video),
        latent_frames=plan.latent.frames,
        precision=plan.precision,
    )


def _grid(plan: Plan) -> str:
    levels = [step.sigma for step in plan.steps] + [plan.steps[-1].sigma_next]
    scales = [step.guidance for step in plan.steps]
    # Within an interval of levels an expert has two scales: which steps have which is part of the schedule then.
    if len({(step.expert, step.guidance) for step in plan.steps}) > len({step.expert for step in plan.steps}):
        levels += scales
    return hashlib.sha256(json.dumps(levels).encode()).hexdigest()


def holds(then: Scope, now: Scope) -> bool:
    """Whether what was measured in one scope holds in another."""
    if then.model_copy(update={"latent_frames": now.latent_frames}) != now:
        return False
    return now.latent_frames <= then.latent_frames <= _LENGTHS * now.latent_frames


def calibration_for(scope: Scope, calibrations: Sequence[Calibration]) -> Calibration | None:
    """The ratios that hold in a scope: of the most prompts, and the newest of those."""
    here = [one for one in calibrations if holds(one.scope, scope)]
    return max(here, key=lambda one: (one.prompts, one.created), default=None)


_NOUNS: Mapping[str, str] = MappingProxyType({
    "operation": "task", "shift": "shift", "boundary": "boundary", "solver": "solver", "steps": "number of steps",
    "grid": "schedule", "guidance": "guidance", "resolution": "resolution", "precision": "precision",
})  # fmt: skip


def difference(then: Scope, now: Scope) -> str:
    """The first thing for which what was measured with the same weights does not hold, in words: ``another shift (12,
    here 5)``."""
    if not then.latent_frames or then.precision is None:
        return "an earlier version, which does not say how long its videos were and in which precision"
    for name, noun in _NOUNS.items():
        old, new = getattr(then, name), getattr(now, name)
        if old != new:
            return f"another {noun}" if name == "grid" else f"another {noun} ({_said(old)}, here {_said(new)})"
    shortest = -(-then.latent_frames // _LENGTHS)
    return f"another length ({shortest} to {then.latent_frames} latent frames, here {now.latent_frames})"


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_said, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

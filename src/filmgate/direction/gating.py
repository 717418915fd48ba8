"""Trials of recipes, from what is tried to gates and calibrations. Pure: whoever runs trials brings their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filmgate.direction.acceleration import candidates, followed, recipe_text
from filmgate.direction.gates import Numbers, checks, licence, verdict
from filmgate.direction.scopes import calibration_for, scope_of
from filmgate.spec.acceleration import (
    BranchRatios,
    Calibration,
    Gate,
    Recipe,
    StepWork,
)
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.plan import Plan
from filmgate.spec.speed import SpeedProfile


class Facts(NamedTuple):
    """By what, when and where a measurement is made: hash of the experts' weights, ISO date, packages, machine."""

    weights: str
    created: str
    versions: str
    hardware: str


class Trials:
    """The recipes of a profile, and what is known of them so far.

    Args:
        profile: ``balanced`` or ``fast``.
        calibrations: Of any scope; recipes that need one and have none are left out, and :attr:`left_out` says so.

    Raises:
        InvalidRequest: the profile skips nothing.
    """

    def __init__(self, profile: SpeedProfile, calibrations: Sequence[Calibration]) -> None:
        if profile not in ("balanced", "fast"):
            raise InvalidRequest("profile", f"{profile} skips nothing", allowed="balanced or fast", nearest="balanced")
        self.profile = profile
        self._calibrations = calibrations
        self._recipes: dict[str, Recipe] = {}
        self._numbers: dict[str, Numbers] = {}
        self._saved: dict[str, float] = {}
        self._work: dict[str, tuple[StepWork, ...]] = {}
        self.left_out: list[str] = []

    def begin(self, plan: Plan, facts: Facts) -> None:
        """Choose what is tried with plans like this one: what saves anything, and nothing twice."""
        self._facts, self._scope = facts, scope_of(plan, facts.weights)
        self._calibration = calibration_for(self._scope, self._calibrations)
        for one in candidates(self.profile, plan, self._calibration):
            name = recipe_text(one.recipe)
            if one.reason:
                self.left_out.append(f"{name}: {one.reason}")
                continue
            self._recipes[name], self._saved[name], self._numbers[name] = one.recipe, one.saved, Numbers()
            self._work[name] = one.work

    @property
    def names(self) -> list[str]:
        """Of all recipes that are tried."""
        return list(self._recipes)

    def saved(self, name: str) -> float:
        """The share of all passes that a recipe skips."""
        return self._saved[name]

    def accelerated(self, plan: Plan, names: Sequence[str] | None = None) -> dict[str, Plan]:
        """A plan with each of some recipes, all of them if None, by name."""
        return {
            name: plan.model_copy(
                update={"acceleration": followed(plan, self._recipes[name], self._calibration, self.profile)}
            )
            for name in (self.names if names is None else names)
        }

    def add_steps(
        self, forward: Mapping[str, Sequence[tuple[float, float]]], trajectory: Mapping[str, Sequence[float]]
    ) -> None:
        """What one more prompt shows of velocities and latents."""
        for name, errors in forward.items():
            self._numbers[name].add_steps(errors, trajectory[name])

    def add_clip(
        self, name: str, truth: tuple[float, float], flicker: tuple[float, float], warp: tuple[float, float]
    ) -> None:
        """What one more pair of clips shows, accelerated first."""
        self._numbers[name].add_clips(truth, flicker, warp)

    def within(self) -> list[str]:
        """Recipes within all limits so far, those that save most first."""
        passing = [name for name in self._recipes if verdict(checks(self._numbers[name], self.profile))[0]]
        return sorted(passing, key=lambda name: -self._saved[name])

    def gates(self) -> Iterator[Gate]:
        """The verdicts on all recipes."""
        for name, recipe in self._recipes.items():
            found = checks(self._numbers[name], self.profile)
            passed, reason = licence(found)
            yield Gate(
                scope=self._scope, recipe=recipe, profile=self.profile, passed=passed, reason=reason, checks=found,
                saved=self._saved[name], work=self._work[name], created=self._facts.created,
                versions=self._facts.versions, hardware=self._facts.hardware,
            )  # fmt: skip


def calibration_of(
    plan: Plan, ratios: Sequence[Mapping[tuple[str, int], tuple[float, float, float]]], facts: Facts
) -> Calibration:
    """Means over prompts, as a document.

    Args:
        plan: Of any of the prompts.
        ratios: Of each prompt, by branch and step: ratio, deviation, 1 - cosine.
        facts: By what, when and where.
    """
    rows = []
    for expert in dict.fromkeys(step.expert for step in plan.steps):
        steps = [step.index for step in plan.steps if step.expert == expert]
        for branch in ("conditional", "unconditional"):
            known = [[one.get((branch, step), (1.0, 0.0, 0.0)) for one in ratios] for step in steps]
            means = [[sum(one[part] for one in row) / len(row) for row in known] for part in range(3)]
            rows.append(
                BranchRatios.model_validate({
                    "expert": expert, "branch": branch, "first": steps[0],
                    "ratios": means[0], "deviation": means[1], "distance": means[2],
                })
            )  # fmt: skip
    return Calibration(
        scope=scope_of(plan, facts.weights), ratios=tuple(rows), prompts=len(ratios), created=facts.created,
        versions=facts.versions, hardware=facts.hardware,
    )  # fmt: skip

"""Trials of recipes, from what is tried to gates and calibrations. Pure: whoever runs trials brings their numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from filmgate.direction.acceleration import candidates, followed, recipe_text
from filmgate.direction.gates import Numbers, checks, licence, verdict
from filmgate.direction.scopes import calibration_for, scope_of
from filmgate.engine.sampling.trial_steps import beside_passes, is_lighter, own_passes, recipe_passes
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


class Forecast(NamedTuple):
    """What trials take, by the planner's numbers.

    Attributes:
        prompts: How many prompts velocities and latents are compared on.
        recipes: How many recipes are tried on each.
        passes: Passes that are still to be made for that, those of the exact walks with them.
        seconds: How long that takes.
        measured: Recipes of prompts that an unfinished run has measured.
        clips: Pairs of videos that are compared afterwards, if recipes are within their limits.
        clip_passes: Passes of these, at most.
        clip_seconds: How long these take, at most.
        left_out: Which recipes are not tried, and why.
    """

    prompts: int
    recipes: int
    passes: int
    seconds: float
    measured: int = 0
    clips: int = 0
    clip_passes: int = 0
    clip_seconds: float = 0.0
    left_out: tuple[str, ...] = ()


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
        self._left_out: dict[str, list[Recipe]] = {}

    def begin(self, plan: Plan, facts: Facts, unavailable: Callable[[Recipe], str] = lambda _: "") -> None:
        """Choose what is tried with plans like this one: what saves anything, and nothing twice.

        Args:
            plan: Of any of the prompts.
            facts: By what, when and where.
            unavailable: Says why a recipe cannot be carried out on this machine, or nothing.
        """
        self._facts, self._scope = facts, scope_of(plan, facts.weights)
        self._calibration = calibration_for(self._scope, self._calibrations)
        for one in candidates(self.profile, plan, self._calibration):
            if reason := one.reason or unavailable(one.recipe):
                self._leave(one.recipe, reason)
                continue
            name = recipe_text(one.recipe)
            self._recipes[name], self._saved[name], self._numbers[name] = one.recipe, one.saved, Numbers()
            self._work[name] = one.work

    @property
    def names(self) -> list[str]:
        """Of all recipes that are tried."""
        return list(self._recipes)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Which recipes are not tried, and why, each reason once: ``4 recipes with MagCache: not calibrated``."""
        return tuple(f"{_together(recipes)}: {reason}" for reason, recipes in self._left_out.items())

    def leave_out(self, name: str, reason: str) -> None:
        """Say no more of a recipe than why it could not be tried."""
        self._leave(self._recipes.pop(name), reason)

    def _leave(self, recipe: Recipe, reason: str) -> None:
        self._left_out.setdefault(reason, []).append(recipe)

    def forecast(
        self, plans: Sequence[Plan], measured: Sequence[Collection[str]], clips: int = 0, most: int = 0
    ) -> Forecast:
        """What is still to be done.

        Args:
            plans: Of the prompts, without recipes.
            measured: The recipes that each of them was tried with before.
            clips: How many pairs of videos may be compared afterwards.
            most: With how many recipes.
        """
        passes, seconds = 0, 0.0
        for plan, known in zip(plans, measured, strict=True):
            waiting = {name: made for name, made in self.accelerated(plan).items() if name not in known}
            if waiting:
                own = [self._cost(plan, name, made) for name, made in waiting.items()]
                passes += plan.pass_counts.total + sum(count for count, _ in own)
                seconds += plan.pass_counts.total * plan.times.forward + sum(time for _, time in own)
                seconds += plan.times.load * (1 + sum(map(is_lighter, waiting.values())))
        plan = plans[0]
        costs = sorted((self._cost(plan, name, made) for name, made in self.accelerated(plan).items()), reverse=True)
        videos = [(plan.pass_counts.total, plan.pass_counts.total * plan.times.forward), *costs[:most]]
        return Forecast(
            prompts=len(plans), recipes=len(self._recipes), passes=passes, seconds=seconds,
            measured=sum(map(len, measured)), clips=clips, clip_passes=clips * sum(count for count, _ in videos),
            clip_seconds=clips * sum(time + plan.times.decode for _, time in videos) if clips else 0.0,
            left_out=self.left_out,
        )  # fmt: skip

    def _cost(self, plan: Plan, name: str, made: Plan) -> tuple[int, float]:
        """Passes of a recipe beside the exact walk, and how long they take: lighter ones take less."""
        own, whole = own_passes(made), plan.pass_counts.total
        computed = made.pass_counts.computed
        length = (1 - self._saved[name]) * whole / computed if is_lighter(made) and computed else 1.0
        beside = sum(beside_passes(made, step.index) for step in made.steps)
        return recipe_passes(made), (own * length + beside) * plan.times.forward

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
        yield from map(self.gate, self._recipes)

    def gate(self, name: str) -> Gate:
        """The verdict on a recipe, as far as it is measured."""
        found = checks(self._numbers[name], self.profile)
        passed, reason = licence(found)
        return Gate(
            scope=self._scope, recipe=self._recipes[name], profile=self.profile, passed=passed, reason=reason,
            checks=found, saved=self._saved[name], work=self._work[name], created=self._facts.created,
            versions=self._facts.versions, hardware=self._facts.hardware,
        )  # fmt: skip


def _together(recipes: Sequence[Recipe]) -> str:
    """One recipe in words, or how many there are and what they have in common."""
    if len(recipes) == 1:
        return recipe_text(recipes[0])
    shared = set.intersection(*({use.acceleration.kind for use in recipe} for recipe in recipes))
    names = " and ".join(noun for kind, noun in _KINDS.items() if kind in shared)
    return f"{len(recipes)} recipes{f' with {names}' if names else ''}"


_KINDS = {
    "magcache": "MagCache", "taylorseer": "TaylorSeer", "guidance_reuse": "reuse of guidance",
    "sparse_attention": "sparse attention", "eight_bit": "eight bits",
}  # fmt: skip


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

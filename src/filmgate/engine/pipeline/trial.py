"""One prompt with and without what recipes skip: how far velocities, latents and frames are apart.

All begin from the same noise. A recipe's walk leaves the exact one before its first skipped step, which is exact too.
Velocities are compared on the inputs of the exact walk, so that errors of different steps do not mix.

Legend: C latent channels, T H W latent frames, rows and columns, L tokens, D model dimension.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from filmgate.engine.pipeline.denoise import Predict, begin, denoise, draw_noise, predictor, wanted
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.values import Conditioning, Memory, Walk
from filmgate.engine.sampling.guidance import PAIRED_TOKENS
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.solvers import State, resume
from filmgate.engine.sampling.step_cache import Branch, Remembered, Skips, remembered, rows, skips_of
from filmgate.spec import Plan, Step, StepWork

_HIGHEST = 3
"""Order of what the exact walk remembers, for recipes of any."""
_HOST = torch.device("cpu")
Latent = Tensor
"""[C, T, H, W]."""
Result = TypeVar("Result")


class StepError(NamedTuple):
    """Distance of a skipped step's velocity from the computed one, ‖a - b‖ / ‖b‖, and their cosine."""

    step: int
    relative: float
    cosine: float


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of a prompt: latents [C, T, H, W] by name of the plan after every step ("" is exact), errors of the
    skipped steps, and ratios of what blocks add, by branch and step, as (mean, deviation, 1 - cosine)."""

    latents: dict[str, list[Tensor]]
    errors: dict[str, list[StepError]]
    ratios: dict[tuple[Branch, int], tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ExactWalk:
    """What the walk that computes everything has shown, for all recipes that are walked afterwards.

    Attributes:
        latents: After every step, [C, T, H, W].
        velocities: Of the steps that were asked for.
        errors: Of every step that a recipe skips, by the recipe's name.
        ratios: As :class:`Trial`.
        left: Where the walk of each recipe that skips steps begins.
    """

    latents: list[Tensor] = field(default_factory=list)
    velocities: dict[int, Tensor] = field(default_factory=dict)
    errors: dict[str, list[StepError]] = field(default_factory=dict)
    ratios: dict[tuple[Branch, int], tuple[float, float, float]] = field(default_factory=dict)
    left: dict[str, Walk] = field(default_factory=dict)


def try_recipes(exact: Plan, accelerated: Mapping[str, Plan], networks: Residency) -> Trial:
    """Carry out a plan of text to video and the same with recipes, as far as the last latent.

    Args:
        exact: Skips nothing.
        accelerated: The same but for what is skipped, by name.
        networks: Of the model. With experts that do not stay in memory, each is loaded once for every plan.
    """
    told, noise = told_of(exact, networks), noise_of(exact, networks)
    walk = finished(walk_exact(exact, accelerated, told, noise, networks))
    trial = Trial({"": walk.latents}, walk.errors, walk.ratios)
    for name, plan in accelerated.items():
        trial.latents[name] = finished(walk_recipe(plan, name, told, noise, walk, networks))
    return trial


def finished(walk: Generator[int, None, Result]) -> Result:
    """What a walk returns, whatever it tells on its way."""
    while True:
        try:
            next(walk)
        except StopIteration as end:
            result: Result = end.value
            return result


@torch.no_grad()
def walk_exact(
    exact: Plan,
    accelerated: Mapping[str, Plan],
    told: Conditioning,
    noise: Tensor,
    networks: Residency,
    *,
    asked: Collection[int] = (),
    apart: bool = False,
) -> Generator[int, None, ExactWalk]:
    """Compute everything, once for all recipes that skip steps.

    Args:
        exact: Skips nothing.
        accelerated: The same but for what is skipped, by name.
        told: What the experts are told.
        noise: Where the walk begins, [C, T, H, W].
        networks: Of the model.
        asked: Steps whose velocities are kept.
        apart: For large videos: what each recipe remembers lies in the host's memory while others are looked at, and
            the recipe's walk begins as many steps earlier as it needs to remember it anew, so that a walk that is left
            is no more than a few latents.

    Yields:
        The index of every step that is done.
    """
    start = Walk(State(0, begin(noise, None, exact.steps[0].sigma)))
    skips = {name: _skips(plan) for name, plan in accelerated.items()}
    return (yield from _Exact(exact, told, networks, skips, set(asked), apart=apart).go(start))


@torch.no_grad()
def walk_recipe(
    plan: Plan, name: str, told: Conditioning, noise: Tensor, exact: ExactWalk, networks: Residency
) -> Generator[int, None, list[Tensor]]:
    """Carry out a plan that skips steps, from where it leaves the exact walk.

    Yields:
        The index of every step that is done.

    Returns:
        The latents after every step, those of the exact walk first.
    """
    if name not in exact.left:
        return exact.latents
    branch = exact.left[name].to(networks.device)
    latents = exact.latents[: branch.state.done]
    states = denoise(
        plan.steps, plan.solver, told, networks.transformer, branch, batched=batched(plan),
        rule=plan.guidance_rule, fresh=fresh_noise(noise, plan.seed), skips=_skips(plan),
    )  # fmt: skip
    for state in states:
        latents.append(state.latent)
        yield state.index
    return latents


def told_of(plan: Plan, networks: Residency) -> Conditioning:
    """What the experts are told of a plan."""
    encoder = networks.text_encoder()
    told = encode(plan.prompt, plan.negative if plan.reads_negative else None, networks.tokenise, encoder)
    networks.release("text_encoder")
    return told.to(networks.device)


def noise_of(plan: Plan, networks: Residency) -> Tensor:
    """Where a plan's walk begins, [C, T, H, W]."""
    return draw_noise(plan.latent, plan.seed).to(networks.device) * plan.noise_scale


class _Exact:
    """The walk that computes everything, with an eye on what recipes would have made of its steps."""

    def __init__(
        self,
        plan: Plan,
        told: Conditioning,
        networks: Residency,
        skips: Mapping[str, Skips],
        asked: Collection[int],
        *,
        apart: bool,
    ) -> None:
        self._plan, self._told, self._networks, self._skips = plan, told, networks, skips
        self._asked, self._apart = asked, apart
        self._memories = {name: Memory() for name in skips}
        # Walks that begin before their first skipped step take nothing along.
        self._watching = _watching(plan, 0 if apart else _HIGHEST)
        self._leaving = {name: _leaving(one, apart=apart) for name, one in skips.items()}
        self._shadows: dict[str, Predict] = {}
        self._left: dict[str, Walk] = {}

    def go(self, start: Walk) -> Generator[int, None, ExactWalk]:
        plan = self._plan
        found = ExactWalk(errors={name: [] for name in self._skips}, left=self._left)
        memory = Memory()
        expert = None
        before: dict[Branch, Tensor] = {}

        def velocity(x: Tensor, index: int) -> Tensor:
            nonlocal memory, expert, before
            step = plan.steps[index]
            if step.expert != expert:
                self._shadows.clear()
                self._network = wanted(self._networks.transformer, step)()
                memory, expert, before = Memory(), step.expert, {}
                self._predict = predictor(
                    self._network, self._told, plan.guidance_rule, memory, batched=batched(plan), skips=self._watching
                )
            self._leave(index, memory)
            guesses = {
                name: self._guess(name, x, step)
                for name, skips in self._skips.items()
                if skips.work[index] != StepWork()
            }
            v = self._predict(x, step)
            for name, guess in guesses.items():
                found.errors[name].append(error_of(index, guess, v))
            if index in self._asked:
                found.velocities[index] = v
            self._teach(index, memory)
            now = {branch: kept.terms[0].float() for branch, kept in memory.residuals.items()}
            if not self._watching.starts[index]:
                for branch, residual in now.items():
                    found.ratios[branch, index] = _ratio(before[branch], residual)
            before = now
            return v

        sigmas = (*(step.sigma for step in plan.steps), plan.steps[-1].sigma_next)
        self._state = start.state
        for state in resume(plan.solver, velocity, start.state, sigmas, fresh_noise(start.state.x, plan.seed)):
            self._state = state
            found.latents.append(state.x)
            yield state.done - 1
        return found

    def _guess(self, name: str, x: Tensor, step: Step) -> Tensor:
        """What a recipe makes of a step. Apart, what it needs is on the device for as long as that takes."""
        memory = self._memories[name]
        predict = self._shadows.get(name)
        if predict is None:
            predict = predictor(self._network, self._told, self._plan.guidance_rule, memory,
                                batched=batched(self._plan), skips=self._skips[name])  # fmt: skip
        if not self._apart:
            self._shadows[name] = predict
            return predict(x, step)
        _move(memory, self._networks.device)
        guess = predict(x, step)
        _move(memory, _HOST)
        return guess

    def _leave(self, index: int, memory: Memory) -> None:
        """Before the first step that a recipe skips its walk is what this one is."""
        for name, skips in self._skips.items():
            if index != self._leaving[name]:
                continue
            walk = memory.walk(self._state)
            if self._apart:
                self._left[name] = replace(walk, residuals={}, difference=None)
                continue
            order = skips.order[index]
            kept = {branch: Remembered(one.step, one.terms[: order + 1]) for branch, one in walk.residuals.items()}
            self._left[name] = replace(walk, residuals=kept)

    def _teach(self, index: int, memory: Memory) -> None:
        """Let recipes remember what they would have computed as this walk does."""
        added = {branch: kept.terms[0] for branch, kept in memory.residuals.items()}
        if self._apart and any(skips.residual[index] for skips in self._skips.values()):
            added = {branch: one.to(_HOST) for branch, one in added.items()}  # once, for all recipes
        for name, skips in self._skips.items():
            own, work = self._memories[name], skips.work[index]
            if skips.starts[index]:
                own.residuals.clear()
                own.difference = None
            if work != StepWork():
                continue  # its own pass, or what stood in for it, was made and remembered
            if skips.residual[index]:
                for branch, one in added.items():
                    known = own.residuals.get(branch)
                    own.residuals[branch] = remembered(known, one, index, skips.order[index])
            own.difference = memory.difference if skips.difference[index] else None


def _skips(plan: Plan) -> Skips:
    skips = skips_of(plan.steps, plan.guidance_rule, plan.acceleration.recipe, plan.acceleration.work)
    if skips is None:
        raise AssertionError("a recipe that skips nothing is not tried")
    return skips


def _watching(plan: Plan, order: int) -> Skips:
    """Everything is computed, and everything remembered."""
    count = len(plan.steps)
    starts = {row[0] for row in rows(plan.steps, plan.guidance_rule)}
    always = (True,) * count
    return Skips(
        (StepWork(),) * count, tuple(index in starts for index in range(count)), (order,) * count, always, always
    )


def _leaving(skips: Skips, *, apart: bool) -> int:
    """The step before which a recipe's walk begins: the first that it skips. Apart, as much before it as makes what
    that step is predicted of, but never before the first that counts for it."""
    first = next((index for index, work in enumerate(skips.work) if work != StepWork()), len(skips.work))
    if not apart or first == len(skips.work):
        return first
    start = max(index for index in range(first + 1) if skips.starts[index])
    return max(start, first - skips.order[first] - 1)


def _move(memory: Memory, device: torch.device) -> None:
    """Put what a recipe remembers of blocks elsewhere."""
    for branch, kept in memory.residuals.items():
        memory.residuals[branch] = Remembered(kept.step, tuple(term.to(device) for term in kept.terms))


def batched(plan: Plan) -> bool:
    """Whether the two passes of guidance are one batch, as a render has them."""
    return plan.model.compression.tokens(plan.latent) <= PAIRED_TOKENS


def error_of(step: int, guess: Tensor, truth: Tensor) -> StepError:
    """How far a velocity is from another."""
    a, b = guess.float().flatten(), truth.float().flatten()
    return StepError(step, float((a - b).norm() / b.norm()), float(torch.cosine_similarity(a, b, dim=0)))


def relative(guess: Tensor, truth: Tensor) -> float:
    """‖guess - truth‖ / ‖truth‖ of latents."""
    return error_of(0, guess, truth).relative


def _ratio(before: Tensor, now: Tensor) -> tuple[float, float, float]:
    """Of norms over D, its mean and deviation over tokens, and the mean of 1 - cosine; as MagCache calibrates."""
    ratio = now.norm(dim=-1) / before.norm(dim=-1)
    distance = 1 - torch.cosine_similarity(now, before, dim=-1)
    return float(ratio.mean()), float(ratio.std()), float(distance.mean())

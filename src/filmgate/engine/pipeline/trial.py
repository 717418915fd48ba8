"""One prompt with and without what recipes skip: how far velocities, latents and frames are apart.

All begin from the same noise. A recipe's walk leaves the exact one before its first skipped step, which is exact too.
Velocities are compared on the inputs of the exact walk, so that errors of different steps do not mix.

Legend: C latent channels, T H W latent frames, rows and columns, L tokens, D model dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.pipeline.denoise import begin, denoise, draw_noise, predictor, wanted
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.values import Conditioning, Memory, Walk
from filmgate.engine.sampling.guidance import PAIRED_TOKENS
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.solvers import State, resume
from filmgate.engine.sampling.step_cache import Branch, Remembered, Skips, remembered, rows, skips_of
from filmgate.spec import Plan, StepWork

_HIGHEST = 3
"""Order of what the exact walk remembers, for recipes of any."""


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


@torch.no_grad()
def try_recipes(exact: Plan, accelerated: Mapping[str, Plan], networks: Residency) -> Trial:
    """Carry out a plan of text to video and the same with recipes, as far as the last latent.

    Args:
        exact: Skips nothing.
        accelerated: The same but for what is skipped, by name.
        networks: Of the model. With experts that do not stay in memory, each is loaded once for every plan.
    """
    told, noise = told_of(exact, networks), noise_of(exact, networks)
    start = Walk(State(0, begin(noise, None, exact.steps[0].sigma)))
    skips = {name: _skips(plan) for name, plan in accelerated.items()}
    walk = _Exact(exact, told, networks, skips)
    trial = walk.go(start)
    for name, plan in accelerated.items():
        first = _first(plan)
        left, latents = trial.latents[""][:first], trial.latents[""]
        if first < len(plan.steps):
            branch = walk.left[name]
            states = denoise(
                plan.steps, plan.solver, told, networks.transformer, branch, batched=batched(plan),
                rule=plan.guidance_rule, fresh=fresh_noise(noise, plan.seed), skips=skips[name],
            )  # fmt: skip
            latents = left + [state.latent for state in states]
        trial.latents[name] = latents
    return trial


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

    def __init__(self, plan: Plan, told: Conditioning, networks: Residency, skips: Mapping[str, Skips]) -> None:
        self._plan, self._told, self._networks, self._skips = plan, told, networks, skips
        self._memories = {name: Memory() for name in skips}
        self._watching = _watching(plan)
        self.left: dict[str, Walk] = {}
        """Where the walk of each recipe leaves."""

    def go(self, start: Walk) -> Trial:
        plan = self._plan
        trial = Trial({"": []}, {name: [] for name in self._skips})
        memory = Memory()
        expert = None
        before: dict[Branch, Tensor] = {}

        def velocity(x: Tensor, index: int) -> Tensor:
            nonlocal memory, expert, before
            step = plan.steps[index]
            if step.expert != expert:
                self._network = wanted(self._networks.transformer, step)()
                memory, expert, before = Memory(), step.expert, {}
                self._predict = predictor(
                    self._network, self._told, plan.guidance_rule, memory, batched=batched(plan), skips=self._watching
                )
                self._shadows = {
                    name: predictor(self._network, self._told, plan.guidance_rule, self._memories[name],
                                    batched=batched(plan), skips=skips)
                    for name, skips in self._skips.items()
                }  # fmt: skip
            self._leave(index, memory)
            guesses = {
                name: self._shadows[name](x, step)
                for name, skips in self._skips.items()
                if skips.work[index] != StepWork()
            }
            v = self._predict(x, step)
            for name, guess in guesses.items():
                trial.errors[name].append(error_of(index, guess, v))
            self._teach(index, memory)
            now = {branch: kept.terms[0].float() for branch, kept in memory.residuals.items()}
            if not self._watching.starts[index]:
                for branch, residual in now.items():
                    trial.ratios[branch, index] = _ratio(before[branch], residual)
            before = now
            return v

        sigmas = (*(step.sigma for step in plan.steps), plan.steps[-1].sigma_next)
        self._state = start.state
        for state in resume(plan.solver, velocity, start.state, sigmas, fresh_noise(start.state.x, plan.seed)):
            self._state = state
            trial.latents[""].append(state.x)
        return trial

    def _leave(self, index: int, memory: Memory) -> None:
        """Before the first step that a recipe skips its walk is what this one is."""
        for name, skips in self._skips.items():
            if name not in self.left and skips.work[index] != StepWork():
                walk = memory.walk(self._state)
                order = skips.order[index]
                kept = {branch: Remembered(one.step, one.terms[: order + 1]) for branch, one in walk.residuals.items()}
                self.left[name] = replace(walk, residuals=kept)

    def _teach(self, index: int, memory: Memory) -> None:
        """Let recipes remember what they would have computed as this walk does."""
        for name, skips in self._skips.items():
            own, work = self._memories[name], skips.work[index]
            if skips.starts[index]:
                own.residuals.clear()
                own.difference = None
            if work != StepWork():
                continue  # its own pass, or what stood in for it, was made and remembered
            if skips.residual[index]:
                for branch, kept in memory.residuals.items():
                    known = own.residuals.get(branch)
                    own.residuals[branch] = remembered(known, kept.terms[0], index, skips.order[index])
            own.difference = memory.difference if skips.difference[index] else None


def _skips(plan: Plan) -> Skips:
    skips = skips_of(plan.steps, plan.guidance_rule, plan.acceleration.recipe, plan.acceleration.work)
    if skips is None:
        raise AssertionError("a recipe that skips nothing is not tried")
    return skips


def _watching(plan: Plan) -> Skips:
    """Everything is computed, and everything remembered."""
    count = len(plan.steps)
    starts = {row[0] for row in rows(plan.steps, plan.guidance_rule)}
    always = (True,) * count
    return Skips(
        (StepWork(),) * count, tuple(index in starts for index in range(count)), (_HIGHEST,) * count, always, always
    )


def _first(plan: Plan) -> int:
    """The first step that is skipped, or the number of steps."""
    work = plan.acceleration.work
    return next((index for index, one in enumerate(work) if one != StepWork()), len(plan.steps))


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

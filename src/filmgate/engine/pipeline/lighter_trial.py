"""One prompt with passes that are made lighter: how far velocities and latents are from those of exact passes.

Such passes are made by networks that were prepared otherwise, so that both kinds are opened, one after the other. The
recipe may leave passes out as well.

Legend: C latent channels, T H W latent frames, rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from filmgate.engine.pipeline.denoise import begin, denoise, paced, predictor, wanted
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.trial import StepError, batched, error_of, noise_of, told_of
from filmgate.engine.pipeline.values import Conditioning, Walk
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.solvers import State
from filmgate.engine.sampling.step_cache import skips_of
from filmgate.spec import EightBit, Plan, SparseAttention

_COMPARED = 8
"""Steps of a plan whose velocities are compared."""


def is_lighter(plan: Plan) -> bool:
    """Whether some of a plan's passes are made lighter."""
    return any(isinstance(use.acceleration, EightBit | SparseAttention) for use in plan.acceleration.recipe)


@torch.no_grad()
def try_lighter(
    exact: Plan, lighter: Plan, latents: Sequence[Tensor], networks: Residency, light: Residency
) -> tuple[list[Tensor], list[StepError]]:
    """Carry out a plan with a recipe, and compare velocities on inputs of the exact walk.

    Args:
        exact: The plan without the recipe.
        lighter: The same with it.
        latents: Of the exact walk after every step, [C, T, H, W].
        networks: Exact ones.
        light: Those of the recipe.

    Returns:
        The latents of the plan after every step, and the errors of some of its steps.
    """
    told, noise = told_of(exact, networks), noise_of(exact, networks)
    start = begin(noise, None, exact.steps[0].sigma)
    inputs = {index: latents[index - 1] if index else start for index in compared(lighter)}
    truths = _velocities(exact, told, inputs, networks)
    guesses = _velocities(lighter, told, inputs, light)
    errors = [error_of(index, guesses[index], truths[index]) for index in inputs]
    skips = skips_of(lighter.steps, lighter.guidance_rule, lighter.acceleration.recipe, lighter.acceleration.work)
    walk = denoise(
        lighter.steps, lighter.solver, told, light.transformer, Walk(State(0, start)), batched=batched(lighter),
        rule=lighter.guidance_rule, fresh=fresh_noise(noise, lighter.seed), skips=skips,
    )  # fmt: skip
    return [state.latent for state in walk], errors


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


def _velocities(plan: Plan, told: Conditioning, inputs: dict[int, Tensor], networks: Residency) -> dict[int, Tensor]:
    """Guided velocities of some steps, every pass computed."""
    found = {}
    for expert in dict.fromkeys(plan.steps[index].expert for index in inputs):
        own = [plan.steps[index] for index in inputs if plan.steps[index].expert == expert]
        network = wanted(networks.transformer, own[0])()
        predict = predictor(network, told, plan.guidance_rule, batched=batched(plan))
        predict = paced(network, predict, len(plan.steps))
        for step in own:
            found[step.index] = predict(inputs[step.index], step)
    return found

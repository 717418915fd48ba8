"""One prompt with passes that are made lighter: how far velocities and latents are from those of exact passes.

Such passes are made by networks that were prepared otherwise, so that both kinds are opened, one after the other. The
recipe may leave passes out as well.

Legend: C latent channels, T H W latent frames, rows and columns.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from filmgate.engine.pipeline.denoise import begin, denoise, paced, predictor, wanted
from filmgate.engine.pipeline.residency import Residency
from filmgate.engine.pipeline.trial import ExactWalk, StepError, batched, error_of
from filmgate.engine.pipeline.values import Conditioning, Walk
from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.solvers import State
from filmgate.engine.sampling.step_cache import skips_of
from filmgate.engine.sampling.trial_steps import compared
from filmgate.spec import Plan


@torch.no_grad()
def walk_lighter(
    lighter: Plan, told: Conditioning, noise: Tensor, exact: ExactWalk, light: Residency
) -> Generator[int, None, tuple[list[Tensor], list[StepError]]]:
    """Compare velocities on inputs of the exact walk, and carry out a plan with a recipe.

    Args:
        lighter: The plan with the recipe.
        told: What the experts are told.
        noise: Where the walk begins, [C, T, H, W].
        exact: The walk without the recipe, with the velocities of :func:`~.trial_steps.compared` steps.
        light: Networks of the recipe.

    Yields:
        The index of every step that was compared, and then of every step that is done.

    Returns:
        The latents of the plan after every step, and the errors of some of its steps.
    """
    start = begin(noise, None, lighter.steps[0].sigma)
    inputs = {index: exact.latents[index - 1] if index else start for index in compared(lighter)}
    errors = []
    for index, guess in _velocities(lighter, told, inputs, light):
        errors.append(error_of(index, guess, exact.velocities[index]))
        yield index
    skips = skips_of(lighter.steps, lighter.guidance_rule, lighter.acceleration.recipe, lighter.acceleration.work)
    walk = denoise(
        lighter.steps, lighter.solver, told, light.transformer, Walk(State(0, start)), batched=batched(lighter),
        rule=lighter.guidance_rule, fresh=fresh_noise(noise, lighter.seed), skips=skips,
    )  # fmt: skip
    latents = []
    for state in walk:
        latents.append(state.latent)
        yield state.index
    return latents, errors


def _velocities(
    plan: Plan, told: Conditioning, inputs: dict[int, Tensor], networks: Residency
) -> Generator[tuple[int, Tensor], None, None]:
    """Guided velocities of some steps, every pass computed."""
    for expert in dict.fromkeys(plan.steps[index].expert for index in inputs):
        own = [plan.steps[index] for index in inputs if plan.steps[index].expert == expert]
        network = wanted(networks.transformer, own[0])()
        predict = predictor(network, told, plan.guidance_rule, batched=batched(plan))
        predict = paced(network, predict, len(plan.steps))
        for step in own:
            yield step.index, predict(inputs[step.index], step)

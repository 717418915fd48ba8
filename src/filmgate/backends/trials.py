"""Prompts with and without what recipes skip, on a device of this machine: the numbers that gates are made of.

Legend: F frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filmgate.backends.local import open_networks, threads_for
from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.lighter_trial import is_lighter, try_lighter
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.trial import Trial, relative, try_recipes
from filmgate.engine.runtime.place import repeatable
from filmgate.spec import Plan

_TOGETHER = 8192
"""Up to this many tokens what all recipes remember fits beside a network."""


@dataclass(frozen=True)
class Tried:
    """What one prompt showed. Everything is by the name of a recipe.

    Attributes:
        forward: Relative error and cosine of the velocity of every skipped step.
        trajectory: Relative error of the latent after every step.
        frames: uint8 RGB [F, H, W, 3], with the exact ones under "", if they were asked for.
        ratios: By branch and step: mean ratio of what the blocks add to the step before, its deviation over tokens, and
            the mean of 1 - cosine.
    """

    forward: dict[str, list[tuple[float, float]]]
    trajectory: dict[str, list[float]]
    frames: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    ratios: dict[tuple[str, int], tuple[float, float, float]] = field(default_factory=dict)


def run_trials(
    plans: Sequence[Plan], accelerated: Sequence[Mapping[str, Plan]], cache: Path | None, *, frames: bool
) -> Generator[Tried, None, None]:
    """Carry out plans that differ in prompt and seed alone, each also with recipes.

    Args:
        plans: Skip nothing.
        accelerated: To each of them the same with recipes, by name.
        cache: Where hashes of weights are remembered.
        frames: Whether the latents are decoded.

    Raises:
        FilmgateError: the model cannot be loaded, or the device is too small.
    """
    networks = open_networks(plans[0], cache)
    with repeatable(threads_for(plans[0].device)):
        for plan, others in zip(plans, accelerated, strict=True):
            yield _tried(plan, others, networks, cache, frames=frames)


def _tried(plan: Plan, others: Mapping[str, Plan], networks: OnDemand, cache: Path | None, *, frames: bool) -> Tried:
    skipping = {name: other for name, other in others.items() if not is_lighter(other)}
    trial = _all_tried(plan, skipping, networks)
    exact = trial.latents[""]
    for name in (name for name in others if name not in skipping):
        # Prepared otherwise, so that they are networks of their own; gone before the next recipe's are loaded.
        light = open_networks(others[name], cache)
        trial.latents[name], trial.errors[name] = try_lighter(plan, others[name], exact, networks, light)
    decoded: dict[str, NDArray[np.uint8]] = {}
    if frames:
        vae = networks.vae()
        decoded = {name: np.concatenate(list(decode(latents[-1], vae))) for name, latents in trial.latents.items()}
    return Tried(
        forward={name: [(one.relative, one.cosine) for one in errors] for name, errors in trial.errors.items()},
        trajectory={
            name: [relative(one, two) for one, two in zip(latents, exact, strict=True)]
            for name, latents in trial.latents.items()
            if name
        },
        frames=decoded,
        ratios={(str(branch), step): ratio for (branch, step), ratio in trial.ratios.items()},
    )


def _all_tried(plan: Plan, others: Mapping[str, Plan], networks: OnDemand) -> Trial:
    """All recipes beside one exact walk, or, where what each remembers is large, each beside its own."""
    if plan.model.compression.tokens(plan.latent) <= _TOGETHER or len(others) < 2:
        return try_recipes(plan, others, networks)
    trials = [try_recipes(plan, {name: other}, networks) for name, other in others.items()]
    return Trial(
        latents={name: latents for trial in trials for name, latents in trial.latents.items()},
        errors={name: errors for trial in trials for name, errors in trial.errors.items()},
        ratios=trials[0].ratios,
    )

"""Prompts with and without what recipes skip, on a device of this machine: the numbers that gates are made of.

Legend: F frames, H W pixels.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from filmgate.backends.local import device_name, open_networks, threads_for
from filmgate.backends.trial_store import Clip, Numbers, Recipe, TrialStore
from filmgate.direction.gating import Facts
from filmgate.engine.pipeline.decode import decode
from filmgate.engine.pipeline.lighter_trial import walk_lighter
from filmgate.engine.pipeline.render import memory_reported
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.speed import check_lighter
from filmgate.engine.pipeline.trial import (
    ExactWalk,
    Latent,
    StepError,
    noise_of,
    relative,
    told_of,
    walk_exact,
    walk_recipe,
)
from filmgate.engine.pipeline.values import Conditioning
from filmgate.engine.pipeline.walk_file import read_walk, write_walk
from filmgate.engine.runtime.place import choose_device, dtype_of, repeatable
from filmgate.engine.sampling.trial_steps import (
    beside_passes,
    compared,
    first_skipped,
    is_lighter,
    recipe_passes,
)
from filmgate.spec import CheckpointError, DeviceError, InvalidRequest, Plan, Progress
from filmgate.spec import Recipe as RecipeUses

_TOGETHER = 8192
"""Up to this many tokens what all recipes remember fits beside a network."""
Result = TypeVar("Result")


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

    forward: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    trajectory: dict[str, list[float]] = field(default_factory=dict)
    frames: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    ratios: dict[tuple[str, int], tuple[float, float, float]] = field(default_factory=dict)


class Measured(NamedTuple):
    """A recipe was tried on a prompt: see :class:`Tried`."""

    name: str
    forward: list[tuple[float, float]]
    trajectory: list[float]


class LeftOut(NamedTuple):
    """A recipe cannot be carried out here, and is not tried again."""

    name: str
    reason: str


def run_trials(
    plans: Sequence[Plan], accelerated: Sequence[Mapping[str, Plan]], cache: Path | None, *, frames: bool
) -> Generator[Tried, None, None]:
    """:func:`follow_trials` without what it tells on its way."""
    for event in follow_trials(plans, accelerated, cache, frames=frames):
        if isinstance(event, Tried):
            yield event


def follow_trials(
    plans: Sequence[Plan],
    accelerated: Sequence[Mapping[str, Plan]],
    cache: Path | None,
    *,
    frames: bool,
    store: TrialStore | None = None,
) -> Generator[Progress | Measured | LeftOut | Tried, None, None]:
    """Carry out plans that differ in prompt and seed alone, each also with recipes.

    Args:
        plans: Skip nothing.
        accelerated: To each of them the same with recipes, by name.
        cache: Where hashes of weights are remembered.
        frames: Whether the latents are decoded.
        store: Where what is measured is kept at once. Without frames, what is there is not measured again.

    Yields:
        Progress after every step, every recipe of a prompt when it is measured, and every prompt when it is finished.

    Raises:
        FilmgateError: the model cannot be loaded, or the device is too small.
    """
    yield from _Trials(plans, accelerated, cache, store, frames=frames).run()


def open_store(cache: Path, facts: Facts, reader: str = "") -> TrialStore:
    """Where trials keep what they measure; for those who must not load torch themselves."""
    return TrialStore(cache, facts, reader)


def clip_of(truth: tuple[float, float], flicker: tuple[float, float], warp: tuple[float, float]) -> Clip:
    """What a pair of videos shows, to be kept."""
    return Clip(truth=truth, flicker=flicker, warp=warp)


def recipe_of(forward: list[tuple[float, float]], trajectory: list[float]) -> Recipe:
    """What a prompt shows of a recipe, to be kept."""
    return Recipe(forward=forward, trajectory=trajectory)


def unavailable(plan: Plan, recipe: RecipeUses) -> str:
    """Why a recipe cannot be carried out with what is installed on this machine; empty if it can.

    Raises:
        DeviceError: the plan's device is not here, or cannot compute in the plan's precision.
    """
    device = choose_device(device_name(plan.device))
    dtype, dit = dtype_of(plan.precision, device), plan.model.dit
    for expert in dict.fromkeys(use.expert for use in recipe):
        try:
            own = [use.acceleration for use in recipe if use.expert == expert]
            check_lighter(dit.dim // dit.heads, dtype, device, own)
        except (DeviceError, InvalidRequest) as error:
            return str(error)
    return ""


class _Meter:
    """How far trials are: steps for people, passes for the time that is left."""

    def __init__(self, steps: int, passes: int) -> None:
        self._steps, self._passes = steps, passes
        self._done = self._made = self._here = self._told = 0
        self._start = self._last = time.monotonic()

    def step(self, passes: int) -> Progress:
        """A step of a walk is done."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._done, self._made, self._here = self._done + 1, self._made + passes, self._here + passes
        self._told = min(self._done, self._steps)
        left = max(0, self._passes - self._made)
        eta = (now - self._start) / self._here * left if self._here else None
        return Progress(stage="denoise", done=self._told, total=self._steps, seconds=seconds,
                        eta_seconds=eta)  # fmt: skip

    def skip(self, steps: int, passes: int) -> None:
        """Some steps need not be done, or were done before."""
        self._done, self._made = self._done + steps, self._made + passes

    def rest(self) -> Iterator[Progress]:
        """All that need be done is, if that was not told yet."""
        if self._told < self._steps:
            yield Progress(stage="denoise", done=self._steps, total=self._steps, seconds=0.0)


class _Trials:
    """Trials under way; see :func:`follow_trials`."""

    def __init__(
        self,
        plans: Sequence[Plan],
        accelerated: Sequence[Mapping[str, Plan]],
        cache: Path | None,
        store: TrialStore | None,
        *,
        frames: bool,
    ) -> None:
        self._pairs = list(zip(plans, accelerated, strict=True))
        self._cache, self._store, self._frames = cache, store, frames
        self._left_out: set[str] = set()
        steps = sum(len(plan.steps) + sum(map(_steps, others.values())) for plan, others in self._pairs)
        passes = sum(plan.pass_counts.total + sum(map(recipe_passes, others.values())) for plan, others in self._pairs)
        self._meter = _Meter(steps, passes)

    def run(self) -> Generator[Progress | Measured | LeftOut | Tried, None, None]:
        first = self._pairs[0][0]
        networks = open_networks(first, self._cache)
        with repeatable(threads_for(first.device)):
            for exact, every in self._pairs:
                others = {name: other for name, other in every.items() if name not in self._left_out}
                for name in every.keys() - others.keys():
                    self._meter.skip(_steps(every[name]), recipe_passes(every[name]))
                numbers = Numbers() if self._store is None or self._frames else self._store.numbers(exact)
                for name, other in others.items():
                    if (known := numbers.recipes.get(other.fingerprint)) is not None:
                        self._meter.skip(_steps(other), recipe_passes(other))
                        yield Measured(name, known.forward, known.trajectory)
                if numbers.lacks(others.values()):
                    yield from self._prompt(exact, others, numbers, networks)
                else:
                    self._meter.skip(len(exact.steps), exact.pass_counts.total)
                    yield self._tried(others, numbers, {})
            yield from self._meter.rest()

    def _prompt(
        self, exact: Plan, others: Mapping[str, Plan], numbers: Numbers, networks: OnDemand
    ) -> Generator[Progress | Measured | LeftOut | Tried, None, None]:
        """The recipes of a prompt that are not measured yet, after one exact walk for all of them."""
        told, noise = told_of(exact, networks), noise_of(exact, networks)
        waiting = {name: other for name, other in others.items() if other.fingerprint not in numbers.recipes}
        skipping = {name: other for name, other in waiting.items() if not is_lighter(other)}
        with memory_reported(exact):
            walk = yield from self._exact(exact, waiting, told, noise, networks)
        numbers.ratios = [(branch, step, *ratio) for (branch, step), ratio in walk.ratios.items()]
        self._keep(exact, numbers)
        finals = {"": walk.latents[-1]} if self._frames else {}
        # Those that are prepared otherwise last: their networks take the place of the exact ones.
        for name in sorted(waiting, key=lambda name: name not in skipping):
            other = waiting[name]
            try:
                with memory_reported(other):
                    if name in skipping:
                        work = walk_recipe(other, name, told, noise, walk, networks)
                        latents = yield from self._walked(work, other)
                        errors = walk.errors[name]
                    else:
                        networks.close()
                        latents, errors = yield from self._lighter(other, told, noise, walk)
            except (DeviceError, InvalidRequest) as error:
                self._left_out.add(name)
                yield LeftOut(name, str(error))
                continue
            found = Recipe(
                forward=[(one.relative, one.cosine) for one in errors],
                trajectory=[relative(one, two) for one, two in zip(latents, walk.latents, strict=True)],
            )
            numbers.recipes[other.fingerprint] = found
            self._keep(exact, numbers)
            if self._frames:
                finals[name] = latents[-1]
            yield Measured(name, found.forward, found.trajectory)
        if self._store is not None:
            self._store.drop_walk(exact)
        measured = {name: other for name, other in others.items() if name not in self._left_out}
        with memory_reported(exact):
            yield self._tried(measured, numbers, self._decoded(finals, networks))

    def _exact(
        self, exact: Plan, waiting: Mapping[str, Plan], told: Conditioning, noise: Latent, networks: OnDemand
    ) -> Generator[Progress, None, ExactWalk]:
        """The exact walk, where there is one from a run that was killed that one."""
        skipping = {name: other for name, other in waiting.items() if not is_lighter(other)}
        asked = {index for other in waiting.values() if is_lighter(other) for index in compared(other)}
        apart = exact.model.compression.tokens(exact.latent) > _TOGETHER
        found: ExactWalk | None = None
        if apart and self._store is not None:
            with suppress(CheckpointError):
                found = read_walk(self._store.walk_path(exact), networks.device)
            if found is not None and skipping.keys() <= found.errors.keys() and asked <= found.velocities.keys():
                beside = sum(beside_passes(other, step.index) for other in skipping.values() for step in exact.steps)
                self._meter.skip(len(exact.steps), exact.pass_counts.total + beside)
                return found
        work = walk_exact(exact, skipping, told, noise, networks, asked=asked, apart=apart)
        walk = yield from self._walked(work, exact, list(skipping.values()))
        if apart and self._store is not None:
            self._store.keep_walk(exact, partial(write_walk, walk=walk))
        return walk

    def _lighter(
        self, other: Plan, told: Conditioning, noise: Latent, walk: ExactWalk
    ) -> Generator[Progress, None, tuple[list[Latent], list[StepError]]]:
        """A recipe with networks of its own, gone before the next recipe's are loaded."""
        light = open_networks(other, self._cache)
        try:
            return (yield from self._walked(walk_lighter(other, told, noise, walk, light), other))
        finally:
            light.close()

    def _walked(
        self, work: Generator[int, None, Result], plan: Plan, beside: Sequence[Plan] = ()
    ) -> Generator[Progress, None, Result]:
        """What a walk returns; progress after every step that counts."""
        first, compares = first_skipped(plan) if plan.acceleration.work else 0, 0
        if is_lighter(plan):
            first, compares = 0, len(compared(plan))
        number = 0
        while True:
            try:
                index = next(work)
            except StopIteration as end:
                result: Result = end.value
                return result
            made = plan.steps[index].passes if number < compares else plan.passes_of(index)
            number += 1
            if index >= first:
                yield self._meter.step(made + sum(beside_passes(other, index) for other in beside))

    def _decoded(self, finals: Mapping[str, Latent], networks: OnDemand) -> dict[str, NDArray[np.uint8]]:
        if not finals:
            return {}
        vae = networks.vae()
        return {name: np.concatenate(list(decode(latent, vae))) for name, latent in finals.items()}

    def _tried(self, others: Mapping[str, Plan], numbers: Numbers, frames: dict[str, NDArray[np.uint8]]) -> Tried:
        found = {name: numbers.recipes[other.fingerprint] for name, other in others.items()}
        return Tried(
            forward={name: one.forward for name, one in found.items()},
            trajectory={name: one.trajectory for name, one in found.items()},
            frames=frames,
            ratios={(branch, step): (mean, deviation, distance)
                    for branch, step, mean, deviation, distance in numbers.ratios},
        )  # fmt: skip

    def _keep(self, exact: Plan, numbers: Numbers) -> None:
        if self._store is not None and not self._frames:
            self._store.keep(exact, numbers)


def _steps(other: Plan) -> int:
    """Steps of a recipe that are told of."""
    if is_lighter(other):
        return len(other.steps) + len(compared(other))
    return len(other.steps) - first_skipped(other)

"""Trials of lighter passes are the takes that they stand for, and their errors those of single steps."""

from dataclasses import replace

import pytest
import torch
from tests.engine.pipeline.modes import planned_for
from tests.engine.wan_directory import DIT, SIDECAR, tiny_wan_directory

from filmgate.backends.trials import run_trials
from filmgate.direction.acceleration import followed
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.pipeline.lighter_trial import walk_lighter
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.trial import finished, noise_of, relative, told_of, walk_exact
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.sampling.trial_steps import compared, is_lighter
from filmgate.spec import AccelerationUse, EightBit, ResidencyPlan, TaylorSeer

SIZE = replace(DIT, dim=64, ffn_dim=96, num_heads=2, num_layers=4)
EXPERTS = ("high_noise", "low_noise")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    model = describe(tiny_wan_directory(tmp_path_factory.mktemp("models") / "lighter", dit=SIZE, sidecar=SIDECAR))
    return planned_for(model, steps=8, solver="euler")


def with_recipe(plan, *uses):
    recipe = tuple(AccelerationUse(expert=name, acceleration=use) for name in EXPERTS for use in uses)
    return plan.model_copy(update={"acceleration": followed(plan, recipe, None, "fast")})


def opened(plan):
    recipe = plan.acceleration.recipe
    return OnDemand(plan.model, torch.device("cpu"), "fp32", residency=ResidencyPlan(), recipe=recipe)


@pytest.mark.parametrize(
    "uses", [(EightBit(protected=0.25),), (EightBit(), TaylorSeer(interval=2, protected=2))], ids=str
)
def test_a_lighter_walk_leaves_the_exact_one_where_passes_become_lighter(exact, uses):
    light = with_recipe(exact, *uses)
    assert is_lighter(light)
    assert not is_lighter(exact)
    with repeatable(1):
        networks = opened(exact)
        told, noise = told_of(exact, networks), noise_of(exact, networks)
        walk = finished(walk_exact(exact, {}, told, noise, networks, asked=compared(light)))
        known = walk.latents
        latents, errors = finished(walk_lighter(light, told, noise, walk, opened(light)))
    assert len(latents) == 8
    assert [error.step for error in errors] == compared(light)
    assert all(1e-5 < error.relative < 0.1 and error.cosine > 0.99 for error in errors)
    protected = round(uses[0].protected * 8)
    for index, (one, two) in enumerate(zip(latents, known, strict=True)):
        # Not to the bit before that: short texts are folded by exact networks alone.
        assert (relative(one, two) < 1e-5) is (index < protected)
    first = errors[0]
    step, before = exact.steps[first.step], known[first.step - 1] if first.step else None
    if before is not None:
        length = step.sigma_next - step.sigma
        apart = (latents[first.step] - known[first.step]) / length
        velocity = (known[first.step] - before) / length
        assert float(apart.norm() / velocity.norm()) == pytest.approx(first.relative, rel=1e-3)


def test_trials_have_both_kinds_of_recipes(exact):
    others = {"light": with_recipe(exact, EightBit(protected=0.5)), "skip": with_recipe(exact, TaylorSeer(interval=2))}
    [tried] = run_trials([exact], [others], None, frames=True)
    assert set(tried.trajectory) == {"light", "skip"}
    assert set(tried.frames) == {"", "light", "skip"}
    assert max(tried.trajectory["light"][:4]) < 1e-5
    assert 0 < tried.trajectory["light"][-1] < 0.1
    assert len(tried.forward["light"]) == 4


def test_few_steps_are_compared(exact):
    long = exact.model_copy(update={"steps": tuple(
        exact.steps[0].model_copy(update={"index": index, "expert": "low_noise"}) for index in range(40)
    )})  # fmt: skip
    chosen = compared(with_recipe(long, EightBit(protected=0.1)))
    assert chosen[0] == 4
    assert len(chosen) <= 8
    assert chosen == sorted(chosen)

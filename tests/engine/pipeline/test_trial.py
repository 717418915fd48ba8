"""Trials are the takes that they stand for, and their errors those of single steps."""

import pytest
import torch
from tests.engine.pipeline.networks import RandomNetworks, tokenise
from tests.engine.pipeline.test_skipping import MAG, REUSE, TAYLOR, latents, plan_of

from filmgate.engine.pipeline.denoise import denoise, draw_noise
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.trial import relative, try_recipes
from filmgate.spec import StepWork

WAYS = {"mag": (MAG,), "taylor": (TAYLOR,), "reuse": (REUSE,), "both": (TAYLOR, REUSE), "mag and reuse": (MAG, REUSE)}


@pytest.fixture(scope="module")
def trial():
    accelerated = {name: plan_of(*way) for name, way in WAYS.items()}
    return try_recipes(plan_of(), accelerated, RandomNetworks())


def test_the_exact_walk_is_that_of_the_plan(trial):
    for one, two in zip(trial.latents[""], latents(plan_of()), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", WAYS)
def test_an_accelerated_walk_is_that_of_its_plan(trial, name):
    """Although it leaves the exact one only at its first skipped step."""
    for one, two in zip(trial.latents[name], latents(plan_of(*WAYS[name])), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", WAYS)
def test_every_skipped_step_has_its_error(trial, name):
    work = plan_of(*WAYS[name]).acceleration.work
    assert [error.step for error in trial.errors[name]] == [i for i, one in enumerate(work) if one != StepWork()]
    assert all(error.relative > 0 and -1 <= error.cosine <= 1.000001 for error in trial.errors[name])


@pytest.mark.parametrize("name", WAYS)
def test_the_first_error_is_that_of_one_step(trial, name):
    """An Euler step's latents differ by the step's length times the difference of the velocities."""
    plan = plan_of(*WAYS[name], solver="euler")
    fresh = try_recipes(plan_of(solver="euler"), {name: plan}, RandomNetworks())
    first = fresh.errors[name][0]
    step = plan.steps[first.step]
    length = step.sigma_next - step.sigma
    before = fresh.latents[""][first.step - 1]
    exact, mine = fresh.latents[""][first.step], fresh.latents[name][first.step]
    velocity = (exact - before) / length
    assert float((mine - exact).norm() / abs(length) / velocity.norm()) == pytest.approx(first.relative, rel=1e-3)


def test_ratios_are_those_of_successive_residuals(trial):
    """By hand: norms over D of what the blocks added, their ratio, the mean over tokens."""
    plan = plan_of()
    networks = RandomNetworks()
    told = encode(plan.prompt, plan.negative, tokenise, networks.text_encoder())
    added = []

    def transformer(name):
        network = networks.transformer(name)
        inner = type(network).through_blocks

        def through(tokens, *rest):
            after = inner(network, tokens, *rest)
            added.append(after - tokens)
            return after

        network.through_blocks = through
        return network

    list(denoise(plan.steps, plan.solver, told, transformer, draw_noise(plan.latent, plan.seed), batched=True))
    for index, step in enumerate(plan.steps):
        same = index and plan.steps[index - 1].expert == step.expert
        assert (("conditional", index) in trial.ratios) == bool(same)
        if same:
            for place, branch in enumerate(("conditional", "unconditional")):
                ratio = added[index][place].norm(dim=-1) / added[index - 1][place].norm(dim=-1)
                assert trial.ratios[branch, index][0] == pytest.approx(float(ratio.mean()), rel=1e-4)
                assert trial.ratios[branch, index][1] == pytest.approx(float(ratio.std()), rel=1e-2)


def test_relative_error_of_a_latent():
    assert relative(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 0.0])) == pytest.approx(4 / 3)

"""A test of the tests: every quiet mistake that a port of these samplers can make must fail one of the checks.

Each mutation rewrites one rule. The checks are those that the other tests of this room call.
"""

from __future__ import annotations

import math

import pytest
from tests.engine.sampling.sampling_cases import check_experts, check_timesteps, check_walks

from filmgate.engine.sampling import experts, schedules, solvers
from filmgate.engine.sampling.solvers import State

CHECKS = (check_timesteps, check_experts, check_walks)


def grid_from_one(patch):
    """UniPC's grid starts at 0.999."""
    patch.setitem(schedules._START, "unipc", 1.0)


def grid_of_newer_diffusers(patch):
    """Even levels from 1 to 0.001, the first one 1e-6 lower after the shift."""

    def sigmas(solver, steps, shift):
        stride = (0.001 - 1) / steps
        levels = [schedules.shift_sigma(1 + index * stride, shift) for index in range(steps)]
        return (min(levels[0], 1 - 1e-6), *levels[1:], 0.0)

    patch.setattr(schedules, "sigmas", sigmas)


def grid_to_the_last_training_level(patch):
    """The even grid would end at 0.001 before the last zero."""

    def sigmas(solver, steps, shift):
        stride = 0.998 / max(steps - 1, 1)
        return (*(schedules.shift_sigma(0.999 - index * stride, shift) for index in range(steps)), 0.0)

    patch.setattr(schedules, "sigmas", sigmas)


def timesteps_rounded(patch):
    patch.setattr(schedules, "timestep", lambda sigma, _: float(round(1000 * sigma)))


def timesteps_not_cut(patch):
    patch.setattr(schedules, "timestep", lambda sigma, _: 1000 * sigma)


def shifted_twice(patch):
    original = schedules.shift_sigma
    patch.setattr(schedules, "shift_sigma", lambda sigma, shift: original(original(sigma, shift), shift))


def not_shifted(patch):
    patch.setattr(schedules, "shift_sigma", lambda sigma, _: sigma)


def boundary_is_a_step(patch):
    """The switch after a fixed part of the steps, whatever the shift."""

    def experts_per_step(timesteps, boundary):
        clock = list(timesteps)
        first_low = round(len(clock) * (1 - boundary))
        return tuple("high_noise" if index < first_low else "low_noise" for index in range(len(clock)))

    patch.setattr(experts, "experts_per_step", experts_per_step)


def experts_swapped(patch):
    original = experts.choose_expert
    other = {"high_noise": "low_noise", "low_noise": "high_noise"}
    patch.setattr(experts, "choose_expert", lambda timestep, boundary: other[original(timestep, boundary)])


def boundary_before_the_shift(patch):
    """The noise level is compared after the shift, not before."""

    def choose_expert(timestep, boundary):
        sigma = timestep / 1000
        return "high_noise" if sigma / (5 - 4 * sigma) >= boundary else "low_noise"

    patch.setattr(experts, "choose_expert", choose_expert)


def corrector_dropped(patch):
    """UniPC's predictor alone is DPM++ 2M."""
    mutate_solver(patch, "unipc", solvers.dpmpp_2m)


def corrector_first_order_only(patch):
    original = solvers._correct
    patch.setattr(
        solvers,
        "_correct",
        lambda guess, guesses, origin, index, sigmas: original(guess, guesses[:1], origin, index, sigmas),
    )


def corrector_starts_from_the_uncorrected(patch):
    """The next correction starts where the last one ended."""
    original = solvers.unipc

    def unipc(state, velocity, sigmas):
        return original(state, velocity, sigmas)._replace(origin=state.x)

    mutate_solver(patch, "unipc", unipc)


def guess_made_again_after_the_correction(patch):
    """The guess is of the x that the network saw."""

    def unipc(state, velocity, sigmas):
        guess, x = solvers._guess(state, velocity, sigmas), state.x
        if state.origin is not None:
            x = solvers._correct(guess, state.guesses, state.origin, state.done, sigmas)
            guess = x - sigmas[state.done] * velocity
        guesses = (guess, *state.guesses[:1])
        return State(state.done + 1, solvers._predict(guesses, x, state.done, sigmas), guesses, origin=x)

    mutate_solver(patch, "unipc", unipc)


def b1_instead_of_b2(patch):
    """B(h) = h in place of exp(h) - 1."""
    patch.setattr(solvers, "math", Replaced(expm1=lambda x: x))


def second_order_to_the_end(patch):
    """The last step is first order: its length is infinite."""

    def predict(guesses, x, index, sigmas):
        guess, *older = guesses
        if older:
            known = min(index, len(sigmas) - 3)
            ratio = solvers._stride(index - 1, sigmas) / solvers._stride(known, sigmas)
            guess = guess + (guess - older[0]) * (0.5 / ratio)
        return solvers._toward(guess, x, index, sigmas)

    patch.setattr(solvers, "_predict", predict)


def first_order_predictor(patch):
    patch.setattr(solvers, "_predict", lambda guesses, x, index, sigmas: solvers._toward(guesses[0], x, index, sigmas))


def extrapolated_in_sigma(patch):
    """Strides are measured in the logarithm of the signal-to-noise ratio."""
    patch.setattr(solvers, "_log_signal_to_noise", lambda sigma: -sigma)


def ratio_upside_down(patch):
    def predict(guesses, x, index, sigmas):
        guess, *older = guesses
        if older and 0 < index - 1 < len(sigmas) - 3:
            ratio = solvers._stride(index, sigmas) / solvers._stride(index - 1, sigmas)
            guess = guess + (guess - older[0]) * (0.5 / ratio)
        return solvers._toward(guess, x, index, sigmas)

    patch.setattr(solvers, "_predict", predict)


def velocity_is_noise_prediction(patch):
    """x - sigma·velocity, not (x - sigma·velocity) / (1 - sigma)."""
    original = solvers._guess

    def guess(state, velocity, sigmas):
        return original(state, velocity, sigmas) / max(1 - sigmas[state.done], 1e-3)

    patch.setattr(solvers, "_guess", guess)


class Replaced:
    """The module math with some functions replaced."""

    def __init__(self, **functions):
        self.__dict__.update(functions)

    def __getattr__(self, name):
        return getattr(math, name)


def mutate_solver(patch, name, step):
    patch.setattr(solvers, "SOLVERS", {**solvers.SOLVERS, name: step})


MUTATIONS = (
    (grid_from_one, {check_timesteps, check_walks}),
    (grid_of_newer_diffusers, {check_timesteps, check_walks}),
    (grid_to_the_last_training_level, {check_timesteps, check_experts, check_walks}),
    (timesteps_rounded, {check_timesteps}),
    (timesteps_not_cut, {check_timesteps}),
    (shifted_twice, {check_timesteps, check_experts, check_walks}),
    (not_shifted, {check_timesteps, check_experts, check_walks}),
    (boundary_is_a_step, {check_experts}),
    (experts_swapped, {check_experts}),
    (boundary_before_the_shift, {check_experts}),
    (corrector_dropped, {check_walks}),
    (corrector_first_order_only, {check_walks}),
    (corrector_starts_from_the_uncorrected, {check_walks}),
    (guess_made_again_after_the_correction, {check_walks}),
    (b1_instead_of_b2, {check_walks}),
    (second_order_to_the_end, {check_walks}),
    (first_order_predictor, {check_walks}),
    (extrapolated_in_sigma, {check_walks}),
    (ratio_upside_down, {check_walks}),
    (velocity_is_noise_prediction, {check_walks}),
)
"""A mistake, and the checks that notice it."""


@pytest.mark.parametrize(("mutation", "noticing"), MUTATIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_mistake_is_noticed_by_exactly_these_checks(monkeypatch, mutation, noticing):
    for check in CHECKS:
        check()
    mutation(monkeypatch)
    assert {check for check in CHECKS if fails(check)} == noticing


def fails(check):
    try:
        check()
    except AssertionError:
        return True
    return False

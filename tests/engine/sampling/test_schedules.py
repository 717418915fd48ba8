"""Noise levels and timesteps against the original grids, number by number."""

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.sampling.sampling_cases import TIMESTEPS, check_timesteps, numbers

from filmgate.engine.sampling.schedules import listed_sigmas, shift_sigma, sigmas, timestep, trig_levels
from filmgate.spec import InvalidRequest, Solver, UnknownName

SOLVERS = ("unipc", "dpmpp_2m", "euler")


def original_grid(solver, steps, shift):
    """The published code's arithmetic in its own order: levels in double precision, integer timesteps."""
    training = (1.0 - np.linspace(1, 1 / 1000, 1000)[::-1]).astype(np.float32)
    start = training[0].item() if solver == "unipc" else 1
    grid = np.linspace(start, 0, steps + 1).copy()[:-1]
    grid = shift * grid / (1 + (shift - 1) * grid)
    return grid, (grid * 1000).astype(np.int64)


def test_the_timesteps_are_frozen():
    check_timesteps()


def test_the_frozen_lists_are_whole():
    assert [len(numbers(text)) for text in TIMESTEPS.values()] == [steps for _, steps, _ in TIMESTEPS]


@pytest.mark.parametrize("solver", ["unipc", "dpmpp_2m"])
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 7.0, 8.0, 12.0, 16.0])
def test_every_timestep_is_that_of_the_original_arithmetic(solver, shift):
    for steps in range(1, 121):
        grid, clock = original_grid(solver, steps, shift)
        found = sigmas(solver, steps, shift)
        assert found[:-1] == tuple(grid.tolist()), steps
        assert [timestep(sigma, solver) for sigma in found[:-1]] == clock.tolist(), steps


def test_the_first_levels():
    assert sigmas("unipc", 4, 5.0) == pytest.approx([0.9998, 0.93727, 0.83306, 0.62469, 0.0], abs=5e-6)
    assert sigmas("dpmpp_2m", 4, 5.0) == pytest.approx([1.0, 0.9375, 5 / 6, 0.625, 0.0], abs=1e-12)
    assert sigmas("euler", 4, 1.0) == (1.0, 0.75, 0.5, 0.25, 0.0)


def test_euler_is_told_fractions():
    assert [timestep(sigma, "euler") for sigma in sigmas("euler", 4, 5.0)[:-1]] == pytest.approx(
        [1000, 937.5, 833.3333333, 625]
    )


@given(st.sampled_from(get_args(Solver)), st.integers(1, 200), st.floats(0.1, 30))
def test_levels_fall_from_noise_to_zero(solver, steps, shift):
    levels = sigmas(solver, steps, shift)
    assert len(levels) == steps + 1
    assert levels[-1] == 0.0
    assert levels[0] <= 1.0
    assert all(before > after for before, after in pairwise(levels))
    assert all(0 <= timestep(sigma, solver) <= 1000 for sigma in levels)


@given(st.floats(0, 1), st.floats(0.1, 30))
def test_shifting_keeps_the_ends_and_is_undone_by_the_inverse_shift(sigma, shift):
    shifted = shift_sigma(sigma, shift)
    assert 0 <= shifted <= 1 + 1e-15
    assert shift_sigma(shifted, 1 / shift) == pytest.approx(sigma, abs=1e-12)
    assert shift_sigma(0.0, shift) == 0.0
    assert shift_sigma(1.0, shift) == pytest.approx(1.0)


def test_a_larger_shift_is_noisier():
    assert sigmas("unipc", 20, 3.0)[10] < sigmas("unipc", 20, 5.0)[10] < sigmas("unipc", 20, 12.0)[10]


@pytest.mark.parametrize(
    ("steps", "shift", "message"),
    [
        (0, 5.0, "steps: 0 is out of range. Allowed: 1 to 1000. Nearest valid: 1."),
        (-3, 5.0, "steps: -3 is out of range. Allowed: 1 to 1000. Nearest valid: 1."),
        (1001, 5.0, "steps: 1001 is out of range. Allowed: 1 to 1000. Nearest valid: 1000."),
        (20, 0.0, "shift: 0 is not a positive number. Allowed: above 0; 1 is no shift."),
        (20, -1.0, "shift: -1 is not a positive number. Allowed: above 0; 1 is no shift."),
        (20, float("nan"), "shift: nan is not a positive number. Allowed: above 0; 1 is no shift."),
        (20, float("inf"), "shift: inf is not a positive number. Allowed: above 0; 1 is no shift."),
    ],
)
def test_what_makes_no_schedule(steps, shift, message):
    with pytest.raises(InvalidRequest) as error:
        sigmas("unipc", steps, shift)
    assert str(error.value) == message


def test_an_unknown_solver_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"no solver named 'unipcc'.*dpmpp_2m, euler, .*unipc.*Nearest valid: unipc"):
        sigmas("unipcc", 20, 5.0)


def test_listed_levels_are_shifted_and_end_at_zero():
    assert listed_sigmas((1.0, 0.75, 0.5, 0.25), 5.0) == pytest.approx((1.0, 0.9375, 5 / 6, 0.625, 0.0))
    assert listed_sigmas((0.9, 0.3), 1.0) == (0.9, 0.3, 0.0)


@pytest.mark.parametrize("levels", [(), (0.5, 0.5), (0.3, 0.5), (1.1, 0.5), (0.5, 0.0), (0.5, -0.1), (float("nan"),)])
def test_what_is_no_list_of_levels_is_refused(levels):
    with pytest.raises(InvalidRequest, match=r"levels: .* are not noise levels. Allowed: above 0, at most 1"):
        listed_sigmas(levels, 5.0)


def test_the_levels_of_rcm_are_those_of_its_authors():
    assert trig_levels(80.0) == pytest.approx((0.98765, 0.93378, 0.85290, 0.60898), abs=5e-6)
    assert trig_levels(200.0)[0] == pytest.approx(0.99502, abs=5e-6)
    assert trig_levels(200.0)[1:] == trig_levels(80.0)[1:]

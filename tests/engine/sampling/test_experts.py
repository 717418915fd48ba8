"""Which expert paints: a noise level decides, whatever the number of steps."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.sampling.sampling_cases import check_experts

from filmgate.engine.sampling.experts import choose_expert, experts_per_step
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.spec import InvalidRequest


def test_the_published_models_split_as_published():
    check_experts()


@pytest.mark.parametrize(
    ("solver", "sigma", "boundary", "expected"),
    [
        ("unipc", 0.875, 0.875, "high_noise"),
        ("unipc", 0.87499, 0.875, "low_noise"),
        ("euler", 0.875, 0.875, "high_noise"),
        ("euler", 0.87499, 0.875, "low_noise"),
        ("dpmpp_2m", 1.0, 0.999, "high_noise"),
        ("unipc", 0.0009, 0.001, "low_noise"),
    ],
)
def test_the_boundary_itself_belongs_to_the_high_noise_expert(solver, sigma, boundary, expected):
    assert choose_expert(timestep(sigma, solver), boundary) == expected


@given(st.sampled_from(["unipc", "dpmpp_2m", "euler"]), st.integers(1, 100), st.floats(1, 20), st.integers(1, 999))
def test_boundaries_in_thousandths_compare_sigma(solver, steps, shift, thousandths):
    for sigma in sigmas(solver, steps, shift)[:-1]:
        clock = sigma * 1000
        if abs(clock - thousandths) < 1e-9:
            continue  # the last bit of a division
        expected = "high_noise" if sigma >= thousandths / 1000 else "low_noise"
        assert choose_expert(timestep(sigma, solver), thousandths / 1000) == expected


def test_no_thousandth_is_lost_to_rounding():
    for thousandths in range(1, 1000):
        assert choose_expert(thousandths, thousandths / 1000) == "high_noise"
        assert choose_expert(thousandths - 1, thousandths / 1000) == "low_noise"


@given(st.floats(0.001, 0.999), st.floats(0, 1))
def test_finer_boundaries_act_as_the_next_thousandth_where_timesteps_are_cut(boundary, sigma):
    effective = math.ceil(boundary * 1000) / 1000
    assert choose_expert(timestep(sigma, "unipc"), boundary) == choose_expert(timestep(sigma, "unipc"), effective)


def test_without_a_boundary_there_is_one_expert():
    assert experts_per_step([999.0, 500.0, 1.0], None) == ("dense",) * 3


@given(st.sampled_from(["unipc", "dpmpp_2m", "euler"]), st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_experts_change_at_most_once(solver, steps, boundary):
    names = experts_per_step([timestep(sigma, solver) for sigma in sigmas(solver, steps, 5.0)[:-1]], boundary)
    assert list(names) == sorted(names), "high before low"


@pytest.mark.parametrize("boundary", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_boundary_is_a_noise_level(boundary):
    with pytest.raises(InvalidRequest, match=r"boundary: .* is not a noise level. Allowed: above 0 and below 1"):
        choose_expert(500.0, boundary)


def test_a_timestep_as_a_boundary_is_understood():
    with pytest.raises(InvalidRequest, match=r"Nearest valid: 0\.875, if a timestep was meant"):
        choose_expert(500.0, 875)


@pytest.mark.parametrize("boundary", [1.5, 10, 25])
def test_the_number_of_a_step_is_not_taken_for_a_timestep(boundary):
    with pytest.raises(InvalidRequest, match=r"a noise level, not the number of a step") as caught:
        choose_expert(500.0, boundary)
    assert caught.value.nearest is None

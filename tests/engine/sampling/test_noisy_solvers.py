"""Solvers that add fresh noise: against Diffusers, against what their papers say of distributions, and as values."""

import math

import pytest
import torch
from diffusers import FlowMatchLCMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.sampling.sampling_cases import TOLERANCE, noise, velocity

from filmgate.engine.sampling.noise import fresh_noise
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.engine.sampling.solvers import NOISY_SOLVERS, State, resume, solve
from filmgate.spec import InvalidRequest

NOISY = tuple(NOISY_SOLVERS)


@pytest.mark.parametrize(("steps", "shift"), [(1, 5.0), (3, 8.0), (4, 5.0), (10, 3.0)])
def test_lcm_is_that_of_diffusers_with_the_same_noise(steps, shift):
    levels = sigmas("lcm", steps, shift)
    scheduler = FlowMatchLCMScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=list(levels[:-1]))
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(5))
    draws = torch.Generator().manual_seed(9)
    drawn = [torch.randn(2, 3, 4, generator=draws) for _ in range(steps)]
    ours = list(solve("lcm", velocity, x, levels, drawn.__getitem__))
    draws = torch.Generator().manual_seed(9)
    for index, clock in enumerate(scheduler.timesteps):
        x = scheduler.step(velocity(x, index), clock, x, generator=draws, return_dict=False)[0]
        torch.testing.assert_close(ours[index], x, atol=TOLERANCE, rtol=TOLERANCE)


@settings(deadline=None)
@given(st.sampled_from(NOISY), st.integers(1, 12), st.floats(0.5, 16), st.integers(0, 2**31))
def test_a_network_that_always_guesses_right_is_believed_at_the_end(solver, steps, shift, seed):
    video = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    levels = sigmas(solver, steps, shift)
    walk = list(
        solve(solver, lambda x, i: (x - video) / levels[i], noise()[:5].double(), levels, fresh_noise(video, seed))
    )
    torch.testing.assert_close(walk[-1], video, atol=1e-9, rtol=0)


@pytest.mark.parametrize("solver", NOISY)
def test_every_level_has_the_share_and_the_variance_that_it_stands_for(solver):
    """A point drawn at level s that is walked by the true guess is distributed as level t: (1 - t)·video + t·noise."""
    count, video = 200_000, 2.0
    generator = torch.Generator().manual_seed(1)
    levels = sigmas(solver, 5, 3.0)
    x = torch.randn(count, generator=generator, dtype=torch.float64)
    walk = solve(
        solver,
        lambda x, i: (x - video) / levels[i],
        x,
        levels,
        lambda _: torch.randn(count, generator=generator, dtype=torch.float64),
    )
    for latent, level in zip(walk, levels[1:], strict=True):
        assert latent.mean().item() == pytest.approx((1 - level) * video, abs=0.01)
        assert latent.std().item() == pytest.approx(level, abs=0.01)


def ancestral_of_the_paper(x, v, s, t, z):
    """Rectified flow's ancestral step as it is derived: an Euler step to t·(t/s), rescaled, and noised to level t."""
    down = t * (1 + (t / s - 1))
    moved = x + (down - s) * v
    kept = (1 - t) / (1 - down)
    return kept * moved + z * math.sqrt(t * t - down * down * kept * kept)


def test_the_ancestral_step_is_an_euler_step_rescaled_and_noised():
    levels = (1.0, 0.8, 0.5, 0.1, 0.0)
    draws = [torch.randn(8, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    x = expected = noise()
    walk = list(solve("euler_ancestral", velocity, x, levels, draws.__getitem__))
    for index in range(3):
        v = velocity(expected, index)
        expected = ancestral_of_the_paper(expected, v, levels[index], levels[index + 1], draws[index])
        torch.testing.assert_close(walk[index], expected, atol=TOLERANCE, rtol=TOLERANCE)
    last = walk[2] - 0.1 * velocity(walk[2], 3)
    torch.testing.assert_close(walk[3], last, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("solver", NOISY)
@pytest.mark.parametrize("stop", range(1, 4))
def test_a_run_can_be_cut_and_resumed(solver, stop):
    levels = sigmas(solver, 4, 5.0)
    whole = list(solve(solver, velocity, noise(), levels, fresh_noise(noise(), 3)))
    cut = resume(solver, velocity, State(0, noise()), levels, fresh_noise(noise(), 3))
    state = [next(cut) for _ in range(stop)][-1]
    rest = resume(solver, velocity, state, levels, fresh_noise(noise(), 3))
    assert all(torch.equal(state.x, x) for state, x in zip(rest, whole[stop:], strict=True))


@pytest.mark.parametrize("solver", NOISY)
def test_the_last_step_asks_for_no_noise(solver):
    asked = []
    list(solve(solver, velocity, noise(), sigmas(solver, 4, 5.0), lambda i: asked.append(i) or noise()))
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("solver", NOISY)
def test_without_noise_they_refuse_at_once(solver):
    with pytest.raises(InvalidRequest, match=f"noise: {solver} adds fresh noise, and there is none"):
        solve(solver, velocity, noise(), (1.0, 0.5, 0.0))


def test_fresh_noise_is_normal_and_its_own_for_every_step_and_seed():
    like = torch.empty(50_000)
    start = torch.randn(50_000, generator=torch.Generator().manual_seed(7))
    draws = [start, *(fresh_noise(like, seed)(index) for seed in (7, 8) for index in range(3))]
    correlation = torch.corrcoef(torch.stack(draws))
    assert (correlation - torch.eye(7)).abs().max() < 0.03
    assert all(abs(draw.std().item() - 1) < 0.02 for draw in draws)
    assert torch.equal(fresh_noise(like, 7)(2), fresh_noise(like, 7)(2))


def test_fresh_noise_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    fresh_noise(torch.empty(3), 2**63 - 1)(5)
    assert torch.equal(state, torch.random.get_rng_state())


def test_their_timesteps_are_not_cut():
    assert [timestep(sigma, "lcm") for sigma in (1.0, 0.9375, 0.6250001)] == [1000, 937.5, pytest.approx(625.0001)]

"""Solvers against golden trajectories of the original code, against Diffusers, and against what must hold of any."""

import math

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.sampling.sampling_cases import TOLERANCE, check_walks, noise, velocity

from filmgate.engine.sampling.schedules import sigmas
from filmgate.engine.sampling.solvers import State, resume, solve
from filmgate.spec import InvalidRequest, UnknownName

SOLVERS = ("unipc", "dpmpp_2m", "euler")
DETERMINISTIC = (*SOLVERS, "res_multistep")


def peer(solver, levels):
    """Diffusers' scheduler on our levels. Its own grids differ (see schedules), so that ours are written into it."""
    if solver == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
        scheduler.set_timesteps(sigmas=list(levels[:-1]))
        return scheduler
    options = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 1.0, "solver_order": 2}
    if solver == "unipc":
        scheduler = UniPCMultistepScheduler(**options, solver_type="bh2")
    else:
        scheduler = DPMSolverMultistepScheduler(**options, algorithm_type="dpmsolver++", solver_type="midpoint")
    scheduler.set_timesteps(len(levels) - 1)
    scheduler.sigmas = torch.tensor(levels, dtype=torch.float32)
    scheduler.timesteps = torch.tensor(levels[:-1], dtype=torch.float64) * 1000
    return scheduler


def peer_walk(solver, levels, x):
    scheduler = peer(solver, levels)
    for index, clock in enumerate(scheduler.timesteps):
        x = scheduler.step(velocity(x, index), clock, x, return_dict=False)[0]
        yield x


def test_golden_trajectories_of_the_original_code():
    check_walks()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("steps", "shift"), [(1, 5.0), (2, 5.0), (3, 3.0), (4, 5.0), (20, 5.0), (40, 12.0), (50, 5.0)])
def test_every_step_is_that_of_diffusers_on_the_same_levels(solver, steps, shift):
    levels = sigmas(solver, steps, shift)
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(5))
    ours, theirs = list(solve(solver, velocity, x, levels)), list(peer_walk(solver, levels, x))
    assert len(ours) == len(theirs) == steps
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize(("steps", "shift"), [(6, 5.0), (40, 12.0), (50, 16.0)])
def test_unipc_is_exactly_that_of_diffusers_in_double_precision(steps, shift):
    levels = sigmas("unipc", steps, shift)
    scheduler = peer("unipc", levels)
    scheduler.sigmas = torch.tensor(levels, dtype=torch.float64)
    x = torch.randn(1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    ours = solve("unipc", velocity, x, levels)
    for index, (clock, latent) in enumerate(zip(scheduler.timesteps, ours, strict=True)):
        x = scheduler.step(velocity(x, index), clock, x, return_dict=False)[0]
        torch.testing.assert_close(latent, x, atol=1e-12, rtol=0)


def test_the_grid_of_diffusers_unipc_is_another_one():
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    scheduler.set_timesteps(6)
    assert scheduler.timesteps.int().tolist() != [int(1000 * sigma) for sigma in sigmas("unipc", 6, 5.0)[:-1]]


def test_the_grid_of_euler_is_that_of_diffusers_where_it_is_given_even_levels():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(sigmas=[1 - index / 8 for index in range(8)])
    assert scheduler.sigmas.tolist() == pytest.approx(sigmas("euler", 8, 5.0), abs=TOLERANCE)


@pytest.mark.parametrize("solver", DETERMINISTIC)
@pytest.mark.parametrize("stop", range(1, 6))
def test_a_run_can_be_cut_and_resumed(solver, stop, tmp_path):
    levels = sigmas(solver, 6, 5.0)
    whole = list(solve(solver, velocity, noise(), levels))
    walk = resume(solver, velocity, State(0, noise()), levels)
    state = [next(walk) for _ in range(stop)][-1]
    torch.save(tuple(state), tmp_path / "state.pt")
    kept = State(*torch.load(tmp_path / "state.pt", weights_only=True))
    rest = list(resume(solver, velocity, kept, levels))
    assert [item.done for item in rest] == list(range(stop + 1, 7))
    for one, other in zip(rest, whole[stop:], strict=True):
        assert torch.equal(one.x, other)
    assert list(resume(solver, velocity, rest[-1], levels)) == []


@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_nothing_that_is_handed_in_changes(solver):
    x, seen = noise(), []

    def network(latent, index):
        seen.append((latent, latent.clone()))
        return velocity(latent, index)

    states = list(resume(solver, network, State(0, x), sigmas(solver, 6, 5.0)))
    assert torch.equal(x, noise())
    assert all(torch.equal(now, then) for now, then in seen)
    assert len(seen) == 6, "the network is asked once per step"
    needed = {"euler": 0, "dpmpp_2m": 1, "unipc": 2, "res_multistep": 1}[solver]
    assert [len(state.guesses) for state in states] == [min(index, needed) for index in range(1, 7)]


@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_nothing_is_computed_before_it_is_asked_for(solver):
    calls = []
    walk = solve(solver, lambda x, index: calls.append(index) or velocity(x, index), noise(), sigmas(solver, 4, 5.0))
    assert calls == []
    next(walk)
    assert calls == [0]


@given(st.sampled_from(DETERMINISTIC), st.integers(1, 30), st.floats(0.5, 16), st.integers(0, 2**31))
def test_a_network_that_always_guesses_right_is_believed(solver, steps, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    start, video = (torch.randn(5, dtype=torch.float64, generator=generator) for _ in range(2))
    levels = sigmas(solver, steps, shift)
    x = (1 - levels[0]) * video + levels[0] * start
    for index, latent in enumerate(solve(solver, lambda x, i: (x - video) / levels[i], x, levels), start=1):
        expected = (1 - levels[index]) * video + levels[index] * start
        torch.testing.assert_close(latent, expected, atol=1e-9, rtol=0)


def moving(x, sigma):
    """A velocity that depends smoothly on both."""
    return torch.tanh(1.3 * x) - 0.2 * x + math.cos(3 * sigma)


def exact_end(x, start, steps=4000):
    """Where the way from ``start`` to 0 ends: the classical Runge-Kutta method, in very small steps."""
    h = -start / steps
    for index in range(steps):
        sigma = start + index * h
        a = moving(x, sigma)
        b = moving(x + h / 2 * a, sigma + h / 2)
        c = moving(x + h / 2 * b, sigma + h / 2)
        x = x + h / 6 * (a + 2 * b + 2 * c + moving(x + h * c, sigma + h))
    return x


def test_higher_order_is_more_exact():
    x = noise().double()
    exact = exact_end(x, sigmas("unipc", 10, 5.0)[0])
    errors = {}
    for steps in (20, 80, 160):
        levels = sigmas("unipc", steps, 5.0)
        for solver in SOLVERS:
            *_, end = solve(solver, lambda x, i: moving(x, levels[i]), x, levels)  # noqa: B023
            errors[solver, steps] = (end - exact).abs().max().item()
        assert errors["unipc", steps] < errors["dpmpp_2m", steps] < errors["euler", steps] / 2
    gains = {solver: errors[solver, 80] / errors[solver, 160] for solver in SOLVERS}
    assert gains["euler"] == pytest.approx(2, rel=0.1), "first order"
    assert gains["dpmpp_2m"] == pytest.approx(4, rel=0.1), "second order"
    assert gains["unipc"] > 5, "better than second order"


def exponential_integral(guess, x, s, t, parts=4000):
    """Where the way from level ``s`` to ``t`` ends if the guess at -log(level) is ``guess`` of it: Simpson's rule on
    the variation of constants, dx/du = guess(u) - x."""
    u = torch.linspace(-math.log(s), -math.log(t), 2 * parts + 1, dtype=torch.float64)
    weights = torch.tensor([1.0, 4.0] + [2.0, 4.0] * (parts - 1) + [1.0], dtype=torch.float64)
    kernel = torch.exp(u - u[-1]) * weights * (u[1] - u[0]) / 3
    return x * math.exp(float(u[0] - u[-1])) + (kernel[:, None] * torch.stack([guess(float(v)) for v in u])).sum(0)


def test_res_multistep_is_exact_for_guesses_linear_in_the_logarithm_of_the_level():
    levels = (0.97, 0.9, 0.7, 0.4, 0.15, 0.05)
    slope, offset = (torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    x = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def guess(u):
        return offset + slope * u

    walk = list(solve("res_multistep", lambda x, i: (x - guess(-math.log(levels[i]))) / levels[i], x, levels))
    for index in range(1, 5):
        expected = exponential_integral(guess, walk[index - 1], levels[index], levels[index + 1])
        torch.testing.assert_close(walk[index], expected, atol=1e-9, rtol=0)
    wrong = exponential_integral(guess, x, levels[0], levels[1])
    assert (walk[0] - wrong).abs().max() > 1e-3, "the first step is Euler's, which is not exact"


def test_res_multistep_is_of_second_order():
    x, errors = noise().double(), {}
    exact = exact_end(x, 1.0)
    for steps in (40, 80, 160):
        levels = sigmas("res_multistep", steps, 1.0)
        *_, end = solve("res_multistep", lambda x, i: moving(x, levels[i]), x, levels)  # noqa: B023
        errors[steps] = (end - exact).abs().max().item()
    assert errors[80] / errors[160] == pytest.approx(4, rel=0.2)


def test_the_first_level_may_be_pure_noise():
    for solver in DETERMINISTIC:
        walk = list(solve(solver, velocity, noise(), (1.0, 0.9, 0.6, 0.2, 0.0)))
        assert all(torch.isfinite(x).all() for x in walk)


@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_a_half_precision_network_does_not_make_a_half_precision_latent(solver):
    levels = sigmas(solver, 8, 5.0)
    walk = list(solve(solver, lambda x, index: velocity(x, index).bfloat16(), noise(), levels))
    exact = list(solve(solver, lambda x, index: velocity(x, index).bfloat16().float(), noise(), levels))
    assert {x.dtype for x in walk} == {torch.float32}
    assert all(torch.equal(one, other) for one, other in zip(walk, exact, strict=True))


@pytest.mark.parametrize(
    "levels",
    [(), (0.5,), (0.5, 0.5, 0.0), (0.2, 0.5, 0.0), (1.1, 0.5, 0.0), (0.5, -0.1), (float("nan"), 0.0)],
)
def test_what_is_no_schedule_is_refused_at_once(levels):
    with pytest.raises(InvalidRequest, match=r"sigmas: .* is not a schedule. Allowed: two or more levels"):
        solve("euler", velocity, noise(), levels)


def test_an_unknown_solver_is_refused_at_once():
    with pytest.raises(UnknownName, match="no solver named 'heun'"):
        solve("heun", velocity, noise(), (1.0, 0.0))

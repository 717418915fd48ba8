"""A test of the tests of few-step solvers and of guidance: likely mistakes, each of which a check must see."""

import math

import pytest
import torch
from tests.engine.sampling.sampling_cases import noise, velocity

from filmgate.engine.sampling import schedules, solvers, steering
from filmgate.engine.sampling.solvers import State
from filmgate.spec import GuidanceRule

LEVELS = (1.0, 0.9375, 5 / 6, 0.625, 0.0)
DRAWS = [torch.randn(8, generator=torch.Generator().manual_seed(index)) for index in range(4)]


def close(one, other):
    assert (one - other).abs().max() < 1e-5


def check_lcm():
    x = noise()
    for index, latent in enumerate(solvers.solve("lcm", velocity, noise(), LEVELS, DRAWS.__getitem__)):
        guess = x - LEVELS[index] * velocity(x, index)
        x = (1 - LEVELS[index + 1]) * guess + LEVELS[index + 1] * DRAWS[index]
        close(latent, x)


def check_ancestral():
    x = noise()
    for index, latent in enumerate(solvers.solve("euler_ancestral", velocity, noise(), LEVELS, DRAWS.__getitem__)):
        s, t = LEVELS[index : index + 2]
        below = t * t / s
        x = x + (below - s) * velocity(x, index)
        share = (1 - t) / (1 - below)
        x = x * share + DRAWS[index] * math.sqrt(t * t - (below * share) ** 2)
        close(latent, x)


def check_multistep():
    x, older = noise(), None
    for index, latent in enumerate(solvers.solve("res_multistep", velocity, noise(), LEVELS)):
        s, t = LEVELS[index : index + 2]
        guess = x - s * velocity(x, index)
        if older is None or t == 0:
            x = x * (t / s) + guess * (1 - t / s)
        else:
            h, c = math.log(s / t), math.log(s / LEVELS[index - 1]) / math.log(s / t)
            phi1 = -math.expm1(-h) / h
            phi2 = (phi1 - 1) / -h
            x = x * math.exp(-h) + h * ((phi1 - phi2 / c) * guess + phi2 / c * older)
        older = guess
        close(latent, x)


def check_lists():
    assert schedules.listed_sigmas((1.0, 0.75, 0.5, 0.25), 5.0) == pytest.approx(LEVELS)
    assert schedules.trig_levels(80.0) == pytest.approx((0.98765, 0.93378, 0.85290, 0.60898), abs=5e-6)
    assert schedules.timestep(0.9375, "lcm") == 937.5


def check_guidance():
    c, u, x = (torch.randn(9, generator=torch.Generator().manual_seed(index)) for index in (1, 2, 3))
    at = steering.Point(x, 0.6)
    s = torch.dot(c, u) / torch.dot(u, u)
    close(steering.steer(GuidanceRule(method="cfg_zero_star"), c, u, 4.0, at)[0], s * u + 4 * (c - s * u))
    rule = GuidanceRule(method="apg", momentum=-0.5, norm_threshold=1.0)
    average = x * 0.3
    guess_c, guess_u = x - 0.6 * c, x - 0.6 * u
    update = guess_c - guess_u - 0.5 * average
    update = update / max(1.0, float(update.norm()))
    along = guess_c / guess_c.norm()
    update = update - torch.dot(update, along) * along
    velocity, kept = steering.steer(rule, c, u, 4.0, at, average)
    close(x - 0.6 * velocity, guess_c + 3 * update)
    close(kept, guess_c - guess_u - 0.5 * average)
    p, n = c.view(1, 3, 3), u.view(1, 3, 3)
    pushed = 5 * p - 4 * n
    ratio = pushed.abs().sum() / p.abs().sum()
    z = 0.25 * pushed * min(float(ratio), 2.5) / ratio + 0.75 * p
    close(steering.nag(p, n, scale=5.0, tau=2.5, alpha=0.25), z)


CHECKS = (check_lcm, check_ancestral, check_multistep, check_lists, check_guidance)


def noisy(patch, name, step):
    patch.setattr(solvers, "NOISY_SOLVERS", {**solvers.NOISY_SOLVERS, name: step})


def lcm_noises_to_its_own_level(patch):
    def lcm(state, velocity, sigmas, draw):
        guess, level = solvers._guess(state, velocity, sigmas), sigmas[state.done]
        return State(state.done + 1, guess * (1 - level) + draw(state.done) * level)

    noisy(patch, "lcm", lcm)


def lcm_without_noise(patch):
    noisy(patch, "lcm", lambda state, velocity, sigmas, _: solvers.euler(state, velocity, sigmas))


def lcm_noises_as_variance_preserving(patch):
    def lcm(state, velocity, sigmas, draw):
        guess, level = solvers._guess(state, velocity, sigmas), sigmas[state.done + 1]
        return State(state.done + 1, guess * math.sqrt(1 - level**2) + draw(state.done) * level)

    noisy(patch, "lcm", lcm)


def ancestral_as_for_exploding_variance(patch):
    """Without rescaling the video's share."""

    def step(state, velocity, sigmas, draw):
        s, t = sigmas[state.done], sigmas[state.done + 1]
        up = min(t, math.sqrt(t**2 * (s**2 - t**2) / s**2))
        down = math.sqrt(t**2 - up**2)
        return State(state.done + 1, state.x + (down - s) * velocity + draw(state.done) * up)

    noisy(patch, "euler_ancestral", step)


def multistep_in_signal_to_noise(patch):
    patch.setattr(solvers, "SOLVERS", {**solvers.SOLVERS, "res_multistep": solvers.dpmpp_2m})


def multistep_of_first_order(patch):
    patch.setattr(solvers, "SOLVERS", {**solvers.SOLVERS, "res_multistep": solvers.euler})


def list_not_shifted(patch):
    patch.setattr(schedules, "shift_sigma", lambda sigma, _: sigma)


def clock_cut(patch):
    patch.setattr(schedules, "timestep", lambda sigma, _: float(int(1000 * sigma)))


def angles_taken_for_levels(patch):
    patch.setattr(schedules, "trig_levels", lambda largest: (math.atan(largest) / 1.5708, 1.5, 1.4, 1.0))


def zero_star_scales_the_prompt(patch):
    original = steering.zero_star_scale
    patch.setattr(steering, "zero_star_scale", lambda c, u: original(u, c))


def apg_on_velocities(patch):
    def projected(rule, c, u, scale, point, average):
        average = c - u + rule.momentum * (0 if average is None else average)
        update = steering.projected_update(average, c, eta=rule.eta, norm_threshold=rule.norm_threshold)
        return c + update * (scale - 1), average

    patch.setattr(steering, "_projected", projected)


def apg_keeps_the_parallel_part(patch):
    original = steering.projected_update
    patch.setattr(steering, "projected_update", lambda d, g, **options: original(d, g, **options | {"eta": 1.0}))


def apg_forgets(patch):
    original = steering._projected
    patch.setattr(steering, "_projected", lambda *args: original(*args[:-1], None))


def apg_is_not_cut(patch):
    original = steering.projected_update
    patch.setattr(
        steering, "projected_update", lambda d, g, **options: original(d, g, **options | {"norm_threshold": 0})
    )


def nag_is_not_limited(patch):
    original = steering.nag
    patch.setattr(steering, "nag", lambda p, n, **options: original(p, n, **options | {"tau": 1e9}))


def nag_pushes_by_its_whole_scale(patch):
    original = steering.nag
    patch.setattr(steering, "nag", lambda p, n, *, scale, **options: original(p, n, scale=scale + 1, **options))


MUTATIONS = (
    (lcm_noises_to_its_own_level, check_lcm), (lcm_without_noise, check_lcm),
    (lcm_noises_as_variance_preserving, check_lcm), (ancestral_as_for_exploding_variance, check_ancestral),
    (multistep_in_signal_to_noise, check_multistep), (multistep_of_first_order, check_multistep),
    (list_not_shifted, check_lists), (clock_cut, check_lists), (angles_taken_for_levels, check_lists),
    (zero_star_scales_the_prompt, check_guidance), (apg_on_velocities, check_guidance),
    (apg_keeps_the_parallel_part, check_guidance), (apg_forgets, check_guidance), (apg_is_not_cut, check_guidance),
    (nag_is_not_limited, check_guidance), (nag_pushes_by_its_whole_scale, check_guidance),
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_code_passes(check):
    check()


@pytest.mark.parametrize(("mutate", "check"), MUTATIONS, ids=lambda value: value.__name__)
def test_a_mistake_fails(mutate, check, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        check()

"""Guidance by other formulas: against Diffusers' guiders, against the papers, and at the scales where all agree."""

import pytest
import torch
from diffusers.guiders import AdaptiveProjectedGuidance, ClassifierFreeZeroStarGuidance
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer
from hypothesis import given
from hypothesis import strategies as st

from filmgate.engine.sampling.guidance import guided, stands_still
from filmgate.engine.sampling.steering import Point, nag, projected_update, steer, zero_star_scale
from filmgate.spec import GuidanceRule

CFG, ZERO_STAR, APG = (GuidanceRule(method=name) for name in ("cfg", "cfg_zero_star", "apg"))


def draw(seed, *shape):
    return torch.randn(*(shape or (4, 2, 3, 5)), generator=torch.Generator().manual_seed(seed))


def point(sigma=0.7):
    return Point(draw(9), sigma)


@given(st.integers(0, 99), st.floats(0, 12))
def test_cfg_is_the_plain_formula(seed, scale):
    c, u = draw(seed), draw(seed + 100)
    velocity, average = steer(CFG, c, u, scale, point())
    assert torch.equal(velocity, guided(c, u, scale))
    assert average is None


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.5, 7.0])
def test_cfg_zero_star_is_that_of_diffusers(scale):
    guider = ClassifierFreeZeroStarGuidance(guidance_scale=scale, zero_init_steps=1)
    guider.set_state(step=1, num_inference_steps=10, timestep=None)
    c, u = draw(1), draw(2) + 0.4 * draw(1)
    theirs = guider.forward(c[None], u[None]).pred[0]
    torch.testing.assert_close(steer(ZERO_STAR, c, u, scale, point())[0], theirs, atol=1e-6, rtol=1e-6)


def test_cfg_zero_star_takes_the_nearest_multiple_of_the_negative():
    c, u = draw(1), draw(2)
    factor = zero_star_scale(c, u)
    assert torch.linalg.lstsq(u.reshape(-1, 1), c.reshape(-1, 1)).solution.item() == pytest.approx(
        factor.item(), abs=1e-5
    )
    assert abs(float((u * (c - factor * u)).sum())) < 1e-4, "what is left is perpendicular"
    assert zero_star_scale(c, torch.zeros_like(c)) == 0
    assert zero_star_scale(c, 3 * c).item() == pytest.approx(1 / 3)


def test_only_cfg_zero_star_stands_still_and_only_at_first():
    assert [stands_still(ZERO_STAR, index) for index in range(3)] == [True, False, False]
    assert not stands_still(GuidanceRule(method="cfg_zero_star", zero_steps=0), 0)
    assert not any(stands_still(GuidanceRule(method=name), 0) for name in ("cfg", "apg", "nag"))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 1.5, 100.0])
@pytest.mark.parametrize("momentum", [0.0, -0.5])
def test_apg_is_that_of_diffusers_on_guesses_of_the_video(eta, threshold, momentum):
    guider = AdaptiveProjectedGuidance(
        guidance_scale=4.0 - 1, adaptive_projected_guidance_momentum=momentum,
        adaptive_projected_guidance_rescale=threshold, eta=eta, use_original_formulation=True,
    )  # fmt: skip
    guider.momentum_buffer = MomentumBuffer(momentum)
    rule = GuidanceRule(method="apg", eta=eta, momentum=momentum, norm_threshold=threshold)
    average = None
    for index, sigma in enumerate((0.9, 0.7, 0.2)):
        x, c, u = draw(index), draw(index + 10), draw(index + 20)
        guider.set_state(step=index, num_inference_steps=10, timestep=None)
        theirs = guider.forward((x - sigma * c)[None], (x - sigma * u)[None]).pred[0]
        velocity, average = steer(rule, c, u, 4.0, Point(x, sigma), average)
        torch.testing.assert_close(x - sigma * velocity, theirs, atol=2e-5, rtol=1e-5)


def test_apg_with_the_whole_parallel_part_is_cfg():
    rule = GuidanceRule(method="apg", eta=1.0, momentum=0.0)
    c, u = draw(1), draw(2)
    torch.testing.assert_close(steer(rule, c, u, 5.0, point())[0], guided(c, u, 5.0), atol=1e-5, rtol=1e-5)


@given(st.integers(0, 99))
def test_apg_without_the_parallel_part_does_not_lengthen_the_guess(seed):
    difference, guess = draw(seed), draw(seed + 100)
    update = projected_update(difference, guess, eta=0.0)
    assert abs(float((update * guess).sum())) < 1e-3
    assert projected_update(difference, guess, eta=0.0, norm_threshold=0.5).norm() <= 0.5 + 1e-6


@pytest.mark.parametrize("rule", [CFG, ZERO_STAR, APG, GuidanceRule(method="nag")], ids=lambda rule: rule.method)
def test_at_scale_one_every_method_gives_the_prompt(rule):
    c, u = draw(1), draw(2)
    torch.testing.assert_close(steer(rule, c, u, 1.0, point())[0], c, atol=1e-6, rtol=1e-6)


def nag_of_the_paper(p, n, scale, tau, alpha):
    """Token by token, as equations 7 to 10 have it."""
    result = torch.empty_like(p)
    for token in range(p.shape[1]):
        a, b = p[0, token], n[0, token]
        pushed = scale * a - (scale - 1) * b
        ratio = float(pushed.abs().sum() / a.abs().sum())
        result[0, token] = alpha * pushed * (min(ratio, tau) / ratio) + (1 - alpha) * a
    return result


@pytest.mark.parametrize(("scale", "tau", "alpha"), [(11.0, 2.5, 0.25), (1.2, 2.5, 0.5), (5.0, 1.0, 1.0)])
def test_nag_is_that_of_the_paper(scale, tau, alpha):
    p, n = draw(1, 1, 7, 2, 8), draw(2, 1, 7, 2, 8)
    ours = nag(p, n, scale=scale, tau=tau, alpha=alpha)
    torch.testing.assert_close(ours, nag_of_the_paper(p, n, scale, tau, alpha), atol=2e-5, rtol=1e-5)
    assert (ours.abs().sum((-2, -1)) <= (alpha * tau + 1 - alpha) * p.abs().sum((-2, -1)) + 1e-4).all()


def test_nag_is_off_where_it_should_be():
    p, n = draw(1, 1, 7, 2, 8), draw(2, 1, 7, 2, 8)
    assert torch.equal(nag(p, n, scale=11.0, tau=2.5, alpha=0.0), p)
    torch.testing.assert_close(nag(p, p, scale=11.0, tau=2.5, alpha=0.7), p)
    torch.testing.assert_close(nag(p, n, scale=1.0, tau=2.5, alpha=1.0), p)
    assert nag(p.bfloat16(), n.bfloat16(), scale=11.0, tau=2.5, alpha=0.25).dtype == torch.bfloat16
    assert torch.isfinite(nag(p * 0, n, scale=11.0, tau=2.5, alpha=0.25)).all()

"""Noise levels of an expert's own range, and the error that is minimised."""

import pytest
import torch
from tests.engine.lora_cases import draw, random_dit

from filmgate.engine.models.config import DitConfig
from filmgate.engine.sampling.schedules import shift_sigma, sigmas
from filmgate.training.lora.objective import Example, Range, draws_of, fixed_losses, unshift_sigma, velocity_errors

SMALL = {"dim": 24, "ffn_dim": 40, "num_heads": 2, "num_layers": 1, "text_len": 8, "text_dim": 16, "freq_dim": 32}
SIZE = (2, 4, 4)


def example(config, seed=0, rows=3, **more):
    latents = draw(seed, config.out_dim, *SIZE)
    return Example(latents, draw(seed + 20, rows, config.text_dim), **more)


@pytest.mark.parametrize("logit_normal", [False, True])
@pytest.mark.parametrize(
    ("expert", "boundary", "low", "high"),
    [("high_noise", 0.875, 0.875, 1.0), ("low_noise", 0.875, 0.001, 0.875), ("dense", None, 0.001, 1.0)],
)
def test_levels_stay_in_the_experts_range_and_rise(expert, boundary, low, high, logit_normal):
    found = Range.of(expert, boundary, 5.0, logit_normal=logit_normal)
    levels = [found.level(i / 40) for i in range(41)]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(low, abs=1e-6)
    assert levels[-1] == pytest.approx(high, abs=1e-6)


def test_uniform_levels_are_those_that_sampling_visits():
    """The share of steps above a level in a long walk is the share of draws above it."""
    whole = Range.of("dense", None, 5.0)
    walk = sigmas("euler", 1000, 5.0)[:-1]
    for share in (0.1, 0.4, 0.7):
        level = whole.level(share)
        assert sum(sigma <= level for sigma in walk) / 1000 == pytest.approx(share, abs=0.002)
    assert Range.of("low_noise", shift_sigma(0.5, 5.0), 5.0).level(0.5) == pytest.approx(shift_sigma(0.25, 5.0))
    assert unshift_sigma(shift_sigma(0.3, 7.0), 7.0) == pytest.approx(0.3)


def test_logit_normal_levels_are_logit_normal():
    draws = torch.sigmoid(torch.randn(20_000, generator=torch.Generator().manual_seed(0)))
    found = Range(0.0, 1.0, 1.0, logit_normal=True)
    for share in (0.1, 0.5, 0.9):
        assert found.level(share) == pytest.approx(draws.quantile(share).item(), abs=0.02)


def test_the_error_is_that_of_the_velocity():
    network = random_dit(DitConfig(**SMALL))
    examples = [example(network.config, 0), example(network.config, 1, rows=5)]
    noise, levels = draw(9, 2, 16, *SIZE), [0.3, 0.9]
    found = velocity_errors(network, examples, levels, noise, [False, False])
    for index, one in enumerate(examples):
        s = levels[index]
        noisy = (1 - s) * one.latents + s * noise[index]
        velocity = network(noisy[None], torch.tensor([1000 * s]), one.text[None])[0]
        expected = (velocity - (noise[index] - one.latents)).square().mean()
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-4)


def test_a_known_first_frame_is_clean_told_zero_and_not_counted():
    network = random_dit(DitConfig(**SMALL, per_token_timestep=True))
    one, noise = example(network.config), draw(9, 1, 16, *SIZE)
    noisy = 0.4 * one.latents + 0.6 * noise[0]
    noisy[:, 0] = one.latents[:, 0]
    times = torch.tensor([[0.0] * 4 + [600.0] * 4])
    velocity = network(noisy[None], times, one.text[None])[0]
    expected = (velocity - (noise[0] - one.latents))[:, 1:].square().mean()
    torch.testing.assert_close(velocity_errors(network, [one], [0.6], noise, [True])[0], expected, atol=1e-5, rtol=1e-4)
    both = velocity_errors(network, [one, one], [0.6, 0.6], noise.expand(2, -1, -1, -1, -1), [True, False])
    torch.testing.assert_close(both[0], expected, atol=1e-5, rtol=1e-4)
    plain = velocity_errors(network, [one], [0.6], noise, [False])[0]
    torch.testing.assert_close(both[1], plain, atol=1e-5, rtol=1e-4)
    assert abs(plain - expected) > 1e-3


def test_channels_beside_and_pictures_reach_the_network():
    network = random_dit(DitConfig(**SMALL, in_dim=36, image_dim=12))
    more = {"beside": draw(3, 20, *SIZE), "image": draw(4, 5, 12)}
    one, noise = example(network.config, **more), draw(9, 1, 16, *SIZE)
    noisy = 0.5 * one.latents + 0.5 * noise[0]
    seen = torch.cat([noisy, one.beside])[None]
    velocity = network(seen, torch.tensor([500.0]), one.text[None], one.image[None])[0]
    expected = (velocity - (noise[0] - one.latents)).square().mean()
    torch.testing.assert_close(
        velocity_errors(network, [one], [0.5], noise, [False])[0], expected, atol=1e-5, rtol=1e-4
    )


def test_fixed_losses_are_the_same_every_time():
    network = random_dit(DitConfig(**SMALL))
    examples = [example(network.config, i) for i in range(3)]
    device = torch.device("cpu")
    assert fixed_losses(network, examples, [0.2, 0.8], device) == fixed_losses(network, examples, [0.2, 0.8], device)


def test_draws_belong_to_a_place():
    first, again, other = (torch.randn(3, generator=draws_of(1, place)) for place in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

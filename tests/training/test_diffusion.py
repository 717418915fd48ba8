"""Flow-matching pieces: noise levels fall where an expert paints, captions drop out, coverage matches the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from filmgate.training.diffusion import RANGES
from filmgate.training.latents import Moments, token_cover
from filmgate.training.members import BOUNDARY, SHIFT
from filmgate.training.objective import sample_sigmas, shifted, unshifted, without_text
from filmgate.training.text_encoder import SLOT_SIZES, slots
from filmgate.training.trainee import Recipe, alignment_target
from filmgate.training.world.captions import Facts, Thing, facts
from filmgate.training.world.scenes import sample_scenes


@given(st.floats(0.01, 1), st.floats(1, 16))
def test_shift_and_back(u: float, shift: float) -> None:
    sigma = float(shifted(torch.tensor(u, dtype=torch.float64), shift))
    assert unshifted(sigma, shift) == pytest.approx(u)


@pytest.mark.parametrize("name", ["high_noise", "low_noise"])
def test_experts_see_their_own_noise(name: str) -> None:
    low, high = RANGES[name]
    recipe = replace(Recipe(), low=low, high=high, overlap=0.0)
    sigma = sample_sigmas(4000, recipe, torch.Generator().manual_seed(0))
    assert sigma.min() >= low - 1e-4
    assert sigma.max() <= high + 1e-4


def test_overlap_crosses_the_boundary_a_little() -> None:
    recipe = replace(Recipe(), low=BOUNDARY)
    sigma = sample_sigmas(4000, recipe, torch.Generator().manual_seed(0))
    below = (sigma < BOUNDARY).float().mean()
    assert 0.02 < below < 0.2
    assert unshifted(BOUNDARY, SHIFT) == pytest.approx(0.5833, abs=1e-4)


def test_some_captions_are_emptied() -> None:
    ids = torch.randint(3, 100, (1000, 8))
    dropped = without_text(ids, 0.1, torch.Generator().manual_seed(0))
    empty = (dropped == torch.tensor([1, 0, 0, 0, 0, 0, 0, 0])).all(1)
    assert 60 < int(empty.sum()) < 140
    assert torch.equal(dropped[~empty], ids[~empty])


def test_cover_counts_object_pixels() -> None:
    number = torch.full((1, 5, 32, 48), -1)
    number[0, 0, :16, :16] = 1
    number[0, 1:3, 16:, 32:] = 2
    cover = token_cover(number)
    assert cover.shape == (1, 2 * 2 * 3, 3)
    assert cover[0, 0].tolist() == [1, 0, 0]
    assert cover[0, 6 + 5].tolist() == [0, 0.5, 0]
    assert cover.sum() == pytest.approx(1.5)


def test_alignment_target_names_the_covering_object() -> None:
    labels = sample_scenes(2, torch.Generator().manual_seed(0)).labels
    cover = torch.zeros(2, 4, 3)
    cover[0, 1, 0] = 0.75
    target = alignment_target(cover, labels)
    assert target.shape == (2, 4, 15)
    assert target[0, 1, int(labels.colour[0, 0])] == 0.75
    assert target[0, 1, -1] == 0.75
    assert target.sum() == pytest.approx(0.75 * 3)


def test_moments_match_a_direct_computation() -> None:
    latents = torch.randn(6, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    moments = Moments()
    moments.add(latents[:2])
    moments.add(latents[2:])
    mean, std = moments.result()
    assert torch.allclose(mean, latents.mean((0, 2, 3, 4)), atol=1e-5)
    assert torch.allclose(std, latents.std((0, 2, 3, 4), correction=0), atol=1e-4)


def test_slots_do_not_depend_on_the_order_of_mention() -> None:
    one, other = Thing("red", "ball", "plain", "small", "still"), Thing("blue", "cube", "metal", "large", "still")
    left = slots(Facts((one, other), False, "left of", "static", "noon", "sand"))
    right = slots(Facts((other, one), False, "right of", "static", "noon", "sand"))
    assert left == right


def test_slots_fit_their_heads() -> None:
    for scene in facts(sample_scenes(300, torch.Generator().manual_seed(0)).labels):
        row = slots(scene)
        assert len(row) == len(SLOT_SIZES)
        assert all(value == -100 or 0 <= value < size for value, size in zip(row, SLOT_SIZES, strict=True))

"""The Fréchet distance is that of the formula, and tells sets of videos apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from filmgate.evaluation.frechet import feature_distance, frechet_distance, gaussian
from filmgate.spec import InvalidRequest


def covariance(seed: int, size: int = 6) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(size, size))
    return factor @ factor.T


def test_between_gaussians_with_the_same_axes_it_is_the_closed_form():
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    means = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    expected = ((means[0] - means[1]) ** 2).sum() + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    found = frechet_distance((means[0], np.diag(first)), (means[1], np.diag(second)))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_a_matrix_root_gives(seed):
    one, other = covariance(seed), covariance(seed + 100)
    mean, other_mean = np.random.default_rng(seed).normal(size=(2, 6))
    root = sqrtm(one @ other).real
    expected = ((mean - other_mean) ** 2).sum() + np.trace(one + other - 2 * root)
    assert frechet_distance((mean, one), (other_mean, other)) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance((other_mean, other), (mean, one)) == pytest.approx(expected, rel=1e-6)


def test_turning_all_features_changes_nothing_and_shifting_adds_its_square():
    one, other = (gaussian(np.random.default_rng(s).normal(size=(50, 6))) for s in (1, 2))
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))
    turned = [(turn @ mean, turn @ cov @ turn.T) for mean, cov in (one, other)]
    assert frechet_distance(*turned) == pytest.approx(frechet_distance(one, other))
    shifted = (one[0] + 3, one[1])
    assert frechet_distance(one, shifted) == pytest.approx(9 * 6)


def test_singular_covariances_are_no_trouble():
    few = np.random.default_rng(0).normal(size=(4, 30))
    assert frechet_distance(gaussian(few), gaussian(few)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(frechet_distance(gaussian(few), gaussian(few[::-1] + 1)))


def test_the_interval_covers_other_draws_of_the_same_videos():
    generator = np.random.default_rng(0)
    reference = generator.normal(size=(400, 5))
    covered = 0
    typical = np.mean([feature_distance(generator.normal(size=(400, 5)) + 0.4, reference, draws=1).distance
                       for _ in range(40)])  # fmt: skip
    for _ in range(40):
        spread = feature_distance(generator.normal(size=(400, 5)) + 0.4, reference, draws=60)
        covered += spread.low <= typical <= spread.high
    assert covered >= 34


def test_worse_sets_are_further_away():
    generator = np.random.default_rng(0)
    reference, same = generator.normal(size=(2, 300, 5))
    distances = [feature_distance(same * scale + shift, reference, draws=2).distance
                 for scale, shift in ((1.0, 0.0), (1.0, 0.3), (2.0, 0.3), (2.0, 1.0))]  # fmt: skip
    assert distances == sorted(distances)


def test_one_video_is_not_a_set():
    with pytest.raises(InvalidRequest, match="1 videos"):
        gaussian(np.zeros((1, 4)))

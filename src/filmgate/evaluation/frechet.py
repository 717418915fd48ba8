"""How far two sets of videos are apart as wholes: the Fréchet distance of Gaussians fitted to their features.

Legend: N videos, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from filmgate.spec.errors import InvalidRequest

Numbers = NDArray[np.float64]
_NORMAL = 1.96


class Spread(NamedTuple):
    """A distance, and the ends of its 95 % interval under other draws of the first set."""

    distance: float
    low: float
    high: float


def gaussian(features: Numbers) -> tuple[Numbers, Numbers]:
    """Mean [D] and unbiased covariance [D, D] of features [N, D].

    Raises:
        InvalidRequest: there are fewer than two videos.
    """
    if len(features) < 2:
        raise InvalidRequest("features", f"of {len(features)} videos", allowed="of two or more")
    features = np.asarray(features, dtype=np.float64)
    return features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(first: tuple[Numbers, Numbers], second: tuple[Numbers, Numbers]) -> float:
    """|m₁ - m₂|² + tr(C₁ + C₂ - 2(C₁C₂)^½), squared as in the FID (Dowson and Landau 1982; Heusel et al.,
    arXiv 1706.08500).

    The trace of the root is that of (C₁^½ C₂ C₁^½)^½, which is symmetric: two eigendecompositions and no complex
    numbers. Covariances of fewer videos than features are singular, and are no trouble here; but the distance then
    depends on their number, so that only sets of the same size may be compared.
    """
    (mean, covariance), (other_mean, other_covariance) = first, second
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = root @ other_covariance @ root
    mixed = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0)).sum()
    apart = float(((mean - other_mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(covariance) + np.trace(other_covariance) - 2 * mixed))


def feature_distance(first: Numbers, second: Numbers, *, draws: int = 100, seed: int = 0) -> Spread:
    """Fréchet distance of features [N, D] from a fixed set [N', D].

    The interval is the distance ± 1.96 standard deviations over bootstrap draws of the first set: percentiles of the
    draws themselves would lie too high, because a set that repeats some of its videos is further from any other.
    """
    reference = gaussian(second)
    generator = np.random.default_rng(seed)
    drawn = [first[generator.integers(0, len(first), len(first))] for _ in range(draws)]
    error = _NORMAL * float(np.std([frechet_distance(gaussian(part), reference) for part in drawn]))
    distance = frechet_distance(gaussian(first), reference)
    return Spread(distance, max(0.0, distance - error), distance + error)

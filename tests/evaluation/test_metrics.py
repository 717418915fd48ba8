"""Distances between pictures, by hand and by their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filmgate.evaluation.metrics import PSNR_LIMIT, flicker, mean_squared_error, psnr, ssim, temporal_difference

RANDOM = np.random.default_rng(0)


def picture(height=24, width=30):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_psnr_by_hand():
    first = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(mean_squared_error(first, first)) == PSNR_LIMIT
    assert psnr(mean_squared_error(first, first + 5)) == pytest.approx(20 * np.log10(255 / 5))
    assert mean_squared_error(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)) == 255**2
    assert psnr(255**2) == 0


def ssim_written_out(first, second):
    """One window after another, as the paper defines it."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets**2) / 4.5)
    window = np.outer(weights, weights)
    window /= window.sum()
    values = []
    for channel in range(3):
        for y in range(first.shape[0] - 10):
            for x in range(first.shape[1] - 10):
                a = first[y : y + 11, x : x + 11, channel].astype(float)
                b = second[y : y + 11, x : x + 11, channel].astype(float)
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                cov = (window * (a - ma) * (b - mb)).sum()
                c1, c2 = 2.55**2, 7.65**2
                values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_ssim_is_that_of_the_paper():
    first = picture(14, 13)
    second = (0.7 * first + 0.3 * picture(14, 13)).astype(np.uint8)
    assert ssim(first, second) == pytest.approx(ssim_written_out(first, second), abs=1e-9)


@given(st.integers(2, 24), st.integers(2, 24))
def test_ssim_of_a_picture_with_itself_is_one(height, width):
    assert ssim(image := picture(height, width), image) == pytest.approx(1)


def test_unrelated_pictures_are_unlike():
    assert abs(ssim(picture(64, 64), picture(64, 64))) < 0.05


def test_restlessness():
    assert temporal_difference(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)) == pytest.approx(0.2)
    assert temporal_difference(np.full((4, 4, 3), 51, np.uint8), np.zeros((4, 4, 3), np.uint8)) == pytest.approx(0.2)
    assert flicker(np.linspace(0, 1, 9)) == pytest.approx(0), "a sunset does not flicker"
    assert flicker(0.5 + 0.1 * (-1) ** np.arange(9)) == pytest.approx(0.4)
    assert flicker(np.array([0.1, 0.9])) == 0

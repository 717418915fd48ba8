"""How far two pictures are apart, and how restless a video is.

Legend: F frames, H W pixels; frames are uint8 RGB [H, W, 3]. numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
PEAK = 255.0
PSNR_LIMIT = 100.0
"""What identical pictures are given, in dB: infinity is not a number in JSON."""
_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def mean_squared_error(first: Frame, second: Frame) -> float:
    """Mean over pixels and channels of the squared difference, in codes²."""
    return float(np.mean((first.astype(np.float64) - second) ** 2))


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error in codes²; at most :data:`PSNR_LIMIT`."""
    if error <= 0:
        return PSNR_LIMIT
    return min(PSNR_LIMIT, float(10 * np.log10(PEAK**2 / error)))


def ssim(first: Frame, second: Frame) -> float:
    """Structural similarity (Wang et al. 2004): 1 for identical pictures, near 0 or below for unrelated ones.

    Gaussian window of 11×11 with σ 1.5, K1 0.01, K2 0.03, population covariances, windows that lie inside the picture;
    the mean over the three channels. Both sides need at least 11 pixels; smaller pictures give a window of their size.
    """
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x**2
    variance_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    likeness /= (mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2)
    return float(likeness.mean())


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian windows inside the picture: [H, W, 3] to [H - 10, W - 10, 3]."""
    for axis in (0, 1):
        taps = min(_TAPS, image.shape[axis])
        offsets = np.arange(taps) - (taps - 1) / 2
        weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
        windows = np.lib.stride_tricks.sliding_window_view(image, taps, axis=axis)
        image = windows @ (weights / weights.sum())
    return image


def temporal_difference(first: Frame, second: Frame) -> float:
    """Mean absolute difference of successive frames, 0 ... 1. Motion counts; a still video has 0."""
    return float(np.mean(np.abs(first.astype(np.int16) - second))) / PEAK


def flicker(brightness: NDArray[np.float64]) -> float:
    """Restlessness of the light, from the mean brightness of every frame [F], in 0 ... 1.

    Mean absolute second difference: a steady ramp (a sunset) has 0, light that goes up and down with every frame has
    four times its amplitude. No motion is compensated: what moves without changing the mean does not count.
    """
    if len(brightness) < 3:
        return 0.0
    return float(np.mean(np.abs(np.diff(brightness, n=2))))

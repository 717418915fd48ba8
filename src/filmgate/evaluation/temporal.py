"""How steady a video is: errors after motion compensation, and flicker where nothing moves.

Legend: F frames, H W pixels; frames are uint8 RGB [F, H, W, 3]. Errors are mean absolute differences of RGB in 0 ... 1.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
_CONSISTENT = 1.0
"""Forward and backward flow may disagree by this many pixels before a pixel counts as occluded."""


class Steadiness(NamedTuple):
    """``warp_error``: difference between a frame and its successor warped onto it, where the flow is consistent.
    ``flicker``: difference between successive frames where the flow is below a quarter of a pixel. ``compensated``:
    share of pixels that the warp error covers."""

    warp_error: float
    flicker: float
    compensated: float


def _flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Dense inverse-search optical flow (Kroeger et al. 2016) in pixels [H, W, 2]."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.zeros((*first.shape, 2), dtype=np.float32)
    return np.asarray(estimator.calc(first, second, flow), dtype=np.float32)


def _sample(image: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """``image`` at every pixel's place plus ``flow``, bilinear."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def steadiness(frames: Frames) -> Steadiness:
    """Measure a clip of at least two frames, after Lai et al. 2018 ("Learning blind video temporal consistency")."""
    warp, flicker, share = [], [], []
    greys = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for frame in frames]
    values = frames.astype(np.float32) / 255
    for index in range(len(frames) - 1):
        forward, backward = _flow(greys[index], greys[index + 1]), _flow(greys[index + 1], greys[index])
        disagreement = np.linalg.norm(forward + _sample(backward, forward), axis=-1)
        visible = disagreement < _CONSISTENT
        error = np.abs(_sample(values[index + 1], forward) - values[index]).mean(-1)
        still = np.linalg.norm(forward, axis=-1) < 0.25
        difference = np.abs(values[index + 1] - values[index]).mean(-1)
        share.append(float(visible.mean()))
        if visible.any():
            warp.append(float(error[visible].mean()))
        if still.any():
            flicker.append(float(difference[still].mean()))
    return Steadiness(*(float(np.mean(part)) if part else float("nan") for part in (warp, flicker, share)))


def compensated_error(frames: Frames, flow: NDArray[np.float32], visible: NDArray[np.bool_]) -> float:
    """Warp error of a clip of which the true motion is known; not a number where nothing is visible in two frames.

    Args:
        frames: [F, H, W, 3].
        flow: Where every pixel goes in the next frame, in pixels [F - 1, H, W, 2]: x, then y.
        visible: Where what a pixel shows is still seen in the next frame [F - 1, H, W].
    """
    values = frames.astype(np.float32) / 255
    errors = [
        float(np.abs(_sample(after, way) - before).mean(-1)[seen].mean())
        for before, after, way, seen in zip(values[:-1], values[1:], flow, visible, strict=True)
        if seen.any()
    ]
    return float(np.mean(errors)) if errors else float("nan")

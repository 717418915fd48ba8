"""RGB frames to the YUV 4:2:0 of H.264 and back, by the numbers of ITU-R BT.709 and BT.601.

Legend: H W pixels. Done here and not by a scaler: FFmpeg's picks BT.601 unless told otherwise, rounds down (by one
code in the mean) and doubles chroma without interpolation. A smooth picture comes back at 48 dB from here and at 37 dB
from there, and a metric would see that difference in any video.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Coding(NamedTuple):
    """How RGB is coded as YUV: luma weights of red and blue, and whether codes span 0 ... 255 or 16 ... 235."""

    red: float
    blue: float
    full_range: bool = False


BT709 = Coding(0.2126, 0.0722)
"""BT.709-6, items 3.2 and 3.4."""
BT601 = Coding(0.299, 0.114)
"""BT.601-7, section 2.5."""


def _matrix(coding: Coding) -> tuple[NDArray[np.float32], int]:
    """RGB to YUV by multiplication from the right, in codes, and the luma code of black. Chroma is around 128."""
    luma = np.array([coding.red, 1 - coding.red - coding.blue, coding.blue])
    blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - coding.blue))
    red = (np.array([1, 0, 0]) - luma) / (2 * (1 - coding.red))
    spans = (255, 255, 255) if coding.full_range else (219, 224, 224)
    rows = np.stack([luma, blue, red], axis=1) * spans / 255
    return rows.astype(np.float32), 0 if coding.full_range else 16


def rgb_to_yuv420(frame: NDArray[np.uint8], coding: Coding = BT709) -> NDArray[np.uint8]:
    """Planes of a frame.

    Chroma is sited as H.264 presumes where a stream does not say otherwise: on the left column of each 2×2 block, half
    way between its rows (ITU-T H.264, figure E-1, type 0).

    Args:
        frame: RGB [H, W, 3], H and W even.
        coding: Matrix and range.

    Returns:
        [H·3/2, W]: the luma plane, then the two chroma planes, row after row.
    """
    height, width = frame.shape[:2]
    matrix, black = _matrix(coding)
    yuv = frame.astype(np.float32) @ matrix
    chroma = yuv[0::2, :, 1:] + yuv[1::2, :, 1:]
    before = np.concatenate([chroma[:, :1], chroma[:, 1:-1:2]], axis=1)
    chroma = (before + 2 * chroma[:, 0::2] + chroma[:, 1::2]) / 8 + 128
    planes = np.empty(height * width * 3 // 2, dtype=np.uint8)
    area = height * width
    # full-range chroma of a pure primary is 255.5
    planes[:area] = np.rint(yuv[..., 0] + black).clip(0, 255).ravel()
    planes[area:] = np.rint(chroma.transpose(2, 0, 1)).clip(0, 255).ravel()
    return planes.reshape(height * 3 // 2, width)


def yuv420_to_rgb(planes: NDArray[np.uint8], coding: Coding = BT709) -> NDArray[np.uint8]:
    """Inverse of :func:`rgb_to_yuv420`: [H·3/2, W] to [H, W, 3], chroma interpolated linearly between its sites."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    matrix, black = _matrix(coding)
    coarse = planes[height:].reshape(2, height // 2, width // 2).astype(np.float32) - 128
    after = np.concatenate([coarse[:, :, 1:], coarse[:, :, -1:]], axis=2)
    wide = np.stack([coarse, (coarse + after) / 2], axis=3).reshape(2, height // 2, width)
    above = np.concatenate([wide[:, :1], wide[:, :-1]], axis=1)
    below = np.concatenate([wide[:, 1:], wide[:, -1:]], axis=1)
    chroma = np.stack([(3 * wide + above) / 4, (3 * wide + below) / 4], axis=2).reshape(2, height, width)
    yuv = np.stack([planes[:height].astype(np.float32) - black, *chroma], axis=-1)
    rgb = yuv @ np.linalg.inv(matrix.astype(np.float64)).astype(np.float32)
    return np.asarray(np.rint(rgb).clip(0, 255), dtype=np.uint8)

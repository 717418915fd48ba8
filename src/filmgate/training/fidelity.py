"""What the autoencoder loses: clips before it beside clips after it, as a viewer gets them, in 8-bit codes.

The mean over a clip hides its objects, which fill 3 % of it, and its weakest frame; both have numbers of their own.
Legend: B clips of a batch, N clips in all, F frames, H W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = NDArray[np.float64]
_PEAK = 255.0


class Fidelity(NamedTuple):
    """Peak signal-to-noise ratios in dB: of clips [N], of their objects' pixels [clips that have objects], and of
    frames [N, F]."""

    clips: Values
    objects: Values
    frames: Values

    @classmethod
    def joined(cls, parts: list[Fidelity]) -> Fidelity:
        """Of all clips of several batches."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def frame_gap(self, index: NDArray[np.intp] | None = None) -> float:
        """How far the worst frame position lies below the mean of all, in dB; ``index`` chooses clips."""
        by_position = (self.frames if index is None else self.frames[index]).mean(0)
        return float(by_position.mean() - by_position.min())


def fidelity(before: Tensor, after: Tensor, covered: Tensor) -> Fidelity:
    """Compare uint8 clips [B, 3, F, H, W]; ``covered`` [B, F, H, W] is True on pixels of objects."""
    error = (before.float() - after.float()).square()
    mask = covered[:, None]
    pixels = 3 * mask.sum((1, 2, 3, 4))
    on_objects = (error * mask).sum((1, 2, 3, 4))[pixels > 0] / pixels[pixels > 0]
    return Fidelity(
        *(_decibel(part) for part in (error.mean((1, 2, 3, 4)), on_objects, error.mean((1, 3, 4)))),
    )


def _decibel(error: Tensor) -> Values:
    # A perfect match would be infinite: it counts as 100 dB, as evaluation.metrics has it.
    ratio = 10 * torch.log10(_PEAK**2 / error.double())
    return np.asarray(ratio.clamp_max(100).cpu().numpy(), dtype=np.float64)

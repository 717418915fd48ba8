"""RMS normalisation over channels, as in the residual and attention blocks of Wan's VAEs.

Legend: B batch, C channels, ... any further axes (T H W of a video, H W of a frame).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_NORM = 1e-12


def channel_rms(x: Tensor, gamma: Tensor) -> Tensor:
    """Scale every position's channel vector to root-mean-square 1, then by ``gamma``.

    y = √C · x / max(‖x‖₂, 1e-12) · gamma, computed in fp32 whatever the dtype of ``x`` and returned in that dtype.

    Args:
        x: [B, C, ...], any floating dtype.
        gamma: [C, 1, ...] with as many axes as ``x`` without its batch axis.
    """
    return _scaled(x, gamma).to(x.dtype)


def channel_rms_silu(x: Tensor, gamma: Tensor) -> Tensor:
    """SiLU of :func:`channel_rms`, with the activation in the dtype of ``x``."""
    y = _scaled(x, gamma).to(x.dtype)
    # Where no gradient is recorded the temporary is ours, and on a CPU a second large tensor costs more than the sums.
    return F.silu(y, inplace=not torch.is_grad_enabled())


def _scaled(x: Tensor, gamma: Tensor) -> Tensor:
    wide = x.float()
    norm: Tensor = torch.linalg.vector_norm(wide, dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    scale = gamma.float() * x.shape[1] ** 0.5
    unit = wide / norm
    return unit * scale if torch.is_grad_enabled() else unit.mul_(scale)

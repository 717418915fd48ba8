"""Root-mean-square normalisation of queries and keys with their rotary positions, in one pass.

Legend: B batch, L tokens, D model dimension, N heads, Dh head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.engine.kernels.norm import rms_norm
from filmgate.engine.kernels.residual_norm import HAS_KERNEL
from filmgate.engine.kernels.rope import apply_rope_reference


def norm_heads_reference(
    x: Tensor, weight: Tensor, eps: float, heads: tuple[int, int], rope: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """:func:`norm_heads` step by step."""
    split = rms_norm(x, weight, eps).unflatten(-1, heads)
    return (split if rope is None else apply_rope_reference(split, *rope)).to(x.dtype)


def norm_heads(
    x: Tensor, weight: Tensor, eps: float, heads: tuple[int, int], rope: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Normalise over the whole model dimension, split into heads, and rotate if there are positions.

    Sums, weights and rotation are fp32; between normalisation and weight the value is rounded to the dtype of ``x``, as
    in :func:`~.norm.rms_norm`.

    Args:
        x: Projected queries or keys [B, L, D].
        weight: [D].
        eps: Added to the mean square.
        heads: (N, Dh), N·Dh = D, Dh even.
        rope: (cos, sin), [L, Dh/2] each, fp32; see :func:`~.rope.rope_table`.

    Returns:
        [B, L, N, Dh], dtype of ``x``.
    """
    if x.device.type not in HAS_KERNEL:
        return norm_heads_reference(x, weight, eps, heads, rope)
    result = torch.empty(*x.shape[:-1], *heads, dtype=x.dtype, device=x.device)
    if not x.is_meta:
        from filmgate.engine.kernels.triton_rows import launch_norm_heads

        launch_norm_heads(x, weight, eps, rope, result)
    return result

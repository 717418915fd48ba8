"""Gated residual, layer normalisation and modulation in one pass: what stands between two layers of a block.

Legend: B batch, L tokens, D model dimension, U rows of modulation.

Eagerly these are five passes over the tokens in fp32, the largest tensors of a forward pass; here tokens are read and
written once. Source of the idea: the fused kernels of SGLang-Diffusion and LightX2V.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

HAS_KERNEL = ("cuda", "meta")
"""Devices for which there is a kernel; on shapes alone it needs the memory that it needs on a GPU."""


class Modulation(NamedTuple):
    """Rows that steer tokens: y = normalised · factor + offset, and x + update · gate before that.

    Attributes:
        factor, offset: [U, D], fp32. Elements of a row must lie side by side.
        gate: [U, D], fp32; None: 1.
        row: Of every token [B, L]; None: row b for the tokens of sample b, or the only row for all.
    """

    factor: Tensor
    offset: Tensor
    gate: Tensor | None = None
    row: Tensor | None = None


def residual_norm_reference(
    x: Tensor, update: Tensor | None, modulation: Modulation, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """:func:`residual_norm` step by step."""

    def spread(rows: Tensor) -> Tensor:
        return rows[:, None] if modulation.row is None else rows[modulation.row]

    if update is not None:
        gated = update.float() if modulation.gate is None else update.float() * spread(modulation.gate)
        x = x + gated
    normalised = F.layer_norm(x, x.shape[-1:], None, None, eps)
    return x, (normalised * spread(modulation.factor) + spread(modulation.offset)).to(dtype)


def residual_norm(
    x: Tensor, update: Tensor | None, modulation: Modulation, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Add what a layer gave to the residual stream, and prepare the next layer's input.

    Args:
        x: Residual stream [B, L, D], fp32.
        update: Added to it, times the gate: [B', L, D] of any floating dtype, B' = B, or any if B is 1. None: nothing.
        modulation: Of the normalised tokens, and the gate.
        eps: Added to the variance.
        dtype: Of the next layer's input.

    Returns:
        The new residual stream, fp32, and the input, ``dtype``; [B', L, D] each.
    """
    if x.device.type not in HAS_KERNEL:
        return residual_norm_reference(x, update, modulation, eps, dtype)
    normed = torch.empty(x.shape if update is None else update.shape, dtype=dtype, device=x.device)
    summed = x if update is None else torch.empty(update.shape, dtype=x.dtype, device=x.device)
    if not x.is_meta:
        from filmgate.engine.kernels.triton_rows import launch_residual_norm

        launch_residual_norm(x, update, modulation, eps, summed, normed)
    return summed, normed


def gated_sum(x: Tensor, update: Tensor, gate: Tensor | None, index: Tensor | None = None) -> Tensor:
    """x + update · gate in fp32: what a block ends with.

    Args:
        x: [B, L, D], fp32.
        update: [B, L, D], any floating dtype.
        gate: [U, D], fp32; None: 1.
        index: As in :class:`Modulation`.
    """
    if x.device.type not in HAS_KERNEL:
        wide = update.float()
        return x + wide if gate is None else torch.addcmul(x, wide, gate[:, None] if index is None else gate[index])
    summed = torch.empty(update.shape, dtype=x.dtype, device=x.device)
    if not x.is_meta:
        from filmgate.engine.kernels.triton_rows import launch_gated_sum

        launch_gated_sum(x, update, gate, index, summed)
    return summed

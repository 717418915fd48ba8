"""Normalisation over the model dimension, always computed in fp32.

Legend: B batch, L tokens, D model dimension.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / √(mean(x²) + eps), in fp32, cast back to the dtype of ``x`` and only then multiplied by ``weight``.

    Args:
        x: [..., D].
        weight: [D]; where it is wider than ``x``, so is the result.
        eps: Added to the mean square.
    """
    # Widened once: a second copy would be the most that a block holds at a time.
    wide = x.float()
    return (wide * rms_scale(wide, eps)).to(x.dtype) * weight


def rms_scale(x: Tensor, eps: float) -> Tensor:
    """1 / √(mean(x²) + eps) of ``x`` [..., D]: [..., 1], fp32."""
    if x.device.type == "cpu" and not torch.is_grad_enabled():
        # One pass that writes nothing, where the squares would be written and read again.
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return torch.rsqrt(norm.square() / x.shape[-1] + eps)
    return torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer normalisation of ``x`` [..., D] in fp32, result fp32; ``weight`` and ``bias`` [D] may be absent."""
    return F.layer_norm(
        x.float(),
        x.shape[-1:],
        None if weight is None else weight.float(),
        None if bias is None else bias.float(),
        eps,
    )


def layer_norm_modulate_reference(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """:func:`layer_norm_modulate` step by step."""
    return layer_norm(x, None, None, eps) * (1 + scale) + shift


def layer_norm_modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Layer normalisation without weights, then ·(1 + scale) + shift: how the noise level steers a block.

    Args:
        x: [B, L, D].
        shift, scale: fp32, [B, 1, D] or [B, L, D].
        eps: Added to the variance.

    Returns:
        [B, L, D] in fp32.
    """
    if scale.numel() == x.shape[-1]:
        # One modulation for all tokens is an affine layer norm: a single pass instead of three.
        return layer_norm(x, 1 + scale.flatten(), shift.flatten(), eps)
    return torch.addcmul(shift, layer_norm(x, None, None, eps), 1 + scale)

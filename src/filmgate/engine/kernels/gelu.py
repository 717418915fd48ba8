"""The tanh form of the Gaussian error linear unit, as the feed-forward networks of Wan and umT5 use it.

y = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))). Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = LINEAR * 0.044715
BITS = -math.log2(math.e)
"""Turns a power of 1/e into one of 2."""


def gelu_tanh(x: Tensor) -> Tensor:
    """Apply the unit elementwise; any shape and floating dtype, both kept.

    On a CPU in fp32, where no gradient is wanted, it is computed as x / (1 + exp(-2√(2/π)·(x + 0.044715·x³))), which is
    the same function: PyTorch's powers of 2 are four times as fast as its tanh there, and twice as fast as its powers
    of e.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled():
        below = torch.addcmul(x.new_tensor(BITS * LINEAR), x, x, value=BITS * CUBIC)
        below.mul_(x).exp2_().add_(1)
        return torch.div(x, below, out=below)
    return F.gelu(x, approximate="tanh")


class GeluTanh(nn.Module):
    """:func:`gelu_tanh` as a layer without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return gelu_tanh(x)


def linear_gelu_tanh(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """:func:`gelu_tanh` of a linear layer; on a GPU within the product, whose sums it sees before they are rounded.

    Args:
        x: [..., in], on a GPU of the dtype of ``weight``.
        weight: [out, in].
        bias: [out].

    Returns:
        [..., out].
    """
    if x.device.type not in ("cuda", "meta"):
        return gelu_tanh(F.linear(x, weight, bias))
    rows = x.reshape(-1, x.shape[-1])
    product = torch._addmm_activation(bias, rows, weight.t(), use_gelu=True)
    return product.view(*x.shape[:-1], -1)

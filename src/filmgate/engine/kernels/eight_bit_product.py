"""Matrix products in eight bits: both factors in e4m3 with a scale per row, sums in fp32.

Legend: B batch, L tokens, D or C inputs, R outputs, N heads, Dh head dimension, M rows of any shape.

On Hopper ``torch._scaled_mm`` with scales by rows does 1.8 times the operations of bf16 in a second, if its factors are
there; what rounds them must not cost what it saves. So the rows are rounded where they are made: behind the norm
(:func:`residual_norm_rounded`), behind the GELU, and out of the heads that attention left (:func:`rounded_rows`), each
in the pass over the tokens that is made anyway.

Sources: scales by row and by token as in LLM.int8() (arXiv 2208.07339) and torchao's float8 inference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.kernels.gelu import gelu_tanh
from filmgate.engine.kernels.residual_norm import HAS_KERNEL, Modulation, residual_norm_reference

E4M3 = torch.float8_e4m3fn
E4M3_MAX = 448.0
LEAST = 1e-12
"""Of the largest number of a row."""


class Rounded(NamedTuple):
    """Rows in e4m3: ``numbers`` [..., C] times ``scale`` [..., 1], fp32."""

    numbers: Tensor
    scale: Tensor

    def wide(self) -> Tensor:
        """The rows in fp32."""
        return self.numbers.float() * self.scale


def rounded_rows(x: Tensor, *, heads: bool = False, gelu: bool = False) -> Rounded:
    """Round rows; their largest number becomes the format's largest.

    Args:
        x: [B, L, C], or [B, L, N, Dh] with ``heads``, which become the row; any floating dtype. Channels must lie side
            by side.
        heads: See ``x``.
        gelu: Apply the tanh form of GELU before.
    """
    if x.device.type not in HAS_KERNEL:
        return rounded_rows_reference(x, heads=heads, gelu=gelu)
    shape = (*x.shape[:2], x.shape[2:].numel())
    numbers = torch.empty(shape, dtype=E4M3, device=x.device)
    scale = torch.empty(*shape[:2], 1, dtype=torch.float32, device=x.device)
    if not x.is_meta:
        from filmgate.engine.kernels.triton_rows import launch_rounded_rows

        launch_rounded_rows(x if heads else x[:, :, None], numbers, scale, gelu=gelu)
    return Rounded(numbers, scale)


def rounded_rows_reference(x: Tensor, *, heads: bool = False, gelu: bool = False) -> Rounded:
    """:func:`rounded_rows` step by step."""
    rows = (x.flatten(2) if heads else x).float()
    if gelu:
        rows = gelu_tanh(rows)
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=LEAST) / E4M3_MAX
    # Division may leave the largest number a little above, where conversion gives NaN.
    return Rounded((rows / scale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3), scale)


def residual_norm_rounded(
    x: Tensor, update: Tensor | None, modulation: Modulation, eps: float
) -> tuple[Tensor, Rounded]:
    """:func:`~.residual_norm.residual_norm` whose second result is rounded; the arguments are the same."""
    if x.device.type not in HAS_KERNEL:
        summed, normed = residual_norm_reference(x, update, modulation, eps, torch.float32)
        return summed, rounded_rows_reference(normed)
    shape = x.shape if update is None else update.shape
    numbers = torch.empty(shape, dtype=E4M3, device=x.device)
    scale = torch.empty(*shape[:-1], 1, dtype=torch.float32, device=x.device)
    summed = x if update is None else torch.empty(shape, dtype=x.dtype, device=x.device)
    if not x.is_meta:
        from filmgate.engine.kernels.triton_rows import launch_residual_norm

        launch_residual_norm(x, update, modulation, eps, summed, numbers, scale)
    return summed, Rounded(numbers, scale)


def rounded_weight(weight: Tensor) -> Rounded:
    """A weight [R, C] with a scale for each output [R, 1]."""
    numbers, scale = rounded_rows_reference(weight[None])
    return Rounded(numbers[0], scale[0])


def eight_bit_product(x: Rounded, weight: Rounded, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """x·Wᵀ + b.

    Args:
        x: [B, L, C].
        weight: [R, C].
        bias: [R], ``dtype``, or None.
        dtype: Of the result.

    Returns:
        [B, L, R].
    """
    rows = Rounded(x.numbers.flatten(0, -2), x.scale.flatten(0, -2))
    if x.numbers.device.type != "cuda":
        product = eight_bit_product_reference(rows, weight, bias, dtype)
    else:
        product = torch._scaled_mm(
            rows.numbers, weight.numbers.t(), scale_a=rows.scale, scale_b=weight.scale.t(), bias=bias, out_dtype=dtype,
            use_fast_accum=True,
        )  # fmt: skip
    return product.view(*x.numbers.shape[:-1], -1)


def eight_bit_product_reference(x: Rounded, weight: Rounded, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """:func:`eight_bit_product` of rows [M, C] in fp32, in which products of e4m3 numbers are exact."""
    sums = F.linear(x.numbers.float(), weight.numbers.float()) * x.scale * weight.scale.t()
    return (sums if bias is None else sums + bias.float()).to(dtype)

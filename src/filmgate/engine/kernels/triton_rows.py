"""Triton kernels that take one token at a time. Imported only where there is a GPU; see the modules that call them for
what they compute: :mod:`~.residual_norm`, :mod:`~.head_norm`, :mod:`~.eight_bit_product`.

Legend: B batch, L tokens, D model dimension, N heads, Dh head dimension, U rows of modulation.
"""


# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from filmgate.engine.kernels.residual_norm import Modulation


@triton.jit
def _residual_norm_kernel(
    x, update, gate, factor, offset, index, summed, normed, scales,
    length, dim, eps, x_batch, update_batch, gate_row, factor_row, offset_row,
    UPDATED: tl.constexpr, GATED: tl.constexpr, NORMED: tl.constexpr, INDEXED: tl.constexpr, PER_SAMPLE: tl.constexpr,
    ROUNDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    sample = token // length
    position = token - sample * length
    columns = tl.arange(0, BLOCK)
    inside = columns < dim
    if INDEXED:
        row = tl.load(index + token)
    elif PER_SAMPLE:
        row = sample
    else:
        row = sample * 0
    value = tl.load(x + sample * x_batch + position * dim + columns, mask=inside, other=0.0)
    if UPDATED:
        added = tl.load(update + sample * update_batch + position * dim + columns, mask=inside, other=0.0).to(
            tl.float32
        )
        if GATED:
            added = added * tl.load(gate + row * gate_row + columns, mask=inside, other=0.0)
        value = value + added
        tl.store(summed + token * dim + columns, value, mask=inside)
    if NORMED:
        mean = tl.sum(value, axis=0) / dim
        centred = tl.where(inside, value - mean, 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / dim + eps)
        steered = centred * scale * tl.load(factor + row * factor_row + columns, mask=inside, other=0.0)
        steered = steered + tl.load(offset + row * offset_row + columns, mask=inside, other=0.0)
        if ROUNDED:
            shrink = tl.maximum(tl.max(tl.abs(steered), axis=0), 1e-12) / 448.0
            tl.store(scales + token, shrink)
            steered = tl.minimum(tl.maximum(steered / shrink, -448.0), 448.0)
        tl.store(normed + token * dim + columns, steered.to(normed.dtype.element_ty), mask=inside)


@triton.jit
def _rounded_rows_kernel(
    x, numbers, scales, length, dim, width, x_batch, x_token, x_head, GELU: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    sample = token // length
    columns = tl.arange(0, BLOCK)
    inside = columns < dim
    head = columns // width
    source = x + sample * x_batch + (token - sample * length) * x_token
    value = tl.load(source + head * x_head + (columns - head * width), mask=inside, other=0.0).to(tl.float32)
    if GELU:
        value = value * tl.sigmoid(1.5957691216057308 * (value + 0.044715 * value * value * value))
    shrink = tl.maximum(tl.max(tl.abs(value), axis=0), 1e-12) / 448.0
    tl.store(scales + token, shrink)
    value = tl.minimum(tl.maximum(value / shrink, -448.0), 448.0)
    tl.store(numbers + token * dim + columns, value.to(numbers.dtype.element_ty), mask=inside)


@triton.jit
def _norm_heads_kernel(
    x, weight, cosines, sines, result, length, dim, eps, x_token, ROTATED: tl.constexpr, HALF: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    position = token % length
    columns = tl.arange(0, BLOCK)
    inside = columns < dim
    stored = tl.load(x + token * x_token + columns, mask=inside, other=0.0)
    wide = stored.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, axis=0) / dim + eps)
    value = (wide * scale).to(stored.dtype).to(tl.float32)
    factors = tl.load(weight + columns, mask=inside, other=0.0)
    value = value * factors.to(tl.float32)
    if factors.dtype == stored.dtype:
        value = value.to(stored.dtype).to(tl.float32)  # as a product of two such numbers would be
    if ROTATED:
        pairs = tl.arange(0, BLOCK // 2)
        angle = position * HALF + pairs % HALF
        cosine = tl.load(cosines + angle)
        sine = tl.load(sines + angle)
        first, second = tl.split(tl.reshape(value, (BLOCK // 2, 2)))
        value = tl.reshape(
            tl.join(first * cosine - second * sine, first * sine + second * cosine), (BLOCK,)
        )  # fmt: skip
    tl.store(result + token * dim + columns, value.to(stored.dtype), mask=inside)


def launch_residual_norm(
    x: Tensor, update: Tensor | None, modulation: Modulation, eps: float, summed: Tensor, normed: Tensor,
    scale: Tensor | None = None,
) -> None:  # fmt: skip
    """See :func:`~.residual_norm.residual_norm`; ``summed`` is only written to if there is an update. With ``scale``
    [B, L, 1] what is normed is divided by that, see :func:`~.eight_bit_product.residual_norm_rounded`."""
    gate, index = modulation.gate, modulation.row
    _launch(x, update, gate, index, summed, (normed, modulation.factor, modulation.offset), eps, scale)


def launch_gated_sum(x: Tensor, update: Tensor, gate: Tensor | None, index: Tensor | None, summed: Tensor) -> None:
    """See :func:`~.residual_norm.gated_sum`."""
    _launch(x, update, gate, index, summed, None, 0.0)


def _launch(
    x: Tensor, update: Tensor | None, gate: Tensor | None, index: Tensor | None, summed: Tensor,
    norm: tuple[Tensor, Tensor, Tensor] | None, eps: float, scale: Tensor | None = None,
) -> None:  # fmt: skip
    batch, length, dim = summed.shape
    x = _rows(x.expand(batch, -1, -1))
    normed, factor, offset = (summed, summed, summed) if norm is None else norm
    added, gates = x if update is None else _rows(update), factor if gate is None else gate
    rows = gates if norm is None else factor
    block = triton.next_power_of_2(dim)
    _residual_norm_kernel[(batch * length,)](
        x, added, gates, factor, offset, x if index is None else index.expand(batch, -1).contiguous(), summed, normed,
        summed if scale is None else scale,
        length, dim, eps, x.stride(0), added.stride(0), gates.stride(0), factor.stride(0), offset.stride(0),
        UPDATED=update is not None, GATED=gate is not None, NORMED=norm is not None, INDEXED=index is not None,
        PER_SAMPLE=rows.shape[0] > 1, ROUNDED=scale is not None, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip


def launch_rounded_rows(x: Tensor, numbers: Tensor, scale: Tensor, *, gelu: bool) -> None:
    """See :func:`~.eight_bit_product.rounded_rows`: x [B, L, N, Dh], channels of a head side by side."""
    batch, length, heads, width = x.shape
    if x.stride(3) != 1:
        x = x.contiguous()
    block = triton.next_power_of_2(heads * width)
    _rounded_rows_kernel[(batch * length,)](
        x, numbers, scale, length, heads * width, width, *x.stride()[:3], GELU=gelu, BLOCK=block,
        num_warps=_warps(block),
    )  # fmt: skip


def launch_norm_heads(
    x: Tensor, weight: Tensor, eps: float, rope: tuple[Tensor, Tensor] | None, result: Tensor
) -> None:
    """See :func:`~.head_norm.norm_heads`."""
    batch, length, dim = x.shape
    tokens = x.reshape(batch * length, dim)
    cosines, sines = (weight, weight) if rope is None else rope
    block = triton.next_power_of_2(dim)
    _norm_heads_kernel[(batch * length,)](
        tokens, weight, cosines, sines, result, length, dim, eps, tokens.stride(0),
        ROTATED=rope is not None, HALF=result.shape[-1] // 2, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip


def _rows(x: Tensor) -> Tensor:
    """Tokens side by side; samples may be apart, or be the same one."""
    return x if x.stride(2) == 1 and x.stride(1) == x.shape[2] else x.contiguous()


def _warps(block: int) -> int:
    return max(1, min(16, block // 512))

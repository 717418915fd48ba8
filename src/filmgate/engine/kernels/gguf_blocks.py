"""Numbers of GGUF's block formats, computed on any device from the bytes of the file.

Legend: N blocks, E elements of a block, S elements that share a scale.

A block holds the numbers of E neighbouring elements of a row in a few bits each, and what they are multiplied by: a
scale in fp16, and in the K formats a small integer more for every S of them (github.com/ggml-org/ggml, ggml-common.h).
The reference is the ``gguf`` library, which works in NumPy; here are the same operations in the same order, so that the
results are equal bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Decode = Callable[[Tensor], Tensor]
"""Blocks as bytes [N, bytes] to numbers [N, E], fp32."""
K_ELEMENTS = 256


def split(blocks: Tensor, *sizes: int) -> tuple[Tensor, ...]:
    """Bytes [N, ...] cut into fields of these sizes; a last field takes the rest."""
    rest = blocks.shape[1] - sum(sizes)
    fields: tuple[Tensor, ...] = blocks.split([*sizes, rest] if rest else list(sizes), dim=1)
    return fields


def half(field: Tensor) -> Tensor:
    """Two bytes [N, 2] as a number [N, 1], fp32."""
    return field.contiguous().view(torch.float16).float()


def signed(field: Tensor) -> Tensor:
    """Bytes as signed numbers, fp32."""
    return field.contiguous().view(torch.int8).float()


def bits(field: Tensor, shifts: Sequence[int], run: int, mask: int) -> Tensor:
    """Bytes [N, B] as small numbers [N, B·shifts]: runs of bytes are read once for every shift, before the next run."""
    steps = torch.tensor(shifts, dtype=torch.uint8, device=field.device).view(1, 1, -1, 1)
    read = field.reshape(len(field), -1, 1, run) >> steps
    return (read & mask).reshape(len(field), -1)


def grouped(scale: Tensor, numbers: Tensor, offset: Tensor | None = None) -> Tensor:
    """scale·number - offset with one scale [N, E / S] for every S numbers [N, E]."""
    parts = scale[..., None] * numbers.reshape(*scale.shape, -1)
    return (parts if offset is None else parts - offset[..., None]).reshape(len(numbers), -1)


def q4_0(blocks: Tensor) -> Tensor:
    """Four bits around zero."""
    d, qs = split(blocks, 2)
    return half(d) * (bits(qs, (0, 4), 16, 15).float() - 8)


def q4_1(blocks: Tensor) -> Tensor:
    """Four bits above a minimum."""
    d, m, qs = split(blocks, 2, 2)
    return half(d) * bits(qs, (0, 4), 16, 15).float() + half(m)


def q5_0(blocks: Tensor) -> Tensor:
    """Five bits around zero."""
    d, qh, qs = split(blocks, 2, 4)
    return half(d) * (_five(qh, qs) - 16)


def q5_1(blocks: Tensor) -> Tensor:
    """Five bits above a minimum."""
    d, m, qh, qs = split(blocks, 2, 2, 4)
    return half(d) * _five(qh, qs) + half(m)


def q8_0(blocks: Tensor) -> Tensor:
    """Eight bits around zero."""
    d, qs = split(blocks, 2)
    return signed(qs) * half(d)


def q2_k(blocks: Tensor) -> Tensor:
    """Two bits above a minimum, 16 numbers to a scale of four bits."""
    scales, qs, d, dmin = split(blocks, 16, 64, 2)
    numbers = bits(qs, (0, 2, 4, 6), 32, 3).float()
    return grouped(half(d) * (scales & 15).float(), numbers, half(dmin) * (scales >> 4).float())


def q3_k(blocks: Tensor) -> Tensor:
    """Three bits around zero, 16 numbers to a scale of six bits."""
    mask, qs, scales, d = split(blocks, 32, 64, 12)
    low, high = split(scales, 8)
    sixes = bits(low, (0, 4), 8, 15) | (bits(high, (0, 2, 4, 6), 4, 3) << 4)
    # The high bit is stored inverted: where it is not set, four is taken away.
    missing = bits(mask, range(8), 32, 1) ^ 1
    numbers = bits(qs, (0, 2, 4, 6), 32, 3).float() - (missing << 2).float()
    return grouped(half(d) * (sixes.float() - 32), numbers)


def q4_k(blocks: Tensor) -> Tensor:
    """Four bits above a minimum, 32 numbers to a scale of six bits."""
    d, dmin, scales, qs = split(blocks, 2, 2, 12)
    scale, least = _six_bit_pairs(scales)
    return grouped(half(d) * scale, bits(qs, (0, 4), 32, 15).float(), half(dmin) * least)


def q5_k(blocks: Tensor) -> Tensor:
    """Five bits above a minimum, 32 numbers to a scale of six bits."""
    d, dmin, scales, qh, qs = split(blocks, 2, 2, 12, 32)
    scale, least = _six_bit_pairs(scales)
    numbers = bits(qs, (0, 4), 32, 15) | (bits(qh, range(8), 32, 1) << 4)
    return grouped(half(d) * scale, numbers.float(), half(dmin) * least)


def q6_k(blocks: Tensor) -> Tensor:
    """Six bits around zero, 16 numbers to a scale of eight bits."""
    low, high, scales, d = split(blocks, 128, 64, 16)
    numbers = bits(low, (0, 4), 64, 15) | (bits(high, (0, 2, 4, 6), 32, 3) << 4)
    return grouped(half(d) * signed(scales), numbers.float() - 32)


def _five(high: Tensor, low: Tensor) -> Tensor:
    """Four bits each and, of 32 numbers, the fifth bits in four bytes."""
    steps = torch.arange(8, dtype=torch.uint8, device=high.device)
    fifth = ((high[..., None] >> steps) & 1).reshape(len(high), -1)
    return (bits(low, (0, 4), 16, 15) | (fifth << 4)).float()


def _six_bit_pairs(scales: Tensor) -> tuple[Tensor, Tensor]:
    """Twelve bytes [N, 12] as eight scales and eight minima [N, 8]: four of each lie in the low bits of the first eight
    bytes, of the others four bits are in the last bytes and two above the first ones."""
    first, second, rest = scales.split(4, dim=1)
    scale = torch.cat([first & 63, (rest & 15) | ((first >> 2) & 48)], dim=1)
    least = torch.cat([second & 63, (rest >> 4) | ((second >> 2) & 48)], dim=1)
    return scale.float(), least.float()


DECODERS: Mapping[str, tuple[int, int, Decode]] = {
    "Q4_0": (32, 18, q4_0), "Q4_1": (32, 20, q4_1), "Q5_0": (32, 22, q5_0), "Q5_1": (32, 24, q5_1),
    "Q8_0": (32, 34, q8_0), "Q2_K": (K_ELEMENTS, 84, q2_k), "Q3_K": (K_ELEMENTS, 110, q3_k),
    "Q4_K": (K_ELEMENTS, 144, q4_k), "Q5_K": (K_ELEMENTS, 176, q5_k), "Q6_K": (K_ELEMENTS, 210, q6_k),
}  # fmt: skip
"""By the format's name: elements and bytes of a block, and how it is read."""

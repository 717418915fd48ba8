"""Weights in few bits, and back: what is stored narrow becomes wide for the product that it is needed in.

Legend: R rows (outputs) and C columns (inputs) of a weight, G columns that share a scale, g = ⌈C / G⌉.

Every format is linear: a weight is about scale·number. Relative errors (root mean square, of normally distributed
weights, C = 512): bf16 0.17 %, fp8 2.6 %, int8 0.9 %, int4 9.5 %. Numbers are computed in fp32 and rounded once, so
that what a file holds in fp8 or in GGUF's blocks gives the very bits that it would give if it had been widened when it
was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from filmgate.engine.kernels.gguf_blocks import DECODERS

PLAIN, INT4 = "plain", "int4"
"""Ways in which numbers lie in memory, beside GGUF's block formats: in a format of torch, or two to a byte."""
GROUP = 64
"""Columns that share a scale in int4."""
FP8_MAX, INT8_MAX, INT4_LEAST = 448.0, 127.0, -8.0
_ELEMENTS_AT_ONCE = 1 << 24
"""How much is in fp32 at a time while a weight is widened: 64 MiB."""


@dataclass(frozen=True, eq=False)
class Narrow:
    """A weight [R, C] in few bits.

    Attributes:
        layout: :data:`PLAIN`, :data:`INT4` or the name of a GGUF format.
        columns: C.
        numbers: Plain: [R, C] of any format of torch. int4: bytes [R, g·G / 2]. GGUF: bytes of the file [R, bytes].
        scale: What they are multiplied by: plain [], [R, 1] or None for 1; int4 [R, g]; GGUF None.
    """

    layout: str
    columns: int
    numbers: Tensor
    scale: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of numbers and scales."""
        return self.numbers.nbytes + (0 if self.scale is None else self.scale.nbytes)


def widened(narrow: Narrow, dtype: torch.dtype) -> Tensor:
    """The weight [R, C] in ``dtype``; a part at a time, so that little of it is ever in fp32."""
    rows = narrow.numbers.shape[0]
    wide = torch.empty(rows, narrow.columns, dtype=dtype, device=narrow.numbers.device)
    step = max(1, _ELEMENTS_AT_ONCE // max(1, narrow.columns))
    for begin in range(0, rows, step):
        wide[begin : begin + step] = widened_reference(_part(narrow, begin, begin + step))
    return wide


def widened_reference(narrow: Narrow) -> Tensor:
    """The weight [R, C] at once, in fp32."""
    numbers, scale = narrow.numbers, narrow.scale
    if narrow.layout == PLAIN:
        return numbers.float() if scale is None else numbers.float() * scale.float()
    if narrow.layout == INT4:
        assert scale is not None
        pairs = torch.stack([numbers & 15, numbers >> 4], dim=-1).reshape(*scale.shape, GROUP).float()
        return ((pairs + INT4_LEAST) * scale.float()[..., None]).flatten(1)[:, : narrow.columns]
    elements, size, decode = DECODERS[narrow.layout]
    return decode(numbers.reshape(-1, size)).view(numbers.shape[0], numbers.shape[1] // size * elements)


def _part(narrow: Narrow, begin: int, end: int) -> Narrow:
    scale = narrow.scale
    rows = scale if scale is None or scale.ndim == 0 else scale[begin:end]
    return Narrow(narrow.layout, narrow.columns, narrow.numbers[begin:end], rows)


def to_bf16(weight: Tensor) -> Narrow:
    """Rounded to bf16."""
    return Narrow(PLAIN, weight.shape[1], weight.to(torch.bfloat16))


def to_fp8(weight: Tensor) -> Narrow:
    """e4m3, one scale per row: its largest number becomes the format's largest, 448."""
    scale = _scale(weight, FP8_MAX)
    # Division may leave the largest number a little above, where conversion gives NaN.
    numbers = (weight.float() / scale).clamp_(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
    return Narrow(PLAIN, weight.shape[1], numbers, scale)


def to_int8(weight: Tensor) -> Narrow:
    """Integers -127 ... 127, one scale per row."""
    scale = _scale(weight, INT8_MAX)
    numbers = (weight.float() / scale).round_().clamp_(-INT8_MAX, INT8_MAX).to(torch.int8)
    return Narrow(PLAIN, weight.shape[1], numbers, scale)


def to_int4(weight: Tensor) -> Narrow:
    """Integers -8 ... 7, one scale in bf16 for every :data:`GROUP` columns, of the sign that gives the number of the
    largest magnitude the -8."""
    padded = torch.nn.functional.pad(weight.float(), (0, -weight.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
    extreme = padded.gather(2, padded.abs().argmax(2, keepdim=True))
    scale = (extreme / INT4_LEAST).to(torch.bfloat16)
    divisor = torch.where(scale == 0, 1.0, scale.float())
    numbers = ((padded / divisor).round_().clamp_(-8, 7) - INT4_LEAST).to(torch.uint8).flatten(1)
    return Narrow(INT4, weight.shape[1], numbers[:, ::2] | (numbers[:, 1::2] << 4), scale[..., 0])


def like(name: str, rows: int, columns: int) -> Narrow:
    """The shape of a weight [R, C] in one of :data:`NARROWERS`, without numbers (on torch's meta device)."""
    one = NARROWERS[name](torch.zeros(1, columns))
    parts = [
        None if part is None else torch.empty(rows, *part.shape[1:], dtype=part.dtype, device="meta")
        for part in (one.numbers, one.scale)
    ]
    assert parts[0] is not None
    return Narrow(one.layout, columns, parts[0], parts[1])


def _scale(weight: Tensor, largest: float) -> Tensor:
    """[R, 1] fp32; 1 for rows of zeros."""
    extent = weight.float().abs().amax(1, keepdim=True)
    return torch.where(extent == 0, 1.0, extent / largest)


NARROWERS: Mapping[str, Callable[[Tensor], Narrow]] = {
    "bf16": to_bf16, "fp8": to_fp8, "int8": to_int8, "int4": to_int4,
}  # fmt: skip
"""Formats that a weight can be brought into here, by the name that a plan has for them."""

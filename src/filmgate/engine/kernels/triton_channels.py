"""The Triton kernels of :mod:`~.channel_norm` and :mod:`~.conv`. Imported only where there is a GPU.

Legend: C channels, P positions.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 4096
"""Numbers that a program takes at a time."""


@triton.jit
def _channel_rms_kernel(
    x, bias, gamma, y, positions, channels, width, root, smallest,
    BIASED: tl.constexpr, ACTIVATED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    inside = (rows[:, None] < positions) & (columns[None, :] < channels)
    stored = tl.load(x + rows[:, None] * channels + columns[None, :], mask=inside, other=0.0)
    if BIASED:
        added = tl.load(bias + columns, mask=columns < channels, other=0.0)
        stored = (stored.to(tl.float32) + added.to(tl.float32)[None, :]).to(stored.dtype)
    wide = stored.to(tl.float32)
    norm = tl.maximum(tl.sqrt(tl.sum(wide * wide, axis=1)), smallest)
    scale = tl.load(gamma + columns, mask=columns < channels, other=0.0).to(tl.float32) * root
    value = wide / norm[:, None] * scale[None, :]
    if ACTIVATED:
        value = value.to(stored.dtype).to(tl.float32)
        value = value * tl.sigmoid(value)
    # Beyond the channels everything was loaded as zero, and is zero here.
    room = (rows[:, None] < positions) & (columns[None, :] < width)
    tl.store(y + rows[:, None] * width + columns[None, :], value.to(stored.dtype), mask=room)


@triton.jit
def _biased_sum_kernel(x, bias, other, y, elements, channels, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < elements
    stored = tl.load(x + places, mask=inside, other=0.0)
    added = tl.load(bias + places % channels, mask=inside, other=0.0)
    value = (stored.to(tl.float32) + added.to(tl.float32)).to(stored.dtype)
    value = value.to(tl.float32) + tl.load(other + places, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + places, value.to(stored.dtype), mask=inside)


@triton.jit
def _doubled_kernel(x, y, positions, channels, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    inside = (rows[:, None] < positions) & (columns[None, :] < channels)
    value = tl.load(x + rows[:, None] * channels + columns[None, :], mask=inside, other=0.0)
    # Lines of all frames follow one another, there as here: line n becomes lines 2n and 2n + 1 of twice the width.
    corner = 4 * (rows // width) * width + 2 * (rows % width)
    for below in tl.static_range(2):
        for right in tl.static_range(2):
            place = corner + 2 * below * width + right
            tl.store(y + place[:, None] * channels + columns[None, :], value, mask=inside)


def launch_channel_rms(
    x: Tensor, gamma: Tensor, y: Tensor, smallest: float, *, activated: bool, bias: Tensor | None = None
) -> None:
    """Normalise ``x`` [B, C, ...], whose channels lie side by side in memory, into ``y``, which lies as ``x`` does and
    may have more channels, which become zero."""
    channels, width = x.shape[1], y.shape[1]
    positions = x.numel() // channels
    block = triton.next_power_of_2(width)
    rows = max(1, ELEMENTS // block)
    _channel_rms_kernel[(triton.cdiv(positions, rows),)](
        x, gamma if bias is None else bias, gamma, y, positions, channels, width, channels**0.5, smallest,
        BIASED=bias is not None, ACTIVATED=activated, ROWS=rows, BLOCK=block, num_warps=4,
    )  # fmt: skip


def launch_biased_sum(x: Tensor, bias: Tensor, other: Tensor, y: Tensor) -> None:
    """``x`` + ``bias`` + ``other`` into ``y``, all but the bias [C] of one shape with channels side by side."""
    _biased_sum_kernel[(triton.cdiv(x.numel(), ELEMENTS),)](
        x, bias, other, y, x.numel(), x.shape[1], BLOCK=ELEMENTS, num_warps=8
    )  # fmt: skip


def launch_doubled(x: Tensor, y: Tensor) -> None:
    """Every pixel of ``x`` [B, C, H, W] four times into ``y`` [B, C, 2H, 2W], both with channels side by side."""
    _, channels, height, width = x.shape
    positions = x.shape[0] * height * width
    block = triton.next_power_of_2(channels)
    rows = max(1, ELEMENTS // block)
    _doubled_kernel[(triton.cdiv(positions, rows),)](
        x, y, positions, channels, width, ROWS=rows, BLOCK=block, num_warps=4
    )  # fmt: skip

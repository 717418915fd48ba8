"""The Triton kernel of :mod:`~.channel_norm`. Imported only where there is a GPU.

Legend: C channels, P positions.
"""


# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 4096
"""Numbers that a program takes at a time."""


@triton.jit
def _channel_rms_kernel(
    x, gamma, y, positions, channels, root, smallest, ACTIVATED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    inside = (rows[:, None] < positions) & (columns[None, :] < channels)
    places = rows[:, None] * channels + columns[None, :]
    stored = tl.load(x + places, mask=inside, other=0.0)
    wide = stored.to(tl.float32)
    norm = tl.maximum(tl.sqrt(tl.sum(wide * wide, axis=1)), smallest)
    scale = tl.load(gamma + columns, mask=columns < channels, other=0.0).to(tl.float32) * root
    value = wide / norm[:, None] * scale[None, :]
    if ACTIVATED:
        value = value.to(stored.dtype).to(tl.float32)
        value = value * tl.sigmoid(value)
    tl.store(y + places, value.to(stored.dtype), mask=inside)


def launch_channel_rms(x: Tensor, gamma: Tensor, y: Tensor, smallest: float, *, activated: bool) -> None:
    """Normalise ``x`` [B, C, ...], whose channels lie side by side in memory, into ``y``, which lies as ``x`` does."""
    channels = x.shape[1]
    positions = x.numel() // channels
    block = triton.next_power_of_2(channels)
    rows = max(1, ELEMENTS // block)
    _channel_rms_kernel[(triton.cdiv(positions, rows),)](
        x, gamma, y, positions, channels, channels**0.5, smallest,
        ACTIVATED=activated, ROWS=rows, BLOCK=block, num_warps=4,
    )  # fmt: skip

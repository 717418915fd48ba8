"""Rows of a frame divided over ranks, with the rows beside them that a convolution sees.

Legend: ... leading axes, H rows of this rank, W columns.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from filmgate.engine.runtime.parallel import Group


def with_halo(group: Group, x: Tensor) -> tuple[Tensor, slice]:
    """Rows [..., H, W] with one more row from either neighbour, where there is one, and which of the rows are the own.

    Where there is none the frame ends, and whoever convolves fills up with zeros as ever.
    """
    above, below = group.index > 0, group.index < group.size - 1
    beside = [int(abs(place - group.index) == 1) for place in range(group.size)]
    edges = [x[..., :1, :]] * above + [x[..., -1:, :]] * below
    sent = torch.stack(edges).contiguous()
    received = torch.empty_like(sent)
    # To and from each neighbour one row, and none from all others.
    dist.all_to_all_single(received, sent, beside, beside, group=group.handle)
    rows = list(received.unbind(0))
    whole = torch.cat([*rows[:above], x, *rows[above:]], dim=-2)
    return whole, slice(int(above), int(above) + x.shape[-2])

"""A stream of videos computed tile by tile, the tiles blended where they overlap.

Legend: B batch, C channels, T frames of a chunk, H W size of the whole, all in pixels or in latent positions.

What a network with convolutions makes of a tile is wrong near the edges that are cuts, and less and less so away from
them. Of an overlap the outer quarters are therefore thrown away; between them one tile fades into the next. Where a
network sees no further than a quarter of an overlap, the result is that of the whole, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

Stream = Callable[[Tensor], Iterator[Tensor]]
"""A video [B, C, T, H, W] to chunks [B, C', t, H', W'] of another one, along time."""
Share = Callable[[int, int], float | None]
"""How much a tile counts, by its number and the number of all; None: it is not computed."""
DISCARDED = 0.25
"""Part of an overlap that is not used, at either side."""


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Begins and ends of tiles that cover ``length`` evenly, each overlapping the next by ``overlap`` or more."""
    if length <= tile:
        return [(0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    begins = [index * (length - tile) // (count - 1) for index in range(count)]
    return [(begin, begin + tile) for begin in begins]


def blend_weights(tiles: list[tuple[int, int]], overlap: int, scale: int) -> list[Tensor]:
    """How much each tile counts along one axis: a number per output position, ``scale`` positions to one of a span;
    all tiles together count 1 everywhere. fp32."""
    length, edge = tiles[-1][1], DISCARDED * overlap
    weights = []
    for begin, end in tiles:
        position = (torch.arange((end - begin) * scale) + 0.5) / scale
        weight = torch.ones(len(position), dtype=torch.float64)
        for cut, distance in ((begin > 0, position), (end < length, end - begin - position)):
            if cut:
                weight *= ((distance - edge) / (overlap - 2 * edge)).clamp(0, 1)
        weights.append(weight)
    total = torch.zeros(length * scale, dtype=torch.float64)
    for (begin, end), weight in zip(tiles, weights, strict=True):
        total[begin * scale : end * scale] += weight
    return [
        (weight / total[begin * scale : end * scale]).float()
        for (begin, end), weight in zip(tiles, weights, strict=True)
    ]


def every_tile(_number: int, _count: int) -> float | None:
    """All tiles count."""
    return 1.0


def tiled(
    stream: Stream,
    video: Tensor,
    *,
    tile: int,
    overlap: int,
    into: int = 1,
    out: int = 1,
    device: torch.device,
    share: Share = every_tile,
) -> Iterator[Tensor]:
    """What ``stream`` makes of a video, computed one tile after the other.

    A tile is streamed from the first frame to the last before the next begins, so that the memory that a stream keeps
    is that of one tile; the whole result is gathered on the host meanwhile.

    Args:
        stream: Called once per tile.
        video: [B, C, T, H, W], anywhere.
        tile: Side of a tile, in latent positions.
        overlap: Of neighbouring tiles, likewise; at least 2, less than ``tile``.
        into: Positions of ``video`` along a side of one latent position.
        out: Positions of the result, likewise.
        device: Where the result goes.
        share: Which tiles are computed; results of several calls that share the tiles add up to the whole.

    Yields:
        Chunks as long as those of ``stream``, fp32.
    """
    height, width = (side // into for side in video.shape[3:])
    rows, columns = (spans(length, tile, overlap) for length in (height, width))
    vertical, horizontal = (blend_weights(axis, overlap, out) for axis in (rows, columns))
    whole: list[Tensor] = []
    for number, ((row, (top, bottom)), (column, (left, right))) in enumerate(
        product(enumerate(rows), enumerate(columns))
    ):
        part = share(number, len(rows) * len(columns))
        if part is None:
            continue
        weight = vertical[row][:, None] * horizontal[column] * part
        cut = video[..., top * into : bottom * into, left * into : right * into]
        for index, chunk in enumerate(stream(cut)):
            if index == len(whole):
                whole.append(torch.zeros(*chunk.shape[:3], height * out, width * out))
            place = whole[index][..., top * out : bottom * out, left * out : right * out]
            place += (chunk.float() * weight.to(chunk.device)).cpu()
    whole.reverse()
    while whole:
        yield whole.pop().to(device)

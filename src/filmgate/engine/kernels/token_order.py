"""An order of a video's tokens in which neighbours in the list are neighbours in space and time.

Legend: T h w grid of tokens, L = T·h·w, R blocks of ``block`` tokens, the last of which may be shorter.

Frame by frame, 128 tokens in a row are one or two thin lines of a picture; block-sparse attention, which reads or skips
128 keys at once, needs them to be one thing. Here the picture is cut into cells of a few rows and columns. All frames
of a cell come one after the other, then those of a cell beside it, there and back in time, so that the list has no
jumps. A block is then a compact piece of the cube, 128 / (rows·columns) frames deep, whatever the sizes divide by:
nothing is filled up but the very last block.

Tiles of the cube as blocks: Zhang et al., "Fast Video Generation with Sliding Tile Attention" (arXiv 2502.04507), which
needs sizes that divide.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.spec.errors import InvalidRequest

CELL = (6, 6)
"""Rows and columns of a cell, about: a block of 128 tokens is then 3.6 latent frames deep. On Toybox blocks that are
about four frames deep lose least (docs/lab-notes.md)."""


class TokenOrder(NamedTuple):
    """``places`` [L]: which token of the frame-by-frame order comes n-th; ``back`` [L]: where each of them is found."""

    places: Tensor
    back: Tensor


def token_order(
    grid: tuple[int, int, int], cell: tuple[int, int] = CELL, device: torch.device | str | None = None
) -> TokenOrder:
    """The order by cells.

    Args:
        grid: Tokens along time, height and width (T, h, w).
        cell: Rows and columns of a cell; where a side does not divide, cells differ by one.
        device: Where the order is wanted.

    Raises:
        InvalidRequest: a size below 1.
    """
    if min(*grid, *cell) < 1:
        raise InvalidRequest("cell", f"{grid} tokens in cells of {cell}", allowed="sizes of at least 1")
    frames, height, width = grid
    time, row, column = (axis.flatten() for axis in _coordinates(grid))
    bands, band = _cells(height, cell[0])
    lanes, lane = _cells(width, cell[1])
    band, lane = band[row], lane[column]
    # There and back: the last cell of a band lies below the first of the next one.
    turn = band * lanes + torch.where(band % 2 == 0, lane, lanes - 1 - lane)
    moment = torch.where(turn % 2 == 0, time, frames - 1 - time)
    places = ((turn * frames + moment) * (height * width) + row * width + column).argsort()
    back = torch.empty_like(places)
    back[places] = torch.arange(len(places))
    assert int(turn.max()) < bands * lanes
    return TokenOrder(places.to(device), back.to(device))


def block_places(
    grid: tuple[int, int, int], block: int, order: TokenOrder, device: torch.device | str | None = None
) -> Tensor:
    """Where each block is: the means [R, 3] of its tokens' (frame, row, column), fp32.

    Args:
        grid: (T, h, w).
        block: Tokens of a block.
        order: Of the tokens.
        device: Where they are wanted.
    """
    tokens = torch.stack([axis.flatten() for axis in _coordinates(grid)], dim=1).float()[order.places.cpu()]
    number = torch.arange(len(tokens)) // block
    sums = torch.zeros(int(number[-1]) + 1, 3).index_add_(0, number, tokens)
    return (sums / number.bincount()[:, None]).to(device)


def _coordinates(grid: tuple[int, int, int]) -> tuple[Tensor, ...]:
    return torch.meshgrid(*(torch.arange(length) for length in grid), indexing="ij")


def _cells(length: int, side: int) -> tuple[int, Tensor]:
    """How many cells of about ``side`` there are along an axis, and in which each place [length] is."""
    count = max(1, round(length / side))
    return count, torch.arange(length) * count // length

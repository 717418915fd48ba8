"""Rotary position embedding over time, height and width, as the Wan transformers use it.

Legend: B batch, L tokens (frame by frame, row by row), N heads, Dh head dimension, T h w token grid.

Neighbouring elements (2j, 2j+1) of a head form the pair that is rotated. The pairs are divided among the axes in the
order time, height, width; each axis has its own full spectrum of frequencies, base 10000, and positions count tokens.
Source: Su et al., "RoFormer" (2021); Wan team, "Wan: Open and Advanced Large-Scale Video Generative Models" (2025).
"""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.engine.kernels.fp64 import fp64_device

BASE = 10_000.0


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """Elements of a head for time, height and width: a third each, rounded; time takes the rest (44, 42, 42 of 128)."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def rope_table(
    grid: tuple[int, int, int], head_dim: int, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every token's rotation angles.

    Angles are computed in fp64: they reach about a hundred radians in a long or large video.

    Args:
        grid: Tokens along time, height and width.
        head_dim: Even.
        device: Where the tables are wanted.

    Returns:
        Two fp32 tensors [T·h·w, Dh/2].
    """
    angles, place = [], fp64_device(device)
    for axis, (length, width) in enumerate(zip(grid, axis_widths(head_dim), strict=True)):
        exponents = torch.arange(0, width, 2, device=place, dtype=torch.float64) / width
        positions = torch.arange(length, device=place, dtype=torch.float64)
        shape = [length if other == axis else 1 for other in range(3)]
        angles.append(torch.outer(positions, BASE**-exponents).reshape(*shape, width // 2))
    # Trigonometry on one row per position of each axis, not per token; only fp32 results are spread over the grid.
    cosines, sines = (
        torch.cat([function(a).float().to(device).expand(*grid, -1) for a in angles], dim=-1).flatten(0, 2)
        for function in (torch.cos, torch.sin)
    )
    return cosines, sines


def apply_rope_reference(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """:func:`apply_rope` on real numbers; compilers fuse it into one kernel."""
    a, b = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (a, b) of ``x`` to (a·cos - b·sin, a·sin + b·cos).

    Args:
        x: [B, L, N, Dh], any floating dtype.
        cos, sin: [L, Dh/2], fp32.

    Returns:
        [B, L, N, Dh] in fp32, whatever the dtype of ``x``: half precision cannot hold the angles of late tokens.
    """
    if torch.compiler.is_compiling():
        return apply_rope_reference(x, cos, sin)
    # Eagerly one complex multiplication reads and writes once; the real form makes five passes over strided halves.
    pairs = torch.view_as_complex(x.float().contiguous().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * torch.complex(cos, sin)[:, None]).flatten(-2)

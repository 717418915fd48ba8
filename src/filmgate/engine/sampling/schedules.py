"""Noise levels of a walk from noise to video, and what the network is told about them. Without torch.

A latent at noise level sigma is (1 - sigma)·video + sigma·noise (rectified flow, arXiv 2209.03003). Wan walks an even
grid that is then shifted towards high noise (arXiv 2403.03206, section 5.3.2). The grids are those of the code that Wan
2.1 and 2.2 were published with, step for step in double precision; that code then stores the levels in single precision
(a difference below 6e-8), but takes its integer timesteps before it does.

Other implementations differ: Diffusers' UniPC has started at 1 - 1e-6 instead of 0.999 since version 0.37 and ends
its even grid at 0.001 (6 steps, shift 5: timesteps 999 961 909 833 714 501 instead of 999 961 908 833 713 499), its
DPM++ starts at 0.999, and its FlowMatchEuler shifts twice.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import Solver

TRAINING_STEPS = 1000
"""The network's clock: timestep = 1000·sigma."""
_SINGLE: float = struct.unpack("f", struct.pack("f", 1 - 1 / TRAINING_STEPS))[0]
_START: dict[Solver, float] = {"unipc": _SINGLE}
"""First level before the shift, where it is not 1. UniPC's is the largest of its training levels, kept in single
precision."""
_INTEGER_CLOCK: frozenset[Solver] = frozenset({"unipc", "dpmpp_2m"})


def shift_sigma(sigma: float, shift: float) -> float:
    """Move a noise level: shift·sigma / (1 + (shift - 1)·sigma). 0 and 1 stay; a shift above 1 raises all others."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sigmas(solver: Solver, steps: int, shift: float) -> tuple[float, ...]:
    """Noise levels before each step, and 0 at the end: ``steps`` + 1 numbers, strictly falling.

    Args:
        solver: Whose grid. Solvers that are not in the original code have the even grid from 1.
        steps: 1 or more.
        shift: Above 0; 1 is no shift.

    Raises:
        UnknownName: there is no such solver.
        InvalidRequest: ``steps`` or ``shift`` is out of range.
    """
    check_solver(solver)
    check_steps(steps)
    check_shift(shift)
    start = _START.get(solver, 1.0)
    stride = (0.0 - start) / steps  # multiplied, then added: the same roundings as numpy's linspace
    levels = (shift_sigma(index * stride + start, shift) for index in range(steps))
    return (*(min(level, 1.0) for level in levels), 0.0)  # below a shift of 1, 1 may become one bit more


def listed_sigmas(levels: Sequence[float], shift: float) -> tuple[float, ...]:
    """The levels of a list, shifted, and 0 at the end: the schedules of distilled models.

    Args:
        levels: In (0, 1], strictly falling.
        shift: Above 0; 1 leaves the list as it is.

    Raises:
        InvalidRequest: ``levels`` is not such a list, or ``shift`` is out of range.
    """
    check_shift(shift)
    falling = all(before > after for before, after in pairwise(levels))
    if not levels or not falling or not 0 < levels[-1] <= levels[0] <= 1:
        raise InvalidRequest(
            "levels", f"{list(levels)!r:.80} are not noise levels", allowed="above 0, at most 1, strictly falling"
        )
    return (*(min(shift_sigma(level, shift), 1.0) for level in levels), 0.0)


def trig_levels(largest: float) -> tuple[float, ...]:
    """The four levels of rCM (arXiv 2510.08431), as TurboDiffusion walks them.

    Its clock is an angle whose tangent is noise over video; here as the share of the noise, sin / (sin + cos).

    Args:
        largest: Noise over video at the start: 80 for text to video, 200 for image to video.
    """
    angles = (math.atan(largest), 1.5, 1.4, 1.0)
    return tuple(math.sin(angle) / (math.sin(angle) + math.cos(angle)) for angle in angles)


def timestep(sigma: float, solver: Solver) -> float:
    """What the network is told at ``sigma``: 1000·sigma, cut to an integer where the original solver cuts it.

    Cut, not rounded: the first step of UniPC at shift 5 is told 999, not 1000.
    """
    clock = sigma * TRAINING_STEPS
    return float(int(clock)) if solver in _INTEGER_CLOCK else clock


def check_solver(solver: str) -> None:
    """Raise UnknownName unless ``solver`` is one of :data:`~filmgate.spec.model.Solver`."""
    if solver not in get_args(Solver):
        raise UnknownName("solver", solver, get_args(Solver))


def check_steps(steps: int) -> None:
    """Raise InvalidRequest unless there is at least one step, and no more than the network's clock has ticks."""
    if not 1 <= steps <= TRAINING_STEPS:
        nearest = min(max(steps, 1), TRAINING_STEPS)
        raise InvalidRequest(
            "steps", f"{steps} is out of range", allowed=f"1 to {TRAINING_STEPS}", nearest=str(nearest)
        )


def check_shift(shift: float) -> None:
    """Raise InvalidRequest unless ``shift`` is a positive number."""
    if not (math.isfinite(shift) and shift > 0):
        raise InvalidRequest("shift", f"{shift:g} is not a positive number", allowed="above 0; 1 is no shift")

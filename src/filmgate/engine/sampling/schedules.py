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
from typing import get_args

from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import Solver

TRAINING_STEPS = 1000
"""The network's clock: timestep = 1000·sigma."""
_SINGLE: float = struct.unpack("f", struct.pack("f", 1 - 1 / TRAINING_STEPS))[0]
_START: dict[Solver, float] = {"unipc": _SINGLE, "dpmpp_2m": 1.0, "euler": 1.0}
"""First level before the shift. UniPC's is the largest of its training levels, kept in single precision."""
_INTEGER_CLOCK: frozenset[Solver] = frozenset({"unipc", "dpmpp_2m"})


def shift_sigma(sigma: float, shift: float) -> float:
    """Move a noise level: shift·sigma / (1 + (shift - 1)·sigma). 0 and 1 stay; a shift above 1 raises all others."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sigmas(solver: Solver, steps: int, shift: float) -> tuple[float, ...]:
    """Noise levels before each step, and 0 at the end: ``steps`` + 1 numbers, strictly falling.

    Args:
        solver: Whose grid. ``euler`` is not in the original code; it has the even grid from 1.
        steps: 1 or more.
        shift: Above 0; 1 is no shift.

    Raises:
        UnknownName: there is no such solver.
        InvalidRequest: ``steps`` or ``shift`` is out of range.
    """
    check_solver(solver)
    check_steps(steps)
    check_shift(shift)
    start = _START[solver]
    stride = (0.0 - start) / steps  # multiplied, then added: the same roundings as numpy's linspace
    levels = (shift_sigma(index * stride + start, shift) for index in range(steps))
    return (*(min(level, 1.0) for level in levels), 0.0)  # below a shift of 1, 1 may become one bit more


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

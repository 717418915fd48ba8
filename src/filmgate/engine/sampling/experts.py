"""Which expert paints a step. Without torch.

Wan 2.2 A14B has two transformers of the same architecture, one for high noise and one for low noise. The boundary
between them is a noise level, never a number of steps: how many steps each paints follows from the schedule.

The value that is compared is the timestep that the network is told, as in the original code: the high-noise expert
paints while timestep ≥ 1000·boundary. Where timesteps are integers (UniPC, DPM++), that is the same as
sigma ≥ boundary for every boundary in whole thousandths, 0.875 and 0.9 among them; a finer boundary acts as if it were
rounded up to the next thousandth. Where timesteps are not cut (Euler), it is sigma ≥ boundary always.
"""

from __future__ import annotations

from collections.abc import Iterable

from filmgate.engine.sampling.schedules import TRAINING_STEPS
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import ExpertName

_LOWEST_TIMESTEP = 100
"""What is less was hardly meant as a timestep: no expert takes over at so little noise."""


def choose_expert(timestep: float, boundary: float | None) -> ExpertName:
    """The expert for a step.

    Args:
        timestep: What the network is told, 0 ... 1000.
        boundary: A noise level in (0, 1); None: there is one transformer for all levels.

    Raises:
        InvalidRequest: ``boundary`` is not a noise level.
    """
    if boundary is None:
        return "dense"
    check_boundary(boundary)
    return "high_noise" if timestep >= boundary * TRAINING_STEPS else "low_noise"


def experts_per_step(timesteps: Iterable[float], boundary: float | None) -> tuple[ExpertName, ...]:
    """The expert for each step; see :func:`choose_expert`."""
    return tuple(choose_expert(timestep, boundary) for timestep in timesteps)


def check_boundary(boundary: float) -> None:
    """Raise InvalidRequest unless ``boundary`` lies strictly between 0 and 1."""
    if not 0 < boundary < 1:
        clock = _LOWEST_TIMESTEP <= boundary < TRAINING_STEPS
        step = 1 < boundary < _LOWEST_TIMESTEP
        raise InvalidRequest(
            "boundary",
            f"{boundary:g} is not a noise level",
            allowed="above 0 and below 1" + ("; it is a noise level, not the number of a step" if step else ""),
            nearest=f"{boundary / TRAINING_STEPS:g}, if a timestep was meant" if clock else None,
        )

"""Wall-clock training schedules: a run is a share of a whole, so that it can be cut into GPU sessions of any length.

A session trains from ``start`` to ``stop`` of the whole schedule (0 ... 1) and takes ``seconds`` for it; progress moves
linearly with the clock. The learning rate depends on progress only, plus a short warm-up at the start of each session,
because optimiser state is not carried from one session to the next.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from filmgate.spec.errors import InvalidRequest


@dataclass(frozen=True)
class Session:
    """One sitting at the machine: ``seconds`` of wall-clock from ``start`` to ``stop`` of the schedule.

    ``decay`` is the share of the whole schedule at its end over which the learning rate falls linearly to ``floor``
    times its peak.
    """

    seconds: float
    start: float = 0.0
    stop: float = 1.0
    decay: float = 0.5
    floor: float = 0.02
    warm_up_steps: int = 100

    def __post_init__(self) -> None:
        """Raise InvalidRequest where it is no sitting."""
        if self.seconds <= 0:
            raise InvalidRequest("seconds", f"{self.seconds:g} is no time", allowed="more than 0")
        if not 0 <= self.start < self.stop <= 1:
            what = f"from {self.start:g} to {self.stop:g} is no part of a schedule"
            raise InvalidRequest("start", what, allowed="0 <= start < stop <= 1")

    def rate(self, progress: float, step: int) -> float:
        """Learning-rate factor in 0 ... 1 at ``progress`` of the whole, ``step`` steps into this session."""
        warm = min(1.0, (step + 1) / self.warm_up_steps)
        falling = min(1.0, max(0.0, (1 - progress) / self.decay)) if self.decay > 0 else 1.0
        return warm * max(self.floor, falling)


@dataclass
class Clock:
    """Measures a session's progress. Evaluation and compilation do not count: :meth:`forgive`."""

    session: Session
    began: float = field(default_factory=time.monotonic)
    until: float = math.inf
    """When training ends in any case, by ``time.monotonic``: nothing is forgiven there."""

    @property
    def elapsed(self) -> float:
        """Seconds of training so far."""
        return time.monotonic() - self.began

    @property
    def progress(self) -> float:
        """Position in the whole schedule, ``start`` ... ``stop``."""
        share = min(1.0, self.elapsed / self.session.seconds)
        return self.session.start + (self.session.stop - self.session.start) * share

    @property
    def finished(self) -> bool:
        """Whether the session's time is used up, or that of the process."""
        return self.elapsed >= self.session.seconds or time.monotonic() >= self.until

    def forgive(self, seconds: float) -> None:
        """Do not count ``seconds`` that went into something else than training."""
        self.began += seconds


def until(began: float, deadline: float | None) -> float:
    """End of a process that may take ``deadline`` seconds since it ``began``."""
    return math.inf if deadline is None else began + deadline

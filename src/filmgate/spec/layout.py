"""How the devices of one run divide its work."""

from __future__ import annotations

from filmgate.spec.shape import Frozen


class Layout(Frozen):
    """Ranks by what they divide.

    ``cfg`` ranks each take one text of guidance, the prompt or its negative; ``sequence`` ranks each take a part of the
    video's tokens. There are cfg · sequence ranks; those that share a text are neighbours.
    """

    cfg: int = 1
    sequence: int = 1

    @property
    def ranks(self) -> int:
        """Processes, one to a device."""
        return self.cfg * self.sequence

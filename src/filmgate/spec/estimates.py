"""What a plan is expected to need: bytes, seconds, and the ways to place its networks that were weighed."""

from __future__ import annotations

from typing import Literal

from filmgate.spec.residency import ResidencyPlan
from filmgate.spec.shape import Frozen

Basis = Literal["analytic", "calibrated", "measured"]
"""Where seconds come from: counted operations and the profile of the device; the same, corrected by another video that
this device made; or a video of this model, size and mode that this device made."""


class MemoryEstimate(Frozen):
    """Bytes on the device at the worst moment, and what they are: of several that share the work, on each. ``host`` is
    what the machine's own memory needs."""

    weights: int
    activations: int
    vae: int
    peak: int
    host: int = 0


class TimeEstimate(Frozen):
    """Seconds by stage. ``forward`` is one pass of the transformer for one text, copying of streamed blocks included:
    half of what both texts of guidance take where they are read at once, in one batch or by two devices. ``load`` is
    reading all weights. Of devices that share the work it is as long as it takes all of them; ``exchange`` are the
    seconds of denoising that they spend on telling one another, always an estimate."""

    load: float = 0.0
    encode: float = 0.0
    denoise: float = 0.0
    decode: float = 0.0
    forward: float = 0.0
    exchange: float = 0.0
    basis: Basis = "analytic"

    @property
    def total(self) -> float:
        """Seconds from the start to the last frame."""
        return self.load + self.encode + self.denoise + self.decode


class ResidencyOption(Frozen):
    """One way to place the networks. ``device_bytes`` includes what the driver keeps; ``reason`` says why it was taken
    or not."""

    residency: ResidencyPlan
    device_bytes: int
    host_bytes: int
    seconds: float
    fits: bool
    reason: str

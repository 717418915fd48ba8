"""What will be done, completely: a plan can be printed, priced, stored, replayed and hashed."""

from __future__ import annotations

import hashlib

from filmgate.spec.model import DeviceDescription, ExpertName, ModelDescription, Precision, Solver
from filmgate.spec.shape import Frozen, LatentShape, VideoShape


class Step(Frozen):
    """One denoising step. ``timestep`` is what the network is told: 1000·sigma, truncated where the model's own code
    truncates. ``sigma_next`` is where the solver goes (0 at the end)."""

    index: int
    sigma: float
    sigma_next: float
    timestep: float
    expert: ExpertName
    guidance: float

    @property
    def passes(self) -> int:
        """Forward passes of the network in this step: 1 without guidance, else 2."""
        return 1 if self.guidance == 1.0 else 2


class MemoryEstimate(Frozen):
    """Bytes that will be resident at the worst moment, and what they are."""

    weights: int
    activations: int
    vae: int
    peak: int


class Plan(Frozen):
    """A request resolved against a model and a device.

    Same plan, same weights, same class of device: same take. ``warnings`` are for people (unknown words, unusual
    settings); they never change what is done.
    """

    version: int = 1
    prompt: str
    negative: str
    model: ModelDescription
    video: VideoShape
    latent: LatentShape
    fps: int
    seed: int
    solver: Solver
    shift: float
    boundary: float | None
    steps: tuple[Step, ...]
    precision: Precision
    device: DeviceDescription
    memory: MemoryEstimate
    seconds: float
    price_usd: float | None = None
    preview_every: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the picture: everything but estimates, warnings and where files lie."""
        text = self.model_dump_json(
            exclude={
                "memory": True,
                "seconds": True,
                "price_usd": True,
                "warnings": True,
                "preview_every": True,
                "device": {"name", "memory_bytes", "cores", "index"},
                "model": {"path": True, "experts": True, "notes": True},
            }
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def steps_of(self, expert: ExpertName) -> int:
        """How many steps ``expert`` paints."""
        return sum(step.expert == expert for step in self.steps)

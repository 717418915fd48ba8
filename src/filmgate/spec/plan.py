"""What will be done, completely: a plan can be printed, priced, stored, replayed and hashed."""

from __future__ import annotations

import hashlib

from filmgate.spec.acceleration import AccelerationPlan, PassCounts, StepWork
from filmgate.spec.adapters import GuidanceRule, LoraUse
from filmgate.spec.estimates import MemoryEstimate, ResidencyOption, TimeEstimate
from filmgate.spec.inputs import InputFile, InputRole
from filmgate.spec.layout import Layout
from filmgate.spec.model import DeviceDescription, ExpertName, Keep, ModelDescription, Operation, Precision, Solver
from filmgate.spec.residency import ResidencyPlan
from filmgate.spec.shape import Frozen, LatentShape, VideoShape
from filmgate.spec.speed import SpeedPlan


class Step(Frozen):
    """One denoising step. ``timestep`` is what the network is told: 1000·sigma, truncated where the model's own code
    truncates. ``sigma_next`` is where the solver goes (0 at the end). ``adapted`` says whether LoRAs are in effect."""

    index: int
    sigma: float
    sigma_next: float
    timestep: float
    expert: ExpertName
    guidance: float
    adapted: bool = True

    @property
    def passes(self) -> int:
        """Forward passes of the network in this step: 1 without guidance, else 2."""
        return 1 if self.guidance == 1.0 else 2


class Plan(Frozen):
    """A request resolved against a model and a device.

    Same plan, same weights, same class of device: same take. ``operation`` says what is done, ``inputs`` from which
    files; ``strength`` is the part of the schedule that a video given as input is walked through again, None
    without one; ``keep`` which part of the result it is, where the rest is painted around it, and ``control_scale``
    how strongly that is held to it. ``distilled`` names the few-step preset that the schedule comes from,
    ``noise_scale`` is what the noise at the start is multiplied by. ``residency`` says where the networks lie
    meanwhile, ``speed`` how they are made fast, ``acceleration`` what is skipped, ``layout`` how devices share the
    work, the first of which is ``device``, ``options`` which ways to place them were weighed; ``times`` are ``seconds``
    by stage. ``warnings`` are for people (unknown words, unusual settings); they never change what is done.
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
    operation: Operation = "t2v"
    inputs: tuple[InputFile, ...] = ()
    strength: float | None = None
    keep: Keep | None = None
    control_scale: float = 1.0
    loras: tuple[LoraUse, ...] = ()
    guidance_rule: GuidanceRule = GuidanceRule()
    distilled: str | None = None
    noise_scale: float = 1.0
    residency: ResidencyPlan = ResidencyPlan()
    speed: SpeedPlan = SpeedPlan()
    acceleration: AccelerationPlan = AccelerationPlan()
    layout: Layout = Layout()
    times: TimeEstimate = TimeEstimate()
    options: tuple[ResidencyOption, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the picture: everything but estimates, warnings, and where files and networks
        lie."""
        deciding = self.residency.deciding
        skipping = self.acceleration
        text = self.model_copy(update={"residency": deciding}).model_dump_json(
            exclude={
                "memory": True,
                "seconds": True,
                "times": True,
                "options": True,
                "price_usd": True,
                "warnings": True,
                "preview_every": True,
                "device": {"name", "memory_bytes", "cores", "index", "bf16", "triton", "flash4"},
                "model": {"path": True, "experts": True, "notes": True, "few_step": True},
                "inputs": {"__all__": {"path": True}},
                "loras": {"__all__": {"path": True}},
                # Not there at its defaults, so that plans of before there was a choice keep their fingerprints.
                **({"residency": True} if deciding == ResidencyPlan() else {}),
                **({"speed": True} if self.speed == SpeedPlan() else {}),
                "acceleration": {"profile", "gates", "considered"} if skipping.recipe else True,
                **({"layout": True} if self.layout == Layout() else {}),
            }
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def input(self, role: InputRole) -> InputFile | None:
        """The first input of a role, if there is one."""
        return next((file for file in self.inputs if file.role == role), None)

    @property
    def reads_negative(self) -> bool:
        """Whether the negative prompt has any effect: in a second pass, or inside the attention."""
        return self.guidance_rule.method == "nag" or any(step.passes == 2 for step in self.steps)

    def work_of(self, index: int) -> StepWork:
        """How a step gets its velocity."""
        return self.acceleration.work[index] if self.acceleration.work else StepWork()

    def passes_of(self, index: int) -> int:
        """Forward passes of the network in a step that are really made: 2, 1 or 0."""
        work, passes = self.work_of(index), self.steps[index].passes
        if work.blocks != "computed":
            return 0
        return min(passes, 1) if work.difference == "kept" else passes

    @property
    def pass_counts(self) -> PassCounts:
        """All passes by what becomes of them."""
        counts = {"computed": 0, "reused": 0, "predicted": 0, "kept": 0}
        for index, step in enumerate(self.steps):
            work = self.work_of(index)
            kept = 1 if work.difference == "kept" and step.passes > 1 else 0
            counts["kept"] += kept
            counts[work.blocks] += step.passes - kept
        return PassCounts(**counts)

    def steps_of(self, expert: ExpertName) -> int:
        """How many steps ``expert`` paints."""
        return sum(step.expert == expert for step in self.steps)

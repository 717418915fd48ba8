"""A wish with nothing left open, and the split of its steps between two experts.

Other tools have other defaults, so that what a request leaves to the model must be written out for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from filmgate.direction.distilled import distilled_of
from filmgate.direction.interchange.report import Ledger
from filmgate.direction.planner import check_seed
from filmgate.direction.presets import PRESETS, shift_at
from filmgate.engine.sampling.experts import check_boundary, experts_per_step
from filmgate.engine.sampling.guidance import Guidance
from filmgate.engine.sampling.schedules import TRAINING_STEPS, sigmas, timestep
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import Solver
from filmgate.spec.request import Request
from filmgate.spec.shape import Compression


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sampling settings of a request for a published model; ``boundary`` is a sigma, None for one transformer."""

    variant: str
    negative: str
    width: int
    height: int
    frames: int
    fps: int
    steps: int
    shift: float
    solver: Solver
    guidance_high: float
    guidance_low: float
    boundary: float | None
    seed: int

    @property
    def high_steps(self) -> int:
        """How many steps the high-noise expert paints."""
        clock = [timestep(level, self.solver) for level in sigmas(self.solver, self.steps, self.shift)[:-1]]
        return experts_per_step(clock, self.boundary).count("high_noise")


def settings_of(request: Request, variant: str | None) -> Settings:
    """The settings of a request, its gaps filled from the published defaults of ``variant``.

    Raises:
        UnknownName: no such variant was published.
        InvalidRequest: ``variant`` is None, and the name of the model does not tell it either; or a value is one that
            no plan takes.
    """
    name = variant or variant_of(request.model or "")
    if name is None:
        given = "the request names no model" if request.model is None else f"{request.model!r:.80} does not say it"
        raise InvalidRequest(
            "variant", f"which published model it is must be known, and {given}",
            allowed=f"--variant NAME, of {', '.join(PRESETS)}",
        )  # fmt: skip
    if name not in PRESETS:
        raise UnknownName("variant", name, PRESETS)
    few = distilled_of(request.distilled)
    preset = PRESETS[name] if few is None else few.on(PRESETS[name])
    width, height = _size(request, preset.sizes)
    low = request.guidance_low if request.guidance_low is not None else preset.guidance_low
    high = request.guidance_high if request.guidance_high is not None else preset.guidance_high
    if preset.boundary is None:
        if None not in (request.guidance_high, request.guidance_low) and request.guidance_high != request.guidance_low:
            raise InvalidRequest(
                "guidance_high", f"{name} has one transformer and one scale", allowed="the same as guidance_low"
            )
        asked = request.guidance_low if request.guidance_low is not None else request.guidance_high
        low = high = preset.guidance_low if asked is None else asked
    usual = shift_at(name, preset, (width, height)) if few is None else few.shift
    settings = Settings(
        variant=name,
        negative=preset.negative if request.negative is None else request.negative,
        width=width,
        height=height,
        frames=preset.frames if request.frames is None else request.frames,
        fps=preset.fps if request.fps is None else request.fps,
        steps=preset.steps if request.steps is None else request.steps,
        shift=usual if request.shift is None else request.shift,
        solver=request.solver or preset.solver,
        guidance_high=high,
        guidance_low=low,
        boundary=preset.boundary if request.boundary is None else request.boundary,
        seed=request.seed or 0,
    )
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Refuse what a plan would refuse: other tools round such numbers, or take a negative seed for a random one."""
    Compression().check_frames(settings.frames)
    sigmas(settings.solver, settings.steps, settings.shift)
    if settings.boundary is not None:
        check_boundary(settings.boundary)
    Guidance(high=settings.guidance_high, low=settings.guidance_low)
    check_seed(settings.seed)


def _size(request: Request, sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    if request.width is not None and request.height is not None:
        return request.width, request.height
    if request.width is not None or request.height is not None:
        raise InvalidRequest("size", "one side is missing", allowed="both sides, an area, or neither")
    if request.area is None:
        return sizes[0]
    found = next((size for size in sizes if size[0] * size[1] == request.area), None)
    if found is None:
        raise InvalidRequest(
            "area", f"{request.area} is no area of the model", allowed="width and height, or a listed area"
        )
    return found


def variant_of(name: str) -> str | None:
    """The published model that a name of a file or directory speaks of; None if it does not tell.

    Where a name fits both generations (14B, without "2.2" or an expert), nothing is guessed.
    """
    last = "/".join(name.lower().replace("\\", "/").rstrip("/").split("/")[-2:])  # a file and its directory
    text = re.sub(r"[^a-z0-9]+", "", last)
    family = "wan2.2" if "wan22" in text else "wan2.1" if "wan21" in text else None
    task = next(
        (task for task in ("ti2v", "flf2v", "vace", "s2v", "animate", "camera", "i2v", "t2v") if task in text), None
    )
    if family is None or task is None:
        return None
    if family == "wan2.2":
        size = "5b" if "5b" in text else "a14b"
        size = "14b" if task in ("s2v", "animate") else size
    else:
        size = "1.3b" if "13b" in text else "14b"
    found = f"{family}-{task}-{size}"
    if found == "wan2.1-i2v-14b" and ("480p" in text or "720p" in text):
        found += "-480p" if "480p" in text else "-720p"
    return found if found in PRESETS else None


_SMALL_AREA = 832 * 480
_WEIGHTS = {"wan2.1-t2i-14b": "wan2.1-t2v-14b"}
"""Published settings without weights of their own."""


def weights_of(variant: str, area: int) -> str:
    """The id that the weights behind published settings have once they were fetched; one model has two, by ``area``."""
    if variant == "wan2.1-i2v-14b":
        return f"{variant}-{'480p' if area <= _SMALL_AREA else '720p'}"
    return _WEIGHTS.get(variant, variant)


def note_model(variant: str | None, ledger: Ledger, said: Any, reason: str, *, sure: bool = True) -> str | None:
    """The model of settings that name no weights: what they say it is, or a line that it is not told."""
    if variant is None:
        ledger.dropped("model", said, f"{reason}; without --model a request is carried out by the shipped toy model")
        return None
    ledger.note("model", "translated" if sure else "approximated", said, variant, reason)
    return variant


def note_path(model: str | None, theirs: str, ledger: Ledger) -> None:
    """Say that a name of ours is no path of theirs."""
    if model in PRESETS:
        ledger.note("model", "approximated", model, model, f"{theirs} must be where its weights are")


def boundary_after(high: int, solver: Solver, steps: int, shift: float, usual: float | None = None) -> float:
    """A noise level that gives the first ``high`` of ``steps`` steps to the high-noise expert.

    The usual boundary where it does so, else the middle between the two steps: a step's number means nothing at
    another number of steps or another shift.

    Raises:
        InvalidRequest: one of the experts would have no step.
    """
    if not 0 < high < steps:
        raise InvalidRequest(
            "boundary", f"a change after step {high} of {steps} leaves one expert idle", allowed=f"1 to {steps - 1}"
        )
    clock = [timestep(level, solver) / TRAINING_STEPS for level in sigmas(solver, steps, shift)[:-1]]
    if usual is not None and clock[high] < usual <= clock[high - 1]:
        return usual
    boundary = (clock[high - 1] + clock[high]) / 2
    if not clock[high] < boundary <= clock[high - 1]:
        raise InvalidRequest(
            "boundary", f"steps {high} and {high + 1} of {steps} lie at one timestep at shift {shift:g}",
            allowed="fewer steps or a smaller shift",
        )  # fmt: skip
    return boundary


UNSPOKEN = (
    "strength", "keep", "control_scale", "camera", "lora", "lora_high", "lora_low", "distilled", "guidance_method",
    "guidance_interval", "precision", "device", "memory", "weights", "text_encoder", "vae_tile", "profile",
    "attention", "vae_precision",
)  # fmt: skip
"""What few other tools can say."""


def drop_unspoken(request: Request, ledger: Ledger, spoken: tuple[str, ...]) -> None:
    """Note what a dialect cannot say, of :data:`UNSPOKEN` without ``spoken``."""
    for field in UNSPOKEN:
        value = getattr(request, field)
        if field not in spoken and value not in (None, ()):
            ledger.dropped(field, value, "the dialect has no word for it")
    if request.area is not None and "area" not in spoken:
        reason = "a fixed size is written; the proportions of a picture do not change it"
        ledger.note("area", "approximated", request.area, reason=reason)

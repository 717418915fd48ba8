"""A wish becomes a plan: every open choice made, every value checked. Pure: no I/O, no clock, milliseconds.

Precedence: what the request says, then the model's own preset, then that of the published model. What cannot be done as
it was asked for is an error; what is only unusual is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar, get_args

from filmgate.direction.estimate import estimate_memory, estimate_seconds
from filmgate.direction.presets import preset_of, shift_at
from filmgate.direction.prompts import CountTokens, clean, cut_off, unknown_words
from filmgate.engine.sampling.experts import check_boundary, experts_per_step
from filmgate.engine.sampling.guidance import Guidance
from filmgate.engine.sampling.schedules import check_solver, sigmas, timestep
from filmgate.spec import (
    DeviceDescription,
    InvalidRequest,
    ModelDescription,
    Plan,
    Precision,
    Preset,
    Request,
    Solver,
    Step,
    UnknownName,
    VideoShape,
)

Value = TypeVar("Value")
LARGEST_SEED = 2**63 - 1
DEFAULT_SEED = 0
"""A bare command is repeatable."""
_TEXT_ONLY = ("t2v", "ti2v")
_UNUSUAL_SHIFT = 2.0
"""A shift that differs from the preset's by more than this factor gets a warning."""
_SHOWN = 120
"""Longest quotation in a message, in characters."""


def plan(request: Request, model: ModelDescription, device: DeviceDescription, count_tokens: CountTokens) -> Plan:
    """Resolve ``request`` against a model and a device.

    Args:
        request: The wish. ``model`` and ``device`` in it were resolved by the caller.
        model: What will paint.
        device: Where.
        count_tokens: Tokens of a text as the model's tokenizer counts them, end mark included.

    Raises:
        InvalidRequest: a value is out of range; names the field, what is allowed and the nearest valid value
            (UnknownName: a solver or precision that does not exist).
    """
    if model.task not in _TEXT_ONLY:
        raise InvalidRequest(
            "model", f"{model.id} is for {model.task} and needs more than a prompt", allowed="a model for t2v or ti2v"
        )
    preset, borrowed = preset_of(model)
    solver = _solver(request, preset)
    negative = _or(request.negative, preset.negative)
    for field, text in (("prompt", request.prompt), ("negative", negative)):
        _check_text(field, text, model, count_tokens)
    video = _video(request, model, preset)
    latent = model.compression.latent(video)
    fps = _at_least("fps", _or(request.fps, preset.fps), 1)
    shift = _or(request.shift, shift_at(model.variant, preset, (video.width, video.height)))
    boundary = _boundary(request, model, preset)
    steps = _steps(solver, _or(request.steps, preset.steps), shift, boundary, _guidance(request, preset, boundary))
    precision = _precision(request, model, device)
    guided = any(step.passes == 2 for step in steps)
    read = (request.prompt, negative) if guided else (request.prompt,)
    resolved = Plan(
        prompt=request.prompt,
        negative=negative,
        model=model,
        video=video,
        latent=latent,
        fps=fps,
        seed=_seed(request),
        solver=solver,
        shift=shift,
        boundary=boundary,
        steps=steps,
        precision=precision,
        device=device,
        memory=estimate_memory(model, video, latent, precision, guided=guided),
        seconds=estimate_seconds(
            model, video, latent, steps, device, precision, text_tokens=sum(map(count_tokens, read))
        ),
        preview_every=_at_least("preview_every", request.preview_every, 0),
    )
    return resolved.model_copy(update={"warnings": tuple(_warnings(request, resolved, preset, borrowed))})


def _or(asked: Value | None, default: Value) -> Value:
    return default if asked is None else asked


def _at_least(field: str, value: int, least: int) -> int:
    if value < least:
        raise InvalidRequest(field, f"{value} is too small", allowed=f"{least} or more", nearest=str(least))
    return value


def _seed(request: Request) -> int:
    seed = _or(request.seed, DEFAULT_SEED)
    if not 0 <= seed <= LARGEST_SEED:
        raise InvalidRequest(
            "seed", f"{seed} is out of range", allowed="0 to 2^63-1", nearest=str(min(max(seed, 0), LARGEST_SEED))
        )
    return seed


def _solver(request: Request, preset: Preset) -> Solver:
    solver = _or(request.solver, preset.solver)
    check_solver(solver)
    return solver


def _precision(request: Request, model: ModelDescription, device: DeviceDescription) -> Precision:
    precision = _or(request.precision, model.default_precision)
    if precision not in get_args(Precision):
        raise UnknownName("precision", precision, get_args(Precision))
    if precision == "fp16" and device.kind == "cpu":
        raise InvalidRequest("precision", "fp16 is not for CPUs", allowed="fp32 or bf16", nearest="bf16")
    return precision


def _check_text(field: str, text: str, model: ModelDescription, count_tokens: CountTokens) -> None:
    """A prompt must say something, and no text may be longer than the model reads."""
    if field == "prompt" and not clean(text):
        raise InvalidRequest("prompt", "it is empty", allowed="at least one word that says what the video shows")
    cut = cut_off(text, model.dit.text_len, count_tokens)
    if cut:
        raise InvalidRequest(
            field,
            f"it has {count_tokens(text)} tokens and {model.id} reads {model.dit.text_len}; this would be cut:"
            f" {_quoted(cut)}",
            allowed=f"{model.dit.text_len} tokens, the end mark included",
        )


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= _SHOWN else f'"{text[:_SHOWN].rstrip()}..." ({len(text)} characters)'


def _video(request: Request, model: ModelDescription, preset: Preset) -> VideoShape:
    """Frames and size, checked against what the VAE and the patches can hold."""
    shape = model.compression
    frames = _or(request.frames, preset.frames)
    shape.check_frames(frames)
    for side, pixels in (("width", request.width), ("height", request.height)):
        if pixels is not None:
            shape.check_side(side, pixels)
    width, height = _size(request, model, preset)
    for side, pixels in (("width", width), ("height", height)):
        shape.check_side(side, pixels)
    return VideoShape(frames=frames, width=width, height=height)


def _size(request: Request, model: ModelDescription, preset: Preset) -> tuple[int, int]:
    """Both sides. A missing one comes from a listed size with the other, or else keeps the default's proportions."""
    width, height = request.width, request.height
    default = preset.sizes[0]
    if width is not None and height is not None:
        return width, height
    if width is not None:
        partner = next((h for w, h in preset.sizes if w == width), None)
        return width, partner or model.compression.nearest_side(round(width * default[1] / default[0]))
    if height is not None:
        partner = next((w for w, h in preset.sizes if h == height), None)
        return partner or model.compression.nearest_side(round(height * default[0] / default[1])), height
    return default


def _boundary(request: Request, model: ModelDescription, preset: Preset) -> float | None:
    """Where the low-noise expert takes over; None for a model with one transformer."""
    if not {"high_noise", "low_noise"} <= {expert.name for expert in model.experts}:
        if request.boundary is not None:
            raise InvalidRequest("boundary", f"{model.id} has one expert for all noise levels", allowed="no boundary")
        return None
    boundary = _or(request.boundary, preset.boundary)
    if boundary is None:
        raise InvalidRequest("boundary", f"the preset of {model.id} has none", allowed="above 0 and below 1")
    check_boundary(boundary)
    return boundary


def _guidance(request: Request, preset: Preset, boundary: float | None) -> Guidance:
    if boundary is not None:
        return Guidance(
            high=_or(request.guidance_high, preset.guidance_high), low=_or(request.guidance_low, preset.guidance_low)
        )
    high, low = request.guidance_high, request.guidance_low
    if None not in (high, low) and high != low:
        raise InvalidRequest(
            "guidance_high", "a model with one expert has one scale", allowed="the same as guidance_low"
        )
    scale = _or(_or(low, high), preset.guidance_low)
    return Guidance(high=scale, low=scale)


def _steps(solver: Solver, count: int, shift: float, boundary: float | None, guidance: Guidance) -> tuple[Step, ...]:
    levels = sigmas(solver, count, shift)
    clock = tuple(timestep(sigma, solver) for sigma in levels[:-1])
    experts = experts_per_step(clock, boundary)
    return tuple(
        Step(
            index=index, sigma=sigma, sigma_next=after, timestep=clock[index], expert=experts[index],
            guidance=guidance.scale(experts[index]),
        )
        for index, (sigma, after) in enumerate(pairwise(levels))
    )  # fmt: skip


def _warnings(request: Request, plan: Plan, preset: Preset, borrowed: str | None) -> Iterator[str]:
    """What is allowed and probably not meant."""
    if borrowed is not None:
        yield f"{plan.model.id} has no preset of its own; the defaults are those of {borrowed}"
    yield from _word_warnings(plan)
    size = (plan.video.width, plan.video.height)
    if size not in preset.sizes:
        listed = ", ".join(f"{width}x{height}" for width, height in preset.sizes)
        yield f"{size[0]}x{size[1]} is not a size that {plan.model.id} was made for ({listed})"
    if plan.video.frames > preset.frames:
        yield f"{plan.video.frames} frames are more than the {preset.frames} that {plan.model.id} was made for"
    if plan.fps != preset.fps:
        tempo = plan.fps / preset.fps
        yield f"{plan.model.id} moves at {preset.fps} fps; at {plan.fps} fps all is {tempo:.2g} times as fast"
    usual = shift_at(plan.model.variant, preset, size)
    if not usual / _UNUSUAL_SHIFT <= plan.shift <= usual * _UNUSUAL_SHIFT:
        yield f"shift {plan.shift:g} is far from the usual {usual:g}"
    yield from _expert_warnings(request, plan)
    if plan.device.memory_bytes and plan.memory.peak > plan.device.memory_bytes:
        peak, there = plan.memory.peak / 2**30, plan.device.memory_bytes / 2**30
        yield f"it needs about {peak:.1f} GiB at the peak, and {plan.device.name} has {there:.1f} GiB"


def _word_warnings(plan: Plan) -> Iterator[str]:
    vocabulary = plan.model.vocabulary
    unknown = unknown_words(plan.prompt, vocabulary) if vocabulary is not None else ()
    if unknown:
        noun = "word" if len(unknown) == 1 else "words"
        yield f"{plan.model.id} does not know the {noun} {', '.join(map(repr, unknown))}"


def _expert_warnings(request: Request, plan: Plan) -> Iterator[str]:
    """About the work of the experts and what steers them."""
    idle = [expert.name for expert in plan.model.experts if not plan.steps_of(expert.name)]
    for name in idle if plan.boundary is not None else ():
        yield f"the {name.replace('_', '-')} expert paints no step: boundary {plan.boundary:g}, shift {plan.shift:g}"
    scales = {step.guidance for step in plan.steps}
    if request.negative and scales == {1.0}:
        yield "guidance is off, so that the negative prompt has no effect"
    weak = sorted(scale for scale in scales if scale < 1)
    if weak:
        yield f"guidance {weak[0]:g} is below 1: the prompt counts less than it would without guidance"

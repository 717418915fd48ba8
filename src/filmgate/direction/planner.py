"""A wish becomes a plan: every open choice made, every value checked. Pure: no I/O, no clock, milliseconds.

Precedence: what the request says, then the model's own preset, then that of the published model. What cannot be done as
it was asked for is an error; what is only unusual is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar, get_args

from filmgate.direction.acceleration import NO_EVIDENCE, Evidence, accelerate
from filmgate.direction.calibration import UNKNOWN_MACHINE, Machine
from filmgate.direction.controls import (
    check_frames_given,
    control_scale,
    control_warnings,
    inner_size,
    operation_with,
)
from filmgate.direction.distilled import Distilled, check_start, distilled_of, distilled_warnings, undistilled_warnings
from filmgate.direction.fit import Asked, choose
from filmgate.direction.guidance import check_method, guidance_at, guidance_rule, guidance_warnings
from filmgate.direction.idle import idle_warnings
from filmgate.direction.layout import asked_layout, layout_warnings
from filmgate.direction.loras import lora_warnings
from filmgate.direction.presets import preset_of, shift_at
from filmgate.direction.prompts import CountTokens, clean, cut_off, unknown_words
from filmgate.direction.published import how_to_fetch
from filmgate.direction.residency import asked_residency, residency_warnings
from filmgate.direction.sizes import size_of
from filmgate.direction.speed import asked_speed, speed_warnings
from filmgate.direction.tasks import check_ability, operation_of
from filmgate.direction.workload import workload_of
from filmgate.engine.sampling.experts import check_boundary, experts_per_step
from filmgate.engine.sampling.guidance import Guidance
from filmgate.engine.sampling.schedules import check_solver, sigmas, timestep
from filmgate.spec import (
    DeviceDescription,
    InputFile,
    InvalidRequest,
    LoraUse,
    MemoryEstimate,
    ModelDescription,
    Operation,
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
DEFAULT_STRENGTH = 0.7
"""How much of a video may change, where nothing is said."""
_UNUSUAL_SHIFT = 2.0
"""A shift that differs from the preset's by more than this factor gets a warning."""
_SAME_AREA = 0.85
"""Rounding both sides to whole patches takes this much of an area, at most."""
_NOT_YET = MemoryEstimate(weights=0, activations=0, vae=0, peak=0)
_SHOWN = 120
"""Longest quotation in a message, in characters."""


def plan(
    request: Request,
    model: ModelDescription,
    device: DeviceDescription,
    count_tokens: CountTokens,
    inputs: Sequence[InputFile] = (),
    loras: Sequence[LoraUse] = (),
    machine: Machine = UNKNOWN_MACHINE,
    evidence: Evidence = NO_EVIDENCE,
) -> Plan:
    """Resolve ``request`` against a model and a device.

    Args:
        request: The wish. ``model`` and ``device`` in it were resolved by the caller.
        model: What will paint.
        device: Where.
        count_tokens: Tokens of a text as the model's tokenizer counts them, end mark included.
        inputs: The files that ``request`` names, described by the caller.
        loras: The LoRAs that it names, likewise.
        machine: What is known beside the device: memory of the host, and what was measured.
        evidence: What was measured of the model, for profiles that skip work.

    Raises:
        InvalidRequest: a value is out of range; names the field, what is allowed and the nearest valid value
            (UnknownName: a solver or precision that does not exist). Or it does not fit the device; says what would.
    """
    operation = operation_with(model, operation_of(request, 0 if request.frames is None else request.frames), request)
    check_ability(model, operation)
    own, borrowed = preset_of(model, operation)
    few = distilled_of(request.distilled)
    preset = own if few is None else few.on(own)
    negative = _negative(request, model, preset, count_tokens)
    video = _video(request, model, preset, inputs)
    shift = _or(request.shift, _usual_shift(model, preset, few, video))
    solver, boundary = _solver(request, preset), _boundary(request, model, preset)
    steps, strength = _walk(request, _schedule(request, preset, own, few, solver, shift, boundary), operation)
    precision = _precision(request, model, device)
    resolved = Plan(
        prompt=request.prompt,
        negative=negative,
        model=model,
        video=video,
        latent=model.compression.latent(video),
        fps=_at_least("fps", _or(request.fps, preset.fps), 1),
        seed=check_seed(_or(request.seed, DEFAULT_SEED)),
        solver=solver,
        shift=shift,
        boundary=boundary,
        steps=steps,
        precision=precision,
        device=device,
        memory=_NOT_YET,
        seconds=0.0,
        preview_every=_at_least("preview_every", request.preview_every, 0),
        operation=operation,
        inputs=tuple(inputs),
        strength=strength,
        keep=request.keep,
        control_scale=control_scale(request, operation),
        loras=tuple(loras),
        guidance_rule=guidance_rule(request),
        distilled=request.distilled,
        noise_scale=_noise_scale(few, steps, strength),
        residency=asked_residency(request, model, device),
        speed=asked_speed(request, device, precision),
    )
    resolved = resolved.model_copy(update={"layout": asked_layout(request, resolved)})
    acceleration = accelerate(resolved, request.profile or "exact", evidence)
    resolved = resolved.model_copy(update={"acceleration": acceleration})
    if few is not None:
        check_start(str(request.distilled), few, resolved)
    fitted, tight = _fitted(resolved, request, count_tokens, machine, preset)
    return fitted.model_copy(update={"warnings": (*_warnings(request, fitted, preset, borrowed), *tight)})


def _negative(request: Request, model: ModelDescription, preset: Preset, count_tokens: CountTokens) -> str:
    """The negative prompt, once both texts are found to be ones that the model reads."""
    negative = _or(request.negative, preset.negative)
    for field, text in (("prompt", request.prompt), ("negative", negative)):
        _check_text(field, text, model, count_tokens)
    return negative


def _walk(request: Request, steps: tuple[Step, ...], operation: Operation) -> tuple[tuple[Step, ...], float | None]:
    """The part of a schedule that is walked, and what it is entered by: the strength of a video's change."""
    if operation != "v2v":
        return steps, None
    strength = _or(request.strength, DEFAULT_STRENGTH)
    return _entered(steps, strength), strength


def _noise_scale(few: Distilled | None, steps: Sequence[Step], strength: float | None) -> float:
    """What the noise at the start is multiplied by."""
    return steps[0].sigma if few is not None and few.scaled_start and strength is None else 1.0


def _fitted(
    plan: Plan, request: Request, count_tokens: CountTokens, machine: Machine, preset: Preset
) -> tuple[Plan, tuple[str, ...]]:
    """A plan with its networks placed on the device, what that needs and takes, and a warning if it is tight."""
    read = (plan.prompt, plan.negative) if plan.reads_negative else (plan.prompt,)
    load = workload_of(plan, sum(map(count_tokens, read)))
    asked = Asked(request.memory, plan.residency, placed=request.text_encoder is not None,
                  tiled=request.vae_tile is not None)  # fmt: skip
    fit = choose(load, asked, machine, preset)
    changes = {
        "residency": fit.residency,
        "options": fit.options,
        "memory": fit.memory,
        "times": fit.times,
        "seconds": fit.times.total,
    }
    return plan.model_copy(update=changes), fit.warnings


def _usual_shift(model: ModelDescription, preset: Preset, few: Distilled | None, video: VideoShape) -> float:
    return few.shift if few is not None else shift_at(model.variant, preset, (video.width, video.height))


def _or(asked: Value | None, default: Value) -> Value:
    return default if asked is None else asked


def _at_least(field: str, value: int, least: int) -> int:
    if value < least:
        raise InvalidRequest(field, f"{value} is too small", allowed=f"{least} or more", nearest=str(least))
    return value


def check_seed(seed: int) -> int:
    """``seed``, if it is one.

    Raises:
        InvalidRequest: it is out of range.
    """
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
    if precision == "bf16" and not device.bf16:
        if request.precision is not None:
            raise InvalidRequest("precision", f"{device.name} has no bf16", allowed="fp16 or fp32", nearest="fp16")
        return "fp16"
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


def _video(request: Request, model: ModelDescription, preset: Preset, inputs: Sequence[InputFile]) -> VideoShape:
    """Frames and size, checked against what the VAE and the patches can hold, and against the files."""
    shape = model.compression
    guide = next((file for file in inputs if file.role in ("image", "video") and file.width), None)
    frames = _or(request.frames, preset.frames)
    fps = _at_least("fps", _or(request.fps, preset.fps), 1)
    frames = check_frames_given(request, inputs, frames, fps, shape)
    shape.check_frames(frames)
    width, height = size_of(request, model, preset, None if request.keep == "inside" else guide)
    video = VideoShape(frames=frames, width=width, height=height)
    if guide is not None and request.keep == "inside":
        inner_size((guide.width, guide.height), video)
    return video


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


def _schedule(
    request: Request,
    preset: Preset,
    own: Preset,
    few: Distilled | None,
    solver: Solver,
    shift: float,
    boundary: float | None,
) -> tuple[Step, ...]:
    """All steps; ``preset`` is the model's ``own`` or, with a few-step preset, that in its place."""
    count = _or(request.steps, preset.steps)
    check_method(request, started=few is not None and few.undistilled > 0)
    if few is None:
        levels = sigmas(solver, count, shift)
        clock = tuple(timestep(sigma, solver) for sigma in levels[:-1])
    else:
        levels = few.sigmas(count, shift)
        clock = few.timesteps(levels[:-1])
    if few is None or not few.undistilled:
        return _steps(request, levels, clock, boundary, _guidance(request, preset, boundary))
    # The high-noise scale that is asked for is that of the undistilled steps, the only ones that are guided.
    rest = request.model_copy(update={"guidance_high": None})
    steps = _steps(request, levels, clock, boundary, _guidance(rest, preset, boundary))
    return few.started(steps, _or(request.guidance_high, own.guidance_high))


def _steps(
    request: Request, levels: Sequence[float], clock: Sequence[float], boundary: float | None, guidance: Guidance
) -> tuple[Step, ...]:
    experts = experts_per_step(clock, boundary)
    return tuple(
        Step(
            index=index, sigma=sigma, sigma_next=after, timestep=clock[index], expert=experts[index],
            guidance=guidance_at(request, sigma, guidance.scale(experts[index])),
        )
        for index, (sigma, after) in enumerate(pairwise(levels))
    )  # fmt: skip


def _entered(steps: tuple[Step, ...], strength: float) -> tuple[Step, ...]:
    """The last part of a schedule: the noise of a video that is to change by ``strength`` is that of its first step.

    As Diffusers enters it: of N steps the last ⌊N·strength⌋ are walked, at the levels they have in the whole schedule.
    """
    if not 0 < strength <= 1:
        raise InvalidRequest("strength", f"{strength:g} is out of range", allowed="above 0, up to 1")
    # A product that is a whole number in decimals may lie a bit below it in binary.
    kept = int(len(steps) * strength + 1e-9)
    if not kept:
        least = 1 / len(steps)
        raise InvalidRequest(
            "strength", f"{strength:g} of {len(steps)} steps is none", allowed=f"{least:.3g} or more, or more steps",
            nearest=f"{least:.3g}",
        )  # fmt: skip
    return tuple(
        step.model_copy(update={"index": index}) for index, step in enumerate(steps[len(steps) - kept :])
    )  # fmt: skip


def _warnings(request: Request, plan: Plan, preset: Preset, borrowed: str | None) -> Iterator[str]:
    """What is allowed and probably not meant."""
    if not plan.model.here:
        yield f"{plan.model.id} is not here: {how_to_fetch(plan.model.id)}. The tokens of its texts are estimated"
    if request.precision is None and plan.precision != plan.model.default_precision:
        yield f"{plan.device.name} has no {plan.model.default_precision}: it computes in {plan.precision}"
    if borrowed is not None:
        yield f"{plan.model.id} has no preset of its own; the defaults are those of {borrowed}"
    yield from _word_warnings(plan)
    yield from control_warnings(plan)
    yield from _size_warnings(plan, preset)
    if plan.video.frames > preset.frames:
        yield f"{plan.video.frames} frames are more than the {preset.frames} that {plan.model.id} was made for"
    if plan.fps != preset.fps:
        tempo = plan.fps / preset.fps
        yield f"{plan.model.id} moves at {preset.fps} fps; at {plan.fps} fps all is {tempo:.2g} times as fast"
    few = distilled_of(plan.distilled)
    usual = _usual_shift(plan.model, preset, few, plan.video)
    if not usual / _UNUSUAL_SHIFT <= plan.shift <= usual * _UNUSUAL_SHIFT:
        yield f"shift {plan.shift:g} is far from the usual {usual:g}"
    yield from _expert_warnings(request, plan)
    yield from guidance_warnings(request, plan)
    yield from lora_warnings(plan)
    yield from residency_warnings(plan)
    yield from speed_warnings(plan, request)
    yield from layout_warnings(plan)
    yield from idle_warnings(plan)
    if few is not None:
        yield from distilled_warnings(str(plan.distilled), few, plan)
    else:
        yield from undistilled_warnings(plan)


def _size_warnings(plan: Plan, preset: Preset) -> Iterator[str]:
    """Sizes that the model was not made for; where a picture gives the proportions, only its area counts."""
    size = (plan.video.width, plan.video.height)
    name, listed = f"{size[0]}x{size[1]}", ", ".join(f"{width}x{height}" for width, height in preset.sizes)
    inside = plan.keep == "inside"
    guide = plan.input("image") or (None if inside else plan.input("video"))
    if guide is None or not guide.width:
        if size not in preset.sizes:
            yield f"{name} is not a size that {plan.model.id} was made for ({listed})"
        return
    area = size[0] * size[1]
    if not any(_SAME_AREA * w * h <= area <= w * h / _SAME_AREA for w, h in preset.sizes):
        yield f"{name} has not an area that {plan.model.id} was made for ({listed})"
    for file in plan.inputs:
        scaled = ("image", "last_image") if inside else ("image", "last_image", "video")
        if file.role in scaled and _is_cut(file, plan):
            yield f"{file.role} is {file.width}x{file.height}: it is cut to the proportions of {name}"


def _is_cut(file: InputFile, plan: Plan) -> bool:
    """Whether more is lost of a picture than rounding a size to whole patches explains."""
    unit = plan.model.compression.multiple
    wide, high = file.width * plan.video.height / file.height, file.height * plan.video.width / file.width
    return abs(wide - plan.video.width) > unit and abs(high - plan.video.height) > unit


def _word_warnings(plan: Plan) -> Iterator[str]:
    vocabulary = plan.model.vocabulary
    if vocabulary is None:
        return
    negative = plan.negative if plan.reads_negative else ""
    for text, where in ((plan.prompt, ""), (negative, " of the negative prompt")):
        if unknown := unknown_words(text, vocabulary):
            noun = "word" if len(unknown) == 1 else "words"
            yield f"{plan.model.id} does not know the {noun} {', '.join(map(repr, unknown))}{where}"


def _expert_warnings(request: Request, plan: Plan) -> Iterator[str]:
    """About the work of the experts and what steers them."""
    idle = [expert.name for expert in plan.model.experts if not plan.steps_of(expert.name)]
    for name in idle if plan.boundary is not None else ():
        yield f"the {name.replace('_', '-')} expert paints no step: boundary {plan.boundary:g}, shift {plan.shift:g}"
    scales = {step.guidance for step in plan.steps}
    if request.negative and not plan.reads_negative:
        yield "guidance is off, so that the negative prompt has no effect"
    weak = sorted(scale for scale in scales if scale < 1)
    if weak:
        yield f"guidance {weak[0]:g} is below 1: the prompt counts less than it would without guidance"

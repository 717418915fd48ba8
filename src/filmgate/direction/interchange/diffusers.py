"""Diffusers: a pipeline directory, or the settings of a call as JSON.

The JSON has the names of ``model_index.json`` on top (``_class_name``, ``boundary_ratio``), ``scheduler`` (its
configuration), ``call`` (the arguments of the call), and ``model``, ``seed``, ``fps`` and ``loras``, which a script has
outside of the call. An entry of ``loras`` has the ``path`` and ``load_into_transformer_2`` of ``load_lora_weights`` and
the ``strength`` of ``set_adapters``. ``guidance_scale`` is for ``transformer``, the high-noise expert;
``guidance_scale_2`` for ``transformer_2``, the low-noise one, and the same where it is not given. Whether guidance is
on depends on ``guidance_scale`` alone. ``boundary_ratio`` is a share of 1000 timesteps: a sigma. Sizes are height, then
width. No negative prompt is an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from filmgate.direction.interchange.report import Exported, Imported, Ledger
from filmgate.direction.interchange.settings import drop_unspoken, note_model, note_path, settings_of
from filmgate.direction.interchange.values import number, parse_object, rounded_frames, section, seed_of, whole, words
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.request import Request

PIPELINES = ("WanPipeline", "WanImageToVideoPipeline", "WanVideoToVideoPipeline", "WanVACEPipeline")
_PAIRS = dict(
    zip(PIPELINES, ("wan2.2-t2v-a14b", "wan2.2-i2v-a14b", "wan2.2-t2v-a14b", "wan2.2-vace-a14b"), strict=True)
)
"""The published models of two experts."""
SCHEDULERS = {
    "UniPCMultistepScheduler": ("unipc", "its grid starts and ends elsewhere since Diffusers 0.37"),
    "DPMSolverMultistepScheduler": ("dpmpp_2m", "its grid starts at 0.999, not at 1"),
    "FlowMatchEulerDiscreteScheduler": ("euler", "it shifts its grid twice"),
}
"""Its schedulers, ours, and what is different."""
_FILES = {"image": "image", "last_image": "last_image", "video": "video", "mask": "mask"}
_CALL = (
    "prompt", "negative_prompt", "height", "width", "num_frames", "num_inference_steps", "guidance_scale",
    "guidance_scale_2", "strength", "conditioning_scale", "reference_images", *_FILES,
)  # fmt: skip
_TOP = ("_class_name", "boundary_ratio", "scheduler", "call", "model", "seed", "fps", "expand_timesteps", "loras")


def import_diffusers_directory(path: str, index: str, scheduler: str) -> Imported:
    """The request that a pipeline makes where nothing but a prompt is given.

    Args:
        path: Of the directory.
        index: The text of its ``model_index.json``.
        scheduler: The text of its ``scheduler/scheduler_config.json``.
    """
    given = parse_object(index, "model_index.json")
    parts = {name: value for name, value in given.items() if name in _TOP and name not in ("scheduler", "call")}
    config = parse_object(scheduler, "scheduler_config.json")
    return read_settings({**parts, "model": path, "scheduler": config}, Ledger())


def import_diffusers(text: str) -> Imported:
    """The request of settings as JSON, or of a Python script, which is parsed and never executed.

    Raises:
        InvalidRequest: they are not such, or a value is of the wrong kind (UnknownName: no such pipeline or scheduler).
    """
    if not text.lstrip().startswith("{"):
        from filmgate.direction.interchange.diffusers_script import import_script

        return import_script(text)
    return read_settings(parse_object(text, "Diffusers settings"), Ledger())


def read_settings(given: Mapping[str, Any], ledger: Ledger) -> Imported:
    """The request of settings that are an object already; see :func:`import_diffusers`."""
    kind = words("_class_name", given.get("_class_name"))
    if kind not in PIPELINES:
        raise UnknownName("pipeline", kind, PIPELINES)
    call = section("call", given.get("call", {}))
    fields: dict[str, Any] = {"prompt": words("prompt", call.get("prompt") or "")}
    if not fields["prompt"]:
        ledger.dropped("prompt", None, "there is none in it; a plan needs one")
    fields["negative"] = words("negative_prompt", call.get("negative_prompt") or "")
    ledger.note(
        "negative", "kept" if fields["negative"] else "translated", call.get("negative_prompt"), fields["negative"]
    )
    if given.get("model") is not None:
        fields["model"] = words("model", given["model"])
        ledger.kept("model", fields["model"])
    else:
        fields["model"] = _model(kind, given, ledger)
    for theirs, ours, default in (
        ("height", "height", 480),
        ("width", "width", 832),
        ("num_inference_steps", "steps", 50),
    ):
        fields[ours] = whole(theirs, call.get(theirs, default))
        ledger.kept(ours, fields[ours])
    fields["frames"] = rounded_frames("num_frames", call.get("num_frames", 81), ledger)
    if given.get("fps") is not None:
        fields["fps"] = whole("fps", given["fps"])
        ledger.kept("fps", fields["fps"])
    fields["seed"] = seed_of("seed", given.get("seed"), ledger)
    fields |= _schedule(given, ledger) | _guidance(call, given.get("boundary_ratio"), ledger)
    for theirs, ours in {**_FILES, "strength": "strength", "conditioning_scale": "control_scale"}.items():
        if call.get(theirs) is not None:
            convert: Any = words if theirs in _FILES else number
            fields[ours] = convert(theirs, call[theirs])
            ledger.kept(ours, fields[ours])
    if kind == "WanVideoToVideoPipeline" and "strength" not in fields:
        fields["strength"] = 0.8
        ledger.note("strength", "translated", None, 0.8, "the pipeline's default")
    listed = call.get("reference_images") or []
    if not isinstance(listed, list):
        raise InvalidRequest("reference_images", f"{listed!r:.80} is not a list", allowed="a list of paths")
    fields["references"] = tuple(words("reference_images", path) for path in listed)
    fields |= read_loras(given.get("loras") or [], ledger, pair=given.get("boundary_ratio") is not None)
    for name, value in [
        *((n, v) for n, v in call.items() if n not in _CALL),
        *((n, v) for n, v in given.items() if n not in _TOP),
    ]:
        ledger.dropped(name, value, "has no counterpart in a request")
    return Imported(dialect="diffusers", request=Request(**fields), entries=ledger.entries)


def _model(kind: str, given: Mapping[str, Any], ledger: Ledger) -> str | None:
    """The published model that settings without a model's name are for, as far as they tell it."""
    if given.get("expand_timesteps") is True:
        return note_model("wan2.2-ti2v-5b", ledger, "expand_timesteps", "no model is named; TI2V-5B alone expands them")
    found = _PAIRS[kind] if given.get("boundary_ratio") is not None else None
    said = kind if found is None else f"{kind} with boundary_ratio"
    reason = "no model is named, and several are called so" if found is None else "no model is named; the pair for it"
    return note_model(found, ledger, said, reason, sure=False)


def read_loras(listed: Any, ledger: Ledger, *, pair: bool) -> dict[str, tuple[LoraChoice, ...]]:
    """LoRAs by the field of a request: of a pair, the high-noise expert's unless it is for ``transformer_2``."""
    if not isinstance(listed, list):
        raise InvalidRequest("loras", f"{listed!r:.80} is not a list", allowed="a list of objects")
    found: dict[str, tuple[LoraChoice, ...]] = {}
    for entry in listed:
        given = section("loras", entry)
        second = given.get("load_into_transformer_2", False)
        if not isinstance(second, bool) or (second and not pair):
            raise InvalidRequest(
                "load_into_transformer_2", f"{second!r:.80}", allowed="true for the second of two, or false"
            )
        choice = LoraChoice(
            path=words("lora path", given.get("path")), strength=number("strength", given.get("strength", 1.0))
        )
        field = "lora" if not pair else "lora_low" if second else "lora_high"
        found[field] = (*found.get(field, ()), choice)
        ledger.note(field, "translated" if pair else "kept", choice.path, f"{choice.path}:{choice.strength:g}")
    return found


def _written_loras(request: Request, *, pair: bool) -> list[dict[str, Any]]:
    """Every LoRA and the transformer that it is loaded into; one for both is written twice."""
    if not pair and (request.lora_high or request.lora_low):
        raise InvalidRequest("lora_high", "the model has one transformer", allowed="lora")
    chains = [(request.lora + request.lora_high, False)] + ([(request.lora + request.lora_low, True)] if pair else [])
    return [
        {"path": lora.path, "strength": lora.strength, **({"load_into_transformer_2": second} if pair else {})}
        for chain, second in chains
        for lora in chain
    ]


def _schedule(given: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
    config = section("scheduler", given.get("scheduler"))
    name = words("scheduler _class_name", config.get("_class_name"))
    if name not in SCHEDULERS:
        raise UnknownName("scheduler", name, SCHEDULERS)
    solver, reason = SCHEDULERS[name]
    ledger.note("solver", "approximated", name, solver, reason)
    theirs = "shift" if solver == "euler" else "flow_shift"
    if solver != "euler" and config.get("use_flow_sigmas") is not True:
        raise InvalidRequest("use_flow_sigmas", "the schedule is not one of flow matching", allowed="true")
    fields: dict[str, Any] = {"solver": solver, "shift": number(theirs, config.get(theirs, 1.0))}
    ledger.kept("shift", fields["shift"])
    if given.get("boundary_ratio") is not None:
        boundary = number("boundary_ratio", given["boundary_ratio"])
        if not 0 < boundary < 1:
            nearest = f"{boundary / 1000:g}" if 1 < boundary < 1000 else None
            raise InvalidRequest(
                "boundary_ratio", f"{boundary:g} is no share", allowed="above 0, below 1", nearest=nearest
            )
        fields["boundary"] = boundary
        ledger.kept("boundary", boundary)
    return fields


def _guidance(call: Mapping[str, Any], boundary: Any, ledger: Ledger) -> dict[str, float]:
    high = number("guidance_scale", call.get("guidance_scale", 5.0))
    second = call.get("guidance_scale_2")
    if second is not None and boundary is None:
        raise InvalidRequest("guidance_scale_2", "it needs a boundary_ratio", allowed="guidance_scale alone")
    low = high if second is None else number("guidance_scale_2", second)
    after = f"high {high:g}, low {low:g}"
    if high <= 1:
        ledger.note(
            "guidance", "translated", (high, second), "off", "guidance_scale alone switches it, for both experts"
        )
        return {"guidance_high": 1.0, "guidance_low": 1.0}
    ledger.note("guidance", "translated", (high, second), after, "guidance_scale is for the high-noise expert")
    return {"guidance_high": high, "guidance_low": low}


def export_diffusers(request: Request, variant: str | None) -> Exported:
    """A request as settings of a call; what these cannot say is in the report.

    Raises:
        InvalidRequest: a LoRA is for one of two experts, and the model has one transformer.
    """
    settings, ledger = settings_of(request, variant), Ledger()
    pair = settings.boundary is not None
    call: dict[str, Any] = {
        "prompt": request.prompt, "negative_prompt": settings.negative, "height": settings.height,
        "width": settings.width, "num_frames": settings.frames, "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance_high,
    }  # fmt: skip
    if pair:
        call["guidance_scale_2"] = settings.guidance_low
        if settings.guidance_high <= 1 < settings.guidance_low:
            reason = "Diffusers switches guidance off for both experts where the high-noise one has none"
            ledger.dropped("guidance_low", settings.guidance_low, reason)
    kind = _pipeline(request, settings.variant)
    for ours, theirs in _FILES.items():
        if getattr(request, ours) is not None:
            call[theirs] = getattr(request, ours)
    if request.references:
        call["reference_images"] = list(request.references)
    spoken = {"strength": "strength"} if "VideoToVideo" in kind else {"control_scale": "conditioning_scale"}
    for ours, theirs in spoken.items():
        if getattr(request, ours) is not None:
            call[theirs] = getattr(request, ours)
    out: dict[str, Any] = {"_class_name": kind, "model": request.model, "seed": settings.seed, "fps": settings.fps}
    out |= {"boundary_ratio": settings.boundary} if pair else {}
    names = {ours: theirs for theirs, (ours, _) in SCHEDULERS.items()}
    theirs = names.get(settings.solver, "UniPCMultistepScheduler")
    if settings.solver not in names:
        ledger.dropped("solver", settings.solver, f"Diffusers has no such flow scheduler; {theirs} is written")
    else:
        ledger.note("solver", "approximated", settings.solver, theirs, SCHEDULERS[theirs][1])
    shift = {"shift": settings.shift} if settings.solver == "euler" else {"flow_shift": settings.shift}
    flow = {} if settings.solver == "euler" else {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    out |= {"scheduler": {"_class_name": theirs, **flow, **shift}, "call": call}
    ledger.note("seed", "approximated", settings.seed, settings.seed, "the same number, other noise")
    note_path(request.model, "the model", ledger)
    if loras := _written_loras(request, pair=pair):
        out["loras"] = loras
    drop_unspoken(request, ledger, (*spoken, "lora", "lora_high", "lora_low"))
    return Exported(dialect="diffusers", text=json.dumps(out, indent=2, ensure_ascii=False), entries=ledger.entries)


def _pipeline(request: Request, variant: str) -> str:
    if "-vace-" in variant:
        return "WanVACEPipeline"
    if request.video is not None:
        return "WanVideoToVideoPipeline"
    return "WanImageToVideoPipeline" if request.image is not None else "WanPipeline"

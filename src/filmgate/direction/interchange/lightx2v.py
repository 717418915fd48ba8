"""The JSON settings of LightX2V.

Source: ModelTC/LightX2V, ``configs``. ``sample_guide_scale`` lists [high, low], the other way round than the original
code; ``boundary`` is a sigma; ``boundary_step_index`` is the number of high-noise steps. With ``enable_cfg`` false the
scales have no effect, though they may be there. What ``lightx2v/infer.py`` takes where nothing is said: seed 42, an
empty negative prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from filmgate.direction.interchange.report import Exported, Imported, Ledger
from filmgate.direction.interchange.settings import boundary_after, drop_unspoken, note_model, note_path, settings_of
from filmgate.direction.interchange.values import causal_frames, number, parse_object, seed_of, whole, words
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.request import Request

PAIRS = ("wan2.2_moe", "wan2.2_moe_distill")
CLASSES = ("wan2.1", "wan2.1_distill", "wan2.2", *PAIRS)
"""Values of ``model_cls`` that a request can express; without one, a boundary tells a pair of experts."""
_SEED = 42
_TASKS = {"t2v": "wan2.2-t2v-a14b", "i2v": "wan2.2-i2v-a14b", "flf2v": "wan2.2-i2v-a14b"}
"""Its tasks that a pair of experts was published for."""
_LORA = {"high_noise_model": "lora_high", "low_noise_model": "lora_low"}
_LISTS = {(1000, 750, 500, 250): {5.0: "lightning", 16.0: "lightning-flf2v"}, (1000, 500): {5.0: "lightning-2"}}
_DECISIVE = {
    "infer_steps": "steps", "target_video_length": "frames", "target_height": "height", "target_width": "width",
    "sample_shift": "shift",
}  # fmt: skip
"""Keys that change the video and are in every published configuration, and our names."""
_READ = (
    "model_cls", "infer_steps", "target_video_length", "target_height", "target_width", "sample_guide_scale",
    "sample_shift", "enable_cfg", "boundary", "boundary_step_index", "denoising_step_list", "lora_configs", "seed",
    "prompt", "negative_prompt", "model_path", "image_path", "last_frame_path", "fps", "task",
)  # fmt: skip


def import_lightx2v(text: str) -> Imported:
    """The request of a configuration.

    Raises:
        InvalidRequest: it is not one, or a setting is of the wrong kind (UnknownName: no such ``model_cls``).
    """
    given, ledger = parse_object(text, "LightX2V settings"), Ledger()
    kind = given.get("model_cls")
    if kind is not None and kind not in CLASSES:
        raise UnknownName("model_cls", words("model_cls", kind), CLASSES)
    fields: dict[str, Any] = {"prompt": words("prompt", given.get("prompt", ""))}
    if not fields["prompt"]:
        ledger.dropped("prompt", None, "there is none in the settings; a plan needs one")
    names = {
        "negative_prompt": "negative",
        "model_path": "model",
        "image_path": "image",
        "last_frame_path": "last_image",
    }
    for theirs, ours in names.items():
        if given.get(theirs) is not None:
            fields[ours] = words(theirs, given[theirs])
            ledger.kept(ours, fields[ours])
    fields = _usual(given, ledger) | fields
    plain = {"infer_steps": "steps", "target_height": "height", "target_width": "width", "fps": "fps"}
    for theirs, ours in plain.items():
        if theirs in given:
            fields[ours] = whole(theirs, given[theirs])
            ledger.kept(ours, fields[ours])
    if "target_video_length" in given:
        fields["frames"] = causal_frames("target_video_length", given["target_video_length"], ledger)
    if "sample_shift" in given:
        fields["shift"] = number("sample_shift", given["sample_shift"])
        ledger.kept("shift", fields["shift"])
    fields["seed"] = _seed(given.get("seed"), ledger)
    fields |= _guidance(given, kind, ledger) | _distilled(given, fields, ledger) | _loras(given, ledger)
    if "distilled" not in fields:
        fields |= _boundary(given, fields, ledger)
        fields["solver"] = "unipc"
        ledger.note("solver", "translated", "its only one", "unipc")
    _note_absent(given, ledger)
    for name, value in given.items():
        if name not in _READ:
            ledger.dropped(name, value, "has no counterpart in a request")
    return Imported(dialect="lightx2v", request=Request(**fields), entries=ledger.entries)


def _usual(given: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Model and negative prompt where they are absent."""
    found: dict[str, Any] = {}
    if given.get("model_path") is None:
        found["model"] = _model(given, ledger)
    if given.get("negative_prompt") is None:
        found["negative"] = ""
        ledger.note("negative", "translated", None, "", "negative_prompt is absent: LightX2V takes an empty one")
    return found


def _model(given: Mapping[str, Any], ledger: Ledger) -> str | None:
    """The published model of settings without a path: ``model_cls`` tells the kind, task and picture the rest of it."""
    kind, task = given.get("model_cls"), given.get("task")
    if task is not None and task not in _TASKS:
        raise UnknownName("task", words("task", task), _TASKS)
    pictured = any(given.get(name) is not None for name in ("image_path", "last_frame_path"))
    said = f"model_cls {kind}" if kind else None
    if kind == "wan2.2":
        return note_model("wan2.2-ti2v-5b", ledger, said, "model_path is absent: the one published model of the class")
    if kind in PAIRS and (task is not None or pictured):
        found = _TASKS[task or "i2v"]
        return note_model(found, ledger, said, "model_path is absent: the published pair for what is made")
    return note_model(None, ledger, said, "model_path is absent, and the class has several models")


def _seed(seed: Any, ledger: Ledger) -> int | None:
    if seed is not None:
        return seed_of("seed", seed, ledger)
    ledger.note("seed", "approximated", None, _SEED, f"it is absent: LightX2V takes {_SEED}, and draws other noise")
    return _SEED


def _note_absent(given: Mapping[str, Any], ledger: Ledger) -> None:
    """What a configuration leaves to LightX2V's program is left to the model here, which need not be the same."""
    few = "denoising_step_list" in given
    for theirs, ours in _DECISIVE.items():
        if given.get(theirs) is None and not (few and theirs == "infer_steps"):
            ledger.dropped(
                ours, None, f"{theirs} is absent: LightX2V has a default of its own, here the model's is used"
            )
    pair = given.get("model_cls") in PAIRS
    if pair and not few and all(given.get(name) is None for name in ("boundary", "boundary_step_index")):
        ledger.dropped("boundary", None, "it is absent for two experts: the model's own is used")
    if given.get("sample_guide_scale") is None and given.get("enable_cfg", True):
        ledger.dropped("guidance", None, "sample_guide_scale is absent: the model's own is used")
    if given.get("enable_cfg") is None:
        reason = "it is absent: LightX2V has guidance off then; here the scale is taken to be meant"
        ledger.dropped("enable_cfg", None, reason)


def _guidance(given: Mapping[str, Any], kind: Any, ledger: Ledger) -> dict[str, float]:
    enabled = given.get("enable_cfg", True)
    if not isinstance(enabled, bool):
        raise InvalidRequest("enable_cfg", f"{enabled!r:.80} is neither true nor false", allowed="true or false")
    scale = given.get("sample_guide_scale")
    if not enabled:
        ledger.note("guidance", "translated", scale, 1, "enable_cfg is false: the scale has no effect")
        return {"guidance_high": 1.0, "guidance_low": 1.0}
    if scale is None:
        return {}
    if isinstance(scale, list):
        if len(scale) != 2:
            raise InvalidRequest("sample_guide_scale", f"it lists {len(scale)} numbers", allowed="[high, low]")
        if kind is not None and kind not in PAIRS:
            raise InvalidRequest("sample_guide_scale", f"{kind} has one transformer", allowed="one number")
        high, low = (number("sample_guide_scale", value) for value in scale)
        ledger.note("guidance", "translated", scale, f"high {high:g}, low {low:g}", "the list is [high, low]")
        return {"guidance_high": high, "guidance_low": low}
    both = number("sample_guide_scale", scale)
    ledger.kept("guidance", both)
    return {"guidance_high": both, "guidance_low": both}


def _boundary(given: Mapping[str, Any], fields: Mapping[str, Any], ledger: Ledger) -> dict[str, float]:
    if given.get("boundary") is not None:
        boundary = number("boundary", given["boundary"])
        if not 0 < boundary < 1:
            nearest = f"{boundary / 1000:g}" if 1 < boundary < 1000 else None
            raise InvalidRequest(
                "boundary", f"{boundary:g} is not a sigma", allowed="above 0, below 1", nearest=nearest
            )
        ledger.kept("boundary", boundary)
        return {"boundary": boundary}
    if given.get("boundary_step_index") is None:
        return {}
    if "steps" not in fields or "shift" not in fields:
        raise InvalidRequest(
            "boundary_step_index", "a step is a noise level only with a number of steps and a shift",
            allowed="infer_steps and sample_shift beside it",
        )  # fmt: skip
    index = whole("boundary_step_index", given["boundary_step_index"])
    boundary = boundary_after(index, "unipc", fields["steps"], fields["shift"])
    ledger.note("boundary", "translated", f"after step {index}", boundary, "a noise level between the two steps")
    return {"boundary": boundary}


def _distilled(given: Mapping[str, Any], fields: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
    """The few-step preset with the same list of steps, the same shift and the same change of experts."""
    steps = given.get("denoising_step_list")
    if steps is None:
        return {}
    if not isinstance(steps, list):
        raise InvalidRequest("denoising_step_list", f"{steps!r:.80} is not a list", allowed="[1000, 750, 500, 250]")
    found = tuple(whole("denoising_step_list", step) for step in steps)
    shift = fields.get("shift", 5.0)
    name = _LISTS.get(found, {}).get(shift)
    half = given.get("boundary_step_index", len(found) // 2)
    if name is None or half != len(found) // 2:
        reason = "no few-step preset has this list, shift and change of experts"
        ledger.dropped("denoising_step_list", f"{steps}, shift {shift:g}, change after {half}", reason)
        return {}
    ledger.note("distilled", "translated", steps, name)
    return {"distilled": name, "steps": len(found), "shift": shift}


def _loras(given: Mapping[str, Any], ledger: Ledger) -> dict[str, tuple[LoraChoice, ...]]:
    listed = given.get("lora_configs") or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise InvalidRequest("lora_configs", f"{listed!r:.80} is not a list of objects", allowed="a list of objects")
    found: dict[str, tuple[LoraChoice, ...]] = {}
    for entry in listed:
        name = entry.get("name")
        if name is not None and name not in _LORA:
            raise UnknownName("lora_configs name", words("name", name), _LORA)
        field = _LORA.get(name or "", "lora")
        strength = number("lora strength", entry.get("strength", 1.0))
        choice = LoraChoice(path=words("lora path", entry.get("path")), strength=strength)
        found[field] = (*found.get(field, ()), choice)
        ledger.note(field, "kept" if name is None else "translated", name or choice.path, choice.path)
    return found


def export_lightx2v(request: Request, variant: str | None) -> Exported:
    """A request as a configuration; what that cannot say is in the report."""
    ledger = Ledger()
    settings = settings_of(request, variant)
    pair = settings.boundary is not None
    family = "wan2.1" if settings.variant.startswith("wan2.1") else "wan2.2_moe" if pair else "wan2.2"
    out: dict[str, Any] = {
        "model_cls": family, "infer_steps": settings.steps, "target_video_length": settings.frames,
        "target_height": settings.height, "target_width": settings.width, "sample_shift": settings.shift,
        "enable_cfg": (settings.guidance_high, settings.guidance_low) != (1.0, 1.0),
        "sample_guide_scale": [settings.guidance_high, settings.guidance_low] if pair else settings.guidance_low,
        "prompt": request.prompt, "negative_prompt": settings.negative, "seed": settings.seed, "fps": settings.fps,
    }  # fmt: skip
    levels = next((k for k, v in _LISTS.items() if request.distilled in v.values()), None)
    if levels is not None:
        out |= {"denoising_step_list": list(levels)}
        out |= {"model_cls": family.removesuffix("_distill") + "_distill"} if family != "wan2.2" else {}
        out |= {"boundary_step_index": len(levels) // 2} if pair else {}
    elif pair:
        out["boundary"] = settings.boundary
    if levels is None and settings.solver != "unipc":
        ledger.dropped("solver", settings.solver, "LightX2V walks with UniPC")
    for field, name in {"model": "model_path", "image": "image_path", "last_image": "last_frame_path"}.items():
        if getattr(request, field) is not None:
            out[name] = getattr(request, field)
    note_path(request.model, "model_path", ledger)
    loras = _exported_loras(request)
    out |= {"lora_configs": loras} if loras else {}
    ledger.note("seed", "approximated", settings.seed, settings.seed, "the same number, other noise")
    for field in ("video", "mask", "references"):
        if getattr(request, field):
            ledger.dropped(field, getattr(request, field), "these settings have no word for it")
    spoken = ("lora", "lora_high", "lora_low", *(("distilled",) if levels is not None else ()))
    drop_unspoken(request, ledger, spoken)
    return Exported(dialect="lightx2v", text=json.dumps(out, indent=2, ensure_ascii=False), entries=ledger.entries)


def _exported_loras(request: Request) -> list[dict[str, Any]]:
    fields: tuple[Literal["lora", "lora_high", "lora_low"], ...] = ("lora", "lora_high", "lora_low")
    names = {ours: theirs for theirs, ours in _LORA.items()}
    return [
        ({"name": names[field]} if field in names else {}) | {"path": choice.path, "strength": choice.strength}
        for field in fields
        for choice in getattr(request, field)
    ]

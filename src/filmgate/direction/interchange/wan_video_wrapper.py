"""Workflows of ComfyUI with the nodes of ComfyUI-WanVideoWrapper, read.

A ``WanVideoSampler`` has steps, cfg, shift and scheduler of its own; its LoRAs hang on the model's loader. Two of them
share one schedule where the second takes the first one's ``samples``: the first ends at ``end_step``, where the second
starts. Sizes and frames are those of the picture's embeddings, the frames per second those of the node that saves.

Source: kijai/ComfyUI-WanVideoWrapper, ``wanvideo/schedulers`` (commit 23d3636). None of its grids is ours to the last
digit, although the names are those of the original code: its schedulers are made with a shift and shift again.
"""

from __future__ import annotations

from typing import Any

from filmgate.direction.interchange.graph import Graph, Node, note_second
from filmgate.direction.interchange.report import Imported, Ledger
from filmgate.direction.interchange.settings import boundary_after, variant_of
from filmgate.direction.interchange.values import causal_frames, number, seed_of, whole, words
from filmgate.direction.presets import PRESETS
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import Solver
from filmgate.spec.request import Request

SAMPLER = "WanVideoSampler"
_LOADER, _LORA = "WanVideoModelLoader", "WanVideoLoraSelect"
_TEXTS = ("WanVideoTextEncode", "WanVideoTextEncodeCached")
_EMPTY, _PICTURED = "WanVideoEmptyEmbeds", "WanVideoImageToVideoEncode"
_FILES = {
    "WanVideoVAELoader": ("model_name", "vae"),
    "LoadWanVideoT5TextEncoder": ("model_name", "text_encoder"),
    "WanVideoTextEncodeCached": ("model_name", "text_encoder"),
}
_SAVERS = {"VHS_VideoCombine": "frame_rate", "CreateVideo": "fps"}
_SOLVERS: dict[str, tuple[Solver, str]] = {
    "unipc": ("unipc", "its grid starts at the shifted 0.999, and is shifted from there once more"),
    "dpm++": ("dpmpp_2m", "its grid starts at the shifted 0.999, not at 1, and is shifted once more"),
    "euler": ("euler", "its grid ends at the shifted 0.001 instead of before 0, and is shifted once more"),
    "lcm": ("lcm", "its grid is that of its euler, and the noise that it adds is other noise"),
    "res_multistep": ("res_multistep", "its levels are picked from a thousand that end at 0.003"),
}
"""Its schedulers, ours, and what is different."""
_SILENT = (
    SAMPLER, _LOADER, _LORA, *_TEXTS, _EMPTY, _PICTURED, *_SAVERS, "LoadWanVideoT5TextEncoder", "WanVideoVAELoader",
    "WanVideoDecode", "WanVideoTorchCompileSettings", "WanVideoBlockSwap", "LoadImage", "SaveVideo",
    "WanVideoClipVisionEncode", "CLIPVisionLoader", "LoadWanVideoClipTextEncoder",
)  # fmt: skip
"""Nodes that are read, or that do what every pipeline does, or only place weights."""
_PLAIN = {
    "model", "image_embeds", "text_embeds", "samples", "steps", "cfg", "shift", "seed", "scheduler", "start_step",
    "end_step", "force_offload", "denoise_strength", "add_noise_to_samples", "batched_cfg", "rope_function",
}  # fmt: skip
"""Inputs of a sampler that are read, or do not change the video."""
_OFF: dict[str, tuple[Any, ...]] = {"riflex_freq_index": (0,)}


def import_wrapper(graph: Graph) -> Imported:
    """The request of a workflow with one ``WanVideoSampler`` or two.

    Raises:
        InvalidRequest: it is damaged, or does something that no request says (UnknownName: by a node of a class that
            is not known).
    """
    ledger, stages = Ledger(), _stages(graph)
    high, low = stages[0], stages[-1]
    files, loras = zip(*(_model(graph, stage, ledger) for stage in stages), strict=True)
    fields = _words(graph, stages, ledger) | _latent(graph, high, ledger) | _schedule(stages, ledger)
    fields["model"] = files[0]
    if high is low:
        fields["lora"] = loras[0]
        ledger.kept("model", files[0])
    else:
        _check_experts(files)
        ledger.note("model", "translated", ", ".join(files), files[0], "the other expert is looked for beside it")
        fields |= {"lora_high": loras[0], "lora_low": loras[1], "boundary": _boundary(stages, files[0], fields, ledger)}
    scales = tuple(number("cfg", stage.value("cfg")) for stage in stages)
    fields |= {"guidance_high": scales[0], "guidance_low": scales[-1]}
    ledger.kept("guidance", f"high {scales[0]:g}, low {scales[-1]:g}")
    fields["seed"] = seed_of("seed", high.value("seed"), ledger)
    fields |= _speed(graph, ledger)
    graph.note_files(_FILES, ledger)
    for node in graph.nodes:
        if node.kind not in _SILENT:
            ledger.dropped(f"node {node.id}", node.kind, "its class is not known; whether it changes the video is not")
    return Imported(dialect="comfyui", request=Request(**fields), entries=ledger.entries)


def _stages(graph: Graph) -> tuple[Node, ...]:
    found = graph.of_kind(SAMPLER)
    if len(found) == 1:
        return tuple(found)
    after = [node for node in found if "samples" in node.inputs]
    if len(found) != 2 or len(after) != 1:
        raise InvalidRequest(
            "workflow", f"it has {len(found)} samplers, {len(after)} of them fed by another",
            allowed=f"one {SAMPLER}, or two of which the second is fed by the first",
        )  # fmt: skip
    return graph.source(after[0], "samples", (SAMPLER,)), after[0]


def _model(graph: Graph, stage: Node, ledger: Ledger) -> tuple[str, tuple[LoraChoice, ...]]:
    """File and LoRAs of a sampler, in the order in which they are applied."""
    loader = graph.source(stage, "model", (_LOADER,))
    for name in ("quantization", "vace_model", "extra_model"):
        if loader.inputs.get(name) not in (None, "disabled"):
            ledger.dropped(name, loader.inputs[name], "is not part of a request")
    if loader.inputs.get("base_precision", "bf16") != "bf16":
        reason = "the model's own precision is used; --precision changes that"
        ledger.dropped("base_precision", loader.inputs["base_precision"], reason)
    found: list[LoraChoice] = []
    node, name, seen = loader, "lora", {loader.id}
    while name in node.inputs:
        node, name = graph.source(node, name, (_LORA,)), "prev_lora"
        if node.id in seen:
            raise InvalidRequest(f"node {node.id}", "its LoRAs lead back to themselves", allowed="no cycles")
        seen.add(node.id)
        strength = number("strength", node.value("strength"))
        found.insert(0, LoraChoice(path=words("lora", node.value("lora")), strength=strength))
        ledger.kept("lora", f"{found[0].path}:{strength:g}")
        if "blocks" in node.inputs:
            ledger.dropped("blocks", node.inputs["blocks"], "a LoRA is for the whole transformer")
    return words("model", loader.value("model")), tuple(found)


def _check_experts(files: tuple[str, ...]) -> None:
    plain = [name.lower().replace("_", "").replace("-", "").replace(" ", "") for name in files]
    if any(word in plain[0] for word in ("lownoise", "low")) and "high" in plain[1]:
        raise InvalidRequest(
            "model", f"{files[0]!r:.80} paints the first steps and {files[1]!r:.80} the rest",
            allowed="the high-noise expert first",
        )  # fmt: skip


def _words(graph: Graph, stages: tuple[Node, ...], ledger: Ledger) -> dict[str, str]:
    """The words of the first sampler; what the second is told otherwise is noted."""
    nodes = [graph.source(stage, "text_embeds", _TEXTS) for stage in stages]
    found = {}
    for field, name in (("prompt", "positive_prompt"), ("negative", "negative_prompt")):
        texts = [words(name, node.value(name)) for node in nodes]
        found[field] = texts[0]
        ledger.kept(field, texts[0])
        note_second(field, texts, ledger)
    return found


def _latent(graph: Graph, stage: Node, ledger: Ledger) -> dict[str, Any]:
    node = graph.source(stage, "image_embeds", (_EMPTY, _PICTURED))
    fields: dict[str, Any] = {side: whole(side, node.value(side)) for side in ("width", "height")}
    for side, pixels in list(fields.items()):
        ledger.kept(side, pixels)
    fields["frames"] = causal_frames("num_frames", node.value("num_frames"), ledger)
    for name, ours in (("start_image", "image"), ("end_image", "last_image")):
        if name in node.inputs:
            fields[ours] = words("image", graph.source(node, name, ("LoadImage",)).value("image"))
            ledger.kept(ours, fields[ours])
    for name, usual in (("noise_aug_strength", 0), ("start_latent_strength", 1), ("end_latent_strength", 1)):
        if node.inputs.get(name, usual) != usual:
            ledger.dropped(name, node.inputs[name], "has no counterpart in a request")
    return fields


def _schedule(stages: tuple[Node, ...], ledger: Ledger) -> dict[str, Any]:
    """Steps, shift and solver of the first sampler; what the second says otherwise is noted."""
    first, last = stages[0], stages[-1]
    for field in ("steps", "shift", "scheduler"):
        if last.value(field) != first.value(field):
            ledger.dropped(f"{field} of the low-noise expert", last.value(field), "a request has one for both")
    steps, shift = whole("steps", first.value("steps")), number("shift", first.value("shift"))
    name = words("scheduler", first.value("scheduler"))
    solver, reason = _SOLVERS.get(name, (None, "there is no such solver; the model's own is used"))
    if solver is None:
        ledger.dropped("solver", name, reason)
    else:
        ledger.note("solver", "approximated" if reason else "kept", name, solver, reason)
    ledger.kept("steps", steps)
    ledger.kept("shift", shift)
    for stage in stages:
        for name, value in stage.inputs.items():
            if name not in _PLAIN and value not in _OFF.get(name, (None, "", False)):
                ledger.dropped(f"{name} of node {stage.id}", value, "has no counterpart in a request")
    for field, usual in (("start_step", 0), ("denoise_strength", 1)):
        if first.inputs.get(field, usual) != usual:
            ledger.dropped(field, first.inputs[field], "a request starts with noise")
    if last.inputs.get("end_step", -1) not in (-1, steps, 10000):
        ledger.dropped("end_step", last.inputs["end_step"], "a request walks to the end")
    return {"steps": steps, "shift": shift, "solver": solver}


def _boundary(stages: tuple[Node, ...], file: str, fields: dict[str, Any], ledger: Ledger) -> float:
    end = whole("end_step", stages[0].value("end_step"))
    if whole("start_step", stages[1].value("start_step"), least=0) != end:
        ledger.dropped("start_step", stages[1].value("start_step"), "the experts leave a gap or overlap")
    known = PRESETS.get(variant_of(file) or "")
    usual = None if known is None else known.boundary
    found = boundary_after(end, fields["solver"] or "unipc", fields["steps"], fields["shift"], usual)
    ledger.note("boundary", "translated", f"after step {end}", found, "the noise level between two steps")
    return found


def _speed(graph: Graph, ledger: Ledger) -> dict[str, int]:
    for node in graph.of_kind(*_SAVERS):
        value = number("fps", node.value(_SAVERS[node.kind]))
        fps = max(round(value), 1)
        ledger.note("fps", "kept" if fps == value else "approximated", value, fps)
        return {"fps": fps}
    ledger.dropped("fps", None, "no node says it; the model's own is used")
    return {}

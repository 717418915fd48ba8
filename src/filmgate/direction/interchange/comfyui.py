"""ComfyUI's workflows in API format, read.

Two ``KSamplerAdvanced`` share the steps of one schedule: the first, the high-noise expert, ends where the second
begins. That step becomes a noise level, because it means another one at every other shift. Where no
``ModelSamplingSD3`` sets the shift, it is 8. ``length`` is decoded to 4n+1 frames.
"""

from __future__ import annotations

from typing import Any

from filmgate.direction.interchange.graph import Graph, Node, note_second
from filmgate.direction.interchange.report import Imported, Ledger
from filmgate.direction.interchange.settings import boundary_after, variant_of
from filmgate.direction.interchange.values import causal_frames, number, seed_of, whole, words
from filmgate.direction.interchange.wan_video_wrapper import SAMPLER, import_wrapper
from filmgate.direction.presets import PRESETS
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import Solver
from filmgate.spec.request import Request

SAMPLERS = ("KSampler", "KSamplerAdvanced")
LOADERS = ("UNETLoader", "UnetLoaderGGUF")
LORA, SHIFT = "LoraLoaderModelOnly", "ModelSamplingSD3"
PICTURED = ("WanImageToVideo", "WanFirstLastFrameToVideo")
LATENTS = ("EmptyHunyuanLatentVideo", "Wan22ImageToVideoLatent", *PICTURED)
USUAL_SHIFT = 8.0
_FILES = {
    "VAELoader": ("vae_name", "vae"),
    "CLIPLoader": ("clip_name", "text_encoder"),
    "CLIPLoaderGGUF": ("clip_name", "text_encoder"),
}
SOLVERS: dict[str, tuple[Solver, str]] = {
    "euler": ("euler", ""),
    "res_multistep": ("res_multistep", ""),
    "lcm": ("lcm", "the noise that it adds is other noise"),
    "euler_ancestral": ("euler_ancestral", "the noise that it adds is other noise"),
    "uni_pc": ("unipc", "ComfyUI's is of another order and kind (bh1), on another grid"),
    "uni_pc_bh2": ("unipc", "ComfyUI's is of another order, on another grid"),
    "dpmpp_2m": ("dpmpp_2m", "ComfyUI's works in other variables, on another grid"),
}
"""Its samplers, ours, and what is different."""
_SILENT = (
    *SAMPLERS, *LOADERS, *LATENTS, LORA, SHIFT, "CLIPLoader", "CLIPLoaderGGUF", "VAELoader", "CLIPTextEncode",
    "VAEDecode", "CreateVideo", "SaveVideo", "LoadImage", "CLIPVisionLoader", "CLIPVisionEncode",
)  # fmt: skip
"""Nodes that are read, or that do what every pipeline does."""


def import_comfyui(text: str) -> Imported:
    """The request of a workflow.

    Raises:
        InvalidRequest: it is not one, is damaged, or does something that no request says (UnknownName: by a node of a
            class that is not known).
    """
    graph, ledger = Graph(text), Ledger()
    if graph.of_kind(SAMPLER):
        return import_wrapper(graph)
    stages = _stages(graph)
    high, low = stages[0], stages[-1]
    files, shifts, loras = zip(*(_model(graph, stage, ledger) for stage in stages), strict=True)
    fields = _words(graph, stages, ledger) | _latent(graph, high, ledger)
    fields |= _schedule(stages, shifts, ledger) | _names(files, loras, ledger)
    if high is not low:
        _check_experts(files)
        known = PRESETS.get(variant_of(files[0]) or "")
        end = _end(high)
        usual = None if known is None else known.boundary
        boundary = boundary_after(end, fields["solver"] or "euler", fields["steps"], fields["shift"], usual)
        fields["boundary"] = boundary
        ledger.note("boundary", "translated", f"after step {end}", boundary, "the noise level between two steps")
    scales = tuple(number("cfg", stage.value("cfg")) for stage in stages)
    fields |= {"guidance_high": scales[0], "guidance_low": scales[-1]}
    ledger.kept("guidance", f"high {scales[0]:g}, low {scales[-1]:g}")
    name = "seed" if high.kind == "KSampler" else "noise_seed"
    fields["seed"] = seed_of(name, high.value(name), ledger)
    fields |= _speed(graph, ledger)
    graph.note_files(_FILES, ledger)
    for node in graph.nodes:
        if node.kind not in _SILENT:
            ledger.dropped(f"node {node.id}", node.kind, "its class is not known; whether it changes the video is not")
    return Imported(dialect="comfyui", request=Request(**fields), entries=ledger.entries)


def _stages(graph: Graph) -> tuple[Node, ...]:
    """One sampler, or the high-noise and the low-noise one."""
    found = graph.of_kind(*SAMPLERS)
    if not 1 <= len(found) <= 2:
        raise InvalidRequest(
            "workflow", f"it has {len(found)} samplers", allowed=f"one or two of {', '.join(SAMPLERS)}"
        )
    if len(found) == 1:
        return tuple(found)
    if any(node.kind != "KSamplerAdvanced" for node in found):
        raise InvalidRequest("workflow", "a KSampler walks the whole schedule", allowed="two KSamplerAdvanced")
    after = [node for node in found if graph.source(node, "latent_image", LATENTS + SAMPLERS).kind in SAMPLERS]
    if len(after) != 1:
        raise InvalidRequest("workflow", "its samplers do not follow each other", allowed="the second fed by the first")
    return (next(node for node in found if node is not after[0]), after[0])


def _model(graph: Graph, stage: Node, ledger: Ledger) -> tuple[str, float, tuple[LoraChoice, ...]]:
    """File, shift and LoRAs (in the order in which they are applied) of a sampler."""
    shift, loras = USUAL_SHIFT, []
    seen = False
    for node in graph.chain(stage, "model", (LORA, SHIFT), LOADERS):
        if node.kind == SHIFT and not seen:  # the one nearest to the sampler counts
            shift, seen = number("shift", node.value("shift")), True
        if node.kind == LORA:
            path = words("lora_name", node.value("lora_name"))
            loras.append(LoraChoice(path=path, strength=number("strength_model", node.value("strength_model"))))
    kind = node.inputs.get("weight_dtype", "default")
    if kind != "default":
        ledger.dropped(
            f"weight_dtype of node {node.id}", kind, "weights stay as they are stored; --weights changes that"
        )
    return words("unet_name", node.value("unet_name")), shift, tuple(reversed(loras))


def _names(files: tuple[str, ...], loras: tuple[tuple[LoraChoice, ...], ...], ledger: Ledger) -> dict[str, Any]:
    if len(files) == 1:
        ledger.kept("model", files[0])
        ledger.note("lora", "kept", len(loras[0]), len(loras[0]))
        return {"model": files[0], "lora": loras[0]}
    ledger.note("model", "translated", ", ".join(files), files[0], "the other expert is looked for beside it")
    for field, chain in (("lora_high", loras[0]), ("lora_low", loras[1])):
        ledger.kept(field, ", ".join(f"{lora.path}:{lora.strength:g}" for lora in chain) or "none")
    return {"model": files[0], "lora_high": loras[0], "lora_low": loras[1]}


def _check_experts(files: tuple[str, ...]) -> None:
    plain = [name.lower().replace("_", "").replace("-", "").replace(" ", "") for name in files]
    if "lownoise" in plain[0] or "highnoise" in plain[1]:
        raise InvalidRequest(
            "model", f"{files[0]!r:.80} paints the first steps and {files[1]!r:.80} the rest",
            allowed="the high-noise expert first",
        )  # fmt: skip


def _end(stage: Node) -> int:
    return min(whole("end_at_step", stage.value("end_at_step")), whole("steps", stage.value("steps")))


def _schedule(stages: tuple[Node, ...], shifts: tuple[float, ...], ledger: Ledger) -> dict[str, Any]:
    """Steps, shift and solver; what a single schedule cannot say is noted."""
    first, last = stages[0], stages[-1]
    steps = whole("steps", first.value("steps"))
    for field in ("steps", "sampler_name", "scheduler"):
        if last.value(field) != first.value(field):
            ledger.dropped(f"{field} of the low-noise expert", last.value(field), "a request has one schedule")
    if shifts[0] != shifts[-1]:
        ledger.dropped("shift of the low-noise expert", shifts[-1], "a request has one shift for both")
    name, scheduler = (words(field, first.value(field)) for field in ("sampler_name", "scheduler"))
    solver, reason = SOLVERS.get(name, (None, "there is no such solver; the model's own is used"))
    if solver is None:
        ledger.dropped("solver", name, reason)
    elif reason:
        ledger.note("solver", "approximated", name, solver, reason)
    else:
        ledger.kept("solver", name)
    if scheduler != "simple":
        ledger.note("scheduler", "approximated", scheduler, "even grid, shifted", "other noise levels")
    elif 1000 % steps:
        ledger.note("scheduler", "approximated", scheduler, "even grid, shifted", "ComfyUI cuts levels to thousandths")
    else:
        ledger.note("scheduler", "translated", scheduler, "even grid, shifted")
    _note_odd_steps(stages, steps, ledger)
    ledger.kept("steps", steps)
    ledger.kept("shift", shifts[0])
    return {"steps": steps, "shift": shifts[0], "solver": solver}


def _note_odd_steps(stages: tuple[Node, ...], steps: int, ledger: Ledger) -> None:
    """What is unusual in how samplers share their steps."""
    first, last = stages[0], stages[-1]
    if first.kind == "KSampler":
        denoise = number("denoise", first.inputs.get("denoise", 1.0))
        if denoise != 1:
            ledger.dropped("denoise", denoise, "there is no video to start from")
        return
    usual = [(first, "add_noise", "enable"), (last, "return_with_leftover_noise", "disable")]
    if len(stages) == 2:
        usual += [(first, "return_with_leftover_noise", "enable"), (last, "add_noise", "disable")]
        if whole("start_at_step", last.value("start_at_step"), least=0) != _end(first):
            ledger.dropped("start_at_step", last.value("start_at_step"), "the experts leave a gap or overlap")
    for node, field, value in usual:
        if node.value(field) != value:
            ledger.dropped(field, node.value(field), f"a request walks as with {value}")
    if whole("start_at_step", first.value("start_at_step"), least=0):
        ledger.dropped("start_at_step", first.value("start_at_step"), "a request starts with noise")
    if _end(last) < steps:
        ledger.dropped("end_at_step", last.value("end_at_step"), "a request walks to the end")


def _words(graph: Graph, stages: tuple[Node, ...], ledger: Ledger) -> dict[str, str]:
    """The words of the first sampler; what the second is told otherwise is noted."""
    found = {}
    for ours, name in (("prompt", "positive"), ("negative", "negative")):
        texts = []
        for stage in stages:
            *_, node = graph.chain(stage, name, PICTURED, ("CLIPTextEncode",))
            texts.append(words("text", node.value("text")))
        found[ours] = texts[0]
        ledger.kept(ours, texts[0])
        note_second(ours, texts, ledger)
    return found


def _latent(graph: Graph, stage: Node, ledger: Ledger) -> dict[str, Any]:
    node = graph.source(stage, "latent_image", LATENTS)
    sides = {side: whole(side, node.value(side)) for side in ("width", "height")}
    for side, pixels in sides.items():
        ledger.kept(side, pixels)
    fields: dict[str, Any] = {**sides, "frames": causal_frames("length", node.value("length"), ledger)}
    if node.inputs.get("batch_size", 1) != 1:
        ledger.dropped("batch_size", node.inputs["batch_size"], "a request is one video")
    for name, ours in (("start_image", "image"), ("end_image", "last_image")):
        if name in node.inputs:
            picture = graph.source(node, name, ("LoadImage",))
            fields[ours] = words("image", picture.value("image"))
            ledger.kept(ours, fields[ours])
    return fields


def _speed(graph: Graph, ledger: Ledger) -> dict[str, int]:
    found = graph.of_kind("CreateVideo")
    if not found:
        ledger.dropped("fps", None, "no CreateVideo says it; the model's own is used")
        return {}
    value = number("fps", found[0].value("fps"))
    fps = max(round(value), 1)
    ledger.note("fps", "kept" if fps == value else "approximated", value, fps)
    return {"fps": fps}

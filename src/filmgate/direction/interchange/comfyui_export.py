"""ComfyUI's workflows in API format, written: the nodes of its own Wan templates, without any extension."""

from __future__ import annotations

import json
from typing import Any

from filmgate.direction.interchange.comfyui import LORA, SHIFT, SOLVERS
from filmgate.direction.interchange.report import Exported, Ledger
from filmgate.direction.interchange.settings import Settings, drop_unspoken, settings_of
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.request import Request

_LAST_STEP = 10000
_FILES = {
    "wan2.2-t2v-a14b": "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
    "wan2.2-i2v-a14b": "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
    "wan2.2-ti2v-5b": "wan2.2_ti2v_5B_fp16.safetensors",
    "wan2.1-t2v-1.3b": "wan2.1_t2v_1.3B_fp16.safetensors",
    "wan2.1-t2v-14b": "wan2.1_t2v_14B_fp16.safetensors",
    "wan2.1-i2v-14b-480p": "wan2.1_i2v_480p_14B_fp16.safetensors",
    "wan2.1-i2v-14b-720p": "wan2.1_i2v_720p_14B_fp16.safetensors",
}
"""Comfy-Org's repackaged files, for models that are given by another name."""
_NAMES = {ours: theirs for theirs, (ours, _) in SOLVERS.items() if theirs != "uni_pc"}


class _Writer:
    """Numbers nodes and links them."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}

    def add(self, kind: str, **inputs: Any) -> list[Any]:
        """Add a node; returns the link to its first output."""
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": kind, "inputs": inputs}
        return [name, 0]


def export_comfyui(request: Request, variant: str | None) -> Exported:
    """A request as a workflow; what that cannot say is in the report.

    Raises:
        InvalidRequest: there are no such nodes for the model, or one of two experts has no step.
    """
    settings, ledger, writer = settings_of(request, variant), Ledger(), _Writer()
    files = _files(request, settings, ledger)
    chains = [request.lora + request.lora_high, request.lora + request.lora_low]
    if settings.boundary is None and (request.lora_high or request.lora_low):
        raise InvalidRequest("lora_high", f"{settings.variant} has one expert", allowed="lora")
    clip = writer.add("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan", device="default")
    small = settings.variant == "wan2.2-ti2v-5b"
    vae = writer.add("VAELoader", vae_name="wan2.2_vae.safetensors" if small else "wan_2.1_vae.safetensors")
    positive, negative = (writer.add("CLIPTextEncode", clip=clip, text=t) for t in (request.prompt, settings.negative))
    models = [
        _model(writer, name, settings.shift, chain) for name, chain in zip(files, chains, strict=False)
    ]  # with one transformer, the second chain has no file
    inputs = _latent(writer, request, settings, vae, (positive, negative))
    latent = _samplers(writer, settings, models, inputs, ledger)
    video = writer.add("CreateVideo", images=writer.add("VAEDecode", samples=latent, vae=vae), fps=settings.fps)
    writer.add("SaveVideo", video=video, filename_prefix="filmgate", format="auto", codec="auto")
    ledger.note("seed", "approximated", settings.seed, settings.seed, "the same number, other noise")
    for field in ("video", "mask", "references"):
        if getattr(request, field):
            ledger.dropped(field, getattr(request, field), "the nodes of these templates do not take it")
    drop_unspoken(request, ledger, ("lora", "lora_high", "lora_low"))
    text = json.dumps(writer.nodes, indent=2, ensure_ascii=False)
    return Exported(dialect="comfyui", text=text, entries=ledger.entries)


def _files(request: Request, settings: Settings, ledger: Ledger) -> list[str]:
    """The files of the experts, the high-noise one first."""
    first = request.model or ""
    if not first.endswith((".safetensors", ".gguf")):
        if settings.variant not in _FILES:
            raise InvalidRequest("variant", f"there is no workflow for {settings.variant}", allowed=", ".join(_FILES))
        ledger.note("model", "approximated", request.model, _FILES[settings.variant], "Comfy-Org's file of the model")
        first = _FILES[settings.variant]
    if settings.boundary is None:
        return [first]
    other = first.replace("high_noise", "low_noise").replace("HighNoise", "LowNoise")
    if other == first:
        raise InvalidRequest(
            "model", f"{first!r:.80} does not say which expert it is", allowed="a name with high_noise or HighNoise"
        )
    return [first, other]


def _model(writer: _Writer, name: str, shift: float, loras: tuple[LoraChoice, ...]) -> list[Any]:
    if name.endswith(".gguf"):
        model = writer.add("UnetLoaderGGUF", unet_name=name)
    else:
        model = writer.add("UNETLoader", unet_name=name, weight_dtype="default")
    for lora in loras:
        model = writer.add(LORA, model=model, lora_name=lora.path, strength_model=lora.strength)
    return writer.add(SHIFT, model=model, shift=shift)


def _latent(
    writer: _Writer, request: Request, settings: Settings, vae: list[Any], texts: tuple[list[Any], list[Any]]
) -> dict[str, Any]:
    """The inputs of a sampler that hold the words and the empty video, with pictures where there are any."""
    shape = {"width": settings.width, "height": settings.height, "length": settings.frames, "batch_size": 1}
    pictures = {"start_image": request.image, "end_image": request.last_image}
    loaded = {name: writer.add("LoadImage", image=path) for name, path in pictures.items() if path is not None}
    words = {"positive": texts[0], "negative": texts[1]}
    if settings.variant == "wan2.2-ti2v-5b":
        if "end_image" in loaded:
            raise InvalidRequest("last_image", "TI2V-5B has no last picture", allowed="image alone")
        return {**words, "latent_image": writer.add("Wan22ImageToVideoLatent", vae=vae, **shape, **loaded)}
    if not loaded:
        return {**words, "latent_image": writer.add("EmptyHunyuanLatentVideo", **shape)}
    kind = "WanFirstLastFrameToVideo" if "end_image" in loaded else "WanImageToVideo"
    name, _ = writer.add(kind, **words, vae=vae, **shape, **loaded)
    return {"positive": [name, 0], "negative": [name, 1], "latent_image": [name, 2]}


def _samplers(
    writer: _Writer, settings: Settings, models: list[list[Any]], inputs: dict[str, Any], ledger: Ledger
) -> list[Any]:
    solver = _NAMES[settings.solver]
    reason = SOLVERS[solver][1]
    ledger.note("solver", "approximated" if reason else "kept", settings.solver, solver, reason)
    if 1000 % settings.steps:
        ledger.note("scheduler", "approximated", "even grid", "simple", "ComfyUI cuts levels to thousandths")
    shared = {"steps": settings.steps, "sampler_name": solver, "scheduler": "simple"}
    if len(models) == 1:
        return writer.add(
            "KSampler", model=models[0], seed=settings.seed, cfg=settings.guidance_low, denoise=1.0, **shared, **inputs
        )
    split = settings.high_steps
    if not 0 < split < settings.steps:
        raise InvalidRequest(
            "boundary", f"at {settings.boundary:g} one expert paints no step", allowed="steps for both experts"
        )
    ledger.note("boundary", "translated", settings.boundary, f"after step {split}", "of this number of steps and shift")
    first = writer.add(
        "KSamplerAdvanced", model=models[0], noise_seed=settings.seed, cfg=settings.guidance_high, add_noise="enable",
        start_at_step=0, end_at_step=split, return_with_leftover_noise="enable", **shared, **inputs,
    )  # fmt: skip
    return writer.add(
        "KSamplerAdvanced", model=models[1], noise_seed=settings.seed, cfg=settings.guidance_low, add_noise="disable",
        start_at_step=split, end_at_step=_LAST_STEP, return_with_leftover_noise="disable", **shared,
        **{**inputs, "latent_image": first},
    )  # fmt: skip

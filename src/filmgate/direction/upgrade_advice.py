"""What no setting says of the way from Wan 2.1 to Wan 2.2: files, LoRAs, the order of guidance, comparisons.

Every piece names its source; what was observed and not published is dated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from filmgate.direction.published import PUBLISHED
from filmgate.spec.shape import Frozen

_CONFIGS = "Wan-Video/Wan2.2, wan/configs"
_LORA_THREADS = "Wan-Video/Wan2.2 issues 7 and 20, ostris/ai-toolkit issue 349 (read 2026-11)"
_ORDERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "official": (
            "sample_guide_scale in the configuration is (low, high): (3.0, 4.0) is 3 for the low-noise expert. The"
            " option of generate.py is one scale for both.",
            f"{_CONFIGS}/wan_t2v_A14B.py",
        ),
        "diffusers": (
            "guidance_scale is the high-noise expert's, guidance_scale_2 the low-noise expert's; flow_shift of the"
            " published directories is 3.0, not the original's: set it.",
            "huggingface/diffusers, WanPipeline and scripts/convert_wan_to_diffusers.py; issue 12094",
        ),
        "lightx2v": ("sample_guide_scale is [high, low].", "ModelTC/LightX2V, configs/wan22/wan_moe_t2v.json"),
        "comfyui": (
            "every expert has its own sampler with its own cfg; the change is a number of a step there, and moves when"
            " steps or shift change. `filmgate export --to comfyui` works it out from the noise level.",
            "Comfy-Org/workflow_templates, video_wan2_2_14B_t2v.json",
        ),
    }
)
"""What guidance is called where a setup comes from."""


class Advice(Frozen):
    """One thing to know or to do, what it is about, and where that is said."""

    topic: str
    text: str
    source: str


def advice_on(source: str, target: str, dialect: str, few: str | None, *, loras: bool) -> tuple[Advice, ...]:
    """What to know on the way from one published model to another.

    Args:
        source: The model of the setup; the same as ``target`` if it is one of Wan 2.2 already.
        target: The model of Wan 2.2.
        dialect: The tool that the setup is of.
        few: The few-step preset that is used, if one is.
        loras: Whether the setup has LoRAs.
    """
    pair = not target.endswith("5b")
    found: list[Advice] = []
    if pair and dialect in _ORDERS:
        text, where = _ORDERS[dialect]
        found.append(Advice(topic="guidance", text=text, source=where))
    if source == target:
        return tuple(found)
    text = "it stays as it is here: `filmgate migrate prompt` says what it becomes in Wan 2.2's own form."
    found.append(Advice(topic="prompt", text=text, source="Filmgate, docs/prompt-migration.md"))
    return (
        *found,
        *_files(source, target, pair=pair),
        *_loras(source, target, few, loras=loras),
        *_comparing(pair=pair),
    )


def _files(source: str, target: str, *, pair: bool) -> Iterator[Advice]:
    published = PUBLISHED[target]
    text = f"`filmgate fetch {target}` brings {published.repository}, {published.gigabytes} GB."
    yield Advice(topic="files", text=text, source="published sizes")
    kept = "the text encoder (umT5-XXL) and the VAE stay the same" if pair else "the text encoder (umT5-XXL) stays"
    other = "" if pair else "; the VAE is another one, so that latents kept on disk cannot be read"
    yield Advice(topic="files", text=f"{kept}{other}.", source="Wan-Video/Wan2.2, README")
    if "i2v" in source or "flf2v" in source:
        text = "the CLIP image encoder is no longer needed: Wan 2.2 sees the picture as latents alone."
        yield Advice(topic="files", text=text, source="Wan-Video/Wan2.2, wan/image2video.py")
    if pair:
        text = (
            "two transformers of 14B lie on disk, and one works at a time: plan for both in storage and in the memory"
            " of the machine, for one on the GPU."
        )
        yield Advice(topic="files", text=text, source="Wan-Video/Wan2.2, README")
    text = (
        "keep the weights and the environment of Wan 2.1 until the last comparison is accepted: they are the way back."
    )
    yield Advice(topic="files", text=text, source="Filmgate, docs/roadmap.md")


def _loras(source: str, target: str, few: str | None, *, loras: bool) -> Iterator[Advice]:
    if few is not None:
        text = f"the preset {few} needs distilled weights, or a distilling LoRA for each expert: {_distilled(target)}."
        yield Advice(topic="lora", text=text, source="ModelTC/LightX2V, hao-ai-lab/FastVideo, thu-ml/TurboDiffusion")
    if not loras:
        return
    if target.endswith("5b"):
        text = "no LoRA of Wan 2.1 can be laid onto the 5B model: its width is another one. Train them again."
        yield Advice(topic="lora", text=text, source="config.json of the published models")
        return
    text = (
        "LoRAs of the 14B models load into both experts, and help in part: users report that they hold on the low-noise"
        " expert and less on the high-noise one. Compare low: alone with both:, and train again what a client sees."
    )
    yield Advice(topic="lora", text=text, source=_LORA_THREADS)
    if "i2v" in source:
        text = "the part that changes attention to the picture (k_img, v_img) has no place in Wan 2.2 and is left out."
        yield Advice(topic="lora", text=text, source="`filmgate lora inspect FILE` lists it")


def _distilled(target: str) -> str:
    return "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers" if target.endswith("5b") else "lightx2v/Wan2.2-Lightning"


def _comparing(*, pair: bool) -> Iterator[Advice]:
    shapes = (
        "latents have the same shape, so that the same noise can be given to both; schedules differ all the same"
        if pair
        else "latents have another shape: not even the noise can be the same"
    )
    text = f"compare over prompts, with several seeds each, never picture by picture: {shapes}."
    yield Advice(topic="comparison", text=text, source="latent shapes of the published VAEs")

"""The wish: what a person or a program asks for. None always means "the model's own default"."""

from __future__ import annotations

from pydantic import Field

from filmgate.spec.adapters import GuidanceMethod, LoraChoice
from filmgate.spec.model import Keep, Precision, Solver
from filmgate.spec.residency import MemoryMode, TextEncoderPlace, WeightFormat
from filmgate.spec.shape import Frozen
from filmgate.spec.speed import AttentionKernel, SpeedProfile


class Request(Frozen):
    """A video that somebody wants.

    Sizes in pixels, ``fps`` in frames per second, ``boundary`` a sigma in (0, 1), guidance scales ≥ 0 (1 switches
    classifier-free guidance off). ``negative=None`` asks for the model's default negative prompt, ``""`` for none.
    ``area`` is width times height for a video whose proportions come from elsewhere. ``image``, ``last_image``,
    ``video``, ``mask``, ``references`` and ``camera`` are paths; ``strength`` in (0, 1] is how much of ``video`` may
    change. ``keep`` says which part of the result ``video`` is, for models that paint around it,
    ``control_scale`` how strongly those are held to what they are given (1 as trained).
    ``lora`` is for every transformer of the model, ``lora_high`` and ``lora_low`` for one expert. ``distilled`` names a
    few-step preset. ``guidance_interval`` are the noise levels, lowest and highest, between which guidance is on.
    ``memory``, ``weights`` and ``text_encoder`` say where networks lie and in which format, see
    :class:`~filmgate.spec.residency.ResidencyPlan`; None: what fits. ``vae_tile`` is in pixels, 0 for whole frames.
    ``profile``, ``attention`` and ``vae_precision`` are explained at :class:`~filmgate.spec.speed.SpeedPlan`.
    ``gpus`` is how many devices share the work; on a CPU that many processes do, which is for tests.
    Values are not checked against a model here; the planner does that, because only it knows the model.
    """

    prompt: str
    negative: str | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    area: int | None = None
    frames: int | None = None
    fps: int | None = None
    steps: int | None = None
    shift: float | None = None
    solver: Solver | None = None
    guidance_high: float | None = None
    guidance_low: float | None = None
    boundary: float | None = None
    seed: int | None = Field(default=None, description="0 ... 2^63-1; None: 0, so that a bare command is repeatable")
    precision: Precision | None = None
    device: str | None = None
    image: str | None = None
    last_image: str | None = None
    video: str | None = None
    strength: float | None = None
    mask: str | None = None
    keep: Keep | None = None
    references: tuple[str, ...] = ()
    control_scale: float | None = None
    camera: str | None = None
    lora: tuple[LoraChoice, ...] = ()
    lora_high: tuple[LoraChoice, ...] = ()
    lora_low: tuple[LoraChoice, ...] = ()
    distilled: str | None = None
    guidance_method: GuidanceMethod | None = None
    guidance_interval: tuple[float, float] | None = None
    memory: MemoryMode | None = None
    weights: WeightFormat | None = None
    text_encoder: TextEncoderPlace | None = None
    vae_tile: int | None = None
    profile: SpeedProfile | None = None
    attention: AttentionKernel | None = None
    vae_precision: Precision | None = None
    gpus: int | None = None
    preview_every: int = Field(default=0, description="emit a Preview every k steps; 0: none")

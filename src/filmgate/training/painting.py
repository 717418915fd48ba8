"""Clips from prompts, many at a time, with the product's own parts: schedule, solver, guidance, experts, networks.

``engine.pipeline`` paints one wish and yields as it goes; measuring truth takes hundreds of clips and no events. A
batch paints what single runs would: every prompt has its own noise, drawn on the CPU from its own seed (a test holds
the two together). Legend: B prompts, L tokens, D text features, C T h w latent; F H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.wan import load_dit, load_text_encoder, load_tokenizer, load_vae
from filmgate.engine.models.dit import TextCache, WanDiT
from filmgate.engine.sampling.experts import choose_expert
from filmgate.engine.sampling.guidance import Guidance, guided
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.engine.sampling.solvers import Denoise, solve
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import ExpertName, Preset, Solver
from filmgate.spec.shape import VideoShape

CHANGEABLE = ("high", "low", "shift", "boundary", "steps")
"""What :meth:`Settings.changed` takes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a clip is painted; to a model with one transformer ``boundary`` only says where guidance changes."""

    steps: int
    shift: float
    guidance: Guidance
    boundary: float | None = None
    solver: Solver = "unipc"
    negative: str = ""

    @classmethod
    def of(cls, preset: Preset) -> Settings:
        """What a model's authors recommend."""
        return cls(
            steps=preset.steps,
            shift=preset.shift,
            guidance=Guidance(high=preset.guidance_high, low=preset.guidance_low),
            boundary=preset.boundary,
            solver=preset.solver,
            negative=preset.negative,
        )

    def changed(self, changes: str) -> Settings:
        """With some values replaced, as in ``high=6,low=4,shift=5,boundary=0.9,steps=10``.

        Raises:
            UnknownName: there is no such setting.
            InvalidRequest: a value is not a number.
        """
        result = self
        for change in filter(None, changes.split(",")):
            name, _, text = change.partition("=")
            try:
                value = float(text)
            except ValueError as error:
                raise InvalidRequest(name, f"{text!r} is not a number", allowed="name=number") from error
            if name not in CHANGEABLE:
                raise UnknownName("setting", name, CHANGEABLE)
            if name in ("high", "low"):
                result = replace(result, guidance=replace(result.guidance, **{name: value}))
            else:
                setting: Any = int(value) if name == "steps" else value
                result = replace(result, **{name: setting})
        return result

    def __str__(self) -> str:
        boundary = "none" if self.boundary is None else f"{self.boundary:g}"
        return (
            f"high={self.guidance.high:g},low={self.guidance.low:g},shift={self.shift:g},boundary={boundary},"
            f"steps={self.steps}"
        )


class Painter:
    """A model directory, open on a device with all its networks.

    Args:
        directory: In the original Wan layout, with a preset; a pair of experts or one transformer.
        device: Where to paint.
        half: Run large layers in bf16 (autocast); otherwise everything is fp32, as the product paints the toy family.
        compiled: Compile the transformers' blocks.

    Raises:
        InvalidRequest: the directory has no preset, so that nobody knows size and length of a clip.
        CheckpointError: as :func:`~filmgate.engine.checkpoints.wan.load_dit`.
    """

    def __init__(self, directory: Path, device: torch.device, *, half: bool = False, compiled: bool = False) -> None:
        self.model = describe(directory)
        if self.model.preset is None:
            raise InvalidRequest("model", f"{directory} states no preset", allowed="a directory with generation.json")
        self.settings = Settings.of(self.model.preset)
        self.device, self.half = device, half
        width, height = self.model.preset.sizes[0]
        self.video = VideoShape(frames=self.model.preset.frames, height=height, width=width)
        self.experts: dict[ExpertName, WanDiT] = {
            expert.name: load_dit(self.model, expert.name, device=device, precision="fp32")
            for expert in self.model.experts
        }
        self.text_encoder = load_text_encoder(self.model, device=device, precision="fp32")
        self.vae = load_vae(self.model, device=device)
        self.tokenise = load_tokenizer(self.model)
        for network in (*self.experts.values(), self.text_encoder, self.vae):
            network.requires_grad_(False)
        if compiled:
            for network in self.experts.values():
                for block in network.blocks:
                    block.forward = torch.compile(block.forward, dynamic=False)

    @property
    def decode_batch(self) -> int:
        """Clips that the VAE handles at once."""
        return 16 if self.device.type == "cuda" else 2

    def expert(self, clock: float, boundary: float | None) -> ExpertName:
        """Who paints at timestep ``clock``."""
        return choose_expert(clock, boundary if len(self.experts) > 1 else None)

    def features(self, texts: Sequence[str]) -> Tensor:
        """Text features [B, L, D] up to the longest text, zero on padding."""
        ids = [self.tokenise(text) for text in texts]
        longest = max(map(len, ids))
        table = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids], device=self.device)
        lengths = torch.tensor([len(row) for row in ids], device=self.device)
        mask = torch.arange(longest, device=self.device) < lengths[:, None]
        encoded: Tensor = self.text_encoder(table, mask)
        return encoded.float() * mask[..., None]

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """Standard normal noise [B, C, T, h, w], one draw on the CPU per seed, as the product draws it."""
        shape = self.model.compression.latent(self.video)
        size = (shape.channels, shape.frames, shape.height, shape.width)
        draws = [torch.randn(size, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
        return torch.stack(draws).to(self.device)

    def velocity(self, x: Tensor, expert: ExpertName, clocks: Tensor, cache: TextCache) -> Tensor:
        """One pass of an expert over noisy latents [B, C, T, h, w] at timesteps ``clocks`` [B]."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            velocity: Tensor = self.experts[expert](x, clocks, text_cache=cache)
        return velocity.float()

    def project(self, expert: ExpertName, context: Tensor) -> TextCache:
        """What an expert keeps of text features [B, L, D]; short texts are folded on the CPU, as the product does."""
        network = self.experts[expert]
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            if self.device.type == "cpu" and not self.half and context.shape[1] < network.config.head_dim:
                return network.fold_text(context)
            return network.text_keys_values(context)

    @torch.no_grad()
    def paint(self, prompts: Sequence[str], seeds: Sequence[int], settings: Settings) -> Tensor:
        """Latents [B, C, T, h, w], normalised, fp32."""
        levels = sigmas(settings.solver, settings.steps, settings.shift)
        x = self.noise(seeds)
        for state in solve(settings.solver, self._guided(prompts, settings, levels), x, levels):
            x = state
        return x

    def _guided(self, prompts: Sequence[str], settings: Settings, levels: Sequence[float]) -> Denoise:
        features = self.features([*prompts, settings.negative])
        positive, negative = features[:-1], features[-1:].expand(len(prompts), -1, -1)
        caches: dict[tuple[ExpertName, bool], TextCache] = {}

        def velocity(x: Tensor, index: int) -> Tensor:
            clock = timestep(levels[index], settings.solver)
            expert = self.expert(clock, settings.boundary)
            # By the noise level, also for one transformer: a dense partner is guided exactly as the pair is.
            scale = settings.guidance.scale(choose_expert(clock, settings.boundary))
            key = expert, scale == 1
            if key not in caches:
                caches[key] = self.project(expert, positive if scale == 1 else torch.cat([positive, negative]))
            if scale == 1:
                return self.velocity(x, expert, x.new_full((len(x),), clock), caches[key])
            clocks = x.new_full((2 * len(x),), clock)
            conditional, unconditional = self.velocity(torch.cat([x, x]), expert, clocks, caches[key]).chunk(2)
            return guided(conditional, unconditional, scale)

        return velocity

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to uint8 clips [B, 3, F, H, W] on the device."""
        parts = []
        for part in latents.split(self.decode_batch):
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                parts.append(codes(self.vae.decode(part.to(self.device))))
        return torch.cat(parts)

    @torch.no_grad()
    def encode(self, rgb: Tensor) -> Tensor:
        """uint8 clips [B, 3, F, H, W] to normalised latents."""
        parts = []
        for part in rgb.split(self.decode_batch):
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                parts.append(self.vae.encode(part.to(self.device).float() / 127.5 - 1).float())
        return torch.cat(parts)


def codes(video: Tensor) -> Tensor:
    """Video in -1 ... 1 to uint8; what lies outside is clamped, codes are rounded."""
    return video.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)

"""Clips from prompts, many at a time, with the product's own parts: schedule, solver, guidance, experts, networks.

``engine.pipeline`` paints one wish and yields as it goes; measuring truth takes hundreds of clips and no events. A
batch paints what single runs would: every prompt has its own noise, drawn on the CPU from its own seed (a test holds
the two together). Legend: B prompts, L tokens, D text features, C T h w latent; F H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from filmgate.direction.distilled import distilled_of
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.lora import read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.checkpoints.wan import load_dit, load_text_encoder, load_tokenizer, load_vae
from filmgate.engine.models.dit import TextCache, WanDiT
from filmgate.engine.runtime.lora import apply_lora
from filmgate.engine.sampling.experts import choose_expert
from filmgate.engine.sampling.guidance import Guidance, guided
from filmgate.engine.sampling.schedules import check_solver, sigmas, timestep
from filmgate.engine.sampling.solvers import Denoise, solve
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import ExpertName, Preset, Solver
from filmgate.spec.shape import VideoShape
from filmgate.training.conditions import beside, only_known, packed_rays, token_timesteps

CHANGEABLE = ("high", "low", "shift", "boundary", "steps", "solver")
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
    distilled: str | None = None

    @property
    def levels(self) -> tuple[float, ...]:
        """Noise levels of the steps, and 0."""
        few = distilled_of(self.distilled)
        return sigmas(self.solver, self.steps, self.shift) if few is None else few.sigmas(self.steps, self.shift)

    def few(self, name: str) -> Settings:
        """As a few-step preset has it: its levels, its solver, and no guidance.

        Raises:
            UnknownName: there is no such preset.
            InvalidRequest: it is more than a list of levels.
        """
        few = distilled_of(name)
        assert few is not None
        if few.undistilled or few.scaled_start or few.clock is not None:
            raise InvalidRequest("distilled", f"{name} is more than a list of levels", allowed="lightning")
        return replace(
            self, steps=len(few.levels), shift=few.shift, solver=few.solver, guidance=Guidance(high=1.0, low=1.0),
            boundary=self.boundary if few.boundary is None else few.boundary, distilled=name,
        )  # fmt: skip

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
        """With some values replaced, as in ``high=6,low=4,shift=5,boundary=0.9,steps=10,solver=euler``.

        Raises:
            UnknownName: there is no such setting, or no such solver.
            InvalidRequest: a value is not a number.
        """
        result = self
        for change in filter(None, changes.split(",")):
            name, _, text = change.partition("=")
            if name == "solver":
                check_solver(text)
                result = replace(result, solver=cast(Solver, text))
                continue
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
            + (f",solver={self.solver}" if self.solver != "unipc" else "")
            + (f",distilled={self.distilled}" if self.distilled else "")
        )


@dataclass(frozen=True, eq=False)
class Given:
    """What a batch is told beside its prompts; None where the model does not read it.

    Attributes:
        beside: Channels beside the noise [B, 4 + C, T, h, w]: which frames are known, and their latent.
        held: The first latent frame [B, C, 1, h, w], which stays what it is.
        rays: Of the camera's path [B, 24, T, H, W].
    """

    beside: Tensor | None = None
    held: Tensor | None = None
    rays: Tensor | None = None

    def seen(self, x: Tensor) -> Tensor:
        """What the transformer reads where the state of the walk is ``x``."""
        return x if self.beside is None else torch.cat([x, self.beside], 1)

    def hold(self, x: Tensor) -> Tensor:
        """The state with the frames that are held in their place."""
        return x if self.held is None else torch.cat([self.held, x[:, :, self.held.shape[2] :]], 2)

    def clocks(self, x: Tensor, clock: float) -> Tensor:
        """Timesteps [B], or [B, L] where frames are held."""
        clocks = x.new_full((len(x),), clock)
        return clocks if self.held is None else token_timesteps(clocks, *x.shape[2:])

    def twice(self) -> Given:
        """For two passes in one batch."""
        pairs = (None if part is None else torch.cat([part, part]) for part in (self.beside, self.held, self.rays))
        return Given(*pairs)


NOTHING = Given()


class Painter:
    """A model directory, open on a device with all its networks.

    Args:
        directory: In the original Wan layout, with a preset; a pair of experts or one transformer.
        device: Where to paint.
        half: Run large layers in bf16 (autocast); otherwise everything is fp32, as the product paints the toy family.
        compiled: Compile the transformers' blocks.
        loras: Files to merge into the transformers, by expert.

    Raises:
        InvalidRequest: the directory has no preset, so that nobody knows size and length of a clip.
        CheckpointError: as :func:`~filmgate.engine.checkpoints.wan.load_dit`.
    """

    def __init__(
        self, directory: Path, device: torch.device, *, half: bool = False, compiled: bool = False,
        loras: Mapping[ExpertName, Path] | None = None,
    ) -> None:  # fmt: skip
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
        for name, file in (loras or {}).items():
            if name not in self.experts:
                raise UnknownName("expert", name, self.experts)
            lora = read_lora(file)
            apply_lora(self.experts[name], load_deltas(lora, lora.changes, 1.0), keep=False)
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

    def given(self, first: Tensor | None = None, last: Tensor | None = None, path: Tensor | None = None) -> Given:
        """What the model reads of pictures and of a path; a model that can go without either is given zeros.

        Args:
            first, last: First and last frames, uint8 [B, 3, H, W], of the model's own size.
            path: Lens and pose of every frame [B, F, 16], as :func:`.conditions.path_of` has them.

        Raises:
            InvalidRequest: the model cannot read it, or cannot do without.
        """
        dit, reads_rays = self.model.dit, self.model.task == "camera"
        extra = dit.in_channels - dit.out_channels
        if (path is not None) != reads_rays:
            said, allowed = ("reads no path", "none") if path is not None else ("needs a path", "one for every clip")
            raise InvalidRequest("camera", f"{self.model.id} {said}", allowed=allowed)
        rays = None if path is None else packed_rays(path.to(self.device), self.video.height, self.video.width)
        if first is None:
            if last is not None or (extra and path is None):
                raise InvalidRequest("image", f"{self.model.id} needs a first frame", allowed="one for every clip")
            if path is None:
                return NOTHING
            shape = self.model.compression.latent(self.video)
            nothing = torch.zeros(len(path), extra, shape.frames, shape.height, shape.width, device=self.device)
            return Given(nothing if extra else None, None, rays)
        if self.model.task == "ti2v" and last is None:
            return Given(held=self.encode(first[:, :, None]))
        if not extra:
            raise InvalidRequest("image", f"{self.model.id} reads no picture, or not two", allowed="none")
        known = torch.full((len(first),), last is not None, device=self.device)
        video = torch.zeros(len(first), 3, self.video.frames, self.video.height, self.video.width, device=self.device)
        video[:, :, 0] = _unit(first.to(self.device))
        if last is not None:
            video[:, :, -1] = _unit(last.to(self.device))
        return Given(beside(self._encode(only_known(video, known)), known), None, rays)

    def velocity(
        self, x: Tensor, expert: ExpertName, clocks: Tensor, cache: TextCache, rays: Tensor | None = None
    ) -> Tensor:
        """One pass of an expert over what it reads [B, C, T, h, w] at timesteps ``clocks`` [B] or [B, L]."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            velocity: Tensor = self.experts[expert](x, clocks, text_cache=cache, control=rays)
        return velocity.float()

    def project(self, expert: ExpertName, context: Tensor) -> TextCache:
        """What an expert keeps of text features [B, L, D]; short texts are folded on the CPU, as the product does."""
        network = self.experts[expert]
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            if self.device.type == "cpu" and not self.half and context.shape[1] < network.config.head_dim:
                return network.fold_text(context)
            return network.text_keys_values(context)

    @torch.no_grad()
    def paint(self, prompts: Sequence[str], seeds: Sequence[int], settings: Settings, given: Given = NOTHING) -> Tensor:
        """Latents [B, C, T, h, w], normalised, fp32."""
        return given.hold(list(self.states(prompts, seeds, settings, given))[-1])

    @torch.no_grad()
    def states(
        self, prompts: Sequence[str], seeds: Sequence[int], settings: Settings, given: Given = NOTHING
    ) -> Iterator[Tensor]:
        """Latents as each step leaves them."""
        levels = settings.levels
        yield from solve(settings.solver, self._guided(prompts, settings, levels, given), self.noise(seeds), levels)

    def _guided(self, prompts: Sequence[str], settings: Settings, levels: Sequence[float], given: Given) -> Denoise:
        features = self.features([*prompts, settings.negative])
        positive, negative = features[:-1], features[-1:].expand(len(prompts), -1, -1)
        caches: dict[tuple[ExpertName, bool], TextCache] = {}
        both = given.twice()

        def velocity(x: Tensor, index: int) -> Tensor:
            x = given.hold(x)
            clock = timestep(levels[index], settings.solver)
            expert = self.expert(clock, settings.boundary)
            # By the noise level, also for one transformer: a dense partner is guided exactly as the pair is.
            scale = settings.guidance.scale(choose_expert(clock, settings.boundary))
            key = expert, scale == 1
            if key not in caches:
                caches[key] = self.project(expert, positive if scale == 1 else torch.cat([positive, negative]))
            if scale == 1:
                return self.velocity(given.seen(x), expert, given.clocks(x, clock), caches[key], given.rays)
            pair = torch.cat([x, x])
            passes = self.velocity(both.seen(pair), expert, both.clocks(pair, clock), caches[key], both.rays)
            conditional, unconditional = passes.chunk(2)
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
        return torch.cat([self._encode(_unit(part.to(self.device))) for part in rgb.split(self.decode_batch)])

    @torch.no_grad()
    def _encode(self, video: Tensor) -> Tensor:
        parts = []
        for part in video.split(self.decode_batch):
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                parts.append(self.vae.encode(part).float())
        return torch.cat(parts)


def _unit(rgb: Tensor) -> Tensor:
    """Codes to -1 ... 1."""
    return rgb.float() / 127.5 - 1


def codes(video: Tensor) -> Tensor:
    """Video in -1 ... 1 to uint8; what lies outside is clamped, codes are rounded."""
    return video.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)

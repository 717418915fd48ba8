"""What a run of the transformers is judged by while it runs: loss on clips that it never trains on, and sheets.

Members that are told more than the text are judged twice, with it and without: a model that continues pictures must not
forget how to paint without one. Legend: B clips, K patch tokens, C T h w latent, F H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.sampling.schedules import TRAINING_STEPS
from filmgate.training.averaging import Average
from filmgate.training.conditions import packed_rays, token_timesteps
from filmgate.training.latents import Batch, LatentBuffer
from filmgate.training.members import BOUNDARY
from filmgate.training.objective import embed, flow_loss
from filmgate.training.precision import mixed
from filmgate.training.records import Curve, load_tensors, reached, save_tensors
from filmgate.training.samples import captioned_sheet, decode, walk
from filmgate.training.text_encoder import END
from filmgate.training.trainee import Recipe, Trainee, initialise, merged
from filmgate.training.world.scenes import Labels
from filmgate.training.world.tokenizer import build_tokenizer

HELD_OUT_SEED = 555_555_557
"""Of the clips that runs are judged by; buffers use other seeds."""
SHOWN, GUIDANCE = 8, 4.0
"""Clips of a sheet, and the scale that they are painted with."""
_LINE = 150
"""Characters of a caption on a sheet."""


@torch.no_grad()
def validate(
    model: Trainee, encoder: Umt5Encoder, held_out: Batch, bins: int = 10, *, held: bool = False
) -> list[float]:
    """Flow-matching loss per noise decile: bin i holds sigmas of (i ... i+1)/bins, same noise every time.

    Args:
        held: The first latent frame is known and held, as TI2V has it.
    """
    generator = torch.Generator(held_out.latents.device).manual_seed(5)
    result = []
    size = len(held_out.latents) // bins
    for i in range(bins):
        batch = held_out.part(slice(i * size, (i + 1) * size))
        sigma = (i + torch.rand(size, device=batch.latents.device, generator=generator)) / bins
        noise = torch.randn(batch.latents.shape, device=batch.latents.device, generator=generator)
        error, _ = flow_loss(model, batch, sigma, noise, embed(encoder, batch.ids), held=held)
        result.append(round(error.mean().item(), 4))
    return result


def untold(batch: Batch) -> Batch:
    """The batch as a model reads it that is told of no known frame."""
    return batch if batch.beside is None else batch._replace(beside=torch.zeros_like(batch.beside))


def held_out_clips(buffer: LatentBuffer, count: int, kept: Path | None) -> Batch:
    """Clips to validate on: from ``kept`` if an earlier session left them there, else rendered (and kept). They have
    what the buffer's member is told of."""
    if kept and kept.exists():
        tensors = {name: tensor.to(buffer.device) for name, tensor in load_tensors(kept).items()}
        labels = Labels(*(tensors[f"label.{name}"] for name in Labels._fields))
        beside = tensors.get("beside") if buffer.told.beside else None
        path = tensors.get("path") if buffer.told.rays else None
        return Batch(tensors["latents"], tensors["ids"], tensors["cover"], labels, beside, path)
    batch = buffer.fresh(count, HELD_OUT_SEED)
    if kept:
        labelled = {f"label.{name}": tensor for name, tensor in batch.labels._asdict().items()}
        told_of = {"beside": batch.beside, "path": batch.path}
        extra = {name: tensor for name, tensor in told_of.items() if tensor is not None}
        save_tensors(kept, {"latents": batch.latents, "ids": batch.ids, "cover": batch.cover, **extra, **labelled})
    return batch


@torch.no_grad()
def continued(
    experts: tuple[WanDiT, WanDiT], encoder: Umt5Encoder, batch: Batch, *, held: bool = False, steps: int = 20
) -> Tensor:
    """Latents painted from a batch's captions and from all that it is told of: a few guided Euler steps.

    Args:
        experts: For high and for low noise; a model of one transformer twice.
        held: The first latent frame of the batch is held.
    """
    device, frames = batch.latents.device, batch.latents.shape[2]
    empty = torch.zeros_like(batch.ids)
    empty[:, 0] = END
    text = embed(encoder, torch.cat([batch.ids, empty]))
    beside = None if batch.beside is None else torch.cat([batch.beside, batch.beside])
    scale, rays = experts[0].config.camera_scale, None
    if scale is not None and batch.path is not None:
        rays = packed_rays(batch.path, scale * batch.latents.shape[3], scale * batch.latents.shape[4])
        rays = torch.cat([rays, rays])

    def velocity(x: Tensor, sigma: float) -> Tensor:
        if held:
            x = torch.cat([batch.latents[:, :, :1], x[:, :, 1:]], 2)
        both = torch.cat([x, x])
        timestep = torch.full((len(both),), sigma * TRAINING_STEPS, device=device)
        if held:
            timestep = token_timesteps(timestep, frames, both.shape[3], both.shape[4])
        seen = both if beside is None else torch.cat([both, beside], 1)
        with mixed(device):
            answer = experts[0 if sigma >= BOUNDARY else 1](seen, timestep, text, control=rays).float()
        positive, negative = answer.chunk(2)
        result: Tensor = negative + GUIDANCE * (positive - negative)
        return result

    generator = torch.Generator().manual_seed(0)
    x = walk(velocity, torch.randn(batch.latents.shape, generator=generator).to(device), steps)
    return torch.cat([batch.latents[:, :, :1], x[:, :, 1:]], 2) if held else x


class Judge:
    """Measures a run on clips that it never trains on, and keeps what it has reached.

    Args:
        name: Of the run: high_noise, low_noise, or of one transformer.
        kept: Where the clips to validate on are kept for the next session on this machine.
        partner: Weights of the other expert, so that half a model can paint too.
    """

    def __init__(
        self, recipe: Recipe, buffer: LatentBuffer, encoder: Umt5Encoder, output: Path, name: str, kept: Path | None,
        partner: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        self.recipe, self.buffer, self.encoder, self.output, self.name = recipe, buffer, encoder, output, name
        self.bins, self.partner = 10, partner
        self.held_out = held_out_clips(buffer, recipe.judged, kept)
        shadow = Trainee(recipe.member.dit, recipe.alignment_layer, recipe.world).to(buffer.device)
        self.shadow = shadow.requires_grad_(False)
        self.curve = Curve(output / f"{name}.jsonl")

    def look(self, average: Average, progress: float, **values: float) -> float:
        """Validate the averaged weights, note ``values`` beside the result and publish the weights.

        Returns:
            Mean loss over the noise deciles, without known frames.
        """
        average.copy_to(self.shadow)
        told = self.recipe.member.told
        deciles = validate(self.shadow, self.encoder, untold(self.held_out), self.bins)
        mean = sum(deciles) / len(deciles)
        known: dict[str, float | list[float]] = {}
        if told.first > 0:
            loss = validate(self.shadow, self.encoder, self.held_out, self.bins, held=not told.beside)
            known = {"validation_known": sum(loss) / len(loss), "deciles_known": loss}
        self.curve.note(**values, progress=progress, validation=mean, deciles=deciles, **known)
        save_tensors(self.output / f"{self.name}.safetensors", average.state(), reached(progress))
        statistics = {"latents_mean": self.buffer.mean, "latents_std": self.buffer.std}
        save_tensors(self.output / "latents.safetensors", statistics)
        return mean

    def paint(self) -> None:
        """Contact sheets of held-out clips, each beside what it was rendered as: from text alone, and from all that the
        member is told of. Half a model without its other half paints nothing."""
        whole = (self.recipe.low, self.recipe.high) == (0.0, 1.0)
        if not whole and not self.partner:
            return
        own, told = self.shadow.dit, self.recipe.member.told
        other = self._other() if self.partner else own
        experts = (other, own) if self.recipe.low == 0.0 else (own, other)
        count = min(SHOWN, len(self.held_out.ids))
        batch = self.held_out.part(slice(0, count))
        self._sheet(continued(experts, self.encoder, untold(batch)), batch, f"{self.name}-text.png")
        if told.first > 0:
            painted = continued(experts, self.encoder, batch, held=not told.beside)
            self._sheet(painted, batch, f"{self.name}-{'camera' if told.rays else 'picture'}.png")

    def _other(self) -> WanDiT:
        network = WanDiT(self.recipe.member.dit)
        initialise(network)  # an adapter that nobody trained adds nothing
        network.load_state_dict(merged(self.partner, network.state_dict()))
        return network.to(self.buffer.device).eval().requires_grad_(False)

    def _sheet(self, painted: Tensor, batch: Batch, name: str) -> None:
        tokenizer = build_tokenizer(self.buffer.world)
        captions = [tokenizer.decode([token for token in row if token > END])[:_LINE] for row in batch.ids.tolist()]
        pair = torch.stack([batch.latents, painted], 1).flatten(0, 1)
        lines = [f"{who}: {caption}" for caption in captions for who in ("rendered", "painted")]
        clips = decode(self.buffer.vae, pair, self.buffer.mean, self.buffer.std)
        captioned_sheet(clips, lines, self.output / name)

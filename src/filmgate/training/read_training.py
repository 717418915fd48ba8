"""Training of the readers: fill a store of rendered clips, part of them passed through the VAE, and read them."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from filmgate.engine.models.vae import WanVae
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.training.autoencoder import to_unit
from filmgate.training.averaging import Average
from filmgate.training.latents import ENCODED_TOGETHER, LatentBuffer
from filmgate.training.members import TOYBOX_VAE
from filmgate.training.muon import Muon
from filmgate.training.precision import mixed
from filmgate.training.readers import (
    STRIDE,
    ReaderConfig,
    WorldReader,
    accuracies,
    heads_of,
    reading_loss,
    reading_targets,
    rounds,
)
from filmgate.training.records import Curve, load_tensors, reached, save_tensors
from filmgate.training.schedule import Clock, Session, until
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import RICH, Catalogue, add_world_option
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import Scenes, SceneStream


@dataclass(frozen=True)
class Recipe:
    """``clips`` in the store, ``coded`` of them (a share) as the VAE returns them; a chunk is replaced every
    ``refresh_every`` steps. Of the tokens of a batch a share of ``seen`` is looked at. ``matrix_rate`` is Muon's, for
    the matrices of the blocks; ``judged`` chunks of each kind are held out.

    In the rich world a store of 16,000 clips, of which each was read nine times, was learnt by heart (loss 2.7 on them,
    and 52 % of shapes on others): clips are cheap, for only every fourth frame of them is rendered. What the VAE
    returns costs ten times as much, and reads nearly alike.
    """

    clips: int = 32_768
    coded: float = 0.12
    seen: float = 0.6
    chunk: int = LatentBuffer.CHUNK
    batch: int = 192
    rate: float = 6e-4
    matrix_rate: float = 2e-3
    refresh_every: int = 8
    judged: int = 4
    world: Catalogue = RICH


def trained_vae(weights: Path, device: torch.device) -> WanVae:
    """The frozen VAE whose clips readers have to read."""
    vae = WanVae(TOYBOX_VAE).to(device).requires_grad_(False)
    vae.load_state_dict(load_tensors(weights))
    prepare(vae, Choices(channels_last=True))
    return vae


class Store:
    """Strided uint8 clips with their true answers, filled in a ring."""

    def __init__(
        self, recipe: Recipe, clip: ClipFormat, vae: WanVae, device: torch.device, *, seed: int, compiled: bool
    ) -> None:
        self.recipe, self.vae = recipe, vae
        self.scenes = SceneStream(recipe.chunk, torch.Generator(device).manual_seed(seed), recipe.world)
        self.renderer = Renderer(clip, compile_shader=compiled)
        self.read = torch.arange(0, clip.frames, STRIDE, device=device)
        self._code = torch.compile(self._code_eagerly, dynamic=False) if compiled else self._code_eagerly
        shape = (recipe.clips, 3, len(self.read), clip.height, clip.width)
        self.videos = torch.empty(shape, dtype=torch.uint8, device=device)
        self.targets: dict[str, Tensor] = {}
        self.cursor = 0

    def _code_eagerly(self, video: Tensor) -> Tensor:
        with mixed(video.device):
            latent = self.vae.encode_sequence(video)[0].float()
            return self.vae.decode_sequence(latent).float()

    @torch.no_grad()
    def chunk(self, *, coded: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Every fourth frame of new clips [V, 3, F, H, W], uint8, as rendered or as the VAE returns them."""
        scenes = next(self.scenes)
        return self._coded(scenes) if coded else self.renderer(scenes, self.read).rgb, reading_targets(scenes)

    def _coded(self, scenes: Scenes) -> Tensor:
        frames, device = self.renderer.format.frames, self.videos.device
        shape = (len(scenes.uniforms), 3, frames, *self.videos.shape[-2:])
        whole = torch.empty(shape, dtype=torch.uint8, device=device)
        for first in range(STRIDE):  # as many frames each time, so that one compiled shader renders all
            moments = (self.read + first).clamp_max(frames - 1)
            whole[:, :, moments] = self.renderer(scenes, moments).rgb
        size = min(ENCODED_TOGETHER, len(whole))
        parts = [self._code(to_unit(whole[i : i + size]))[:, :, ::STRIDE] for i in range(0, len(whole), size)]
        return ((torch.cat(parts).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    def add(self) -> None:
        """Replace the oldest chunk."""
        number = self.cursor // self.recipe.chunk
        rgb, targets = self.chunk(coded=(number * 0.618034) % 1 < self.recipe.coded)
        place = torch.arange(self.cursor, self.cursor + len(rgb), device=rgb.device) % self.recipe.clips
        self.videos[place] = rgb
        for name, value in targets.items():
            if name not in self.targets:
                self.targets[name] = value.new_zeros(self.recipe.clips, *value.shape[1:])
            self.targets[name][place] = value
        self.cursor += self.recipe.chunk


def optimisers(reader: WorldReader, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for name, p in reader.named_parameters() if name.startswith("blocks.") and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in reader.parameters() if id(p) not in chosen]
    fused = rest[0].is_cuda  # one launch for all of these small weights
    return [
        torch.optim.AdamW(rest, recipe.rate, betas=(0.9, 0.98), weight_decay=0.03, fused=fused),
        Muon(matrices, recipe.matrix_rate, weight_decay=0.01),
    ]


def judged(reader: WorldReader, chunks: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> dict[str, float]:
    """Share of right answers per question over chunks of equal size."""
    scores: dict[str, list[float]] = {}
    for rgb, truth in chunks:
        for name, value in accuracies(reader.look_at(rgb)[0], truth).items():
            scores.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in scores.items()}


def train(
    session: Session, recipe: Recipe, clip: ClipFormat, vae_weights: Path, output: Path, *, seed: int, compiled: bool,
    end: float = math.inf,
) -> None:  # fmt: skip
    """Train one reader; leaves ``reader.safetensors`` (averaged) and its ceilings, ``reader.jsonl``, in ``output``.

    Args:
        end: When it has to be over, by ``time.monotonic``. A schedule that would be cut off is shortened: a reader
            whose learning rate has not fallen reads worse than one of fewer steps.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    store = Store(recipe, clip, trained_vae(vae_weights, device), device, seed=seed, compiled=compiled)
    held_out = {coded: [store.chunk(coded=coded) for _ in range(recipe.judged)] for coded in (False, True)}
    while store.cursor < recipe.clips:
        store.add()
    shape = ReaderConfig(frames=store.videos.shape[2], height=clip.height, width=clip.width)
    heads = heads_of(recipe.world)
    reader, shadow = WorldReader(shape, heads).to(device), WorldReader(shape, heads).to(device).eval()
    average = Average(reader, 0.998)
    answers = torch.compile(reader, dynamic=False) if compiled else reader
    chosen = optimisers(reader, recipe)
    peaks = [(group, group["lr"]) for optimiser in chosen for group in optimiser.param_groups]
    generator = torch.Generator(device).manual_seed(seed)
    source = rounds(store.videos, store.targets, recipe.batch, generator)
    tokens = reader.position.shape[1]

    def some() -> Tensor:
        return torch.randperm(tokens, generator=generator, device=device)[: round(recipe.seen * tokens)]

    with mixed(device):  # compiles: that is not training
        sum(logits.float().sum() for logits in answers(next(source)[0], some()).values()).backward()
    session = replace(session, seconds=max(1.0, min(session.seconds, end - time.monotonic())))
    for optimiser in chosen:
        optimiser.zero_grad(set_to_none=True)
    curve, clock, step, shown, over = Curve(output / "reader.jsonl"), Clock(session), 0, 0, False
    while not over:
        for group, peak in peaks:
            group["lr"] = peak * session.rate(clock.progress, step)
        video, targets = next(source)
        with mixed(device):
            logits = answers(video, some())
        loss = reading_loss({n: x.float() for n, x in logits.items()}, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        for optimiser in chosen:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        average.update(reader)
        step += 1
        if step % recipe.refresh_every == 0:
            store.add()
        over = clock.finished
        if clock.elapsed > shown * session.seconds / 6 or over:
            began = time.monotonic()
            average.copy_to(shadow)
            for coded, chunks in held_out.items():
                curve.note(step=step, loss=loss.item(), coded=int(coded), **judged(shadow, chunks))
            save_tensors(output / "reader.safetensors", average.state(), reached(clock.progress))
            shown += 1
            clock.forgive(time.monotonic() - began)


def main() -> None:
    """Command line: ``python -m filmgate.training.read_training --seconds 200 --vae FILE --output DIRECTORY``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--deadline", type=float, help="but no longer than so long after the start of the process")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=4242)
    add_world_option(parser)
    parser.add_argument("--smoke", action="store_true")
    args, began = parser.parse_args(), time.monotonic()
    recipe = Recipe(clips=16, chunk=8, batch=4, judged=1) if args.smoke else Recipe()
    recipe = replace(recipe, world=args.world)
    clip = ClipFormat(9, 32, 48) if args.smoke else ClipFormat()
    train(
        Session(args.seconds), recipe, clip, args.vae, args.output, seed=args.seed, compiled=not args.smoke,
        end=until(began, args.deadline),
    )  # fmt: skip


if __name__ == "__main__":
    main()

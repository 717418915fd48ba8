"""Flow-matching training of the toy transformers: a base over all noise levels, then the pair of experts.

As Wan trains: x_s = (1 - s)·x0 + s·noise, the network is told 1000·s and predicts noise - x0 (arXiv 2503.20314;
rectified flow after Liu et al. 2022, Esser et al. 2024). Noise levels are drawn after the schedule's shift, so that
the boundary splits what sampling will visit; splitting unshifted levels is a known mistake. Legend: B clips, K patch
tokens, D width, S object slots.

An auxiliary head reads from the middle of the network which object covers each patch (colour and shape weighted by
coverage). It is the renderer's ground truth in the role that REPA (arXiv 2410.06940) gives to features of a large
vision model; it is thrown away after training, the architecture stays Wan.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.spec.errors import CheckpointError
from filmgate.training.averaging import Average
from filmgate.training.conditions import distinct, forgotten, held_now, packed_rays, token_timesteps
from filmgate.training.latents import Batch, LatentBuffer
from filmgate.training.members import BOUNDARY, MEMBERS, SHIFT, T2V, Member, smoke_clip
from filmgate.training.precision import mixed
from filmgate.training.ranks import Ranks
from filmgate.training.records import Curve, load_tensors, save_tensors
from filmgate.training.samples import PROMPTS, contact_sheet, decode, paint
from filmgate.training.schedule import Clock, Session
from filmgate.training.text_encoder import END, PADDING, load_text_encoder
from filmgate.training.trainee import Recipe, Trainee, alignment_target, new_trainee, optimisers
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import add_world_option
from filmgate.training.world.scenes import Labels

HELD_OUT_SEED = 555_555_557
"""Of the clips that runs are judged by; buffers use other seeds."""


def shifted(u: Tensor, shift: float) -> Tensor:
    """Noise level after the schedule's shift: s·u / (1 + (s - 1)·u)."""
    return shift * u / (1 + (shift - 1) * u)


def unshifted(sigma: float, shift: float) -> float:
    """Inverse of :func:`shifted`."""
    return sigma / (shift - (shift - 1) * sigma)


def sample_sigmas(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Noise levels [B]: over the full range four fifths logit-normal (shift 3) and one fifth uniform under the sampling
    shift; within an expert's range uniform under the sampling shift."""
    device = generator.device
    uniform = torch.rand(count, device=device, generator=generator)
    if recipe.low == 0.0 and recipe.high == 1.0:
        normal = torch.randn(count, device=device, generator=generator)
        concentrated = torch.rand(count, device=device, generator=generator) < 0.7
        return torch.where(concentrated, shifted(torch.sigmoid(normal), 3.0), shifted(uniform, SHIFT)).clamp(1e-4, 1.0)
    low = max(0.0, unshifted(recipe.low, SHIFT) - (recipe.overlap if recipe.low > 0 else 0))
    high = min(1.0, unshifted(recipe.high, SHIFT) + (recipe.overlap if recipe.high < 1 else 0))
    return shifted(low + (high - low) * uniform, SHIFT).clamp(1e-4, 1.0)


@torch.no_grad()
def embed(encoder: Umt5Encoder, ids: Tensor) -> Tensor:
    """Text features [B, L, D_text], zero on padding as Wan has them."""
    mask = ids != PADDING
    with mixed(ids.device):
        features: Tensor = encoder(ids, mask)
    return features.float() * mask[..., None]


def without_text(ids: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replace a share of the captions by the empty prompt (one end mark): the unconditional branch of guidance."""
    empty = torch.zeros_like(ids)
    empty[:, 0] = END
    drop = torch.rand(len(ids), device=ids.device, generator=generator) < share
    return torch.where(drop[:, None], empty, ids)


def flow_loss(
    model: Trainee, batch: Batch, sigma: Tensor, noise: Tensor, context: Tensor, *, held: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean squared velocity error per clip [B], and the alignment loss.

    Args:
        held: The first latent frame is known: it is clean, its tokens are told 0, and its error does not count.
    """
    s = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - s) * batch.latents + s * noise
    timestep, counted = sigma * 1000, slice(1 if held else 0, None)
    if held:
        noisy = torch.cat([batch.latents[:, :, :1], noisy[:, :, 1:]], 2)
        timestep = token_timesteps(timestep, noisy.shape[2], noisy.shape[3], noisy.shape[4])
    seen = noisy if batch.beside is None else torch.cat([noisy, batch.beside], 1)
    rays = None
    scale = model.dit.config.camera_scale
    if scale is not None and batch.path is not None:
        rays = packed_rays(batch.path, scale * noisy.shape[3], scale * noisy.shape[4])
    with mixed(noisy.device):
        velocity, logits = model(seen, timestep, context, rays)
    error = (velocity.float() - (noise - batch.latents))[:, :, counted].pow(2).mean((1, 2, 3, 4))
    target = alignment_target(batch.cover, batch.labels, model.head.world)
    return error, F.binary_cross_entropy_with_logits(logits.float(), target)


def backward(
    model: Trainee, encoder: Umt5Encoder, batch: Batch, recipe: Recipe, weight: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gradients of one batch, with the alignment loss counted ``weight`` times; returns both losses."""
    ids = without_text(batch.ids, recipe.no_text, generator)
    sigma = sample_sigmas(len(ids), recipe, generator)
    noise = torch.randn(batch.latents.shape, device=batch.latents.device, generator=generator)
    told = recipe.member.told
    batch, held = batch._replace(beside=forgotten(batch.beside, told, generator)), held_now(told, generator)
    sigma = distinct(sigma) if held else sigma
    errors, alignment = flow_loss(model, batch, sigma, noise, embed(encoder, ids), held=held)
    error = errors.mean()
    (error + weight * alignment).backward()
    return error.detach(), alignment.detach()


def apply(working: list[torch.optim.Optimizer], model: nn.Module) -> Tensor:
    """Clip the gradients, take a step and forget them; returns their norm before."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in working:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return norm


@torch.no_grad()
def validate(model: Trainee, encoder: Umt5Encoder, held_out: Batch, bins: int = 10) -> list[float]:
    """Flow-matching loss per noise decile: bin i holds sigmas of (i ... i+1)/bins, same noise every time."""
    generator = torch.Generator(held_out.latents.device).manual_seed(5)
    result = []
    size = len(held_out.latents) // bins
    for i in range(bins):
        part = slice(i * size, (i + 1) * size)
        batch = held_out.part(part)
        sigma = (i + torch.rand(size, device=batch.latents.device, generator=generator)) / bins
        noise = torch.randn(batch.latents.shape, device=batch.latents.device, generator=generator)
        error, _ = flow_loss(model, batch, sigma, noise, embed(encoder, batch.ids))
        result.append(round(error.mean().item(), 4))
    return result


def trim(batch: Batch, frames: int, h: int, w: int) -> Batch:
    """Keep only the first latent ``frames`` of each clip (short clips first: a curriculum)."""
    if frames >= batch.latents.shape[2]:
        return batch
    tokens = frames * (h // 2) * (w // 2)
    return batch._replace(
        latents=batch.latents[:, :, :frames], cover=batch.cover[:, :tokens],
        beside=None if batch.beside is None else batch.beside[:, :, :frames],
        path=None if batch.path is None else batch.path[:, : 4 * frames - 3],
    )  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Part of the curriculum: up to ``until`` of the schedule train on ``frames`` latent frames of ``share`` times the
    recipe's batch."""

    until: float
    frames: int
    share: int = 1


def curriculum(short: float) -> tuple[Stage, ...]:
    """Train on the first three latent frames for the share ``short`` of the schedule, then on whole clips."""
    return (Stage(short, 3, 2), Stage(1.0, 9)) if short > 0 else (Stage(1.0, 9),)


def train(
    session: Session, recipe: Recipe, buffer: LatentBuffer, text: Path, output: Path, name: str, model: Trainee,
    *, ranks: Ranks, stages: tuple[Stage, ...] = curriculum(0), judged: Path | None = None,
) -> float:  # fmt: skip
    """Train ``model`` for one session; leaves ``NAME.safetensors`` (averaged, fp32, head included), the latent
    statistics and ``NAME.jsonl`` in ``output``.

    Args:
        judged: Where the clips to validate on are kept for the next session on this machine.

    Returns:
        Validation loss at the end, mean over noise deciles; infinite on processes that do not judge.
    """
    device = buffer.device
    generator = torch.Generator(device).manual_seed(recipe.seed * 104_729 + int(session.start * 1e6) + ranks.rank)
    encoder = load_text_encoder(text, device)
    ranks.share(model.state_dict())
    average = Average(model, recipe.average)
    working = optimisers(model, recipe)
    groups = [group for o in working for group in o.param_groups]
    peaks = [group["lr"] for group in groups]
    judge = Judge(recipe, buffer, encoder, output, name, judged) if ranks.first else None
    _, _, t, h, w = buffer.latents.shape
    clock, step, seen, shown, warm = Clock(session), 0, 0, 1, set[int]()
    while not ranks.agree(clock.finished):
        progress = ranks.agree(clock.progress)
        stage = next(s for s in stages if progress <= s.until or s is stages[-1])
        began = time.monotonic()
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * session.rate(progress, step)
        batch = trim(buffer.batch(recipe.batch * stage.share // ranks.count, generator), min(stage.frames, t), h, w)
        weight = recipe.alignment if progress < 0.8 else 0.0
        error, alignment = backward(model, encoder, batch, recipe, weight, generator)
        ranks.average_gradients(model.parameters())
        norm = apply(working, model)
        average.update(model)
        step, seen = step + 1, seen + len(batch.ids) * ranks.count
        if stage.frames not in warm:
            if device.type == "cuda":
                torch.cuda.synchronize()
            clock.forgive(time.monotonic() - began)  # compilation does not count
            warm.add(stage.frames)
        if recipe.refresh_every and step % recipe.refresh_every == 0:
            buffer.add_chunk()
            if step % (recipe.refresh_every * 8) == 0:
                buffer.settle()
        if judge and clock.elapsed > shown * session.seconds / 8 and not clock.finished:
            began = time.monotonic()
            judge.look(average, step=step, seen=seen, progress=progress, loss=error.item(),
                       alignment=alignment.item(), gradient=norm.item())  # fmt: skip
            shown = int(clock.elapsed / session.seconds * 8) + 1
            clock.forgive(time.monotonic() - began)
    if judge is None:
        return float("inf")
    loss = judge.look(average, step=step, seen=seen, progress=clock.progress)
    judge.curve.note(event="end", muon=int(recipe.muon), steps=step, seen=seen, samples_per_second=seen / clock.elapsed)
    whole = (recipe.low, recipe.high) == RANGES["base"]  # half a model paints nothing
    if session.seconds > 60 and whole and recipe.member.dit.in_dim == recipe.member.dit.out_dim:
        judge.paint()
    return loss


def held_out_clips(buffer: LatentBuffer, count: int, kept: Path | None) -> Batch:
    """Clips to validate on: from ``kept`` if an earlier session left them there, else rendered (and kept)."""
    if kept and kept.exists():
        tensors = {name: tensor.to(buffer.device) for name, tensor in load_tensors(kept).items()}
        kept_labels = Labels(*(tensors[f"label.{name}"] for name in Labels._fields))
        return Batch(
            tensors["latents"],
            tensors["ids"],
            tensors["cover"],
            kept_labels,
            tensors.get("beside"),
            tensors.get("path"),
        )
    batch = buffer.fresh(count, HELD_OUT_SEED)
    if kept:
        labels = {f"label.{name}": tensor for name, tensor in batch.labels._asdict().items()}
        told = {name: tensor for name, tensor in (("beside", batch.beside), ("path", batch.path)) if tensor is not None}
        save_tensors(kept, {"latents": batch.latents, "ids": batch.ids, "cover": batch.cover, **told, **labels})
    return batch


class Judge:
    """Measures a run on clips that it never trains on, and keeps what it has reached."""

    def __init__(
        self, recipe: Recipe, buffer: LatentBuffer, encoder: Umt5Encoder, output: Path, name: str, kept: Path | None
    ) -> None:
        self.buffer, self.encoder, self.output, self.name = buffer, encoder, output, name
        self.bins = 10
        self.held_out = held_out_clips(buffer, recipe.judged, kept)
        shadow = Trainee(recipe.member.dit, recipe.alignment_layer, recipe.world).to(buffer.device)
        self.shadow = shadow.requires_grad_(False)
        self.curve = Curve(output / f"{name}.jsonl")

    def look(self, average: Average, **values: float) -> float:
        """Validate the averaged weights, note ``values`` beside the result and publish the weights."""
        average.copy_to(self.shadow)
        deciles = validate(self.shadow, self.encoder, self.held_out, self.bins)
        mean = sum(deciles) / len(deciles)
        self.curve.note(**values, validation=mean, deciles=deciles)
        save_tensors(self.output / f"{self.name}.safetensors", average.state())
        statistics = {"latents_mean": self.buffer.mean, "latents_std": self.buffer.std}
        save_tensors(self.output / "latents.safetensors", statistics)
        return mean

    def paint(self) -> None:
        """A contact sheet of the fixed prompts per guidance scale."""

        def velocity(x: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
            result: Tensor = self.shadow.dit(x, timestep, context)
            return result

        channels, frames, height, width = self.buffer.latents.shape[1:]
        shape = (channels, frames, height, width)
        for guidance in (2.0, 4.0, 6.0):
            painted = paint(
                velocity, self.encoder, list(PROMPTS), shape, guidance=guidance, device=self.buffer.device,
                world=self.buffer.world,
            )  # fmt: skip
            clips = decode(self.buffer.vae, painted, self.buffer.mean, self.buffer.std)
            contact_sheet(clips, self.output / f"{self.name}-guidance-{guidance:.0f}.png")


def wait_for(path: Path, seconds: float) -> None:
    """Wait for a file that another process is about to publish: the text encoder may train while the buffer fills."""
    began = time.monotonic()
    while not path.exists():
        if time.monotonic() - began > seconds:
            raise CheckpointError(path, f"does not exist after waiting {seconds:.0f} s")
        time.sleep(1)


def filled_buffer(
    vae: Path, store: Path | None, recipe: Recipe, clip: ClipFormat, salt: int, ranks: Ranks, *, buffer_of: int,
    compiled: bool,
) -> LatentBuffer:  # fmt: skip
    """A full buffer of this process's own clips: from ``store`` if it was kept there, else rendered.

    Args:
        buffer_of: Added to the number of the process: whose clips a process takes that trains alone.
    """
    number = ranks.rank + buffer_of
    seed = recipe.seed * 1_000_003 + salt + number
    device = ranks.device()
    chunk = (LatentBuffer.CHUNK if device.type == "cuda" else 32) if compiled else 4  # a processor has less memory
    chunk = chunk * (96 * 160) // max(clip.height * clip.width, 96 * 160)  # larger frames take more memory
    buffer = LatentBuffer(
        vae, device, recipe.buffer, clip=clip, seed=seed, chunk=chunk, compiled=compiled, world=recipe.world,
        member=recipe.member,
    )  # fmt: skip
    kept = store.with_suffix(f".{number}{store.suffix}") if store else None
    if kept and kept.exists():
        buffer.load(kept)
        return buffer
    while buffer.filled < recipe.buffer:
        buffer.add_chunk()
    buffer.settle()
    if kept:
        buffer.save(kept)
    return buffer


def told_otherwise(member: Member, first: float | None, last: float | None) -> Member:
    """A member with other shares of known frames, where they are given."""
    told = member.told
    told = replace(told, first=told.first if first is None else first, last=told.last if last is None else last)
    return replace(member, told=told)


RANGES = {"base": (0.0, 1.0), "dense": (0.0, 1.0), "high_noise": (BOUNDARY, 1.0), "low_noise": (0.0, BOUNDARY)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", choices=sorted(RANGES), default="base")
    parser.add_argument("--member", choices=sorted(MEMBERS), default=T2V.name, help="what is trained")
    parser.add_argument("--adapter-only", action="store_true", help="of a camera's member: nothing but its adapter")
    parser.add_argument("--first", type=float, help="share of clips whose first frame is known; default: the member's")
    parser.add_argument("--last", type=float, help="share of those whose last frame is known too")
    parser.add_argument("--seconds", type=float, help="train for so long, compilation not counted")
    parser.add_argument("--deadline", type=float, help="or: until so long after the start of the process")
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--stop", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--matrix-rate", type=float, default=Recipe.matrix_rate)
    parser.add_argument("--clips", type=int, default=Recipe.buffer)
    parser.add_argument("--short", type=float, default=0.0, help="share of the schedule on short clips, at first")
    parser.add_argument("--batch", type=int, default=Recipe.batch, help="clips of a step, over all processes")
    parser.add_argument("--refresh-every", type=int, default=Recipe.refresh_every, help="steps per chunk of new clips")
    parser.add_argument("--judged", type=int, default=Recipe.judged, help="clips to validate on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decay", type=float, default=0.4)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--statistics", type=Path)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--store", type=Path, help="keep the filled buffer in this file for the next command")
    parser.add_argument("--buffer-of", type=int, default=0, help="number of the process whose kept buffer to take")
    parser.add_argument("--adam", action="store_true", help="AdamW for everything")
    add_world_option(parser)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="tiny clips, no compilation: checks the code on a CPU")
    args = parser.parse_args()
    if (args.seconds is None) == (args.deadline is None):
        parser.error("give either --seconds or --deadline")
    return args


def main() -> None:
    """Command line: ``python -m filmgate.training.diffusion --name base --seconds 500 --vae FILE --text FILE ...``."""
    args = _options()
    ranks = Ranks.join()
    device, compiled = ranks.device(), not args.smoke
    low, high = RANGES[args.name]
    recipe = replace(
        Recipe(), low=low, high=high, rate=args.rate, matrix_rate=args.matrix_rate, buffer=args.clips, seed=args.seed,
        world=args.world, muon=not args.adam, batch=args.batch, refresh_every=args.refresh_every, judged=args.judged,
        member=told_otherwise(MEMBERS[args.member], args.first, args.last), adapter_only=args.adapter_only,
    )  # fmt: skip
    clip = smoke_clip(recipe.member) if args.smoke else recipe.member.clip
    if args.smoke:
        recipe = replace(recipe, buffer=16, refresh_every=3, batch=4, judged=20)
    began = time.monotonic()
    salt = int(args.start * 1000)
    buffer = filled_buffer(args.vae, args.store, recipe, clip, salt, ranks, buffer_of=args.buffer_of, compiled=compiled)
    if args.statistics:
        statistics = load_tensors(args.statistics)
        buffer.use_statistics(statistics["latents_mean"], statistics["latents_std"])
    ranks.share({"mean": buffer.mean, "std": buffer.std})
    print(f"filled {buffer.filled} clips in {time.monotonic() - began:.0f} s", flush=True)
    wait_for(args.text, 200)
    model = new_trainee(recipe, args.resume, device, compiled=compiled)
    seconds = ranks.agree(args.seconds or max(20.0, args.deadline - (time.monotonic() - began)))
    session = Session(seconds, args.start, args.stop, decay=args.decay)
    train(
        session, recipe, buffer, args.text, args.output, args.name, model,
        ranks=ranks, stages=curriculum(args.short),
        judged=args.store and args.store.with_suffix(f".judged{args.store.suffix}"),
    )  # fmt: skip
    ranks.leave()


if __name__ == "__main__":
    main()

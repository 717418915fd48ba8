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
from torch import Tensor, nn

from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.spec.errors import CheckpointError
from filmgate.training.averaging import Average
from filmgate.training.conditions import distinct, held_now
from filmgate.training.filling import filled_buffer
from filmgate.training.judging import Judge
from filmgate.training.latents import Batch, LatentBuffer
from filmgate.training.members import BOUNDARY, MEMBERS, T2V, Member, smoke_clip
from filmgate.training.objective import embed, flow_loss, sample_sigmas, without_text
from filmgate.training.ranks import Ranks
from filmgate.training.records import load_tensors
from filmgate.training.schedule import Clock, Session, until
from filmgate.training.text_encoder import load_text_encoder
from filmgate.training.trainee import Recipe, Trainee, new_trainee, optimisers
from filmgate.training.world.catalogue import add_world_option


def backward(
    model: Trainee, encoder: Umt5Encoder, batch: Batch, recipe: Recipe, weight: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gradients of one batch, with the alignment loss counted ``weight`` times; returns both losses."""
    ids = without_text(batch.ids, recipe.no_text, generator)
    sigma = sample_sigmas(len(ids), recipe, generator)
    noise = torch.randn(batch.latents.shape, device=batch.latents.device, generator=generator)
    told = recipe.member.told
    held = held_now(told, generator)
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
    clock: Clock, recipe: Recipe, buffer: LatentBuffer, encoder: Umt5Encoder, model: Trainee, *, ranks: Ranks,
    stages: tuple[Stage, ...] = curriculum(0), judge: Judge | None,
) -> float:  # fmt: skip
    """Train ``model`` for one session; the judge leaves its average (fp32, head included), the latent statistics,
    curves and sheets.

    Args:
        judge: Of the process that judges.

    Returns:
        Validation loss at the end, mean over noise deciles; infinite on processes that do not judge.
    """
    device, session = buffer.device, clock.session
    generator = torch.Generator(device).manual_seed(recipe.seed * 104_729 + int(session.start * 1e6) + ranks.rank)
    ranks.share(model.state_dict())
    average = Average(model, recipe.average)
    working = optimisers(model, recipe)
    groups = [group for o in working for group in o.param_groups]
    peaks = [group["lr"] for group in groups]
    _, _, t, h, w = buffer.latents.shape
    step, seen, shown, warm = 0, 0, 1, set[int]()
    while not ranks.agree(clock.finished):
        progress = ranks.agree(clock.progress)
        stage = next(s for s in stages if progress <= s.until or s is stages[-1])
        began = time.monotonic()
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * session.rate(progress, step)
        batch = trim(buffer.batch(recipe.batch * stage.share // ranks.count, generator), min(stage.frames, t), h, w)
        error, alignment = backward(model, encoder, batch, recipe, recipe.aligned(progress), generator)
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
        if judge and clock.elapsed > shown * session.seconds / 8 and not clock.finished:
            began = time.monotonic()
            judge.look(average, progress, step=step, seen=seen, loss=error.item(), alignment=alignment.item(),
                       gradient=norm.item())  # fmt: skip
            shown = int(clock.elapsed / session.seconds * 8) + 1
            clock.forgive(time.monotonic() - began)
    if judge is None:
        return float("inf")
    rate = seen / max(clock.elapsed, 1e-9)
    loss = judge.look(average, clock.progress, step=step, seen=seen)
    judge.curve.note(event="end", muon=int(recipe.muon), steps=step, seen=seen, samples_per_second=rate)
    judge.paint()
    return loss


def wait_for(path: Path, seconds: float) -> None:
    """Wait for a file that another process is about to publish: the text encoder may train while the buffer fills."""
    began = time.monotonic()
    while not path.exists():
        if time.monotonic() - began > seconds:
            raise CheckpointError(path, f"does not exist after waiting {seconds:.0f} s")
        time.sleep(1)


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
    parser.add_argument(
        "--learn", nargs="+", default=[], metavar="NAME", help="only tensors whose names begin so: dit.control_adapter."
    )
    parser.add_argument("--first", type=float, help="share of clips whose first frame is known; default: the member's")
    parser.add_argument("--last", type=float, help="share of those whose last frame is known too")
    parser.add_argument("--seconds", type=float, required=True, help="train for so long, compilation not counted")
    parser.add_argument("--deadline", type=float, help="but no longer than so long after the start of the process")
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
    parser.add_argument("--resume", type=Path, nargs="+", default=[], help="weights; later files change earlier ones")
    parser.add_argument(
        "--partner", type=Path, nargs="+", default=[], help="weights of the other expert, so that both can paint sheets"
    )
    parser.add_argument("--store", type=Path, help="keep the filled buffer in this file for the next command")
    parser.add_argument("--adam", action="store_true", help="AdamW for everything")
    add_world_option(parser)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="tiny clips, no compilation: checks the code on a CPU")
    return parser.parse_args()


def main() -> None:
    """Command line: ``python -m filmgate.training.diffusion --name base --seconds 500 --vae FILE --text FILE ...``."""
    args = _options()
    ranks = Ranks.join()
    device, compiled = ranks.device(), not args.smoke
    low, high = RANGES[args.name]
    recipe = replace(
        Recipe(), low=low, high=high, rate=args.rate, matrix_rate=args.matrix_rate, buffer=args.clips, seed=args.seed,
        world=args.world, muon=not args.adam, batch=args.batch, refresh_every=args.refresh_every, judged=args.judged,
        member=told_otherwise(MEMBERS[args.member], args.first, args.last), learn=tuple(args.learn),
    )  # fmt: skip
    clip = smoke_clip(recipe.member) if args.smoke else recipe.member.clip
    if args.smoke:
        recipe = replace(recipe, buffer=16, refresh_every=3, batch=4, judged=20)
    began = time.monotonic()
    salt = int(args.start * 1000)
    buffer = filled_buffer(args.vae, args.store, recipe, clip, salt, ranks, compiled=compiled)
    if args.statistics:
        statistics = load_tensors(args.statistics)
        buffer.use_statistics(statistics["latents_mean"], statistics["latents_std"])
    ranks.share({"mean": buffer.mean, "std": buffer.std})
    print(f"filled {buffer.filled} clips in {time.monotonic() - began:.0f} s", flush=True)
    wait_for(args.text, 200)
    encoder = load_text_encoder(args.text, device)
    model = new_trainee(recipe, args.resume, device, compiled=compiled, rays=buffer.some_rays())
    kept = args.store and args.store.with_suffix(f".judged.{recipe.member.name}{args.store.suffix}")
    judge = Judge(recipe, buffer, encoder, args.output, args.name, kept, args.partner) if ranks.first else None
    clock = Clock(Session(args.seconds, args.start, args.stop, decay=args.decay), until=until(began, args.deadline))
    train(clock, recipe, buffer, encoder, model, ranks=ranks, stages=curriculum(args.short), judge=judge)
    ranks.leave()


if __name__ == "__main__":
    main()

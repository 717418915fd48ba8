"""A pair that needs four steps and no guidance: LoRAs that learn where the guided teacher goes, segment by segment.

The walk of a few-step preset (Lightning: four even quarters before the shift, two of each expert) is cut at its own
levels. A clip is noised to the start of a segment; the teachers, with guidance and in several small steps, walk it to
the end, changing from one to the other at the boundary as they do when they paint; the student learns to get there in
one step, told nothing but the prompt. That is progressive distillation (Salimans and Ho, arXiv 2202.00512) and guidance
distillation (Meng et al., arXiv 2210.03142) in one, along the segments of Hyper-SD (arXiv 2404.13686): a regression
on a walk that is a function of where it starts, so that nothing can collapse. Its price: what the student does not
learn of that function it averages, which softens; and it never sees its own earlier steps' errors.

Legend: B clips, C T h w latent, L tokens.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from filmgate.direction.distilled import DISTILLED
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.sampling.experts import choose_expert
from filmgate.engine.sampling.guidance import Guidance, guided
from filmgate.engine.sampling.schedules import TRAINING_STEPS, shift_sigma
from filmgate.spec.model import ExpertName
from filmgate.training.averaging import Average
from filmgate.training.filling import filled_buffer
from filmgate.training.judging import held_out_clips
from filmgate.training.latents import Batch, LatentBuffer
from filmgate.training.lora.adapter import Adapter
from filmgate.training.lora.export import write_lora
from filmgate.training.lora.targets import choose_layers
from filmgate.training.members import BOUNDARY, I2V, MEMBERS, T2V, Member, smoke_clip
from filmgate.training.objective import embed
from filmgate.training.precision import mixed
from filmgate.training.ranks import Ranks
from filmgate.training.records import Curve, load_tensors, reached, save_tensors
from filmgate.training.schedule import Clock, Session, until
from filmgate.training.text_encoder import END, load_text_encoder
from filmgate.training.trainee import Recipe, merged

FILE = "toybox-t2v-4steps_{}.safetensors"
"""Names of the LoRAs."""
Teachers = Mapping[ExpertName, WanDiT]


@dataclass(frozen=True)
class Course:
    """What is taught. ``substeps``: of the teacher in every segment; ``rank`` and ``targets``: of the LoRA."""

    preset: str = "lightning"
    substeps: int = 5
    guidance: Guidance = field(default_factory=lambda: Guidance(high=4.0, low=4.0))
    boundary: float = BOUNDARY
    rank: int = 16
    targets: tuple[str, ...] = ("all",)
    rate: float = 8e-4
    average: float = 0.995
    batch: int = 256
    judged: int = 64


@dataclass(frozen=True)
class Segment:
    """One step of the student, from a level to a lower one, both before the shift."""

    start: float
    stop: float
    shift: float

    def level(self, share: float) -> float:
        """The noise level after ``share`` of the way."""
        return shift_sigma(self.start + share * (self.stop - self.start), self.shift)


def segments(course: Course, expert: ExpertName) -> tuple[Segment, ...]:
    """The steps of the preset that an expert makes."""
    preset = DISTILLED[course.preset]
    ends = (*preset.levels[1:], 0.0)
    every = [Segment(start, stop, preset.shift) for start, stop in zip(preset.levels, ends, strict=True)]
    return tuple(s for s in every if choose_expert(s.level(0) * TRAINING_STEPS, course.boundary) == expert)


def network(member: Member, weights: Path, device: torch.device) -> WanDiT:
    """A frozen transformer from a run or a published file."""
    dit = WanDiT(member.dit)
    dit.load_state_dict(merged([weights], dit.state_dict()))
    return dit.to(device).eval().requires_grad_(False)


def seen(x: Tensor, batch: Batch) -> Tensor:
    """What the transformers read: the noisy latents, and known frames beside them."""
    return x if batch.beside is None else torch.cat([x, batch.beside], 1)


def noised(batch: Batch, segment: Segment, noise: Tensor) -> Tensor:
    """The clips where a segment starts."""
    level = segment.level(0)
    return (1 - level) * batch.latents + level * noise


@torch.no_grad()
def taught(teachers: Teachers, course: Course, segment: Segment, x: Tensor, batch: Batch, text: Tensor) -> Tensor:
    """The mean velocity [B, C, T, h, w] of the teachers' walk from ``x`` to the end of a segment.

    Args:
        text: Features of the captions, then of as many empty prompts [2·B, L, D].
    """
    begin, count = x, len(x)
    for step in range(course.substeps):
        now, after = (segment.level((step + i) / course.substeps) for i in (0, 1))
        expert = choose_expert(now * TRAINING_STEPS, course.boundary)
        steps = torch.full((2 * count,), now * TRAINING_STEPS, device=x.device)
        both = seen(x, batch)
        with mixed(x.device):
            velocity: Tensor = teachers[expert](torch.cat([both, both]), steps, text).float()
        positive, negative = velocity.chunk(2)
        x = x + (after - now) * guided(positive, negative, course.guidance.scale(expert))
    return (x - begin) / (segment.level(1) - segment.level(0))


def answered(student: WanDiT, segment: Segment, x: Tensor, batch: Batch, text: Tensor) -> Tensor:
    """The student's velocity at the start of a segment, from captions alone."""
    steps = torch.full((len(x),), segment.level(0) * TRAINING_STEPS, device=x.device)
    with mixed(x.device):
        velocity: Tensor = student(seen(x, batch), steps, text[: len(x)])
    return velocity.float()


def texts(encoder: Umt5Encoder, ids: Tensor) -> Tensor:
    """Features of captions, then of as many empty prompts."""
    empty = torch.zeros_like(ids)
    empty[:, 0] = END
    return embed(encoder, torch.cat([ids, empty]))


class School:
    """A student beside its teachers.

    Args:
        expert: Which of the pair learns.
        teachers: Frozen; all that the walk needs.
    """

    def __init__(self, expert: ExpertName, teachers: Teachers, course: Course, *, compiled: bool = False) -> None:
        self.expert, self.teachers, self.course = expert, teachers, course
        self.segments = segments(course, expert)
        self.student = copy.deepcopy(teachers[expert])
        shapes = {name: tuple(tensor.shape) for name, tensor in self.student.state_dict().items()}
        device = next(self.student.parameters()).device
        self.adapter = Adapter(choose_layers(shapes, course.targets), course.rank, 1.0, device=device)
        self.adapter.attach(self.student)
        if compiled:
            for teacher in teachers.values():
                for block in teacher.blocks:
                    block.forward = torch.compile(block.forward, dynamic=False)

    def loss(self, segment: Segment, batch: Batch, noise: Tensor, text: Tensor) -> Tensor:
        """Mean squared distance of the student's velocity from the walk's."""
        x = noised(batch, segment, noise)
        target = taught(self.teachers, self.course, segment, x, batch, text)
        return (answered(self.student, segment, x, batch, text) - target).square().mean()


class Examination:
    """How far the student stays behind the walk on clips that it never learns from: share of the walk's square."""

    def __init__(self, school: School, batch: Batch, text: Tensor) -> None:
        self.school, self.batch, self.text = school, batch, text
        generator = torch.Generator(batch.latents.device).manual_seed(11)
        noise = torch.randn(batch.latents.shape, device=batch.latents.device, generator=generator)
        self.questions = []
        for segment in school.segments:
            x = noised(batch, segment, noise)
            self.questions.append((segment, x, taught(school.teachers, school.course, segment, x, batch, text)))

    @torch.no_grad()
    def marks(self, values: Mapping[str, Tensor] | None = None, *, enabled: bool = True) -> list[float]:
        """By segment; with ``enabled`` False of the teacher without guidance, in one step."""
        result = []
        with self.school.adapter.using(values, enabled=enabled):
            for segment, x, target in self.questions:
                answer = answered(self.school.student, segment, x, self.batch, self.text)
                result.append(((answer - target).square().mean() / target.square().mean()).item())
        return result


def distil(
    school: School, clock: Clock, buffer: LatentBuffer, encoder: Umt5Encoder, held_out: Batch, output: Path,
    name: str, *, seed: int = 1,
) -> list[float]:  # fmt: skip
    """Teach for one session; leaves ``EXPERT.safetensors`` (to go on from), the LoRA ``NAME`` and ``EXPERT.jsonl``.

    Returns:
        Marks at the end, by segment.
    """
    course, adapter, session = school.course, school.adapter, clock.session
    generator = torch.Generator(buffer.device).manual_seed(seed * 15_485_863 + int(session.start * 1e6))
    optimiser = torch.optim.AdamW(adapter.parameters(), course.rate, betas=(0.9, 0.95), weight_decay=0.0)
    average = Average(adapter, course.average)
    examination = Examination(school, held_out, texts(encoder, held_out.ids))
    curve = Curve(output / f"{school.expert}.jsonl")
    curve.note(step=0, marks=rounded(examination.marks(enabled=False)))
    step, shown = 0, 1

    def look() -> list[float]:
        marks = examination.marks(average.shadow)
        curve.note(step=step, progress=clock.progress, marks=rounded(marks))
        save_tensors(output / f"{school.expert}.safetensors", average.state(), reached(clock.progress))
        write_lora(
            output / name, adapter.factors(average.shadow), rank=course.rank, alpha=course.rank, dialect="comfyui",
            dtype=torch.bfloat16, metadata={"steps": str(len(DISTILLED[course.preset].levels))},
        )  # fmt: skip
        return marks

    while not clock.finished:
        began = time.monotonic()
        optimiser.param_groups[0]["lr"] = course.rate * session.rate(clock.progress, step)
        batch = buffer.batch(course.batch, generator)
        noise = torch.randn(batch.latents.shape, device=buffer.device, generator=generator)
        segment = school.segments[step % len(school.segments)]
        school.loss(segment, batch, noise, texts(encoder, batch.ids)).backward()
        nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(adapter)
        step += 1
        if step <= len(school.segments):
            if buffer.device.type == "cuda":
                torch.cuda.synchronize()
            clock.forgive(time.monotonic() - began)  # compilation does not count
        if clock.elapsed > shown * session.seconds / 6 and not clock.finished:
            began = time.monotonic()
            look()
            shown = int(clock.elapsed / session.seconds * 6) + 1
            clock.forgive(time.monotonic() - began)
    marks = look()
    curve.note(event="end", steps=step, clips_per_second=step * course.batch / max(clock.elapsed, 1e-9))
    return marks


def rounded(marks: list[float]) -> list[float]:
    """For a curve."""
    return [round(mark, 4) for mark in marks]


def main() -> None:
    """Command line: ``python -m filmgate.training.distillation --name high_noise --high FILE --low FILE ...``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", choices=("high_noise", "low_noise"), required=True)
    parser.add_argument("--member", choices=(T2V.name, I2V.name), default=T2V.name)
    for option in ("--high", "--low", "--vae", "--text", "--statistics", "--output"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--deadline", type=float, help="but no longer than so long after the start of the process")
    parser.add_argument("--start", type=float, default=0.0, help="of the schedule")
    parser.add_argument("--guidance-high", type=float, default=4.0, help="of the teacher")
    parser.add_argument("--guidance-low", type=float, default=4.0)
    parser.add_argument("--rank", type=int, default=Course.rank)
    parser.add_argument("--substeps", type=int, default=Course.substeps)
    parser.add_argument("--batch", type=int, default=Course.batch)
    parser.add_argument("--clips", type=int, default=40_000)
    parser.add_argument("--store", type=Path, help="keep the filled buffer in this file for the next command")
    parser.add_argument("--resume", type=Path, help="factors of an earlier session")
    parser.add_argument("--smoke", action="store_true", help="tiny clips, no compilation: checks the code on a CPU")
    args, began = parser.parse_args(), time.monotonic()
    member, ranks = MEMBERS[args.member], Ranks.join()
    course = Course(
        substeps=args.substeps, rank=args.rank, batch=args.batch,
        guidance=Guidance(high=args.guidance_high, low=args.guidance_low),
    )  # fmt: skip
    recipe = Recipe(member=member, world=member.world, buffer=args.clips, refresh_every=0)
    if args.smoke:
        course, recipe = replace(course, batch=4, judged=4, substeps=2), replace(recipe, buffer=16)
    clip = smoke_clip(member) if args.smoke else member.clip
    buffer = filled_buffer(args.vae, args.store, recipe, clip, 3, ranks, compiled=not args.smoke)
    statistics = load_tensors(args.statistics)
    buffer.use_statistics(statistics["latents_mean"], statistics["latents_std"])
    teachers: dict[ExpertName, WanDiT] = {
        "high_noise": network(member, args.high, buffer.device), "low_noise": network(member, args.low, buffer.device)
    }  # fmt: skip
    school = School(args.name, teachers, course, compiled=not args.smoke)
    if args.resume is not None:
        school.adapter.load_state_dict(load_tensors(args.resume))
    session = Session(args.seconds, args.start, warm_up_steps=50)
    held_out = held_out_clips(buffer, course.judged, None).part(slice(0, course.judged))
    encoder, clock = load_text_encoder(args.text, buffer.device), Clock(session, until=until(began, args.deadline))
    distil(school, clock, buffer, encoder, held_out, args.output, FILE.format(args.name))
    ranks.leave()


if __name__ == "__main__":
    main()

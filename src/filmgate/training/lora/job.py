"""What would be trained: every choice made, every clip looked at, nothing loaded."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from filmgate.direction.presets import preset_of, shift_at
from filmgate.direction.prompts import unknown_words
from filmgate.engine.checkpoints.parts import Parts, read_parts
from filmgate.engine.runtime.place import choose_device, dtype_of
from filmgate.engine.sampling.experts import check_boundary
from filmgate.engine.sampling.schedules import check_shift
from filmgate.spec.errors import InvalidRequest, OutputError, WrongVariant
from filmgate.spec.model import ExpertName, ModelDescription, Precision, Preset
from filmgate.spec.shape import VideoShape
from filmgate.spec.units import duration_text, size_text
from filmgate.training.lora.clips import ENLARGED, Cut, cut_clips, read_folder
from filmgate.training.lora.objective import Range
from filmgate.training.lora.recipe import LoraRecipe
from filmgate.training.lora.targets import choose_layers, trainable

TASKS = ("t2v", "i2v", "ti2v")
LARGE = 1_000_000_000
"""Parameters from which on blocks are computed again instead of kept, unless the recipe says otherwise."""
STEPS, CURVES, PICTURE = "steps.jsonl", "curves", "curves.png"
"""Every step, what the averaged weights reach by expert, and that as a picture; in the output directory."""
NAMED = 12
"""So many strange words are named."""
JUDGED = 16
"""Clips that are measured at fixed noise levels, at most."""
_PER_TRAINED = 20
"""Bytes of a trained number: itself, its gradient, two moments, its average, in fp32."""
_BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
_RECENT = 50
"""Steps that a measured speed is the mean of."""


@dataclass(frozen=True, eq=False)
class Job:
    """A run with all choices made.

    Attributes:
        model, parts: What is fine-tuned.
        recipe: As given; what it leaves open is below.
        preset: Sampling defaults of the model.
        experts: In the order of training.
        layers: What is changed, with the shapes of their weights.
        cuts, held_out: What is trained on, and what is only validated on.
        shift, boundary: Of noise levels.
        size, frames, fps: The most that is taken of a clip.
        precision, device: Where and how the network computes.
        output, name: Where everything goes, and what the files are called.
        cache: For encoded clips and hashes.
    """

    model: ModelDescription
    parts: Parts
    recipe: LoraRecipe
    preset: Preset
    experts: tuple[ExpertName, ...]
    layers: dict[str, tuple[int, int]]
    cuts: tuple[Cut, ...]
    held_out: tuple[Cut, ...]
    shift: float
    boundary: float | None
    size: tuple[int, int]
    frames: int
    fps: int
    precision: Precision
    device: torch.device
    output: Path
    name: str
    cache: Path

    @property
    def trainable(self) -> int:
        """Numbers that are trained, of each expert."""
        return trainable(self.layers, self.recipe.rank)

    @property
    def pictured(self) -> bool:
        """Whether the first frame is read in channels beside the noise."""
        return self.parts.dit.in_dim > self.parts.dit.out_dim

    @property
    def recomputes(self) -> bool:
        """Whether blocks are computed again on the way back."""
        chosen = self.recipe.checkpointing
        return self.model.experts[0].parameters >= LARGE if chosen is None else chosen

    @property
    def judged(self) -> tuple[Cut, ...]:
        """What measurements at fixed noise levels are of: the first few of the clips held out, or of all."""
        return (self.held_out or self.cuts)[:JUDGED]

    def levels(self, expert: ExpertName) -> Range:
        """Noise levels of an expert."""
        return Range.of(expert, self.boundary, self.shift, logit_normal=self.recipe.noise == "logit_normal")

    def file_of(self, expert: ExpertName) -> Path:
        """Where the LoRA of an expert goes."""
        return self.output / (f"{self.name}.safetensors" if expert == "dense" else f"{self.name}_{expert}.safetensors")

    def curve_of(self, expert: ExpertName) -> Path:
        """Where what it reaches is noted."""
        return self.output / CURVES / f"{expert}.jsonl"

    def state_of(self, expert: ExpertName) -> Path:
        """Where the state of its training is kept."""
        return self.output / "state" / f"{expert}.safetensors"


def _check_places(output: Path, cache: Path, name: str) -> None:
    """Refuse a name that is no file's, and places in which nothing can be made, before anything is computed."""
    if not name or name != Path(name).name or name.startswith("."):
        nearest = Path(name).name.lstrip(".") or "lora"
        raise InvalidRequest(
            "name", f"{name!r} is no name of a file", allowed="a name without slashes", nearest=nearest
        )
    for place in (output, cache):
        there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(
                f"{place} cannot be written: {there} is {'not writable' if there.is_dir() else 'not a directory'}",
                allowed="a directory that can be made, or is there and writable",
            )


def prepare(
    folder: Path, model: ModelDescription, recipe: LoraRecipe, *, output: Path, name: str, cache: Path,
    device: str | None = None,
) -> Job:  # fmt: skip
    """Look at a folder and a model, and make every choice that the recipe leaves open.

    Args:
        folder: Clips with their captions.
        model: What is fine-tuned.
        recipe: How.
        output: Directory for the LoRA and everything beside it.
        name: Of the LoRA's files.
        cache: Directory for encoded clips and hashes.
        device: Where to train; None: the fastest here.

    Raises:
        InvalidRequest: a value or a clip cannot be trained with, or the name is none.
        OutputError: the output or the cache cannot be written.
        CheckpointError: a file of the model, or a clip, is missing or damaged.
        DeviceError: the device is not here, or cannot compute in the precision.
    """
    _check_places(output, cache, name)
    parts = read_parts(Path(model.path))
    if parts.task not in TASKS:
        raise WrongVariant(
            model.path, "a model that no LoRA can be trained for yet", expected=" or ".join(TASKS), found=parts.task
        )
    preset, _ = preset_of(model)
    size, frames, fps = recipe.size or preset.sizes[0], recipe.frames or preset.frames, recipe.fps or preset.fps
    where = choose_device(device)
    precision = recipe.precision or (model.default_precision if where.type != "cpu" else "fp32")
    if precision == "fp16":
        raise InvalidRequest("precision", "gradients leave the range of fp16", allowed="fp32, bf16", nearest="bf16")
    dtype_of(precision, where)
    shift = recipe.shift or shift_at(model.variant, preset, size)
    check_shift(shift)
    experts = chosen_experts(tuple(parts.experts), recipe)
    boundary = None if "dense" in experts else recipe.boundary or preset.boundary
    if boundary is not None:
        check_boundary(boundary)
    moving = parts.task == "i2v"
    cuts = cut_clips(
        read_folder(folder), recipe, model.compression, size=size, frames=frames, fps=fps, motion=moving
    )  # fmt: skip
    if recipe.held_out >= len(cuts):
        raise InvalidRequest(
            "held_out",
            f"{recipe.held_out} of {len(cuts)} clips leaves none to train on",
            allowed=f"0 to {len(cuts) - 1}",
        )
    kept = len(cuts) - recipe.held_out
    if recipe.sample_prompts and parts.task == "i2v":
        raise InvalidRequest(
            "sample_prompts", "the model needs a picture too", allowed="none: captions of clips are painted"
        )
    shapes = next(iter(parts.experts.values())).shapes
    return Job(
        model=model, parts=parts, recipe=recipe, preset=preset, experts=experts,
        layers=choose_layers(shapes, recipe.targets), cuts=cuts[:kept], held_out=cuts[kept:], shift=shift,
        boundary=boundary, size=size, frames=frames, fps=fps, precision=precision, device=where,
        output=output.absolute(), name=name, cache=cache,
    )  # fmt: skip


def chosen_experts(there: Sequence[ExpertName], recipe: LoraRecipe) -> tuple[ExpertName, ...]:
    """Which transformers of a model are trained, the high-noise one first.

    Raises:
        InvalidRequest: one expert was asked for of a model that has no pair.
    """
    if recipe.expert == "both":
        return tuple(name for name in ("high_noise", "low_noise", "dense") if name in there)
    if recipe.expert not in there:
        raise InvalidRequest(
            "expert", f"the model has no {recipe.expert}: it has one transformer for all noise levels", allowed="both",
            nearest="both",
        )  # fmt: skip
    return (recipe.expert,)


def memory_of(job: Job) -> int:
    """Bytes at the worst moment of a step, by what the network keeps for the way back (a test counts on a small one):
    an estimate, without driver and VAE.

    Counted on networks of several widths, a block keeps 37·D bytes per token for norms, modulation and the residual
    stream in fp32, and 7·D + 2·F numbers in the format of the layers (D width, F width of the feed-forward network);
    beside it lie keys and values of every row of text.
    """
    dit, number = job.parts.dit, _BYTES[job.precision]
    expert = max(job.model.experts, key=lambda expert: expert.parameters)
    stored = job.recipe.weights == "as_stored"
    weights = min(expert.bytes, expert.parameters * number) if stored else expert.parameters * number
    longest = max(job.model.compression.tokens(job.model.compression.latent(cut.video)) for cut in job.cuts)
    tokens = longest * min(job.recipe.micro_batch, job.recipe.batch)
    inside = tokens * (37 * dit.dim + number * (7 * dit.dim + 2 * dit.ffn_dim))
    stream = tokens * dit.dim * 4
    blocks = dit.num_layers * stream + inside if job.recomputes else dit.num_layers * inside
    texts = min(job.recipe.micro_batch, job.recipe.batch) * dit.num_layers * dit.text_len * dit.dim * (4 + 3 * number)
    return weights + job.trainable * _PER_TRAINED + blocks + texts


def measured_seconds(output: Path) -> float | None:
    """Seconds of a step, from what an earlier run in the same directory took; None if there was none."""
    rows = [row["seconds"] for row in read_rows(output / STEPS)][-_RECENT:]
    return sum(rows) / len(rows) if rows else None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Lines of a file of JSON lines; a last one that was cut off does not count."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


def buckets_of(cuts: Sequence[Cut]) -> dict[VideoShape, int]:
    """How many clips there are of each shape."""
    return dict(Counter(cut.video for cut in cuts).most_common())


def warnings_of(job: Job) -> list[str]:
    """What a person should know before the work begins."""
    found = []
    grown = [cut for cut in job.cuts if cut.enlarged >= ENLARGED]
    if grown:
        worst = max(grown, key=lambda cut: cut.enlarged)
        most = f"{worst.clip.path.name} {worst.enlarged:.1f} times"
        found.append(f"{len(grown)} clips are enlarged, {most}: a smaller size is sharper")
    if job.model.vocabulary is not None:
        captions = "\n".join(text for cut in job.cuts for text in cut.clip.captions)
        if strange := unknown_words(captions, job.model.vocabulary):
            more = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
            found.append(f"the model was not trained on these words: {', '.join(strange[:NAMED])}{more}")
    if (smallest := min(min(shape) for shape in job.layers.values())) < job.recipe.rank:
        found.append(f"rank {job.recipe.rank} is more than a layer of {smallest} can have: {smallest} says the same")
    if len(job.cuts) < 4:
        found.append(f"{len(job.cuts)} clips are few: the LoRA will repeat them")
    return found


def facts_of(job: Job) -> dict[str, Any]:
    """The job as plain data: what ``--dry-run`` says."""
    seconds = measured_seconds(job.output)
    return {
        "model": job.model.id,
        "task": job.parts.task,
        "experts": list(job.experts),
        "clips": len(job.cuts),
        "held_out": len(job.held_out),
        "buckets": [{"video": str(shape), "clips": count} for shape, count in buckets_of(job.cuts).items()],
        "fps": job.fps,
        "steps": job.recipe.steps,
        "batch": job.recipe.batch,
        "epochs": job.recipe.steps * job.recipe.batch / len(job.cuts),
        "shift": job.shift,
        "boundary": job.boundary,
        "layers": len(job.layers),
        "rank": job.recipe.rank,
        "alpha": job.recipe.scale * job.recipe.rank,
        "trainable": job.trainable,
        "device": str(job.device),
        "precision": job.precision,
        "recomputes": job.recomputes,
        "memory_bytes": memory_of(job),
        "seconds_per_step": seconds,
        "seconds": None if seconds is None else seconds * job.recipe.steps * len(job.experts),
        "files": [str(job.file_of(expert)) for expert in job.experts],
        "warnings": warnings_of(job),
    }


def describe_job(job: Job) -> list[tuple[str, str]]:
    """The same for people: rows of a label and a text."""
    facts = facts_of(job)
    per_step = facts["seconds_per_step"]
    time = "not measured yet: the first steps tell"
    if per_step is not None:
        time = f"about {duration_text(facts['seconds'])}, {duration_text(per_step)} per step as measured"
    ranges = ", ".join(
        f"{name.replace('_', '-')} {job.levels(name).level(0):.3f} to {job.levels(name).level(1):.3f}"
        for name in job.experts
    )
    targets = " and ".join(job.recipe.targets)
    return [
        ("Model", f"{job.model.id} ({job.model.variant}, {job.parts.task})"),
        ("Clips", f"{len(job.cuts)}" + (f", {len(job.held_out)} more only validated on" if job.held_out else "")),
        *(("", f"{count} of {shape} at {job.fps} fps") for shape, count in buckets_of(job.cuts).items()),
        ("Noise levels", f"{ranges}, shift {job.shift:g}"),
        ("LoRA", f"rank {job.recipe.rank}, alpha {facts['alpha']:g}, {len(job.layers)} layers of {targets}"),
        ("Trainable", f"{job.trainable:,} numbers of each expert"),
        ("Steps", f"{job.recipe.steps} of {job.recipe.batch} clips for each expert: {facts['epochs']:.1f} times each"),
        ("Runs on", f"{job.device}, {job.precision}" + (", blocks computed again" if job.recomputes else "")),
        ("Memory", f"about {size_text(facts['memory_bytes'])}"),
        ("Time", time),
        *(("Writes", file) for file in facts["files"]),
        *(("Warning", warning) for warning in facts["warnings"]),
    ]  # fmt: skip

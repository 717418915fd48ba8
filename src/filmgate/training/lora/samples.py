"""Contact sheets of a LoRA that is being trained: the same prompts and noise, by the base and with the LoRA.

The other expert of a pair is loaded when it is its turn, and let go of: memory is that of one. Legend: C T H W latent,
F frames, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from filmgate.engine.checkpoints.lora import read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.checkpoints.wan import load_dit, load_vae
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime.lora import apply_lora
from filmgate.engine.sampling.experts import choose_expert
from filmgate.engine.sampling.guidance import Guidance, guided
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.engine.sampling.solvers import Denoise, solve
from filmgate.spec.model import ExpertName
from filmgate.spec.shape import VideoShape
from filmgate.training.lora.encoding import Shelf, free
from filmgate.training.lora.job import Job
from filmgate.training.lora.objective import Example, draws_of
from filmgate.training.samples import captioned_sheet

Expert = Callable[[ExpertName], WanDiT]
_SEED = 4_001
MOMENTS = 6


class Subject:
    """What is painted: a caption with the shape of its video and what the model is told of it."""

    def __init__(self, caption: str, video: VideoShape, told: Example) -> None:
        self.caption, self.video, self.told = caption, video, told


def subjects_of(job: Job, shelf: Shelf) -> list[Subject]:
    """Prompts of the recipe, or else captions of different clips, as many as it says."""
    found: list[Subject] = []
    longest = max(job.cuts, key=lambda cut: cut.video.frames)
    for prompt in job.recipe.sample_prompts:
        told = Example(torch.zeros(0), shelf.text(prompt))
        found.append(Subject(prompt, longest.video, told))
    for cut in () if found else (*job.held_out, *job.cuts):
        caption = cut.clip.captions[0]
        if caption not in [subject.caption for subject in found] and len(found) < job.recipe.samples:
            found.append(Subject(caption, cut.video, shelf.example(cut, caption)))
    return found


class Easel:
    """Paints the subjects of a job while one expert of it is being trained.

    Args:
        job: The run.
        shelf: Has their texts.
        expert: Which one is being trained.
        network: That one, as it is at this moment.
    """

    def __init__(self, job: Job, shelf: Shelf, expert: ExpertName, network: WanDiT) -> None:
        self._job, self._shelf, self._expert, self._network = job, shelf, expert, network
        self._subjects = subjects_of(job, shelf)
        self._base: list[Tensor] | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to paint."""
        return not self._subjects

    def base(self) -> None:
        """Paint without any LoRA, which the network must have none of now: the first row of each subject."""
        self._base = self._paint(adapted=False)

    def sheet(self, path: Path, label: str) -> None:
        """Paint with what the network is now, and write a sheet of both."""
        assert self._base is not None
        rows, captions = [], []
        for subject, before, after in zip(self._subjects, self._base, self._paint(adapted=True), strict=True):
            rows += [before, after]
            captions += [f"base: {subject.caption}", f"{label}: {subject.caption}"]
        shape = rows[0].shape
        same = [index for index, row in enumerate(rows) if row.shape == shape]  # a sheet has rows of one size
        captioned_sheet(torch.stack([rows[i] for i in same]), [captions[i] for i in same], path, MOMENTS)

    @torch.no_grad()
    def _paint(self, *, adapted: bool) -> list[Tensor]:
        """Clips uint8 [3, F, h, w]; ``adapted``: the other expert has its LoRA too, if there is one."""
        job, preset = self._job, self._job.preset
        levels = sigmas(preset.solver, preset.steps, job.shift)
        other: dict[ExpertName, WanDiT] = {}

        def expert(name: ExpertName) -> WanDiT:
            if name == self._expert:
                other.clear()
                return self._network
            if name not in other:
                other.clear()
                free(job.device)
                other[name] = self._loaded(name, adapted=adapted)
            return other[name]

        negative = self._shelf.text(preset.negative)
        walks = []
        for number, subject in enumerate(self._subjects):
            latent = job.model.compression.latent(subject.video)
            size = (latent.channels, latent.frames, latent.height, latent.width)
            x = torch.randn(size, generator=draws_of(_SEED, number)).to(job.device)
            walks.append(solve(preset.solver, self._velocity(subject.told, negative, levels, expert), x, levels))
        *_, states = zip(*walks, strict=True)  # in step, so that the experts change once
        other.clear()
        free(job.device)
        vae = load_vae(job.model, device=job.device)
        clips = [codes(vae.decode(state[None])[0]).cpu() for state in states]
        del vae
        free(job.device)
        return clips

    def _velocity(self, told: Example, negative: Tensor, levels: Sequence[float], expert: Expert) -> Denoise:
        job, device = self._job, self._job.device
        guidance = Guidance(high=job.preset.guidance_high, low=job.preset.guidance_low)
        beside = None if told.beside is None else told.beside[None].to(device)
        image = None if told.image is None else told.image[None].to(device)

        def velocity(x: Tensor, index: int) -> Tensor:
            clock = timestep(levels[index], job.preset.solver)
            name = choose_expert(clock, job.boundary)
            network, scale = expert(name), guidance.scale(name)
            seen = x[None] if beside is None else torch.cat([x[None], beside], 1)
            time = torch.full((1,), clock, device=device)
            conditional: Tensor = network(seen, time, told.text[None].to(device, torch.float32), image)[0]
            if scale == 1:
                return conditional
            unconditional: Tensor = network(seen, time, negative[None].to(device, torch.float32), image)[0]
            return guided(conditional, unconditional, scale)

        return velocity

    def _loaded(self, name: ExpertName, *, adapted: bool) -> WanDiT:
        """The other expert; adapted, with its own LoRA if this run has made it already."""
        job = self._job
        network = load_dit(
            job.model, name, device=job.device, precision=job.precision, weights=job.recipe.weights
        )  # fmt: skip
        if adapted and name in job.experts and job.experts.index(name) < job.experts.index(self._expert):
            lora = read_lora(job.file_of(name))
            apply_lora(network, load_deltas(lora, lora.changes, 1.0), keep=False)
        return network


def codes(video: Tensor) -> Tensor:
    """Video in -1 ... 1 to uint8."""
    return video.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)

"""Folders of clips and runs on a tiny random model, for the tests of LoRA training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from filmgate.engine.checkpoints.describe import describe
from filmgate.media.write import write_video
from filmgate.training.lora.job import Job, prepare
from filmgate.training.lora.recipe import LoraRecipe

CAPTIONS = ("a red ball", "a blue cube rolls", "a ball")
QUICK = LoraRecipe(
    rank=2, alpha=3, steps=4, batch=2, rate=0.02, warm_up=1, samples=0, judge_every=100, save_every=2, average=0.5
)
"""Few steps that change much: what is tested is how they are taken."""


def write_clip(path: Path, *, frames: int = 5, size: tuple[int, int] = (32, 32), fps: int = 12, seed: int = 0) -> Path:
    """A video of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed).integers(0, 255, (frames, 4, 4, 3), dtype=np.uint8)
    whole = draws.repeat(-(-size[1] // 4), 1).repeat(-(-size[0] // 4), 2)[:, : size[1], : size[0]]
    write_video(path, whole, fps=fps)
    return path


def write_folder(folder: Path, count: int = 3, **options) -> Path:
    """A folder of clips with texts beside them."""
    for index in range(count):
        clip = write_clip(folder / f"clip-{index}.mp4", seed=index, **options)
        clip.with_suffix(".txt").write_text(CAPTIONS[index % len(CAPTIONS)] + "\n")
    return folder


def make_job(tmp_path: Path, model: Path, recipe: LoraRecipe = QUICK, *, clips: Path | None = None, **options) -> Job:
    """A job on a folder, written if it is not there, with a cache of its own."""
    folder = clips or write_folder(tmp_path / "clips")
    named = {"output": tmp_path / "out", "name": "hero", "cache": tmp_path / "cache", "device": "cpu", **options}
    return prepare(folder, describe(model), recipe, **named)


def random_factors(job: Job, scale: float = 0.2) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Factors of no training that change much."""
    generator = torch.Generator().manual_seed(9)
    return {
        name: (
            torch.randn(job.recipe.rank, columns, generator=generator) * scale,
            torch.randn(rows, job.recipe.rank, generator=generator) * scale,
        )
        for name, (rows, columns) in job.layers.items()
    }

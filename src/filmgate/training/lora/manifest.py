"""What a LoRA was made of, written beside it and into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.spec.model import ExpertName
from filmgate.training.lora.clips import Cut
from filmgate.training.lora.encoding import Origins, Shelf, digest_of
from filmgate.training.lora.job import STEPS, Job, read_rows
from filmgate.training.lora.recipe import WATCHING

_PACKAGES = ("filmgate", "torch", "safetensors", "av")


def origin_of(job: Job, expert: ExpertName, base: str, shelf: Shelf) -> dict[str, Any]:
    """What decides the numbers of a LoRA: a state is only gone on with if all of it is the same."""
    recipe = job.recipe.model_dump(mode="json", exclude=set(WATCHING))
    if job.recipe.schedule == "constant":
        del recipe["steps"]  # then a run can be made longer
    return {
        "expert": expert,
        "base": base,
        "recipe": recipe,
        "clips": [shelf.clip_key(cut) for cut in job.cuts],
        "captions": [list(cut.clip.captions) for cut in job.cuts],
        "shift": job.shift,
        "boundary": job.boundary,
        "precision": job.precision,
        "device": job.device.type,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """What may change the numbers."""
    return {package: version(package) for package in _PACKAGES}


def lora_metadata(job: Job, expert: ExpertName, origin: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the file's own header."""
    told = {} if expert == "dense" else {"expert": expert}
    return told | {
        "ss_base_model_version": job.model.variant,
        "ss_output_name": job.file_of(expert).stem,
        "modelspec.title": job.file_of(expert).stem,
        "modelspec.architecture": f"{job.model.variant}/lora",
        "filmgate.base_sha256": origin["base"],
        "filmgate.recipe": json.dumps(origin["recipe"], sort_keys=True),
        "filmgate.versions": json.dumps(origin["versions"], sort_keys=True),
    }


def described(job: Job, origins: Origins, shelf: Shelf) -> dict[str, Any]:
    """The manifest: model, clips and files by their hashes, every choice, and what came of it."""
    rows = read_rows(job.output / STEPS)
    return {
        "kind": "lora",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "id": job.model.id,
            "variant": job.model.variant,
            "path": job.model.path,
            "experts": {name: digest_of(job.parts.experts[name], job.cache) for name in job.experts},
            "vae": origins.vae,
            "text_encoder": origins.text_encoder,
        },
        "clips": [_clip(cut, shelf, job) for cut in job.cuts],
        "held_out": [_clip(cut, shelf, job) for cut in job.held_out],
        "recipe": job.recipe.model_dump(mode="json"),
        "resolved": {
            "shift": job.shift, "boundary": job.boundary, "size": list(job.size), "frames": job.frames,
            "fps": job.fps, "precision": job.precision, "layers": list(job.layers), "trainable": job.trainable,
        },
        "device": torch.cuda.get_device_name(job.device) if job.device.type == "cuda" else str(job.device),
        "versions": versions(),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
        "reached": {name: _reached(read_rows(job.curve_of(name))) for name in job.experts},
        "files": [
            {"expert": name, "path": job.file_of(name).name, "sha256": sha256_of(job.file_of(name))}
            for name in job.experts
        ],
    }  # fmt: skip


def _clip(cut: Cut, shelf: Shelf, job: Job) -> dict[str, Any]:
    return {
        "path": str(cut.clip.path), "sha256": sha256_of(cut.clip.path, job.cache), "captions": list(cut.clip.captions),
        "video": str(cut.video), "start": cut.start, "fps": cut.fps, "key": shelf.clip_key(cut),
    }  # fmt: skip


def _reached(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last measurement."""
    return {name: rows[-1][name] for name in ("step", "fixed_noise", "base", "of")} if rows else {}

"""An exact walk as a file, for recipes that are walked later, or by another process.

Legend: C latent channels, T H W latent frames, rows and columns.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from filmgate.engine.checkpoints.tensor_file import read_tensors, write_tensors
from filmgate.engine.pipeline.store import put_together, taken_apart
from filmgate.engine.pipeline.trial import ExactWalk, StepError

_FORMAT = "1"


def write_walk(path: Path, walk: ExactWalk) -> None:
    """Publish a walk whose recipes were looked at apart; a file that is there is replaced.

    Raises:
        OutputError: the directory is missing or not writable, or the disk is full.
    """
    tensors: dict[str, Tensor] = {f"latent-{index}": one for index, one in enumerate(walk.latents)}
    tensors |= {f"velocity-{index}": one for index, one in walk.velocities.items()}
    left = {}
    for number, (name, one) in enumerate(walk.left.items()):
        parts, left[name] = taken_apart(one)
        tensors |= {f"left-{number}-{part}": tensor for part, tensor in parts.items()}
    facts = {
        "steps": len(walk.latents), "left": left, "errors": walk.errors,
        "ratios": [[branch, index, *ratio] for (branch, index), ratio in walk.ratios.items()],
    }  # fmt: skip
    # Recipes that begin at the same step have one latent: it is written once.
    first: dict[tuple[int, torch.Size], str] = {}
    same = {name: first.setdefault((one.data_ptr(), one.shape), name) for name, one in tensors.items()}
    own = {name: tensors[name] for name in first.values()}
    write_tensors(path, own, {"format": _FORMAT, "facts": json.dumps(facts), "same": json.dumps(same)})


def read_walk(path: Path, device: torch.device) -> ExactWalk | None:
    """What :func:`write_walk` wrote, its latents and velocities on a device; None if another version wrote it.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it is not as it was written.
    """
    own, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        return None
    tensors = {name: own[first] for name, first in json.loads(metadata["same"]).items()}
    facts = json.loads(metadata["facts"])
    left = {}
    for number, (name, told) in enumerate(facts["left"].items()):
        start = f"left-{number}-"
        parts = {part.removeprefix(start): one for part, one in tensors.items() if part.startswith(start)}
        left[name] = put_together(parts, told)
    start = "velocity-"
    return ExactWalk(
        latents=[tensors[f"latent-{index}"].to(device) for index in range(facts["steps"])],
        velocities={
            int(name.removeprefix(start)): one.to(device) for name, one in tensors.items() if name.startswith(start)
        },
        errors={name: [StepError(*one) for one in errors] for name, errors in facts["errors"].items()},
        ratios={(branch, index): (mean, deviation, distance) for branch, index, mean, deviation, distance
                in facts["ratios"]},
        left=left,
    )  # fmt: skip

"""``filmgate models`` and ``filmgate inspect``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.spec import ModelDescription, Take


def models(as_json: AsJson = False) -> None:
    """List the models that can be used here."""
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text

    found = tuple(Filmgate().models())
    print(json_text(found) if as_json else describe_models(found))


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="A weight file, a model directory, a model's TOML file, a video or its manifest.", show_default=False
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a checkpoint or a finished video is."""
    from filmgate.cli.text import json_text

    if is_take(path):
        from filmgate.media.manifest import read_take

        take = read_take(path)
        print(json_text(take) if as_json else describe_origin(take))
        return
    from filmgate.engine.checkpoints.describe import inspect as look_into

    facts = look_into(path)
    print(json_text(facts) if as_json else facts)


def is_take(path: Path) -> bool:
    """Whether a name is that of a finished video or of its manifest. The index of a sharded checkpoint is JSON too."""
    return path.suffix.lower() in (".mp4", ".png", ".json") and not path.name.endswith(".index.json")


def describe_models(found: Sequence[ModelDescription]) -> str:
    """One model a line: id, what it makes, how large it is, and its title."""
    from filmgate.cli.text import columns, size_text

    rows = []
    for model in found:
        weights = sum(expert.bytes for expert in model.experts) + model.text_encoder_bytes + model.vae_bytes
        experts = "dense" if len(model.experts) == 1 else f"{len(model.experts)} experts"
        rows.append((model.id, model.variant, model.task, experts, size_text(weights), model.title))
    return columns(rows)


def describe_origin(take: Take) -> str:
    """The plan of a finished video, and where, when and with what it was made."""
    from filmgate.cli.text import columns, describe_plan, duration_text

    rows = [
        ("Made", f"{take.created}, {duration_text(take.timings.total)} on {take.hardware}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in take.versions.items())),
        ("Frames", f"SHA-256 {take.frames_sha256}"),
        *(("Weights", f"{weights.path}, SHA-256 {weights.sha256}") for weights in take.weights),
    ]
    return describe_plan(take.plan) + "\n" + columns(rows)

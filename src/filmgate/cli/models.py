"""``filmgate models`` and ``filmgate inspect``."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.engine.checkpoints.inspection import Inspection
    from filmgate.spec import CheckpointError, ModelDescription, Take


def models(as_json: AsJson = False) -> None:
    """List the models that can be used here, and where there are more."""
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text

    damaged: list[CheckpointError] = []
    found = Filmgate().models(damaged)
    for error in damaged:
        print(f"Warning: {error}", file=sys.stderr)
    if as_json:
        print(json_text(found))
        return
    print(describe_models(found))
    print(f"\n{describe_published({model.id for model in found})}")


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="A weight file, a model directory, a model's TOML file, a video or picture of ours, or its manifest; "
            "packed models too.",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a checkpoint or a finished video is.

    Exit code 0: a model that can run, or a file that is sound by itself. 1: something is damaged or missing.
    """
    from filmgate.cli.text import json_text

    check_is_no_configuration(path)
    if is_take(path):
        from filmgate.media.manifest import read_take

        take = read_take(path)
        print(json_text(take) if as_json else describe_origin(take))
        return
    facts = look_into(path)
    print(json_text(facts) if as_json else facts)
    if not facts.complete:
        raise typer.Exit(1)


def look_into(path: Path) -> Inspection:
    """What a checkpoint is. A directory of packed files is unpacked in the cache for that.

    Raises:
        CheckpointError: there is nothing at ``path``, or it cannot be read.
        OutputError: the cache cannot be written.
    """
    from filmgate.app.places import default_cache
    from filmgate.engine.checkpoints.describe import inspect as facts_of
    from filmgate.engine.checkpoints.describe import unpacked

    place = unpacked(path, default_cache())
    facts = facts_of(place, default_cache())
    if place == path:
        return facts
    run = None if facts.run is None else facts.run.replace(facts.path, str(path))
    return facts.model_copy(update={"packed": str(path), "run": run})


_CONFIGURATIONS = ("config.json", "model_index.json", "adapter_config.json", "tokenizer.json", "generation.json")
"""Names of files that belong to a model in some directory."""


def check_is_no_configuration(path: Path) -> None:
    """A file that only belongs to a model tells less than the directory that it lies in.

    Raises:
        InvalidRequest: ``path`` is one.
    """
    from filmgate.spec import InvalidRequest

    if path.name in _CONFIGURATIONS and path.is_file():
        raise InvalidRequest(
            "path", f"{path} is a configuration, which has no weights", allowed="a weight file, or a model's directory",
            nearest=str(path.parent),
        )  # fmt: skip


def is_take(path: Path) -> bool:
    """Whether a name is that of a finished video or of its manifest. The index of a sharded checkpoint is JSON too."""
    return path.suffix.lower() in (".mp4", ".png", ".json") and not path.name.endswith(".index.json")


def describe_published(here: Collection[str] = ()) -> str:
    """What else can be used: the published models but for those that are ``here``, with their sizes and places."""
    from filmgate.cli.text import columns
    from filmgate.direction.published import PUBLISHED

    rows = [(name, f"{one.gigabytes} GB", one.repository) for name, one in PUBLISHED.items() if name not in here]
    return f"""\
Published models that are not here, with their size on disk and their name on huggingface.co:
{columns(rows, indent="  ")}

filmgate plan "..." --model NAME plans with one before it is here, and filmgate fetch NAME brings it. One that lies
elsewhere is named by its directory: filmgate generate "..." --model DIRECTORY. Repackagings (Diffusers, ComfyUI, GGUF),
many of them smaller, go the same way, as a directory, a file, or a TOML file that names the parts; filmgate inspect
says what something is and what it lacks."""


def describe_models(found: Sequence[ModelDescription]) -> str:
    """One model a line: id, what it makes, how large it is, and its title."""
    from filmgate.cli.text import columns, size_text

    if not found:
        return "No model is installed here."

    rows = []
    for model in found:
        weights = sum(expert.bytes for expert in model.experts) + model.text_encoder_bytes + model.vae_bytes
        experts = "dense" if len(model.experts) == 1 else f"{len(model.experts)} experts"
        rows.append((model.id, model.variant, model.task, experts, size_text(weights), model.title))
    return columns(rows)


def describe_origin(take: Take) -> str:
    """The plan of a finished video, and where, when and with what it was made."""
    from filmgate.cli.text import columns, describe_plan

    rows = [
        ("Made", _made(take)),
        *(() if take.energy_joules is None else (("Drew", f"{take.energy_joules / 3600:.3g} Wh on the GPU"),)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in take.versions.items())),
        ("Frames", f"SHA-256 {take.frames_sha256}"),
        *(("Weights", f"{weights.path}, SHA-256 {weights.sha256}") for weights in take.weights),
    ]
    return describe_plan(take.plan) + "\n" + columns(rows)


def _made(take: Take) -> str:
    """When, how fast and where, as far as a receipt says so."""
    from filmgate.cli.text import duration_text

    took = None if take.timings is None else duration_text(take.timings.total)
    return (
        ", ".join(part for part in (take.created, took) if part is not None)
        + (" on " if took else "on ")
        + take.hardware
    )

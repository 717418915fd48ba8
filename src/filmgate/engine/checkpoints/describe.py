"""What a model holds, read from headers and configuration in milliseconds, without torch."""

from __future__ import annotations

from pathlib import Path

from filmgate.engine.checkpoints.inspection import Inspection, inspect
from filmgate.engine.checkpoints.layout import WEIGHTS
from filmgate.engine.checkpoints.locations import is_part
from filmgate.engine.checkpoints.packed import is_packed, materialise
from filmgate.engine.checkpoints.parts import Parts, read_parts
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.sidecar import read_few_step, read_vocabulary
from filmgate.engine.checkpoints.variants import size_of, variant_of
from filmgate.engine.models.config import DitConfig
from filmgate.spec.model import DitDimensions, ExpertDescription, ExpertName, ModelDescription

__all__ = ["Inspection", "Parts", "describe", "inspect", "place_in", "read_parts", "unpacked"]


def unpacked(path: Path, cache: Path) -> Path:
    """Where the model at ``path`` lies in the form that is loaded: a whole packed directory is unpacked in ``cache``,
    once; anything else is there already.

    Raises:
        DamagedFile: a packed file is truncated or altered.
        OutputError: the cache cannot be written.
    """
    return materialise(path.resolve(), cache) if path.is_dir() and is_packed(path) and not is_part(path) else path


def describe(path: str | Path) -> ModelDescription:
    """A model on disk: a directory of Wan or of Diffusers, or single files; see :func:`~.locations.find_layout`.

    Identity and preset come from generation.json where there is one. Otherwise id and variant are derived from the
    tensors (``wan2.2-t2v-a14b``), and the preset is left to whoever knows the published models.

    Raises:
        CheckpointError: MissingFile, DamagedFile, UnsafeCheckpoint, MissingTensor, WrongShape or WrongVariant, each
            with the file, the key, what was expected and what was found.
    """
    path = Path(path)
    parts = read_parts(path)
    sidecar, dit, clip = parts.sidecar, parts.dit, parts.image_encoder
    root, pair = parts.layout.root, len(parts.experts) == 2
    hint = path.stem if path.is_file() else root.resolve().name
    parameters = next(iter(parts.experts.values())).parameters
    size = size_of(dit, parameters)
    variant = sidecar.variant or variant_of(parts.family, parts.task, size, pair=pair, hint=hint)
    return ModelDescription(
        id=sidecar.id or variant,
        title=sidecar.title or _title(parts, size),
        variant=variant,
        family=parts.family,
        task=parts.task,
        path=str(path),
        dit=_dimensions(dit),
        compression=sidecar.compression or parts.vae_config.compression,
        experts=tuple(_expert(root, name, records) for name, records in parts.experts.items()),
        preset=sidecar.preset,
        vocabulary=read_vocabulary(root, sidecar),
        few_step=read_few_step(root, sidecar),
        default_precision=sidecar.default_precision or "bf16",
        text_encoder_bytes=parts.text_encoder.bytes,
        text_encoder_parameters=parts.text_encoder.parameters,
        vae_bytes=parts.vae.bytes,
        vae_parameters=parts.vae.parameters,
        image_encoder_bytes=0 if clip is None else clip.bytes,
        image_encoder_parameters=0 if clip is None else clip.parameters,
    )


def _dimensions(dit: DitConfig) -> DitDimensions:
    return DitDimensions(
        dim=dit.dim,
        ffn_dim=dit.ffn_dim,
        heads=dit.num_heads,
        layers=dit.num_layers,
        in_channels=dit.in_dim,
        out_channels=dit.out_dim,
        text_len=dit.text_len,
        text_dim=dit.text_dim,
        freq_dim=dit.freq_dim,
        image_dim=dit.image_dim,
        branch_layers=len(dit.vace_layers),
    )


def _expert(root: Path, name: ExpertName, records: WeightRecords) -> ExpertDescription:
    return ExpertDescription(
        name=name,
        path=place_in(root, _place(records.source)),
        parameters=records.parameters,
        bytes=records.bytes,
        dtype=next(iter(records.dtypes)),
    )


def _place(source: Path) -> Path:
    """The folder of a transformer that has one of its own, or else the file."""
    return source.parent if source.name.startswith(WEIGHTS) else source


def place_in(root: Path, path: Path) -> str:
    """A path as it is told from a directory: relative to it if inside."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _title(parts: Parts, size: str) -> str:
    generation = parts.family.removeprefix("wan")
    experts = ", two experts" if len(parts.experts) == 2 else ""
    return f"Wan {generation} {parts.task.upper()}, {size.upper()}{experts}"

"""What a model directory holds, read from headers and configuration in milliseconds, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from filmgate.engine.checkpoints.inspection import Inspection, inspect
from filmgate.engine.checkpoints.layout import Layout, find_layout, read_weights
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.sidecar import (
    CONFIG,
    SIDECAR,
    Sidecar,
    TransformerFacts,
    VaeFacts,
    read_config,
    read_sidecar,
    read_vocabulary,
)
from filmgate.engine.checkpoints.variants import Family, family_of, is_task, size_of, task_of, variant_of
from filmgate.engine.models.config import RELEASED_TEXT_LEN, DitConfig, TextEncoderConfig
from filmgate.engine.models.vae_config import VaeConfig, vae_config_from_shapes
from filmgate.spec.errors import DamagedFile, InvalidRequest, WrongShape, WrongVariant
from filmgate.spec.model import DitDimensions, ExpertDescription, ExpertName, ModelDescription, Task

__all__ = ["Inspection", "Parts", "describe", "inspect", "read_parts"]


@dataclass(frozen=True)
class Parts:
    """A complete model on disk: where everything lies, and the architecture of each network.

    Attributes:
        layout: The files.
        sidecar: generation.json.
        experts: Tensors of each transformer.
        dit: Architecture of all of them.
        task: What they were trained for.
        vae, vae_config: Tensors and architecture of the autoencoder.
        text_encoder, text_config: Tensors and architecture of the text encoder.
    """

    layout: Layout
    sidecar: Sidecar
    experts: Mapping[ExpertName, WeightRecords]
    dit: DitConfig
    task: Task
    vae: WeightRecords
    vae_config: VaeConfig
    text_encoder: WeightRecords
    text_config: TextEncoderConfig

    @property
    def family(self) -> Family:
        """Generation of the model."""
        return self.sidecar.family or family_of(self.task, self.dit, pair=len(self.experts) == 2)


def describe(path: str | Path) -> ModelDescription:
    """A model directory in the layout of the original Wan repositories.

    Identity and preset come from generation.json where there is one. Otherwise id and variant are derived from the
    tensors (``wan2.2-t2v-a14b``), and the preset is left to whoever knows the published models.

    Raises:
        CheckpointError: MissingFile, DamagedFile, UnsafeCheckpoint, MissingTensor, WrongShape or WrongVariant, each
            with the file, the key, what was expected and what was found.
    """
    parts = read_parts(Path(path))
    sidecar, dit = parts.sidecar, parts.dit
    root, pair = parts.layout.root, len(parts.experts) == 2
    parameters = next(iter(parts.experts.values())).parameters
    size = size_of(dit, parameters)
    variant = sidecar.variant or variant_of(parts.family, parts.task, size, pair=pair, hint=root.resolve().name)
    return ModelDescription(
        id=sidecar.id or variant,
        title=sidecar.title or _title(parts, size),
        variant=variant,
        family=parts.family,
        task=parts.task,
        path=str(root),
        dit=_dimensions(dit),
        compression=sidecar.compression or parts.vae_config.compression,
        experts=tuple(_expert(root, name, records) for name, records in parts.experts.items()),
        preset=sidecar.preset,
        vocabulary=read_vocabulary(root, sidecar),
        default_precision=sidecar.default_precision or "bf16",
        text_encoder_bytes=parts.text_encoder.bytes,
        text_encoder_parameters=parts.text_encoder.parameters,
        vae_bytes=parts.vae.bytes,
        vae_parameters=parts.vae.parameters,
    )


def read_parts(root: Path) -> Parts:
    """Read every header of a model directory and check that its parts belong together.

    Raises:
        CheckpointError: as :func:`describe`.
    """
    layout, sidecar = find_layout(root), read_sidecar(root)
    experts = {name: read_weights(path) for name, path in layout.experts.items()}
    configs = {name: _dit_config(path, experts[name], sidecar) for name, path in layout.experts.items()}
    dit, task = _agreed(layout, experts, configs, sidecar)
    text_encoder = read_weights(layout.text_encoder)
    text_config = TextEncoderConfig.from_tensors(text_encoder.shapes, text_len=dit.text_len, source=layout.text_encoder)
    if text_config.dim != dit.text_dim:
        raise WrongVariant(
            layout.text_encoder, "the text encoder of another model", expected=f"width {dit.text_dim}",
            found=f"width {text_config.dim}",
        )  # fmt: skip
    vae, vae_config = _fitting_vae(layout, dit, sidecar)
    return Parts(layout, sidecar, experts, dit, task, vae, vae_config, text_encoder, text_config)


def _dit_config(path: Path, records: WeightRecords, sidecar: Sidecar) -> DitConfig:
    """Architecture of a transformer, by its tensors; config.json adds what they do not tell, and must not contradict
    them."""
    facts = read_config(path.parent)
    config = DitConfig.from_tensors(
        records.shapes,
        num_heads=facts.num_heads,
        text_len=facts.text_len or sidecar.text_len or RELEASED_TEXT_LEN,
        eps=facts.eps or 1e-6,
        source=path,
    )
    for field in ("dim", "ffn_dim", "num_layers", "in_dim", "out_dim", "freq_dim"):
        stated, found = getattr(facts, field), getattr(config, field)
        if stated not in (None, found):
            raise WrongShape(
                path, f"the tensors are not those of its {CONFIG}", key=field, expected=stated, found=found
            )
    if None not in (facts.text_len, sidecar.text_len) and facts.text_len != sidecar.text_len:
        raise DamagedFile(
            path.parent / CONFIG, f"contradicts {SIDECAR}", key="text_len", expected=sidecar.text_len,
            found=facts.text_len,
        )  # fmt: skip
    task = task_of(records.shapes, config)
    _check_model_type(path, facts, task)
    return replace(config, per_token_timestep=task == "ti2v")


def _check_model_type(path: Path, facts: TransformerFacts, task: str) -> None:
    # The original configurations know neither cameras nor Fun's controls; those models call themselves by their base.
    if facts.model_type is not None and task not in (facts.model_type, "camera", "control", "humo"):
        raise WrongVariant(
            path, f"a transformer of another kind than its {CONFIG} says", key="model_type", expected=facts.model_type,
            found=task,
        )  # fmt: skip


def _agreed(
    layout: Layout,
    experts: Mapping[ExpertName, WeightRecords],
    configs: Mapping[ExpertName, DitConfig],
    sidecar: Sidecar,
) -> tuple[DitConfig, Task]:
    """Architecture and task of all transformers, which must be the same, of a kind that we know, and the announced."""
    (first, dit), *others = configs.items()
    task = task_of(experts[first].shapes, dit)
    if not is_task(task):
        raise WrongVariant(layout.experts[first], "a model for a task that is not supported", found=task)
    if sidecar.task not in (None, task):
        raise WrongVariant(layout.experts[first], f"not the model of its {SIDECAR}", expected=sidecar.task, found=task)
    for name, config in others:
        path, records = layout.experts[name], experts[name]
        other = task_of(records.shapes, config)
        if other != task or config.in_dim != dit.in_dim:
            raise WrongVariant(
                path, "the experts are of different kinds", expected=f"{task}, {dit.in_dim} channels in",
                found=f"{other}, {config.in_dim} channels in",
            )  # fmt: skip
        for key in sorted({*records.shapes, *experts[first].shapes}):
            expected, found = experts[first].shapes.get(key), records.shapes.get(key)
            if expected != found:
                raise WrongShape(path, "the experts differ", key=key, expected=expected, found=found)
        if config != dit:
            raise DamagedFile(path.parent / CONFIG, "the experts differ", expected=dit, found=config)
    return dit, cast(Task, task)


def _fitting_vae(layout: Layout, dit: DitConfig, sidecar: Sidecar) -> tuple[WeightRecords, VaeConfig]:
    """The autoencoder with the transformer's latent channels, and its architecture."""
    found = []
    for path in layout.vaes:
        records = read_weights(path)
        config = _vae_config(path, records, sidecar.vae)
        if config.z_dim == dit.out_dim:
            _check_sidecar(layout.root, config, sidecar)
            return records, config
        found.append(f"{config.z_dim} in {path.name}")
    raise WrongVariant(
        layout.vaes[0], "the video autoencoder of another model", expected=f"{dit.out_dim} latent channels",
        found=" and ".join(found),
    )  # fmt: skip


def _vae_config(path: Path, records: WeightRecords, facts: VaeFacts) -> VaeConfig:
    try:
        return vae_config_from_shapes(
            records.shapes, latents_mean=facts.latents_mean, latents_std=facts.latents_std, source=path
        )
    except InvalidRequest as error:
        raise DamagedFile(
            path, f"its latent statistics are not in {SIDECAR}, or wrong", key="vae", found=error.what
        ) from error


def _check_sidecar(root: Path, config: VaeConfig, sidecar: Sidecar) -> None:
    """Everything that generation.json says about the autoencoder must be so."""
    path = root / SIDECAR
    for field in ("dim", "dim_mult", "num_res_blocks", "z_dim", "temporal_downsample"):
        stated, found = getattr(sidecar.vae, field), getattr(config, field)
        if stated not in (None, found):
            raise DamagedFile(path, "contradicts the weights", key=f"vae.{field}", expected=found, found=stated)
    if sidecar.compression not in (None, config.compression):
        raise DamagedFile(
            path, "contradicts the weights", key="compression", expected=config.compression, found=sidecar.compression
        )
    factors = sidecar.latent_rgb_factors
    if factors is not None and len(factors) != config.z_dim:
        raise DamagedFile(
            path, "as many rows as latent channels", key="latent_rgb_factors", expected=config.z_dim, found=len(factors)
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
    )


def _expert(root: Path, name: ExpertName, records: WeightRecords) -> ExpertDescription:
    return ExpertDescription(
        name=name,
        path=records.source.parent.relative_to(root).as_posix(),
        parameters=records.parameters,
        bytes=records.bytes,
        dtype=next(iter(records.dtypes)),
    )


def _title(parts: Parts, size: str) -> str:
    generation = parts.family.removeprefix("wan")
    experts = ", two experts" if len(parts.experts) == 2 else ""
    return f"Wan {generation} {parts.task.upper()}, {size.upper()}{experts}"

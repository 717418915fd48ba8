"""The parts of a model, read from headers and checked against one another. Does not need torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from filmgate.engine.checkpoints.evidence import check_distinct, check_expert
from filmgate.engine.checkpoints.layout import Layout
from filmgate.engine.checkpoints.locations import find_layout
from filmgate.engine.checkpoints.names import has_place
from filmgate.engine.checkpoints.networks import read_network, with_branch
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.sidecar import (
    CONFIG,
    SIDECAR,
    Sidecar,
    TransformerFacts,
    VaeFacts,
    read_config,
    read_sidecar,
    read_text_config,
    read_vae_config,
)
from filmgate.engine.checkpoints.spellings import BRANCH
from filmgate.engine.checkpoints.variants import Family, family_of, is_task, per_token, task_of
from filmgate.engine.models.config import RELEASED_TEXT_LEN, DitConfig, TextEncoderConfig
from filmgate.engine.models.dit_shapes import tensor_shapes
from filmgate.engine.models.vae_config import VaeConfig, vae_config_from_shapes
from filmgate.spec.errors import (
    DamagedFile,
    InvalidRequest,
    MissingTensor,
    UnexpectedTensor,
    WrongShape,
    WrongVariant,
)
from filmgate.spec.model import ExpertName, Task


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
        image_encoder: Tensors of CLIP, if the model has it.
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
    image_encoder: WeightRecords | None = None

    @property
    def family(self) -> Family:
        """Generation of the model."""
        return self.sidecar.family or family_of(self.task, self.dit, pair=len(self.experts) == 2)


def read_parts(path: Path) -> Parts:
    """Read every header of a model and check that its parts belong together.

    Raises:
        CheckpointError: MissingFile, DamagedFile, UnsafeCheckpoint, MissingTensor, WrongShape or WrongVariant, each
            with the file, the key, what was expected and what was found.
    """
    layout = find_layout(path)
    sidecar = read_sidecar(layout.root)
    experts = {name: _transformer(layout, name) for name in layout.experts}
    for name, records in experts.items():
        check_expert(name, records)
        _check_placed(records)
    check_distinct(tuple(experts.values()))
    configs = {name: _dit_config(records, layout.configs.get(name), sidecar) for name, records in experts.items()}
    dit, task = _agreed(layout, experts, configs, sidecar)
    text_encoder = read_network(layout.text_encoder, "text encoder").records
    text_config = TextEncoderConfig.from_tensors(
        text_encoder.shapes,
        max_distance=read_text_config(layout.configs.get("text_encoder")).relative_attention_max_distance,
        text_len=dit.text_len,
        source=layout.text_encoder,
    )
    if text_config.dim != dit.text_dim:
        raise WrongVariant(
            layout.text_encoder, "the text encoder of another model", expected=f"width {dit.text_dim}",
            found=f"width {text_config.dim}",
        )  # fmt: skip
    vae, vae_config = _fitting_vae(layout, dit, sidecar)
    clip = None if layout.image_encoder is None else read_network(layout.image_encoder, "image encoder").records
    return Parts(layout, sidecar, experts, dit, task, vae, vae_config, text_encoder, text_config, clip)


def _transformer(layout: Layout, name: ExpertName) -> WeightRecords:
    """A transformer's tensors, wherever they lie."""
    records = read_network(layout.experts[name], "transformer").records
    if name not in layout.branches:
        return records
    branch = read_network(layout.branches[name], BRANCH).records
    check_expert(name, branch)
    return with_branch(records, branch)


def _dit_config(records: WeightRecords, beside: Path | None, sidecar: Sidecar) -> DitConfig:
    """Architecture of a transformer, by its tensors; config.json adds what they do not tell, and must not contradict
    them."""
    path, facts = records.source, read_config(beside)
    config = DitConfig.from_tensors(
        records.shapes,
        num_heads=facts.num_heads,
        text_len=facts.text_len or sidecar.text_len or RELEASED_TEXT_LEN,
        eps=facts.eps or 1e-6,
        vace_layers=facts.vace_layers,
        source=path,
    )
    for field in ("dim", "ffn_dim", "num_layers", "in_dim", "out_dim", "freq_dim", "vace_in_dim"):
        stated, found = getattr(facts, field), getattr(config, field)
        if stated not in (None, found):
            raise WrongShape(
                path, f"the tensors are not those of its {CONFIG}", key=field, expected=stated, found=found
            )
    if None not in (facts.text_len, sidecar.text_len) and facts.text_len != sidecar.text_len:
        raise DamagedFile(
            beside, f"contradicts {SIDECAR}", key="text_len", expected=sidecar.text_len, found=facts.text_len
        )
    task = task_of(records.shapes, config)
    _check_model_type(path, facts, task)
    return replace(config, per_token_timestep=per_token(task, config))


def _check_model_type(path: Path, facts: TransformerFacts, task: str) -> None:
    # The original configurations know neither cameras nor Fun's controls; those models call themselves by their base,
    # and so may VACE-Fun.
    if facts.model_type is not None and task not in (facts.model_type, "camera", "control", "humo", "vace"):
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
        raise WrongVariant(
            layout.experts[first], "a model for a task that cannot run here", expected=" or ".join(get_args(Task)),
            found=task,
        )  # fmt: skip
    if sidecar.task not in (None, task):
        raise WrongVariant(layout.experts[first], f"not the model of its {SIDECAR}", expected=sidecar.task, found=task)
    for name, config in configs.items():
        _check_shapes(experts[name], config)
    for name, config in others:
        path, records = layout.experts[name], experts[name]
        other = task_of(records.shapes, config)
        if other != task or config.in_dim != dit.in_dim:
            raise WrongVariant(
                path, "the experts are of different kinds", expected=f"{task}, {dit.in_dim} channels in",
                found=f"{other}, {config.in_dim} channels in",
            )  # fmt: skip
        _check_same(experts[first], records)
        if config != dit:
            raise DamagedFile(layout.configs[name], "the experts differ", expected=dit, found=config)
    return dit, cast(Task, task)


def _check_placed(records: WeightRecords) -> None:
    """Every tensor of a transformer must have a place; said of the file that has it, whatever lies beside it."""
    if (stray := next((name for name in records.tensors if not has_place(name)), None)) is not None:
        raise UnexpectedTensor(records.source, "a tensor that no model of Wan here has a place for", key=stray)


def _check_shapes(records: WeightRecords, config: DitConfig) -> None:
    """The tensors of one file must fit together. Asked of each expert before the two are compared, so that the file at
    fault is named and not the other."""
    for key, expected in tensor_shapes(config).items():
        record = records.tensors.get(key)
        if record is not None and record.shape != expected:
            raise WrongShape(record.file, "a tensor has another shape", key=key, expected=expected, found=record.shape)


def _check_same(first: WeightRecords, other: WeightRecords) -> None:
    """Two experts must have the same tensors."""
    every = first.shapes, other.shapes
    for key in sorted({*every[0], *every[1]}):
        shapes = every[0].get(key), every[1].get(key)
        if None in shapes:
            lacking = first if shapes[0] is None else other
            raise MissingTensor(lacking.source, "a tensor that the other expert has is missing", key=key)
        if shapes[0] != shapes[1]:
            raise WrongShape(other.source, "the experts differ", key=key, expected=shapes[0], found=shapes[1])


def _fitting_vae(layout: Layout, dit: DitConfig, sidecar: Sidecar) -> tuple[WeightRecords, VaeConfig]:
    """The autoencoder with the transformer's latent channels, and its architecture."""
    beside = layout.configs.get("vae")
    facts = read_vae_config(beside).model_copy(update=sidecar.vae.model_dump(exclude_none=True))
    found = []
    for path in layout.vaes:
        records = read_network(path, "VAE").records
        config = _vae_config(path, records, facts)
        if config.z_dim == dit.out_dim:
            _check_vae_facts(layout.root / SIDECAR, sidecar.vae, config)
            _check_vae_facts(beside or path, facts, config)
            _check_sidecar(layout.root, config, sidecar)
            return records, config
        found.append(f"{config.z_dim} in {path.name}{_generation(config.z_dim)}")
    raise WrongVariant(
        layout.vaes[0], "the video autoencoder of another model",
        expected=f"{dit.out_dim} latent channels{_generation(dit.out_dim)}", found=" and ".join(found),
    )  # fmt: skip


def _generation(channels: int) -> str:
    """What an autoencoder with that many latent channels is called, and what it belongs to."""
    known = {16: "the Wan 2.1 VAE, which every model but TI2V-5B has", 48: "the Wan 2.2 VAE, which only TI2V-5B has"}
    return f" ({known[channels]})" if channels in known else ""


def _vae_config(path: Path, records: WeightRecords, facts: VaeFacts) -> VaeConfig:
    try:
        return vae_config_from_shapes(
            records.shapes, latents_mean=facts.latents_mean, latents_std=facts.latents_std, source=path
        )
    except InvalidRequest as error:
        raise DamagedFile(
            path, f"its latent statistics are not in {SIDECAR}, or wrong", key="vae", found=error.what
        ) from error


def _check_vae_facts(path: Path, facts: VaeFacts, config: VaeConfig) -> None:
    """Everything that a file beside the autoencoder says about it must be so."""
    for field in ("dim", "dim_mult", "num_res_blocks", "z_dim", "temporal_downsample"):
        stated, found = getattr(facts, field), getattr(config, field)
        if stated not in (None, found):
            raise DamagedFile(path, "contradicts the weights", key=f"vae.{field}", expected=found, found=stated)


def _check_sidecar(root: Path, config: VaeConfig, sidecar: Sidecar) -> None:
    """What generation.json says about latents must be so."""
    path = root / SIDECAR
    if sidecar.compression not in (None, config.compression):
        raise DamagedFile(
            path, "contradicts the weights", key="compression", expected=config.compression, found=sidecar.compression
        )
    factors = sidecar.latent_rgb_factors
    if factors is not None and len(factors) != config.z_dim:
        raise DamagedFile(
            path, "as many rows as latent channels", key="latent_rgb_factors", expected=config.z_dim, found=len(factors)
        )

"""Networks of a model directory, on a device.

Number formats follow the original code: it keeps weights in fp32 and runs the large linear layers of the transformer in
bf16 (autocast), the text encoder in bf16 throughout, the autoencoder in fp32. Here the layers that run in a lower
precision are also kept in it, and the others stay fp32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from filmgate.engine.checkpoints.describe import Parts, read_parts
from filmgate.engine.checkpoints.filling import DtypeOf, Filling, NarrowAs, stays_as_stored
from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.engine.checkpoints.tensors import Network, Tensors, build_empty
from filmgate.engine.checkpoints.tokenizer import Tokeniser, load_tokenizer
from filmgate.engine.kernels.attention import Attend, sdpa
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.config import ImageEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.tiled_vae import TiledVae
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.spec.errors import MissingFile, UnknownName, WrongVariant
from filmgate.spec.model import ExpertName, ModelDescription, Precision
from filmgate.spec.residency import WeightFormat

__all__ = ["Tokeniser", "load_dit", "load_image_encoder", "load_text_encoder", "load_tokenizer", "load_vae"]

DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TEXT_DTYPES: Mapping[Precision, torch.dtype] = {**DTYPES, "fp16": torch.bfloat16}
"""T5's activations leave the range of fp16; the text encoder then runs in bf16, as it does in the original code."""
IMAGE_DTYPES: Mapping[Precision, torch.dtype] = {**DTYPES, "bf16": torch.float16}
"""CLIP runs in fp16 in the original code, and in fp32 on a CPU."""
FP32_MODULES = re.compile(
    r"^(time_embedding|time_projection|head)\.|(^|\.)(modulation|emb_pos)$|norm|img_emb\.proj\.[04]\."
)
"""Tensors of a transformer that stay fp32 in every precision: what makes and applies the modulation, all
normalisations, and the head. Timesteps up to 1000 and 40 layers of residuals do not survive bf16."""
LARGE = re.compile(r"^(vace_)?blocks\.")
"""Weights of a transformer that may be kept in few bits: almost all of it. The embeddings outside are small, and what
they lose is lost to every block."""
WEIGHT_BYTES: Mapping[WeightFormat, float] = {"bf16": 2, "fp8": 1, "int8": 1, "int4": 0.53}
Place = Callable[[Filling], None]
"""Puts what a network is filled with where it belongs."""
_SUPPORTED = ("t2v", "i2v", "flf2v", "ti2v", "vace", "camera")


def load_dit(
    description: ModelDescription,
    expert: ExpertName,
    *,
    device: torch.device,
    precision: Precision,
    attend: Attend = sdpa,
    weights: WeightFormat = "as_computed",
    place: Place = Filling.fill,
) -> WanDiT:
    """A transformer of a model.

    Args:
        description: The model.
        expert: Which of its transformers.
        device: Where it works.
        precision: Of the large layers' arithmetic.
        attend: Attention of every layer.
        weights: Format in which the large layers of the blocks are kept. What lies in the file in as few bits or fewer
            stays as it is.
        place: Where everything goes; the whole to ``device``.

    Raises:
        UnknownName: the model has no such expert.
        WrongVariant: it is not the model that was described, or of a kind that the transformer cannot be yet.
        CheckpointError: a file is missing or damaged, or its tensors are not the architecture's.
    """
    parts = _parts(description)
    if expert not in parts.experts:
        raise UnknownName("expert", expert, parts.experts)
    if parts.task not in _SUPPORTED:
        raise WrongVariant(
            parts.layout.experts[expert], "a transformer with parts that cannot run yet",
            expected=" or ".join(_SUPPORTED), found=parts.task,
        )  # fmt: skip
    records = parts.experts[expert]

    def dtype(name: str) -> torch.dtype:
        return torch.float32 if FP32_MODULES.search(name) else DTYPES[precision]

    return _load(
        lambda: WanDiT(parts.dit, attend), records, device, dtype, narrow_as(weights, records, dtype), place
    )  # fmt: skip


def load_vae(
    description: ModelDescription, *, device: torch.device, precision: Precision = "fp32", tile: int | None = None
) -> WanVae:
    """The video autoencoder of a model; the originals run it in fp32. With ``tile`` it works in tiles of that many
    pixels.

    Raises:
        CheckpointError: as :func:`load_dit`.
    """
    parts = _parts(description)

    def build() -> WanVae:
        return WanVae(parts.vae_config) if tile is None else TiledVae(parts.vae_config, tile)

    return _load(build, parts.vae, device, lambda _: DTYPES[precision])


def load_text_encoder(
    description: ModelDescription,
    *,
    device: torch.device,
    precision: Precision,
    weights: WeightFormat = "as_computed",
    place: Place = Filling.fill,
) -> Umt5Encoder:
    """The text encoder of a model, in the precision of :data:`TEXT_DTYPES`.

    Of the formats of weights, ``as_stored`` is for it too; the others are only made of transformers.

    Raises:
        CheckpointError: as :func:`load_dit`.
    """
    parts = _parts(description)
    records = parts.text_encoder

    def dtype(_: str) -> torch.dtype:
        return TEXT_DTYPES[precision]

    kept = weights if weights == "as_stored" else "as_computed"
    narrow = narrow_as(kept, records, dtype)
    return _load(lambda: Umt5Encoder(parts.text_config), records, device, dtype, narrow, place)


def load_image_encoder(description: ModelDescription, *, device: torch.device, precision: Precision) -> ClipEncoder:
    """The image encoder of a model that looks at pictures through one, in the precision of :data:`IMAGE_DTYPES`.

    Its last block, which makes no features, is not loaded.

    Raises:
        MissingFile: the model has none.
        WrongVariant: it is not the one that the transformer was trained with.
        CheckpointError: as :func:`load_dit`.
    """
    parts = _parts(description)
    records = parts.image_encoder
    if records is None:
        raise MissingFile(description.path, "the image encoder is missing", expected="CLIP, models_clip_*.pth")
    config = ImageEncoderConfig.from_tensors(records.shapes, source=records.source)
    if config.dim != parts.dit.image_dim:
        raise WrongVariant(
            records.source, "the image encoder of another model", expected=f"width {parts.dit.image_dim}",
            found=f"width {config.dim}",
        )  # fmt: skip
    if parts.dit.image_positions not in (None, 2 * config.positions):
        raise WrongVariant(
            records.source, "the image encoder of another model", expected=f"{parts.dit.image_positions} rows of two"
            " pictures", found=2 * config.positions,
        )  # fmt: skip
    needed = {name: record for name, record in records.tensors.items() if config.reads(name)}
    dtype = torch.float32 if device.type == "cpu" else IMAGE_DTYPES[precision]
    return _load(lambda: ClipEncoder(config), replace(records, tensors=needed), device, lambda _: dtype)


def _parts(description: ModelDescription) -> Parts:
    """The model's parts, read again: files may have changed since they were described."""
    parts = read_parts(Path(description.path))
    described, dit = description.dit, parts.dit
    for field, stated, found in (
        ("task", description.task, parts.task),
        ("experts", [expert.name for expert in description.experts], list(parts.experts)),
        ("dim", described.dim, dit.dim),
        ("layers", described.layers, dit.num_layers),
        ("in_channels", described.in_channels, dit.in_dim),
        ("out_channels", described.out_channels, dit.out_dim),
        ("text_len", described.text_len, dit.text_len),
        ("compression", description.compression, parts.vae_config.compression),
    ):
        if stated != found:
            raise WrongVariant(
                description.path, "not the model that was planned with", key=field, expected=stated, found=found
            )
    return parts


def narrow_as(weights: WeightFormat, records: WeightRecords, dtype: DtypeOf) -> NarrowAs:
    """Which weights of linear layers stay in few bits, and in which format.

    A weight that the file holds in as few bits as are asked for, or fewer, stays as it is there: bringing it into
    another format would only add an error.

    Args:
        weights: What was asked for.
        records: The network's tensors.
        dtype: Of the arithmetic, by name; what is in fp32 for its own sake stays wide.
    """

    def choose(name: str) -> WeightFormat | None:
        record, wide = records.tensors[name], dtype(name)
        if FP32_MODULES.search(name) or weights == "as_computed":
            return None
        narrow = stays_as_stored(record, wide)
        if weights == "as_stored":
            return "as_stored" if narrow else None
        if not LARGE.match(name) or WEIGHT_BYTES[weights] >= wide.itemsize:
            return None
        return "as_stored" if narrow and record.bytes <= WEIGHT_BYTES[weights] * record.elements else weights

    return choose


def _load(
    build: Callable[[], Network],
    records: WeightRecords,
    device: torch.device,
    dtype: DtypeOf,
    narrow: NarrowAs = lambda _: None,
    place: Place = Filling.fill,
) -> Network:
    network = build_empty(build)
    place(Filling(network, Tensors(records), device=device, dtype=dtype, narrow=narrow))
    return network

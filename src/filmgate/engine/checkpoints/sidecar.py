"""The small files beside the weights: the originals' config.json, and generation.json, which is ours. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from filmgate.engine.checkpoints.records import read_json
from filmgate.spec.errors import DamagedFile, MissingFile
from filmgate.spec.model import FewStep, Precision, Preset, Task
from filmgate.spec.shape import Compression, Frozen

Facts = TypeVar("Facts", bound=Frozen)
SIDECAR, CONFIG = "generation.json", "config.json"
_MODEL_TYPES = ("t2v", "i2v", "flf2v", "vace", "ti2v", "s2v", "animate")


class VaeFacts(Frozen):
    """What a VAE's weights do not tell (latent statistics), and what can be checked against them."""

    dim: int | None = None
    dim_mult: tuple[int, ...] | None = None
    num_res_blocks: int | None = None
    z_dim: int | None = None
    temporal_downsample: tuple[bool, ...] | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None


class Sidecar(Frozen):
    """generation.json: what the original formats leave to the code that reads them. Everything is optional.

    ``latent_rgb_factors`` (one row of RGB per latent channel) and ``latent_rgb_bias`` make a latent's mean colour in
    -1 ... 1; ``vocabulary_file`` lies in the same directory and has one word a line.
    """

    id: str | None = None
    title: str | None = None
    variant: str | None = None
    family: Literal["wan2.1", "wan2.2"] | None = None
    task: Task | None = None
    text_len: int | None = None
    compression: Compression | None = None
    preset: Preset | None = None
    vae: VaeFacts = VaeFacts()
    default_precision: Precision | None = None
    vocabulary_file: str | None = None
    latent_rgb_factors: tuple[tuple[float, float, float], ...] | None = None
    latent_rgb_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    few_step: FewStep | None = None


Size = Annotated[int, Field(gt=0, lt=1 << 20)]


class TransformerFacts(Frozen):
    """config.json of a transformer, under its original names; each is None where the file has it not."""

    model_type: str | None = None
    dim: Size | None = None
    ffn_dim: Size | None = None
    num_heads: Size | None = None
    num_layers: Size | None = None
    in_dim: Size | None = None
    out_dim: Size | None = None
    text_len: Size | None = None
    freq_dim: Size | None = None
    vace_layers: tuple[int, ...] | None = None
    vace_in_dim: Size | None = None
    eps: float | None = None


class TextEncoderFacts(Frozen):
    """config.json of a text encoder, as transformers writes it."""

    relative_attention_max_distance: Size = 128


DIFFUSERS_TRANSFORMER: Mapping[str, str] = {
    "ffn_dim": "ffn_dim", "num_heads": "num_attention_heads", "num_layers": "num_layers", "in_dim": "in_channels",
    "out_dim": "out_channels", "freq_dim": "freq_dim", "eps": "eps", "vace_layers": "vace_layers",
    "vace_in_dim": "vace_in_channels",
}  # fmt: skip
DIFFUSERS_VAE: Mapping[str, str] = {
    "dim": "base_dim", "dim_mult": "dim_mult", "num_res_blocks": "num_res_blocks", "z_dim": "z_dim",
    "temporal_downsample": "temperal_downsample", "latents_mean": "latents_mean", "latents_std": "latents_std",
}  # fmt: skip
"""Our names to those in Diffusers' config.json, which are spelt like that."""
_HEAD_DIM = "attention_head_dim"


def read_sidecar(root: Path) -> Sidecar:
    """generation.json of a directory, or of the directory of a file; everything None without one.

    Raises:
        DamagedFile: it is not JSON, or a field is unknown or has a wrong value.
    """
    path = (root.parent if root.is_file() else root) / SIDECAR
    return _parse(Sidecar, read_json(path), path) if path.is_file() else Sidecar()


def read_config(path: Path | None) -> TransformerFacts:
    """A transformer's config.json, the original's or Diffusers'; everything None without one. Other fields in it are
    not ours to judge.

    Raises:
        DamagedFile: it is not JSON, or a field has a wrong value.
    """
    if path is None or not path.is_file():
        return TransformerFacts()
    entries = read_json(path)
    if _HEAD_DIM in entries:
        entries = {ours: entries[theirs] for ours, theirs in DIFFUSERS_TRANSFORMER.items() if theirs in entries} | {
            "dim": _product(entries.get(_HEAD_DIM), entries.get("num_attention_heads"))
        }
    facts = _parse(
        TransformerFacts, {key: entries[key] for key in TransformerFacts.model_fields if key in entries}, path
    )
    if facts.model_type not in (None, *_MODEL_TYPES):
        raise DamagedFile(
            path, "unknown model", key="model_type", expected=", ".join(_MODEL_TYPES), found=facts.model_type
        )
    return facts


def read_vae_config(path: Path | None) -> VaeFacts:
    """Diffusers' config.json of an autoencoder; everything None without one.

    Raises:
        DamagedFile: it is not JSON, or a field has a wrong value.
    """
    if path is None or not path.is_file():
        return VaeFacts()
    entries = read_json(path)
    return _parse(VaeFacts, {ours: entries[key] for ours, key in DIFFUSERS_VAE.items() if key in entries}, path)


def read_text_config(path: Path | None) -> TextEncoderFacts:
    """Transformers' config.json of a text encoder; what umT5 has without one.

    Raises:
        DamagedFile: it is not JSON, or a field has a wrong value.
    """
    if path is None or not path.is_file():
        return TextEncoderFacts()
    entries = read_json(path)
    return _parse(
        TextEncoderFacts, {key: entries[key] for key in TextEncoderFacts.model_fields if key in entries}, path
    )


def _product(*values: object) -> object:
    """Heads times their width; the first that is not a number, for the message about it."""
    product = 1
    for value in values:
        if not isinstance(value, int):
            return value
        product *= value
    return product


def read_vocabulary(root: Path, sidecar: Sidecar) -> tuple[str, ...] | None:
    """Words that the model was trained on, if it says so.

    Raises:
        MissingFile: the file is not there.
        DamagedFile: its name leads out of the directory, or it is not text.
    """
    name = sidecar.vocabulary_file
    if name is None:
        return None
    if Path(name).name != name:
        raise DamagedFile(root / SIDECAR, "a file elsewhere", key="vocabulary_file", expected="a file name", found=name)
    path = (root.parent if root.is_file() else root) / name
    if not path.is_file():
        raise MissingFile(path, "the list of words that generation.json names is missing")
    try:
        words = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DamagedFile(path, "not text", expected="UTF-8", found=str(error)) from error
    return tuple(word.strip() for word in words if word.strip())


def read_few_step(root: Path, sidecar: Sidecar) -> FewStep | None:
    """LoRAs that the directory says it has, if they are in it.

    Raises:
        MissingFile: one is not there.
        DamagedFile: its name leads out of the directory.
    """
    for _, name in () if sidecar.few_step is None else sidecar.few_step.loras:
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise DamagedFile(root / SIDECAR, "a file elsewhere", key="few_step", found=name)
        if not path.is_file():
            raise MissingFile(path, "the LoRA that generation.json names is missing")
    return sidecar.few_step


def _parse(kind: type[Facts], entries: Mapping[str, Any], path: Path) -> Facts:
    try:
        return kind.model_validate(entries)
    except ValidationError as error:
        first = error.errors()[0]
        raise DamagedFile(
            path,
            "a field is wrong",
            key=".".join(map(str, first["loc"])),
            expected=first["msg"],
            found=repr(first["input"])[:80],
        ) from error

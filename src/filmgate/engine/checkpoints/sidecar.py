"""The small files beside the weights: the originals' config.json, and generation.json, which is ours. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from filmgate.engine.checkpoints.records import read_json
from filmgate.spec.errors import DamagedFile, MissingFile
from filmgate.spec.model import Precision, Preset, Task
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


class TransformerFacts(Frozen):
    """config.json of a transformer, under its original names; each is None where the file has it not."""

    model_type: str | None = None
    dim: int | None = None
    ffn_dim: int | None = None
    num_heads: int | None = None
    num_layers: int | None = None
    in_dim: int | None = None
    out_dim: int | None = None
    text_len: int | None = None
    freq_dim: int | None = None
    eps: float | None = None


def read_sidecar(root: Path) -> Sidecar:
    """generation.json of a directory; everything None without one.

    Raises:
        DamagedFile: it is not JSON, or a field is unknown or has a wrong value.
    """
    path = root / SIDECAR
    return _parse(Sidecar, read_json(path), path) if path.is_file() else Sidecar()


def read_config(folder: Path) -> TransformerFacts:
    """config.json of a transformer's folder; everything None without one. Other fields in it are not ours to judge.

    Raises:
        DamagedFile: it is not JSON, or a field has a wrong value.
    """
    path = folder / CONFIG
    if not path.is_file():
        return TransformerFacts()
    entries = read_json(path)
    facts = _parse(
        TransformerFacts, {key: entries[key] for key in TransformerFacts.model_fields if key in entries}, path
    )
    if facts.model_type not in (None, *_MODEL_TYPES):
        raise DamagedFile(
            path, "unknown model", key="model_type", expected=", ".join(_MODEL_TYPES), found=facts.model_type
        )
    return facts


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
    path = root / name
    if not path.is_file():
        raise MissingFile(path, "the list of words that generation.json names is missing")
    try:
        words = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DamagedFile(path, "not text", expected="UTF-8", found=str(error)) from error
    return tuple(word.strip() for word in words if word.strip())


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

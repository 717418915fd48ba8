"""What a network is for, in words: what belongs with it, and how to run it. Does not need torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from filmgate.engine.checkpoints.evidence import OTHER, Evidence, words
from filmgate.engine.checkpoints.networks import Network
from filmgate.engine.models.config import DitConfig

PRECISIONS: Mapping[str, str] = {
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8 (e4m3)",
    "float8_e5m2": "fp8 (e5m2)", "int8": "int8",
}  # fmt: skip
VAES: Mapping[int, str] = {16: "Wan 2.1 VAE", 48: "Wan 2.2 VAE"}
"""By latent channels."""
_TEXT = "the umT5-XXL text encoder and its tokenizer"
_CLIP = "the CLIP image encoder (XLM-RoBERTa ViT-H/14)"
_OPTIONS: Mapping[str, str] = {
    "i2v": " --image FIRST.png", "flf2v": " --image FIRST.png --last-image LAST.png",
    "camera": " --image FIRST.png --camera POSES.txt",
}  # fmt: skip
_TOLD_TASK = re.compile(r"(?<![a-z])(ti2v|t2v|i2v)(?![a-z])")
_TOLD_VAE = re.compile(r"wan[ _-]?2[._]?([12])", re.IGNORECASE)


def precision_of(network: Network) -> str:
    """Number format of most of the weights, and how it is meant."""
    records = network.records
    main, *others = records.dtypes
    form = PRECISIONS.get(main, main.upper())
    if main.startswith("float8") or main == "int8":
        scaled = any(record.scale is not None for record in records.tensors.values())
        form += ", scaled" if scaled else ", cast without scales"
    rest = sorted({PRECISIONS.get(name, name.upper()) for name in others})
    return form + (f"; the rest {', '.join(rest)}" if rest else "")


def belongs_with(config: DitConfig, expert: Evidence | None, *, pair: bool) -> tuple[str, ...]:
    """What a transformer needs beside it."""
    needs = [f"the {VAES.get(config.out_dim, f'VAE with {config.out_dim} latent channels')}", _TEXT]
    if config.image_dim is not None:
        needs.append(_CLIP)
    if expert is not None:
        needs.insert(0, f"the {words(OTHER[expert.expert])} of the same model")
    elif pair:
        needs.insert(0, "the other expert of its pair")
    return tuple(needs)


def part_of(kind: str, channels: int = 0) -> tuple[str, ...]:
    """What a network that is not a transformer belongs with."""
    match kind:
        case "VAE" if channels == 48:
            return ("TI2V-5B, and no other model",)
        case "VAE":
            return ("every model of Wan 2.1, and those of Wan 2.2 but TI2V-5B",)
        case "text encoder":
            return ("every Wan model",)
        case "VACE branch":
            return ("a transformer for videos of text, of the same width; a TOML file names both",)
        case "image encoder":
            return ("Wan 2.1 models for pictures (I2V, FLF2V) and those made from them",)
    return ()


def command(path: Path, task: str) -> str:
    """What to type to run a model."""
    return f'filmgate generate "..." --model {shlex.quote(str(path))}{_OPTIONS.get(task, "")}'


def doubtful_name(path: Path, task: str) -> str | None:
    """A sentence if the name promises another task than the tensors are for."""
    told = set(_TOLD_TASK.findall(path.name.lower()))
    if len(told) != 1:
        return None
    (promised,) = told
    wrong = {"t2v": ("i2v", "flf2v", "ti2v"), "i2v": ("t2v", "ti2v"), "ti2v": ("t2v", "i2v")}
    if task not in wrong[promised]:
        return None
    return f"Its name says {promised.upper()}, its tensors are those of {task.upper()}; the tensors count."


def doubtful_vae(path: Path, channels: int) -> str | None:
    """A sentence if the name promises the autoencoder of the other generation."""
    told = _TOLD_VAE.search(path.name)
    actual = VAES.get(channels)
    if told is None or actual is None or actual == f"Wan 2.{told[1]} VAE":
        return None
    return f"Its name says Wan 2.{told[1]}, its tensors are the {actual}; the tensors count."

"""Weights that a caller names for stages of the family, looked at before anything is trained from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.checkpoints.packed_file import SUFFIX, read_packed
from filmgate.engine.models.vae import WanVae
from filmgate.spec.errors import InvalidRequest, MissingFile, MissingTensor, UnknownName, WrongShape
from filmgate.training.members import MEMBERS, T2V, Member
from filmgate.training.stages import STAGES, Stage
from filmgate.training.trainee import PATCHES

_WORDS = "token_embedding.weight"
"""Of the text encoder: how many words it knows differs by world."""


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Values by name, from ``NAME=VALUE`` texts.

    Raises:
        InvalidRequest: A text names nothing.
    """
    parts = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in parts if not equals]:
        raise InvalidRequest(option, f"{wrong[0]!r} names nothing", allowed="NAME=VALUE")
    return {name: value for name, _, value in parts}


def named_seconds(texts: Sequence[str], option: str) -> dict[str, float]:
    """Seconds by stage, from ``STAGE=SECONDS`` texts.

    Raises:
        InvalidRequest: A text names nothing, or what it says is no number.
    """
    found: dict[str, float] = {}
    for name, value in pairs(texts, option).items():
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise InvalidRequest(option, f"{value!r} is no number of seconds", allowed="STAGE=SECONDS")
    return found


def named_files(texts: Sequence[str], option: str) -> dict[str, Path]:
    """Files by stage, from ``STAGE=FILE`` texts.

    Raises:
        InvalidRequest: A text names nothing.
        UnknownName: There is no such stage.
        MissingFile: There is no such file.
        CheckpointError: It has no weights.
    """
    files = {name: Path(value) for name, value in pairs(texts, option).items()}
    for name, path in files.items():
        if name not in STAGES:
            raise UnknownName("stage", name, STAGES)
        if not path.is_file():
            raise MissingFile(path, "there is no such file")
        shapes_in(path)
    return files


def finished_files(texts: Sequence[str], option: str) -> dict[str, Path]:
    """The same of weights that stand for a stage's own: they must have its tensors.

    Raises:
        MissingTensor, WrongShape: They are another network's.
    """
    files = named_files(texts, option)
    for name, path in files.items():
        check_tensors(STAGES[name], path)
    return files


def check_tensors(stage: Stage, path: Path) -> None:
    """Raise if a file does not have what a stage leaves, as far as that tells networks apart: all tensors of a VAE, the
    embedding of words of a text encoder, and of a transformer what it reads."""
    shapes = shapes_in(path)
    for name, wanted in _telling(stage).items():
        what = f"not the weights of {stage.name}"
        if name not in shapes:
            raise MissingTensor(path, what, key=name)
        if wanted and shapes[name] != wanted:
            raise WrongShape(path, what, key=name, expected=wanted, found=shapes[name])


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a file of weights, packed or not."""
    records = read_packed(path) if path.suffix == SUFFIX else read_safetensors(path)
    return {name: tuple(record.shape) for name, record in records.tensors.items()}


def _telling(stage: Stage) -> Mapping[str, tuple[int, ...]]:
    """Tensors with their shapes; no shape where any will do."""
    if stage.program == "autoencoder":
        with torch.device("meta"):
            network = WanVae(_member(stage).vae)
        return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if stage.program == "text_encoder":
        return {_WORDS: ()}
    if stage.program == "diffusion" and not stage.only:
        dit = _member(stage).dit
        return {PATCHES: (dit.dim, dit.in_dim, 1, 2, 2)}
    return {}


def _member(stage: Stage) -> Member:
    place = stage.options.index("--member") + 1 if "--member" in stage.options else None
    return T2V if place is None else MEMBERS[stage.options[place]]

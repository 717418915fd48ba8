"""Weights that a caller names for stages of the family, looked at before anything is trained from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.checkpoints.packed_file import SUFFIX, read_packed
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.spec.errors import InvalidRequest, MissingFile, MissingTensor, UnknownName, WrongShape
from filmgate.training.distillation import Course
from filmgate.training.lora.adapter import Adapter
from filmgate.training.lora.targets import choose_layers
from filmgate.training.members import MEMBERS, T2V, Member
from filmgate.training.readers import ReaderConfig, WorldReader, heads_of
from filmgate.training.stages import ANEW, STAGES, Stage
from filmgate.training.text_encoder import text_config
from filmgate.training.trainee import PATCHES, under_run_names
from filmgate.training.world.catalogue import catalogue

_OF_A_WORLD = ("text_encoder", "read_training")
"""Programs whose networks differ by the world that they are trained on."""


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


def first_files(texts: Sequence[str], option: str) -> dict[str, Path]:
    """The same of weights that a stage starts from, which may be another network's as long as its program goes on.

    Raises:
        InvalidRequest: The stage always begins anew.
    """
    files = named_files(texts, option)
    for name in files:
        if STAGES[name].program in ANEW:
            able = [stage.name for stage in STAGES.values() if stage.program not in ANEW]
            raise InvalidRequest(option, f"stage {name} starts from nothing", allowed=", ".join(able))
    return files


def check_tensors(stage: Stage, path: Path) -> None:
    """Raise if a file does not have what a stage leaves, as far as that tells networks apart: of a transformer what it
    reads, of all others every tensor. A text encoder knows the words of its world, and a reader asks what that has."""
    shapes = shapes_in(path)
    if stage.program == "diffusion":
        shapes = under_run_names(shapes)  # a published model is as good as a run's
    spoken = f" in the world {stage.world}" if stage.program in _OF_A_WORLD else ""
    for name, wanted in _telling(stage).items():
        what = f"not the weights of {stage.name}{spoken}"
        if name not in shapes:
            raise MissingTensor(path, what, key=name)
        if shapes[name] != wanted:
            raise WrongShape(path, what, key=name, expected=wanted, found=shapes[name])


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a file of weights, packed or not."""
    records = read_packed(path) if path.suffix == SUFFIX else read_safetensors(path)
    return {name: tuple(record.shape) for name, record in records.tensors.items()}


def _telling(stage: Stage) -> Mapping[str, tuple[int, ...]]:
    """Tensors with their shapes, those that differ from network to network or from world to world."""
    world, member = catalogue(stage.world), _member(stage)
    with torch.device("meta"):
        if stage.program == "autoencoder":
            return _shapes(WanVae(member.vae).state_dict())
        if stage.program == "text_encoder":
            return _shapes(Umt5Encoder(text_config(world)).state_dict())
        if stage.program == "read_training":
            reader = WorldReader(ReaderConfig(), heads_of(world)).state_dict()
            # Positions go by the size of its clips.
            return _shapes({name: tensor for name, tensor in reader.items() if name != "position"})
        if stage.program == "distillation":
            factors = Adapter(choose_layers(_shapes(WanDiT(member.dit).state_dict()), Course.targets), Course.rank, 1.0)
            return _shapes(dict(factors.named_parameters()))
        if stage.only:
            dit = WanDiT(member.dit).state_dict(prefix="dit.")
            return _shapes({name: tensor for name, tensor in dit.items() if name.startswith(stage.only)})
    return {PATCHES: (member.dit.dim, member.dit.in_dim, 1, 2, 2)}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _member(stage: Stage) -> Member:
    place = stage.options.index("--member") + 1 if "--member" in stage.options else None
    return T2V if place is None else MEMBERS[stage.options[place]]

"""LoRA files: what they would change, by how much, and whether a model has those places. Does not need torch.

A change is either low-rank (scale·up·down is added to a weight) or full (a difference is added to a tensor). The scale
is alpha / rank. Alpha stands beside the factors, or in the metadata that PEFT and Diffusers write; where it stands
nowhere, it is the rank. Only headers are read, and the few bytes of every alpha.
"""

from __future__ import annotations

import difflib
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filmgate.engine.checkpoints.lora_keys import LoraKey, Role, Section, method_of, parse_key
from filmgate.engine.checkpoints.records import TensorRecord, WeightRecords, parse_json, read_json
from filmgate.engine.checkpoints.weights import read_weights
from filmgate.spec.errors import (
    CheckpointError,
    DamagedFile,
    MissingFile,
    MissingTensor,
    WrongDtype,
    WrongShape,
    WrongVariant,
)
from filmgate.spec.model import ExpertName

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""What PEFT's ``save_pretrained`` leaves in a directory."""
ADAPTERS = (ADAPTER, "pytorch_lora_weights.safetensors")
"""The same, and what Diffusers' ``save_lora_weights`` leaves there."""
_DIFFUSERS_METADATA = "lora_adapter_metadata"
_SCALARS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i", "I16": "<h", "I8": "<b", "U8": "<B"}
_FULL: dict[Role, str] = {"weight": "weight", "bias": "bias", "modulation": "modulation"}
_BARE = ("modulation", "emb_pos")
"""Parameters that are no weight or bias of a module: a full difference may name them themselves."""
_SECTION_OF: Mapping[ExpertName, Section] = {"high_noise": "transformer", "low_noise": "transformer_2"}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Change:
    """What a LoRA adds to one tensor.

    Attributes:
        target: Original name of the tensor.
        section: Transformer that it is for, where the file has two.
        down, up: Keys of the two factors; empty for a full difference.
        full: Key of a full difference; empty for factors.
        scale: What factors or difference are multiplied by, at strength 1.
        rank, alpha: Of the factors; alpha None where nothing states one.
        shape: Of what is added, as the file has it: (rows, columns) for factors.
    """

    target: str
    section: Section
    shape: tuple[int, ...]
    scale: float = 1.0
    down: str = ""
    up: str = ""
    full: str = ""
    rank: int | None = None
    alpha: float | None = None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether it can be added to a tensor of that shape. Factors see a convolution as the linear layer that it is;
        leading axes of length one do not count."""
        if self.down:
            return len(shape) > 1 and self.shape == (shape[0], math.prod(shape[1:]))
        return _squeezed(self.shape) == _squeezed(shape)


@dataclass(frozen=True)
class Lora:
    """A LoRA file.

    Attributes:
        records: What its header says.
        dialect: Whose names it has.
        changes: In the order of the file.
        unknown: Keys that are no part of a LoRA.
    """

    records: WeightRecords
    dialect: str
    changes: tuple[Change, ...]
    unknown: tuple[str, ...]

    @property
    def sections(self) -> tuple[Section, ...]:
        """Transformers that the file tells apart; more than one, or none at all."""
        found = {change.section for change in self.changes}
        return tuple(sorted(found)) if "transformer_2" in found else ()

    def section_for(self, expert: ExpertName) -> Section | None:
        """The section for an expert; empty if the file tells none apart, None if it has nothing for that expert."""
        if not self.sections:
            return ""
        wanted = _SECTION_OF.get(expert)
        return wanted if wanted in self.sections else None

    def changes_in(self, section: Section) -> tuple[Change, ...]:
        """The changes of a section; empty: all."""
        return tuple(change for change in self.changes if not section or change.section == section)


@dataclass(frozen=True)
class Coverage:
    """How much of a LoRA has a place in a model: changes that have one, and sentences about those that have none."""

    matched: tuple[Change, ...]
    rest: tuple[str, ...]

    @property
    def share(self) -> float:
        """Matched of all."""
        return len(self.matched) / max(1, len(self.matched) + len(self.rest))


def cover(changes: Iterable[Change], shapes: Shapes) -> Coverage:
    """Compare changes with the tensors of a transformer under their original names."""
    matched: list[Change] = []
    rest: list[str] = []
    for change in changes:
        shape = shapes.get(change.target)
        if shape is None:
            rest.append(f"{change.target}: the model has no such tensor")
        elif not change.fits(shape):
            rest.append(f"{change.target}: made for {_text(change.shape)}, the model has {_text(shape)}")
        else:
            matched.append(change)
    return Coverage(tuple(matched), tuple(rest))


def read_lora(path: Path) -> Lora:
    """The changes of a LoRA file, or of a directory that PEFT or Diffusers wrote.

    Raises:
        MissingFile, DamagedFile, UnsafeCheckpoint: it cannot be read.
        WrongVariant: it is no LoRA, or one of another method (DoRA, LoHa, LoKr), which would be applied wrongly.
        MissingTensor, WrongShape, WrongDtype: of a pair of factors one is missing, the two do not fit, or they are no
            floating-point numbers.
    """
    file, config = _files(path)
    records = read_weights(file)
    parsed = {name: parse_key(name) for name in records.tensors}
    keys = {name: key for name, key in parsed.items() if key is not None}
    if not any(key.role != "alpha" for key in keys.values()):
        first = next(iter(records.tensors), "nothing")
        raise WrongVariant(
            path, "not a LoRA", expected="keys that end in .lora_A.weight, .lora_down.weight or .diff", found=first
        )
    for name, key in keys.items():
        if key.role == "foreign":
            raise WrongVariant(
                path,
                "not a plain LoRA",
                key=name,
                expected="low-rank factors or full differences",
                found=method_of(name),
            )
    parts: dict[tuple[Section, str], dict[Role, str]] = {}
    for name, key in keys.items():
        have = parts.setdefault((key.section, key.module), {})
        if key.role in have:
            raise DamagedFile(path, "two tensors for one place", key=name, expected="one", found=have[key.role])
        record = records.tensors[name]
        if key.role != "alpha" and record.dtype.kind != "float":
            raise WrongDtype(path, "not weights", key=name, expected="floating-point numbers", found=record.dtype.torch)
        have[key.role] = name
    changes = tuple(
        change
        for (section, module), have in parts.items()
        for change in _changes(records, section, module, have, _Stated.of(path, records, config, section))
    )
    return Lora(records, _dialect(keys.values()), changes, tuple(name for name, key in parsed.items() if key is None))


def adapter_in(folder: Path) -> Path | None:
    """The LoRA in a directory that PEFT or Diffusers wrote; None if it is no such directory."""
    return next((folder / name for name in ADAPTERS if (folder / name).is_file()), None)


def _files(path: Path) -> tuple[Path, Path | None]:
    """The weights, and PEFT's configuration beside them."""
    if not path.exists():
        near = path.parent.iterdir() if path.parent.is_dir() else ()
        names = {one.stem: one.name for one in near}
        alike = [names[stem] for stem in difflib.get_close_matches(path.stem, names)]
        raise MissingFile(
            path, "there is no such file or directory",
            expected="a LoRA file, or a directory that PEFT or Diffusers wrote",
            found=f"only {' or '.join(alike)} beside it" if alike else None,
        )  # fmt: skip
    if path.is_dir():
        found = adapter_in(path)
        if found is None:
            raise MissingFile(path, "no LoRA in this directory", expected=" or ".join(ADAPTERS), found="none")
        path = found
    config = path.parent / ADAPTER_CONFIG
    return path, config if path.name == ADAPTER and config.is_file() else None


def _dialect(keys: Iterable[LoraKey]) -> str:
    """Of all dialects in a file the one of a single tool, if there is one: LightX2V's files are ComfyUI's, and more."""
    counts = Counter(key.dialect for key in keys)
    if set(counts) == {"ComfyUI", "LightX2V"}:
        return "LightX2V"
    return " and ".join(name for name, _ in counts.most_common())


@dataclass(frozen=True)
class _Stated:
    """What PEFT's configuration says of scales, wherever it was found."""

    alpha: float | None = None
    root: bool = False
    patterns: Mapping[str, float] | None = None
    """Alphas of some modules, by the ends of their names there."""

    @classmethod
    def of(cls, path: Path, records: WeightRecords, config: Path | None, section: Section) -> _Stated:
        values: dict[str, Any] = {}
        if config is not None:
            values = read_json(config)
        elif (text := records.metadata.get(_DIFFUSERS_METADATA)) is not None:
            every = parse_json(text.encode(), path, _DIFFUSERS_METADATA)
            # A pipeline writes which of its parts is meant, a transformer that saves its own LoRA does not.
            named = any(key.startswith("transformer") for key in every)
            prefix = f"{section or 'transformer'}." if named else ""
            values = {key.removeprefix(prefix): value for key, value in every.items() if key.startswith(prefix)}
        if values.get("use_dora"):
            raise WrongVariant(path, "not a plain LoRA", expected="low-rank factors", found="DoRA")
        alpha, patterns = values.get("lora_alpha"), values.get("alpha_pattern") or {}
        if not (alpha is None or _is_number(alpha)) or not isinstance(patterns, dict):
            raise DamagedFile(path, "its configuration is not PEFT's", key="lora_alpha", found=repr(alpha)[:40])
        for pattern, value in patterns.items():
            if not re.fullmatch(r"[\w.]+", pattern) or not _is_number(value):
                raise DamagedFile(
                    path, "an alpha that cannot be understood", key=pattern, expected="a module's name and a number",
                    found=repr(value)[:40],
                )  # fmt: skip
        return cls(alpha, bool(values.get("use_rslora")), patterns)

    def scale(self, rank: int, names: Iterable[str]) -> tuple[float, float | None]:
        """(scale, alpha) of a pair of factors whose keys are ``names``."""
        alpha = self.alpha
        for pattern, value in (self.patterns or {}).items():
            if any(re.search(rf"(^|\.){re.escape(pattern)}\.lora_", name) for name in names):
                alpha = value
        if alpha is None:
            return 1.0, None
        return alpha / (math.sqrt(rank) if self.root else rank), float(alpha)


def _changes(
    records: WeightRecords, section: Section, module: str, have: Mapping[Role, str], stated: _Stated
) -> Iterable[Change]:
    """The changes of one module."""
    scale = 1.0
    if "down" in have or "up" in have:
        factors = _factors(records, module, have, section, stated)
        scale = factors.scale
        yield factors
    if "up_bias" in have:
        name = have["up_bias"]
        yield Change(f"{module}.bias", section, records.tensors[name].shape, scale=scale, full=name)
    for role, end in _FULL.items():
        if role in have:
            bare = role == "weight" and module.rpartition(".")[2] in _BARE
            target = module if bare else f"{module}.{end}"
            yield Change(target, section, records.tensors[have[role]].shape, full=have[role])


def _factors(
    records: WeightRecords, module: str, have: Mapping[Role, str], section: Section, stated: _Stated
) -> Change:
    if not {"down", "up"} <= set(have):
        alone = have.get("down") or have["up"]
        raise MissingTensor(
            records.source, "of a pair of factors one is missing", key=alone, expected="its partner", found="nothing"
        )
    down, up = records.tensors[have["down"]].shape, records.tensors[have["up"]].shape
    if len(down) < 2 or len(up) < 2 or not up[1] == down[0] > 0 or math.prod(up[2:]) != 1:
        raise WrongShape(
            records.source, "two factors that do not fit", key=have["up"], expected=f"(rows, {down[0] if down else 0})",
            found=up,
        )  # fmt: skip
    rank = down[0]
    if "alpha" in have:
        alpha: float | None = _scalar(records, have["alpha"])
        scale = (alpha or 0.0) / rank
    else:
        scale, alpha = stated.scale(rank, (have["down"], have["up"]))
    return Change(
        f"{module}.weight", section, (up[0], math.prod(down[1:])), scale=scale, down=have["down"], up=have["up"],
        rank=rank, alpha=alpha,
    )  # fmt: skip


def _scalar(records: WeightRecords, name: str) -> float:
    """The number in a tensor of one element."""
    record = records.tensors[name]
    if record.elements != 1:
        raise WrongShape(
            records.source, "alpha is not one number", key=name, expected="one element", found=record.shape
        )
    value = _number(record)
    if value is None:
        raise CheckpointError(
            records.source, "alpha cannot be read from this format", key=name, expected="safetensors",
            found=f"{record.dtype.name} in {record.file.suffix}",
        )  # fmt: skip
    if not math.isfinite(value):
        raise DamagedFile(records.source, "alpha is not a number", key=name, expected="a finite one", found=value)
    return value


def _number(record: TensorRecord) -> float | None:
    if record.begin is None:
        return None
    with record.file.open("rb") as file:
        file.seek(record.begin)
        data = file.read(record.bytes)
    if len(data) != record.bytes:
        return None
    if record.dtype.name == "BF16":
        return float(struct.unpack("<f", b"\0\0" + data)[0])
    form = _SCALARS.get(record.dtype.name)
    return None if form is None else float(struct.unpack(form, data)[0])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((index for index, length in enumerate(shape) if length != 1), len(shape))
    return shape[first:]


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"

"""Which expert of a pair a file is, as far as anything tells. Does not need torch.

The two transformers of a pair have the same tensors with other numbers, so that only what people wrote can tell them
apart: the name of the file, of its folder, or the metadata; or the name of another file with the same hash
(:mod:`~.hashes`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filmgate.engine.checkpoints.records import WeightRecords
from filmgate.spec.errors import WrongVariant
from filmgate.spec.model import ExpertName

Half = Literal["high_noise", "low_noise"]
HALVES: Mapping[str, Half] = {"high": "high_noise", "low": "low_noise"}
OTHER: Mapping[Half, Half] = {"high_noise": "low_noise", "low_noise": "high_noise"}
_NOT_NOISE = {
    "res",
    "resolution",
    "quality",
    "vram",
    "rank",
    "step",
    "steps",
    "motion",
    "speed",
    "fps",
    "mem",
    "memory",
}
"""Words after "high" and "low" that make them speak of something else."""
_SPELT_OUT = re.compile(r"(?<![a-z])(high|low)[ _.-]?noise", re.IGNORECASE)
_METADATA = re.compile(r"name|title|description|expert|noise|model", re.IGNORECASE)
_MAX_TEXT = 500
_ALONE = (1536, 3072)
"""Widths of the 1.3B and 5B models."""
_MAX_SAMPLE, _SAMPLES = 1 << 18, 3


@dataclass(frozen=True)
class Evidence:
    """Which expert, and what says so."""

    expert: Half
    by: str


def comes_in_pairs(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a transformer of these tensors can be one of two: those with an image branch, of the small VAE, or of the
    smaller widths were only published alone."""
    width = shapes.get("head.modulation", (0,))[-1]
    channels = shapes.get("patch_embedding.weight", (0, 0))[1:2]
    return "img_emb.proj.0.weight" not in shapes and channels != (48,) and width not in _ALONE


def evidence_of(path: Path, metadata: Mapping[str, str] | None = None) -> Evidence | None:
    """What the file's name says, or else its folder's, or else its metadata; None if nothing does."""
    texts = [("file name", path.name), ("folder", path.parent.name)]
    texts += [
        (f"metadata ({key})", value) for key, value in (metadata or {}).items()
        if _METADATA.search(key) and len(value) <= _MAX_TEXT
    ]  # fmt: skip
    for by, text in texts:
        if (expert := expert_in(text)) is not None:
            return Evidence(expert, by)
    return None


def expert_in(text: str) -> Half | None:
    """The expert that a name speaks of (``HighNoise``, ``low_noise_model``, ``wan22_high``); None if both or none."""
    parts = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)]
    found = {HALVES[match.lower()] for match in _SPELT_OUT.findall(text)}
    found |= {
        HALVES[word]
        for index, word in enumerate(parts)
        if word in HALVES and not _NOT_NOISE.intersection(parts[index + 1 : index + 2])
    }
    return found.pop() if len(found) == 1 else None


def half_known(path: Path, records: WeightRecords) -> str | None:
    """What says that a transformer is one of two, in words; None if nothing does. That it reads a picture without an
    image branch says so as well, though not which of the two it is."""
    if not comes_in_pairs(records.shapes):
        return None
    if (told := evidence_of(path, records.metadata)) is not None:
        return f"the {words(told.expert)} of a pair by its {told.by}"
    return "one expert of a pair by its tensors, and nothing tells which" if needs_a_pair(records.shapes) else None


def needs_a_pair(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Image to video without an image branch: there is no Wan 2.1 model with these tensors."""
    return shapes.get("patch_embedding.weight", ())[1:2] == (36,) and "img_emb.proj.0.weight" not in shapes


def check_expert(name: ExpertName, records: WeightRecords) -> None:
    """A file that is used as one expert must not be known as the other.

    Raises:
        WrongVariant: it is.
    """
    told = evidence_of(records.source, records.metadata)
    if name != "dense" and told is not None and told.expert != name:
        raise WrongVariant(
            records.source,
            "the experts are exchanged",
            expected=words(name),
            found=f"{words(told.expert)} by its {told.by}",
        )


def check_distinct(experts: tuple[WeightRecords, ...]) -> None:
    """The experts of a pair must not be the same network under two names: their smallest tensors are compared.

    Raises:
        WrongVariant: they are.
    """
    if len(experts) != 2:
        return
    first, second = (_sample(records) for records in experts)
    if first and first == second:
        raise WrongVariant(
            experts[1].source, "the same weights as both experts", expected="two networks", found=str(experts[0].source)
        )


def _sample(records: WeightRecords) -> tuple[bytes, ...]:
    """Bytes of the modulation tensors, which lie plainly in every format but .pth."""
    found: list[bytes] = []
    for name, record in records.tensors.items():
        if len(found) == _SAMPLES:
            break
        if name.endswith("modulation") and record.begin is not None and record.bytes <= _MAX_SAMPLE:
            with record.file.open("rb") as file:
                file.seek(record.begin)
                found.append(file.read(record.bytes))
    return tuple(found)


def words(expert: ExpertName) -> str:
    """An expert as people call it."""
    return expert.replace("_", "-") + " expert" if expert != "dense" else "a dense model"

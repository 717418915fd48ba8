"""Which transformers of a model a LoRA changes, before anything is loaded. Does not need torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from filmgate.engine.checkpoints.evidence import evidence_of
from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.engine.checkpoints.lora import Lora, Shapes, cover, read_lora
from filmgate.spec.adapters import LoraChoice, LoraUse
from filmgate.spec.errors import DamagedFile, InvalidRequest, WrongVariant
from filmgate.spec.model import ExpertName

ShapesOf = Mapping[ExpertName, Shapes]
"""Tensors of every transformer of a model, under their original names."""
_FIELDS: Mapping[str, ExpertName] = {"lora_high": "high_noise", "lora_low": "low_noise"}


def use_loras(
    wishes: Mapping[str, Iterable[LoraChoice]], model: ShapesOf, cache: Path | None = None
) -> tuple[LoraUse, ...]:
    """Files that somebody wants, resolved against a model: what each changes, in the order of the wishes.

    Args:
        wishes: By the field of the request: ``lora`` for every transformer, ``lora_high`` and ``lora_low`` for one.
        model: The transformers.
        cache: Directory in which hashes are remembered.

    Raises:
        InvalidRequest: a strength is no number, or the model has no such expert.
        WrongVariant: it is no LoRA, or has nothing for the transformer that it is meant for.
        CheckpointError: a file is missing or damaged.
    """
    found: list[LoraUse] = []
    for field, choices in wishes.items():
        for choice in choices:
            if not math.isfinite(choice.strength):
                raise InvalidRequest(
                    field, f"{choice.strength:g} is not a strength", allowed="a number; 1 is as trained"
                )
            found += _uses(field, choice, model, cache)
    return tuple(found)


def _uses(field: str, choice: LoraChoice, model: ShapesOf, cache: Path | None) -> Iterable[LoraUse]:
    wanted = _FIELDS.get(field)
    if wanted is not None and wanted not in model:
        raise InvalidRequest(
            field, "the model has one transformer for all noise levels", allowed="lora", nearest="lora"
        )
    path = Path(choice.path).absolute()
    lora = read_lora(path)
    digest = sha256_of(lora.records.files[0], cache)
    told = evidence_of(lora.records.source, lora.records.metadata)
    experts = [wanted] if wanted is not None else [name for name in model if lora.section_for(name) is not None]
    if not experts:
        raise WrongVariant(
            path, "made for a pair of experts", expected="a LoRA for one transformer", found=lora.sections
        )
    for expert in experts:
        section = lora.section_for(expert)
        if section is None:
            raise WrongVariant(
                path, "nothing in it is for this expert", expected=expert, found=", ".join(lora.sections)
            )
        changes = lora.changes_in(section)
        coverage = cover(changes, model[expert])
        if not coverage.matched:
            raise WrongVariant(path, nothing_fits(lora), expected="changes of its tensors", found=coverage.rest[0])
        kept = set(coverage.matched)
        yield LoraUse(
            path=str(path),
            sha256=digest,
            expert=expert,
            strength=choice.strength,
            section=section,
            changes=len(changes),
            left_out=tuple(change.target for change in changes if change not in kept),
            told=told.expert if told is not None and not lora.sections and expert != "dense" else "",
        )


def nothing_fits(lora: Lora) -> str:
    """What to say when a LoRA changes nothing."""
    return f"of its {len(lora.changes)} changes none has a place in this model"


def check_unchanged(uses: Iterable[LoraUse], cache: Path | None = None) -> None:
    """The files of a plan must be those that it was made with.

    Raises:
        MissingFile: a file is gone.
        DamagedFile: it has another content.
    """
    for use in uses:
        file = read_lora(Path(use.path)).records.files[0]
        if (found := sha256_of(file, cache)) != use.sha256:
            raise DamagedFile(use.path, "not the LoRA that was planned with", expected=use.sha256, found=found)

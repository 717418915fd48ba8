"""LoRA files to changes of a transformer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from filmgate.engine.checkpoints.lora import Change, Lora, cover, read_lora
from filmgate.engine.checkpoints.tensors import Tensors
from filmgate.engine.runtime.lora import Delta
from filmgate.engine.runtime.narrow_linear import tensor_shapes
from filmgate.spec.adapters import LoraUse
from filmgate.spec.errors import WrongVariant


def load_deltas(lora: Lora, changes: Iterable[Change], strength: float) -> list[Delta]:
    """The tensors of changes, still in the file: they are read when they are used."""
    tensors = Tensors(lora.records)
    return [
        Delta(
            target=change.target,
            scale=change.scale * strength,
            up=tensors[change.up] if change.up else None,
            down=tensors[change.down] if change.down else None,
            full=tensors[change.full] if change.full else None,
        )
        for change in changes
    ]


def deltas_for(network: nn.Module, uses: Iterable[LoraUse]) -> list[Delta]:
    """What the LoRAs of a plan change in one of its transformers, in the order of the plan.

    Args:
        network: With the original names.
        uses: Those for this transformer.

    Raises:
        CheckpointError: a file is missing or damaged.
        WrongVariant: nothing in a file has a place in the transformer, or not what was planned.
    """
    shapes = tensor_shapes(network)
    deltas = []
    for use in uses:
        lora = read_lora(Path(use.path))
        changes = lora.changes_in(use.section)
        matched = cover(changes, shapes).matched
        planned = use.changes - len(use.left_out)
        if not matched or (planned and len(matched) != planned):
            raise WrongVariant(
                use.path, "not what was planned", expected=f"{planned} changes with a place in the model",
                found=len(matched),
            )  # fmt: skip
        deltas += load_deltas(lora, matched, use.strength)
    return deltas

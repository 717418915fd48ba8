"""What is to be said of the LoRAs of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from filmgate.spec.adapters import LoraUse
from filmgate.spec.plan import Plan

_SHOWN = 6
FEW_STEPS = ("lightning", "lightx2v", "4step", "4-step", "distill", "causvid", "accvid", "fastwan", "dmd")
"""Words in the names of LoRAs that make a model paint in few steps."""


def lora_warnings(plan: Plan) -> Iterator[str]:
    """LoRAs that fit in part, that say that they are for the other expert, or that paint no step. What is true of both
    experts is said once."""
    yield from dict.fromkeys(_every_warning(plan))


def _every_warning(plan: Plan) -> Iterator[str]:
    for lora in plan.loras:
        name, expert = Path(lora.path).name, lora.expert.replace("_", "-")
        if lora.left_out:
            yield f"{name}: {_rest(lora)} of {lora.changes} changes have no place in the model and are left out"
        if lora.told and lora.told != lora.expert:
            other = lora.told.replace("_", "-")
            yield f"{name} is for the {other} expert by its name, and is used for the {expert} one"
        if plan.distilled is None and any(word in lora.path.lower() for word in FEW_STEPS):
            yield f"{name} distils by its name: it is made for few steps without guidance, as --distilled lightning"
        if plan.steps and not any(step.expert == lora.expert and step.adapted for step in plan.steps):
            yield f"{name} has no effect: the {expert} expert paints no step with it"


def _rest(lora: LoraUse) -> str:
    """How many, and the first of them; `filmgate lora inspect` lists all."""
    more = len(lora.left_out) - _SHOWN
    listed = ", ".join(lora.left_out[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{len(lora.left_out)} ({listed})"

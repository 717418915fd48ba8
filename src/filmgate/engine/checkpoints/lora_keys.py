"""How LoRA files call the tensors that they change: prefixes, suffixes and spellings, as tables. Does not need torch.

A key is a prefix (whose file it is), a module (under its original name, its Diffusers name, or either with underscores
for dots) and a suffix (which part of the change it is). The names of modules are those of
:data:`~filmgate.engine.checkpoints.names.DIFFUSERS_DIT`; nothing about them is repeated here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NamedTuple

from filmgate.engine.checkpoints.names import DIFFUSERS_DIT

Role = Literal["down", "up", "up_bias", "alpha", "weight", "bias", "modulation", "foreign"]
"""Part of a change: the two factors, a bias that is scaled with them, the numerator of their scale; a full difference
of a weight, a bias or a modulation; something of another method than LoRA."""
Section = Literal["", "transformer", "transformer_2"]
"""Which of two transformers, where a file has both: Diffusers' first one is the high-noise expert."""


class Prefix(NamedTuple):
    """What stands in front of a module. ``flat``: dots of the module are written as underscores."""

    text: str
    dialect: str
    section: Section = ""
    flat: bool = False


PREFIXES = (
    Prefix("lora_unet__", "kohya", flat=True),  # VideoX-Fun writes it with two
    Prefix("lora_unet_", "kohya", flat=True),
    Prefix("base_model.model.", "PEFT"),
    Prefix("model.diffusion_model.", "ComfyUI"),
    Prefix("diffusion_model.", "ComfyUI"),
    Prefix("unet.", "ComfyUI"),
    Prefix("transformer_2.", "Diffusers", "transformer_2"),
    Prefix("transformer.", "Diffusers", "transformer"),
    Prefix("pipe.dit2.", "DiffSynth", "transformer_2"),
    Prefix("pipe.dit.", "DiffSynth", "transformer"),
    Prefix("model.", "DiffSynth"),
    Prefix("", ""),
)
"""The first that fits counts."""

_METHODS: tuple[tuple[str, str], ...] = (
    (r"dora_scale|lora_magnitude_vector(?:\.[\w-]+)*", "DoRA"),
    (r"hada_[wt]\d(?:_[ab])?", "LoHa"),
    (r"lokr_[wt]\d(?:_[ab])?", "LoKr"),
    (r"lora_mid\.weight", "LoCon with a core between its factors"),
    (r"b?oft_\w+", "OFT"),
    (r"set_weight", "a weight that replaces the model's"),
)
"""Ends of the keys of other methods, which would be applied wrongly as a LoRA, and what they are called."""
_SUFFIXES: tuple[tuple[str, Role], ...] = (
    (r"\.lora_(?:up|B)(?:\.[\w-]+)?\.bias", "up_bias"),
    (r"\.lora_(?:down|A)(?:(?:\.[\w-]+)?\.weight)?", "down"),
    (r"\.lora_(?:up|B)(?:(?:\.[\w-]+)?\.weight)?", "up"),
    (r"[._]lora(?:_linear_layer)?\.down\.weight", "down"),
    (r"[._]lora(?:_linear_layer)?\.up\.weight", "up"),
    (r"\.alpha", "alpha"),
    (r"\.diff", "weight"),
    (r"\.diff_b", "bias"),
    (r"\.diff_m", "modulation"),
    *((rf"\.(?:{pattern})", "foreign") for pattern, _ in _METHODS),
)
"""What a key ends in. The optional word between ``lora_A`` and ``weight`` is PEFT's name of the adapter."""


class LoraKey(NamedTuple):
    """A key, taken apart. ``module`` has its original name as far as one is known, else the name in the file."""

    dialect: str
    section: Section
    module: str
    role: Role


def parse_key(name: str) -> LoraKey | None:
    """The parts of a key of a LoRA file; None if it does not end as one does."""
    for pattern, role in _suffixes():
        if match := pattern.search(name):
            stem = name[: match.start()]
            prefix = next(prefix for prefix in PREFIXES if stem.startswith(prefix.text))
            theirs = stem.removeprefix(prefix.text)
            module = (_unflattened(theirs) if prefix.flat else None) or original_name(theirs)
            return LoraKey(_dialect(prefix, theirs, module, role), prefix.section, module, role)
    return None


def _dialect(prefix: Prefix, theirs: str, module: str, role: Role) -> str:
    if prefix.dialect == "ComfyUI" and role in ("weight", "bias", "modulation"):
        return "LightX2V"
    return prefix.dialect or ("Diffusers" if module != theirs else "DiffSynth")


def method_of(name: str) -> str:
    """The method, other than LoRA, that a key is of."""
    return next(method for pattern, method in _METHODS if re.search(rf"\.(?:{pattern})$", name))


def original_name(module: str) -> str:
    """A module under its original name; as it is if it has that already, or if nothing is known of it."""
    if DIFFUSERS_DIT.to_theirs(module) is not None:
        return module
    return DIFFUSERS_DIT.to_ours(module) or module


def _unflattened(flat: str) -> str | None:
    """The original name of a module whose dots were written as underscores; its own underscores cannot be told apart
    from those but by a table of all modules."""
    for pattern, ours in _flat_rules():
        if match := pattern.fullmatch(flat):
            return ours.format(*match.groups())
    return None


@cache
def _suffixes() -> tuple[tuple[re.Pattern[str], Role], ...]:
    return tuple((re.compile(pattern + "$"), role) for pattern, role in _SUFFIXES)


@cache
def _flat_rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile(re.escape(template.replace(".", "_")).replace(r"\{\}", r"(\d+)")), ours)
        for ours, theirs in DIFFUSERS_DIT.rules
        for template in (ours, theirs)
    )

"""Which layers of a transformer may compute in eight bits, as data.

The names are groups, so that the error of each can be measured by itself (docs/lab-notes.md has it for Toybox). What is
in no group stays wide: the embeddings, whatever the noise level goes through, keys and values of text (once per prompt)
and the head, all of which together are a thousandth of the work. The first and the last block stay wide as well, as is
usual: what the first one loses every other one reads, and the last one's error is the velocity's. Toybox does not need
it over a walk, but in its early steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from filmgate.engine.models.config import DitConfig

GROUPS: Mapping[str, tuple[str, ...]] = {
    "self-attention in": ("self_attn.q", "self_attn.k", "self_attn.v"), "self-attention out": ("self_attn.o",),
    "text queries": ("cross_attn.q",), "text out": ("cross_attn.o",),
    "feed-forward in": ("ffn.0",), "feed-forward out": ("ffn.2",),
}  # fmt: skip
"""Layers of a block by group."""


def wide_blocks(config: DitConfig) -> tuple[int, ...]:
    """Blocks that stay as they are."""
    return (0, config.num_layers - 1) if config.num_layers > 2 else ()


def eight_bit_layers(config: DitConfig, groups: Iterable[str] = GROUPS, *, all_blocks: bool = False) -> list[str]:
    """Names of the layers that may, as in ``named_modules``; VACE's branch stays wide.

    Args:
        config: Of the transformer.
        groups: Of :data:`GROUPS`.
        all_blocks: Whether the first and the last block may too.
    """
    wide = () if all_blocks else wide_blocks(config)
    return [
        f"blocks.{layer}.{name}"
        for layer in range(config.num_layers)
        if layer not in wide
        for group in groups
        for name in GROUPS[group]
    ]

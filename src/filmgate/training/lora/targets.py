"""Which layers of a transformer a LoRA changes. Does not need torch.

Legend: R rows (outputs) and C columns (inputs) of a layer's weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from filmgate.spec.errors import UnknownName

_ATTENTION = r"(?:q|k|v|o|k_img|v_img)"
SETS: Mapping[str, str] = {
    "self_attention": rf"blocks\.\d+\.self_attn\.{_ATTENTION}",
    "cross_attention": rf"blocks\.\d+\.cross_attn\.{_ATTENTION}",
    "attention": rf"blocks\.\d+\.(?:self|cross)_attn\.{_ATTENTION}",
    "ffn": r"blocks\.\d+\.ffn\.[02]",
    "all": r".+",
}
"""Named sets as expressions over the original names. ``all`` adds what lies outside the blocks: the embeddings of text
and time, and the head."""


def linear_layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """Linear layers by name with (R, C), from the shapes of a transformer's tensors."""
    return {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) == 2
    }


def choose_layers(shapes: Mapping[str, tuple[int, ...]], targets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The layers that ``targets`` mean, in the order of the model, with (R, C).

    Args:
        shapes: Of all tensors of the transformer, by original names.
        targets: Names of :data:`SETS`, whole names of layers, or patterns of them with ``*``, ``?`` and ``[...]``.

    Raises:
        UnknownName: one of them means nothing in this transformer.
    """
    layers = linear_layers(shapes)
    chosen: set[str] = set()
    for target in targets:
        if target in SETS:
            found = {name for name in layers if re.fullmatch(SETS[target], name)}
        else:
            found = {name for name in layers if fnmatchcase(name, target)}
        if not found:
            first = [name for name in layers if name.startswith("blocks.0.")]
            raise UnknownName("targets", target, [*SETS, *first], noun="layer or set of layers")
        chosen |= found
    return {name: shape for name, shape in layers.items() if name in chosen}


def trainable(layers: Mapping[str, tuple[int, int]], rank: int) -> int:
    """Numbers in the factors of that rank."""
    return sum(rank * (rows + columns) for rows, columns in layers.values())

"""Lights that objects and keys describe field by field."""

from __future__ import annotations

from filmgate.direction.migration.dialects import phrases
from filmgate.direction.migration.dialects.amounts import read_amount
from filmgate.direction.migration.dialects.tree import Node, Scalar
from filmgate.direction.migration.form import Dialect, Leaf, Unit
from filmgate.direction.migration.vocabulary import Slot

ROLES = {
    "light.key": ("role", "key"), "light.fill": ("role", "fill"), "light.hair": ("role", "hair"),
    "light.rim": ("role", "rim"), "light.back": ("role", "back"),
}  # fmt: skip
"""Keys that say by themselves which light is meant."""
_SLOTS: dict[str, Slot] = {
    "source": "source", "quality": "quality", "angle": "light_angle", "contrast": "contrast",
}  # fmt: skip
_UNITS: dict[str, Unit] = {"azimuth": "deg", "elevation": "deg", "kelvin": "kelvin", "ratio": "ratio"}


def light_field(name: str, node: Scalar, dialect: Dialect) -> tuple[str, Leaf[object]]:
    """The field of a light that a named value fills, and its leaf; ``words`` where it fits no other."""
    field, excerpt = name.removeprefix("light."), node.excerpt
    own = excerpt.leaf(excerpt.words, dialect)
    if field in _SLOTS:
        term = phrases.term(_SLOTS[field], excerpt, dialect)
        if term is not None:
            return field, term
    if field in _UNITS:
        amount = read_amount(excerpt.words)
        if amount is not None and amount.unit in ("", _UNITS[field]):
            return field, excerpt.leaf(amount.model_copy(update={"unit": _UNITS[field]}), dialect)
    found = phrases.of_light(excerpt, dialect)
    if found is not None and isinstance(found.leaf, Leaf) and found.slot not in ("", "tone", "time"):
        return found.slot, found.leaf
    return (field if field in _SLOTS or field == "role" else "words"), own


def is_single(node: Node) -> bool:
    """Whether a node is one value that says something; on and off do not."""
    return isinstance(node, Scalar) and node.value not in (None, "") and not isinstance(node.value, bool)

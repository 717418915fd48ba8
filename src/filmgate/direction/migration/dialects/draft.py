"""A form in the making: parsers add to it what they find, in the order of the text."""

from __future__ import annotations

from typing import Literal

from filmgate.direction.migration.form import Beat, CameraMove, Form, Leaf, Light, Subject

Slot = Literal[
    "style", "time", "lights", "angle", "shot", "composition", "lens", "focus", "tone", "subjects", "scene", "actions",
    "camera", "prose", "quoted", "audio", "negatives", "emphasis", "timeline", "parameters", "boosters", "leftovers",
]  # fmt: skip
Item = Leaf[object] | Subject | Light | CameraMove | Beat


class Draft:
    """What was found so far."""

    def __init__(self) -> None:
        self._items: dict[Slot, list[Item]] = {}
        self._group = 0
        self.changes = 0
        """How often something was added or said of what was there."""

    def add(self, slot: Slot, item: Item) -> None:
        """Put an item behind the others of its slot."""
        self._items.setdefault(slot, []).append(item)
        self.changes += 1

    def last(self, slot: Slot) -> Item | None:
        """The newest item of a slot."""
        items = self._items.get(slot)
        return items[-1] if items else None

    def replace_last(self, slot: Slot, item: Item) -> None:
        """Put an item in the place of the newest of its slot."""
        self._items[slot][-1] = item
        self.changes += 1

    def add_moves(self, moves: list[CameraMove], *, afterwards: bool = False) -> None:
        """Camera moves, whose groups count from 0; ``afterwards``: they follow those that are there already."""
        first = self._group + 1 if afterwards and "camera" in self._items else 0
        for move in moves:
            group = move.group + first
            self._group = max(self._group, group)
            self.add("camera", move if group == move.group else move.model_copy(update={"group": group}))

    def form(self) -> Form:
        """The form of everything that was found."""
        return Form(**{slot: tuple(items) for slot, items in self._items.items()})  # type: ignore[arg-type]

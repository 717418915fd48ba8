"""Parts of a prompt that contradict each other, and what to do about them. Never one of them in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from filmgate.direction.migration.form import Amount, CameraMove, Form, Leaf, Light, Move, Parameter, Subject, Term
from filmgate.direction.migration.rules import say_kelvin, say_lens, stated_count
from filmgate.direction.migration.vocabulary import vocabulary
from filmgate.spec.shape import Frozen

Policy = Literal["error", "first", "last", "sequence"]
"""Stop; the first in the text counts; the last counts; one after the other ("first ..., then ...")."""

_OPPOSITES = frozenset({"left", "right"}), frozenset({"up", "down"}), frozenset({"in", "out"}), frozenset(
    {"clockwise", "counterclockwise"}
)  # fmt: skip
_DRAWN = ("anime", "pixel", "watercolor", "oil_painting", "ink", "cartoon_3d", "claymation", "felt", "puppet")
_EXCLUSIVE: dict[str, tuple[frozenset[str], ...]] = {
    "quality": (frozenset({"soft", "hard"}),),
    "contrast": (frozenset({"low", "high"}),),
    "tone": (
        frozenset({"warm", "cool"}),
        frozenset({"saturated", "desaturated"}),
        frozenset({"saturated", "black_and_white"}),
    ),
    "focus": (frozenset({"shallow", "deep"}),),
    "style": (
        *(frozenset({"photorealistic", drawn}) for drawn in _DRAWN),
        frozenset({"slow_motion", "time_lapse"}),
    ),
}
"""Terms of which two cannot both be. Slots that are not listed here or below may hold several."""
_SINGLE = ("time", "shot", "angle", "composition", "lens")
"""Slots in which two different terms contradict each other: one frame has one size, one lens, one time of day."""
_ALIKE = (
    frozenset({"night", "blue_hour"}), frozenset({"sunset", "dusk"}), frozenset({"dawn", "sunrise"}),
    frozenset({"sunset", "evening"}), frozenset({"dusk", "evening"}), frozenset({"morning", "sunrise"}),
    frozenset({"morning", "dawn"}), frozenset({"day", "noon"}), frozenset({"day", "morning"}),
    frozenset({"day", "afternoon"}), frozenset({"evening", "night"}), frozenset({"full", "wide"}),
    frozenset({"establishing", "wide"}), frozenset({"establishing", "extreme_wide"}),
    frozenset({"center", "symmetrical"}), frozenset({"center", "balanced"}), frozenset({"balanced", "symmetrical"}),
    frozenset({"high", "overhead"}), frozenset({"aerial", "high"}), frozenset({"aerial", "overhead"}),
    frozenset({"low", "dutch"}), frozenset({"high", "dutch"}), frozenset({"wide_angle", "anamorphic"}),
    frozenset({"long", "anamorphic"}), frozenset({"medium", "anamorphic"}), frozenset({"long", "macro"}),
)  # fmt: skip
"""Different terms that go together all the same."""
_POPULATION = frozenset({"single", "two", "three", "group"})
"""Shots named after how many are in them; each goes with any size."""


class Conflict(Frozen):
    """Parts that contradict each other: their paths and texts, in the order of the source."""

    slot: str
    paths: tuple[str, ...]
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.slot}: {' against '.join(repr(text) for text in dict.fromkeys(self.texts))}"


@dataclass
class Decision:
    """What a policy does: ``lost`` are paths that are left out, by what won; ``then`` come after the others."""

    lost: dict[str, str] = field(default_factory=dict)
    then: set[str] = field(default_factory=set)
    open: list[Conflict] = field(default_factory=list)


def find_conflicts(form: Form, prefix: str = "") -> tuple[Conflict, ...]:
    """Every contradiction within a form; stretches of a timeline are looked at on their own."""
    found = [
        *_moves(form.camera, prefix),
        *(conflict for slot in _SINGLE for conflict in _single(slot, getattr(form, slot), prefix)),
        *_pairs("tone", [*_tones(form, prefix)]),
        *_pairs("style", [(f"{prefix}style[{index}]", leaf) for index, leaf in enumerate(form.style)]),
        *_pairs("focus", [(f"{prefix}focus[{index}]", leaf) for index, leaf in enumerate(form.focus)]),
        *_lights(form.lights, prefix),
        *_parameters(form.parameters, prefix),
        *_counts(form.subjects, prefix),
    ]
    for index, beat in enumerate(form.timeline):
        found += find_conflicts(beat.content, f"{prefix}timeline[{index}].content.")
    return tuple(found)


def decide(conflicts: Iterable[Conflict], policy: Policy) -> Decision:
    """Apply a policy. Settings of the job cannot come one after the other: for them ``sequence`` leaves it open."""
    decision = Decision()
    for conflict in conflicts:
        if policy == "error" or (policy == "sequence" and conflict.slot == "settings"):
            decision.open.append(conflict)
        elif policy == "sequence":
            decision.then.update(conflict.paths[1:])
        else:
            kept = 0 if policy == "first" else len(conflict.paths) - 1
            losers = [path for index, path in enumerate(conflict.paths) if index != kept]
            decision.lost.update(dict.fromkeys(losers, conflict.texts[kept]))
    return decision


def _conflict(slot: str, parts: Sequence[tuple[str, Leaf[object]]]) -> Conflict:
    ordered = sorted(parts, key=lambda part: part[1].span)
    return Conflict(
        slot=slot,
        paths=tuple(path for path, _ in ordered),
        texts=tuple(_said(leaf) for _, leaf in ordered),
    )


def _said(leaf: Leaf[object]) -> str:
    """A part in its author's words; a move in the program's where those alone do not say it (``direction: left``)."""
    if isinstance(leaf.value, Move):
        found = vocabulary().find_move(leaf.raw)
        return leaf.raw if found is not None and found.move == leaf.value else _shown(leaf.value)
    return leaf.raw or _shown(leaf.value)


def _shown(value: object) -> str:
    if isinstance(value, Term):
        return value.name.replace("_", " ")
    if isinstance(value, Move):
        return f"{value.kind.replace('_', ' ')} {value.direction or ''}".strip()
    return f"{value.name} {value.value}" if isinstance(value, Parameter) else str(value)


def _moves(moves: tuple[CameraMove, ...], prefix: str) -> Iterator[Conflict]:
    """A camera that stands still and moves, or that goes both ways of one axis at once."""
    parts = [(f"{prefix}camera[{index}].move", move) for index, move in enumerate(moves)]
    moving = [part for part in parts if part[1].move.value.kind not in ("static", "handheld", "shake")]
    for group in dict.fromkeys(move.group for move in moves):
        still = [part for part in parts if part[1].move.value.kind == "static" and part[1].group == group]
        against = [part for part in moving if part[1].group == group]
        if still and against and all(move.begin is None for _, move in (*still, *against)):
            yield _conflict("camera", [(path, move.move) for path, move in (*still, *against)])
    at_once: dict[object, list[tuple[str, CameraMove]]] = {}
    for part in moving:
        key = (part[1].move.value.kind, part[1].group, _begin(part[1]))
        at_once.setdefault(key, []).append(part)
    for parts_at_once in at_once.values():
        yield from _manners(parts_at_once)
        ways = {move.move.value.direction for _, move in parts_at_once}
        involved = {way for axis in _OPPOSITES if axis <= ways for way in axis}
        if involved:
            clashing = [(path, move.move) for path, move in parts_at_once if move.move.value.direction in involved]
            yield _conflict("camera", clashing)


def _manners(moves: list[tuple[str, CameraMove]]) -> Iterator[Conflict]:
    """One move that is said to be done in two ways: slowly and fast."""
    for way in dict.fromkeys(move.move.value.direction for _, move in moves):
        same = [(path.rpartition(".")[0], move) for path, move in moves if move.move.value.direction == way]
        for name in ("speed", "magnitude", "easing"):
            said = [(f"{path}.{name}", leaf) for path, move in same if (leaf := getattr(move, name)) is not None]
            if len({leaf.raw for _, leaf in said}) > 1:
                yield _conflict(f"camera {name}", said)


def _begin(move: CameraMove) -> float | None:
    return None if move.begin is None else move.begin.value.value


def _single(slot: str, leaves: Sequence[Leaf[object]], prefix: str) -> Iterator[Conflict]:
    parts = [(f"{prefix}{slot}[{index}]", leaf) for index, leaf in enumerate(leaves)]
    named = [(part, name) for part in parts if (name := _name(part[1].value))]
    involved = {
        path
        for (first, one), (second, other) in combinations(named, 2)
        if _clash(one, other)
        for path in (first[0], second[0])
    }
    if involved:
        yield _conflict(slot, [part for part in parts if part[0] in involved])


def _name(value: object) -> str:
    """The term that a value is, or that its number means; empty for an author's own words."""
    if isinstance(value, Amount):
        return say_lens(value).term if value.unit == "mm" else say_kelvin(value).term if value.unit == "kelvin" else ""
    return value.name if isinstance(value, Term) else ""


def _clash(first: str, second: str) -> bool:
    if first == second or frozenset({first, second}) in _ALIKE:
        return False
    return (first in _POPULATION) == (second in _POPULATION)


def _pairs(slot: str, parts: Sequence[tuple[str, Leaf[object]]]) -> Iterator[Conflict]:
    for pair in _EXCLUSIVE[slot]:
        involved = [part for part in parts if _name(part[1].value) in pair]
        if len({_name(part[1].value) for part in involved}) == 2:
            yield _conflict(slot, involved)


def _tones(form: Form, prefix: str) -> Iterator[tuple[str, Leaf[object]]]:
    """Tones that are named, and the colour temperature of the light as a whole."""
    yield from ((f"{prefix}tone[{index}]", leaf) for index, leaf in enumerate(form.tone))
    for index, light in enumerate(form.lights):
        if light.kelvin is not None and light.role is None:
            yield f"{prefix}lights[{index}].kelvin", light.kelvin


def _counts(subjects: tuple[Subject, ...], prefix: str) -> Iterator[Conflict]:
    """A number in the name of a subject against the count beside it."""
    for index, subject in enumerate(subjects):
        stated = stated_count(subject.name.value)
        if subject.count is not None and stated is not None and stated[0] != subject.count.value:
            path = f"{prefix}subjects[{index}]"
            yield _conflict("count", [(f"{path}.name", subject.name), (f"{path}.count", subject.count)])


def _lights(lights: tuple[Light, ...], prefix: str) -> Iterator[Conflict]:
    """Two qualities or contrasts of the light as a whole; lights with roles of their own may differ."""
    common = [(index, light) for index, light in enumerate(lights) if light.role is None and light.side is None]
    for slot in ("quality", "contrast"):
        parts = [(f"{prefix}lights[{index}].{slot}", getattr(light, slot)) for index, light in common]
        yield from _pairs(slot, [part for part in parts if part[1] is not None])


def _parameters(parameters: tuple[Leaf[Parameter], ...], prefix: str) -> Iterator[Conflict]:
    by_name: dict[str, list[tuple[str, Leaf[object]]]] = {}
    for index, leaf in enumerate(parameters):
        if leaf.value.name != "lora":
            by_name.setdefault(leaf.value.name, []).append((f"{prefix}parameters[{index}]", leaf))
    for parts in by_name.values():
        if len({str(leaf.value) for _, leaf in parts}) > 1:
            yield _conflict("settings", parts)

"""Prompts in plain words outside the captions' grammar, written by hand, and what each of them states.

Words of :mod:`.world.attributes` say what is expected; what a prompt leaves open is not scored. Legend: V clips, S
object slots.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filmgate.spec.errors import UnknownName
from filmgate.training.readers import Reading
from filmgate.training.truth import matched_slots, relation_holds
from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import Catalogue

_SEED = 5000
_NAMES = {
    "motion": a.MOTIONS, "relation": a.RELATIONS, "camera": a.CAMERAS, "light": tuple(a.LIGHTS),
    "ground": tuple(a.GROUNDS), "weather": a.WEATHERS, "hat": tuple(a.COLOURS), "material": a.MATERIALS,
    "or_light": tuple(a.LIGHTS),
}  # fmt: skip
_TABLES = {
    "motion": "motions", "relation": "relations", "camera": "cameras", "light": "lights", "ground": "grounds",
    "weather": "weathers", "material": "materials",
}  # fmt: skip
"""Of a world, what each fact is one of."""


@dataclass(frozen=True)
class Paraphrase:
    """A prompt, the seed to paint it with, and the facts that it states; None and () are left open.

    ``objects`` are pairs of colour and shape; ``colours`` and ``shapes`` are of prompts that state only one of the two.
    ``hat`` is a colour, of the only character; ``material`` that of the only object.
    ``or_light`` is another light that the words may mean, in a world that has it.
    """

    prompt: str
    seed: int
    count: int
    objects: tuple[tuple[str, str], ...] = ()
    colours: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    motion: str | None = None
    relation: str | None = None
    camera: str | None = None
    light: str | None = None
    ground: str | None = None
    weather: str | None = None
    hat: str | None = None
    material: str | None = None
    or_light: str | None = None


def in_world(asked: Sequence[Paraphrase], world: Catalogue) -> list[Paraphrase]:
    """Those that state nothing which a world does not have."""
    return [one for one in asked if _fits(one, world)]


def _fits(one: Paraphrase, world: Catalogue) -> bool:
    stated = {name: getattr(one, name) for name in _TABLES}
    shapes = (*one.shapes, *(shape for _, shape in one.objects))
    return (
        all(value is None or value in getattr(world, _TABLES[name]) for name, value in stated.items())
        and set(shapes) <= set(world.shapes)
        and (one.hat is None or world.rich)
    )


def read_paraphrases(path: Path) -> list[Paraphrase]:
    """The prompts of a file with one JSON object a line: ``prompt`` and ``expect``.

    Raises:
        UnknownName: something is expected that the toy world does not have.
    """
    return [_paraphrase(json.loads(line), _SEED + n) for n, line in enumerate(path.read_text().splitlines())]


def _paraphrase(entry: dict[str, Any], seed: int) -> Paraphrase:
    expect = entry["expect"]
    objects = tuple((colour, shape) for colour, shape in expect.get("objects", ()))
    colours, shapes = tuple(expect.get("colours", ())), tuple(expect.get("shapes", ()))
    for colour in (*colours, *(colour for colour, _ in objects)):
        _check("colour", colour, tuple(a.COLOURS))
    for shape in (*shapes, *(shape for _, shape in objects)):
        _check("shape", shape, a.SHAPES)
    named = {name: expect[name] for name in _NAMES if name in expect}
    for name, value in named.items():
        _check(name, value, _NAMES[name])
    return Paraphrase(entry["prompt"], seed, expect["count"], objects, colours, shapes, **named)


def _check(field: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UnknownName(field, name, known)


def facts_found(reading: Reading, clip: int, asked: Paraphrase) -> dict[str, bool]:
    """Which of the stated facts the clip shows, by their names.

    ``objects`` (and ``colours``, ``shapes``) are all there, each as often as it is asked for; ``motion`` is that of
    every object that is seen.
    """
    count = min(int(reading.scene["count"][clip]), a.SLOTS)
    seen = [
        (list(a.COLOURS)[int(reading.objects["colour"][clip, s])], a.SHAPES[int(reading.objects["shape"][clip, s])])
        for s in range(count)
    ]
    found = {"count": count == asked.count}
    for name, wanted, there in (
        ("objects", asked.objects, seen),
        ("colours", asked.colours, [colour for colour, _ in seen]),
        ("shapes", asked.shapes, [shape for _, shape in seen]),
    ):
        if wanted:
            found[name] = Counter(wanted) <= Counter(there)
    if asked.motion is not None:
        motions = [a.MOTIONS[int(reading.objects["motion"][clip, s])] for s in range(count)]
        found["motion"] = bool(motions) and set(motions) == {asked.motion}
    for name, table in (("hat", tuple(a.COLOURS)), ("material", a.MATERIALS)):
        stated = getattr(asked, name)
        if stated is not None:
            found[name] = bool(seen) and int(reading.objects[name][clip, 0]) == table.index(stated)
    if asked.relation in a.INTERACTIONS:
        found["relation"] = int(reading.scene["interaction"][clip]) == 1 + a.INTERACTIONS.index(asked.relation)
    elif asked.relation is not None:
        slots = matched_slots(reading, clip, asked.objects)
        found["relation"] = slots is not None and relation_holds(reading, clip, asked.relation, *slots)
    for name in ("camera", "light", "ground", "weather"):
        stated = getattr(asked, name)
        if stated is not None:
            may_be = (stated, asked.or_light) if name == "light" else (stated,)
            found[name] = _NAMES[name][int(reading.scene[name][clip])] in may_be
    return found

"""Sentences that are true of a scene: a clause grammar with synonyms, free order and optional clauses.

A clause is only ever said of what the labels state, and :func:`filmgate.training.world.scenes.sample_scenes` chooses
scenes in which the labels show in the middle of the clip. It draws a bounded number of times, so that in a few scenes
(less than two in a thousand, as the tests count) something that a caption names is out of view or hidden there.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from filmgate.training.world import attributes as a
from filmgate.training.world import lexicon as lex
from filmgate.training.world.scenes import Labels

_INVERSE = {"left of": "right of", "right of": "left of", "behind": "in front of", "in front of": "behind"}


class Thing(NamedTuple):
    """One object in words of ``attributes``."""

    colour: str
    shape: str
    material: str
    size: str
    motion: str


class Facts(NamedTuple):
    """One scene in words of ``attributes``: what a caption may say, and what a reader should find."""

    things: tuple[Thing, ...]
    alike: bool
    relation: str | None
    camera: str
    light: str
    ground: str


def facts(labels: Labels) -> list[Facts]:
    """Labels of V scenes as V plain values."""
    rows: dict[str, Any] = {name: tensor.tolist() for name, tensor in labels._asdict().items()}
    colours, lights, grounds = list(a.COLOURS), list(a.LIGHTS), list(a.GROUNDS)
    result = []
    for v, count in enumerate(rows["count"]):
        things = tuple(
            Thing(
                colours[rows["colour"][v][s]],
                a.SHAPES[rows["shape"][v][s]],
                a.MATERIALS[rows["material"][v][s]],
                a.SIZES[rows["size"][v][s]],
                a.MOTIONS[rows["motion"][v][s]],
            )
            for s in range(count)
        )
        alike = bool(rows["alike"][v])
        relation = a.RELATIONS[rows["relation"][v]] if count >= 2 and not alike else None
        result.append(
            Facts(
                things,
                alike,
                relation,
                a.CAMERAS[rows["camera"][v]],
                lights[rows["light"][v]],
                grounds[rows["ground"][v]],
            )
        )
    return result


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


class Captioner:
    """Writes captions with its own random source; the same seed writes the same captions.

    Args:
        plain: Canonical words, every clause, no noise: the form that tests and the model card use.
        complete: Free words and order, but every clause is said and nothing is misspelt: what truth is measured on.
    """

    def __init__(self, seed: int | str, *, plain: bool = False, complete: bool = False) -> None:
        self.random = random.Random(seed)
        self.plain = plain
        self.complete = plain or complete

    def __call__(self, scene: Facts) -> str:
        """One caption of ``scene``."""
        if not self.complete and self._chance(0.12):
            return self._finish(self._tags(scene))
        places = [
            clause
            for clause, keep in (
                (self._pick(lex.GROUNDS[scene.ground]), 0.72),
                (self._pick(lex.LIGHTS[scene.light]), 0.75),
            )
            if self._chance(keep)
        ]
        self._shuffle(places)
        body = self._body(scene)
        if not self.plain and places and self.random.random() < 0.2:
            text = f"{places[0]}, {_join(body, *places[1:])}"
        elif not self.plain and self.random.random() < 0.15:
            text = ", ".join([body, *places])
        else:
            text = _join(body, *places)
        if not self.plain and text.startswith(("a ", "an ")) and self.random.random() < 0.18:
            text = f"{self._pick(lex.OPENINGS)} {text}"
        camera = self._camera(scene.camera)
        if camera:
            forms = (
                f"{text}, {camera}",
                f"{text}. {camera}",
                f"{camera}: {text}",
                f"{camera}, {text}",
                f"{text}, as {camera}",
            )
            text = self._pick(forms)
        if not self.complete and self.random.random() < 0.2:
            adornment = self._pick(lex.ADORNMENTS)
            text = self._pick((f"{adornment}, {text}", f"{text}, {adornment}"))
        return self._finish(text)

    def _pick(self, options: tuple[Any, ...]) -> Any:
        return options[0] if self.plain else self.random.choice(options)

    def _chance(self, probability: float) -> bool:
        """Whether to say something that may be left out."""
        return self.complete or self.random.random() < probability

    def _shuffle(self, items: list[str]) -> None:
        if not self.plain:
            self.random.shuffle(items)

    def _looks(self, thing: Thing, *, plural: bool = False) -> str:
        """ "large striped red ball", with the adjectives in any natural order, some of them left out."""
        colour, noun = self._pick(lex.COLOURS[thing.colour]), self._pick(lex.SHAPES[thing.shape])[plural]
        size = "" if thing.size == "medium" and self.plain else self._pick(lex.SIZES[thing.size])
        material = self._pick(lex.MATERIALS[thing.material])
        if self.plain or self.random.random() < 0.8:
            return _join(size, material, colour, noun)
        return _join(size, colour, material, noun)

    def _verb(self, thing: Thing, *, plural: bool = False) -> str:
        """What the object does; empty where resting goes without saying."""
        motion = thing.motion
        if motion == "still" and not self.complete and self.random.random() < 0.45:
            return ""
        verbs = lex.MOTIONS.get(motion, ())
        direction = ""
        if motion in lex.DIRECTIONS and (motion in ("left", "right") or self.random.random() < 0.8):
            rolls = thing.shape == "ball" and motion in ("left", "right") and self._chance(0.7)
            verbs = lex.ROLL if rolls else lex.GO
            direction = self._pick(lex.DIRECTIONS[motion])
        third, base, gerund = self._pick(verbs)
        adverb = "" if self.plain or motion == "still" or self.random.random() < 0.75 else self._pick(lex.SPEEDS)
        form = 0 if self.plain else self.random.choices((0, 1, 2), (6, 2, 1))[0]
        finite = base if plural else third
        progressive = finite if third.startswith("is ") else f"{'are' if plural else 'is'} {gerund}"
        verb = (finite, progressive, gerund)[form]
        return _join(verb, direction, adverb)

    def _body(self, scene: Facts) -> str:
        if not scene.things:
            empty: str = self._pick(
                ("an empty landscape", "nothing but the empty ground", "an empty field", "no objects")
            )
            return empty
        if scene.alike:
            return self._group(scene.things)
        if len(scene.things) == 1:
            thing = scene.things[0]
            return _join(_with_article(self._looks(thing)), self._verb(thing))
        return self._several(scene)

    def _group(self, things: tuple[Thing, ...]) -> str:
        count = len(things)
        together = "" if self.plain else self._pick(lex.GROUPED)
        return _join(
            self._pick(lex.NUMBERS[count]),
            self._looks(things[0], plural=True),
            self._verb(things[0], plural=True),
            together,
        )

    def _several(self, scene: Facts) -> str:
        first, second, *rest = scene.things
        relation = scene.relation or "left of"
        tail = ""
        for thing in rest:
            link = self._pick((" and ", ", with ", ", also "))
            tail += f"{link}{_with_article(self._looks(thing))} {self._verb(thing)}".rstrip()
        a_first, a_second = _with_article(self._looks(first)), _with_article(self._looks(second))
        if first.motion in ("left", "right") and relation in lex.PAST:
            return _join(a_first, self._verb(first), self._pick(lex.PAST[relation]), a_second) + tail
        if self._chance(0.8):
            if not self.plain and self.random.random() < 0.5:
                first, second, a_first, a_second = second, first, a_second, a_first
                relation = _INVERSE[relation]
            verb = self._verb(first) or self._pick(("", "is", "stands"))
            return _join(a_first, verb, self._pick(lex.RELATIONS[relation]), a_second, self._aside(second)) + tail
        return f"{_join(a_first, self._verb(first))} and {_join(a_second, self._verb(second))}{tail}"

    def _aside(self, thing: Thing) -> str:
        """The second object's own motion, said after it."""
        if thing.motion == "still":
            return ""
        return (
            f"that {self._verb(thing._replace(shape='cube'))}"
            if self.complete or self.random.random() < 0.5
            else self.random.choice(lex.MOTIONS[thing.motion])[2]
        )

    def _camera(self, camera: str) -> str:
        if camera == "static" and self.random.random() < (0.0 if self.complete else 0.55):
            return ""
        phrase: str = self._pick(lex.CAMERAS[camera])
        adverb = "" if self.plain or camera == "static" or self.random.random() < 0.8 else self._pick(lex.SPEEDS)
        return _join(phrase, adverb)

    def _tags(self, scene: Facts) -> str:
        """Keyword style: "red ball, blue cube, sunset"."""
        if scene.alike:
            tags = [f"{len(scene.things)} {self._looks(scene.things[0], plural=True)}"]
        else:
            tags = [
                _join(self._looks(thing), self._verb(thing) if self.random.random() < 0.4 else "")
                for thing in scene.things
            ]
        extras = [self._pick(lex.LIGHTS[scene.light]), self._pick(lex.GROUNDS[scene.ground])]
        if scene.camera != "static":
            extras.append(self._pick(lex.CAMERAS[scene.camera]))
        return ", ".join(tags + [extra for extra in extras if self.random.random() < 0.5]) or "empty landscape"

    def _finish(self, text: str) -> str:
        if self.plain:
            return text
        if not self.complete and self.random.random() < 0.03 and len(text) > 12:
            spot = self.random.randrange(1, len(text) - 1)
            text = text[:spot] + text[spot + 1 :]
        if self.random.random() < 0.4:
            text = text[0].upper() + text[1:]
        return text + ("." if self.random.random() < 0.35 else "")

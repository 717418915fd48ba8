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
from filmgate.training.world.aesthetics import aesthetics_of
from filmgate.training.world.catalogue import FIRST, Catalogue
from filmgate.training.world.scenes import Labels

_INVERSE = {"left of": "right of", "right of": "left of", "behind": "in front of", "in front of": "behind"}


STATED = 4
"""Aesthetic terms that a caption says at most, as Wan's own prompt expander does."""
_WAN_FORM = 0.6
"""Share of captions with such terms that begin with them, as prompts for Wan 2.2 do."""


class Thing(NamedTuple):
    """One object in words of ``attributes``. Only a character has colours for hat (if any), head and limbs."""

    colour: str
    shape: str
    material: str
    size: str
    motion: str
    hat: str | None = None
    head: str | None = None
    limbs: str | None = None


class Facts(NamedTuple):
    """One scene in words of ``attributes``: what a caption may say, and what a reader should find.

    ``aesthetics`` are pairs of a slot of :data:`.catalogue.AESTHETICS` and a name in it.
    """

    things: tuple[Thing, ...]
    alike: bool
    relation: str | None
    camera: str
    light: str
    ground: str
    weather: str = "clear"
    pace: str = "normal"
    angle: str = "eye-level"
    aesthetics: tuple[tuple[str, str], ...] = ()


def facts(labels: Labels, world: Catalogue = FIRST) -> list[Facts]:
    """Labels of V scenes as V plain values."""
    rows: dict[str, Any] = {name: tensor.tolist() for name, tensor in labels._asdict().items()}
    colours, lights, grounds = list(a.COLOURS), list(a.LIGHTS), list(a.GROUNDS)
    named = [lights[number] for number in rows["light"]]
    film = aesthetics_of(labels, named) if world.clauses else [()] * len(named)
    result = []
    for v, count in enumerate(rows["count"]):
        things = tuple(
            Thing(
                colours[rows["colour"][v][s]],
                a.SHAPES[rows["shape"][v][s]],
                a.MATERIALS[rows["material"][v][s]],
                a.SIZES[rows["size"][v][s]],
                a.MOTIONS[rows["motion"][v][s]],
                *(_own_colours(rows, v, colours) if s == 0 else ()),
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
                a.WEATHERS[rows["weather"][v]],
                a.PACES[rows["pace"][v]],
                a.ANGLES[rows["angle"][v]],
                tuple(pair for pair in film[v] if pair[0] in world.clauses),
            )
        )
    return result


def with_few_terms(scenes: list[Facts], seed: int | str) -> list[Facts]:
    """The same scenes with at most :data:`STATED` aesthetic terms each, or one less beside several objects, chosen by
    chance: what a complete prompt can state and still fit the text length."""
    source = random.Random(f"terms {seed}")
    few = []
    for scene in scenes:
        count, limit = len(scene.aesthetics), STATED - (len(scene.things) > 1)
        kept = sorted(source.sample(range(count), min(limit, count)))
        few.append(scene._replace(aesthetics=tuple(scene.aesthetics[i] for i in kept)))
    return few


def _own_colours(rows: dict[str, Any], v: int, colours: list[str]) -> tuple[str | None, ...]:
    """Hat, head and limbs of object 0 if it is a character."""
    if a.SHAPES[rows["shape"][v][0]] not in a.CHARACTERS:
        return ()
    hat = rows["hat"][v]
    return (None if hat == a.NO_HAT else colours[hat], colours[rows["head"][v]], colours[rows["limbs"][v]])


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _in_view(options: tuple[str, ...], scene: Facts) -> tuple[str, ...]:
    """Without what names the sky, where the camera looks down or mist hides it."""
    if scene.angle not in ("high", "overhead") and scene.weather == "clear":
        return options
    return tuple(words for words in options if not any(above in words for above in lex.ABOVE)) or options


class Captioner:
    """Writes captions with its own random source; the same seed writes the same captions.

    Args:
        plain: Canonical words, every clause, no noise: the form that tests and the model card use.
        complete: Free words and order, but every clause is said and nothing is misspelt: what truth is measured on.
    """

    def __init__(
        self, seed: int | str, *, plain: bool = False, complete: bool = False, world: Catalogue = FIRST
    ) -> None:
        self.random = random.Random(seed)
        self.plain = plain
        self.complete = plain or complete
        self.rich, self.camera_said = world.rich, world.camera_said
        self.cameras = lex.RICH_CAMERAS if world.rich else lex.CAMERAS
        self.lights = lex.RICH_LIGHTS if world.rich else lex.LIGHTS

    def __call__(self, scene: Facts) -> str:
        """One caption of ``scene``."""
        if self.rich:
            return self._rich(scene)
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

    def _silent(self) -> bool:
        """Whether nothing is said of the camera in this caption, however complete; nothing is drawn where all speak."""
        return self.camera_said < 1 and self.random.random() >= self.camera_said

    def _shuffle(self, items: list[str]) -> None:
        if not self.plain:
            self.random.shuffle(items)

    def _looks(self, thing: Thing, *, plural: bool = False) -> str:
        """ "large striped red ball", with the adjectives in any natural order, some of them left out."""
        colour, noun = self._pick(lex.COLOURS[thing.colour]), self._pick(lex.SHAPES[thing.shape])[plural]
        size = "" if thing.size == "medium" and self.plain else self._pick(lex.SIZES[thing.size])
        material = self._pick(lex.MATERIALS[thing.material])
        if thing.shape in a.COMPOUND:
            worn = self._pick(lex.HATS).format(self._pick(lex.COLOURS[thing.hat])) if thing.hat else ""
            return _join(size, colour, noun, worn if self._chance(0.6) else "")
        if self.plain or self.random.random() < 0.8:
            return _join(size, material, colour, noun)
        return _join(size, colour, material, noun)

    def _verb(self, thing: Thing, *, plural: bool = False) -> str:
        """What the object does; empty where resting goes without saying."""
        motion = thing.motion
        if motion == "still" and not self.complete and self.random.random() < 0.45:
            return ""
        verbs = lex.MOTIONS.get(motion, ())
        if motion == "still" and thing.shape in a.COMPOUND:
            verbs = lex.UPRIGHT
        direction = ""
        if motion in lex.DIRECTIONS and (motion in ("left", "right") or self.random.random() < 0.8):
            rolls = thing.shape == "ball" and motion in ("left", "right") and self._chance(0.7)
            verbs = lex.ROLL if rolls else lex.WALK if thing.shape in a.CHARACTERS else lex.GO
            direction = self._pick(lex.DIRECTIONS[motion])
        third, base, gerund = self._pick(verbs)
        # Speeds of objects are not labelled: in a world that labels those of cameras, none is made up.
        silent = self.rich or self.plain or motion == "still"
        adverb = "" if silent or self.random.random() < 0.75 else self._pick(lex.SPEEDS)
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
        if relation in a.INTERACTIONS:
            return self._interaction(relation, first, a_first, a_second) + tail
        if first.motion in ("left", "right") and relation in lex.PAST:
            return _join(a_first, self._verb(first), self._pick(lex.PAST[relation]), a_second) + tail
        if self._chance(0.8):
            if not self.plain and self.random.random() < 0.5:
                first, second, a_first, a_second = second, first, a_second, a_first
                relation = _INVERSE[relation]
            verb = self._verb(first) or self._pick(("", "is", "stands"))
            return _join(a_first, verb, self._pick(lex.RELATIONS[relation]), a_second, self._aside(second)) + tail
        return f"{_join(a_first, self._verb(first))} and {_join(a_second, self._verb(second))}{tail}"

    def _interaction(self, relation: str, first: Thing, a_first: str, a_second: str) -> str:
        if relation == "follows":
            direction = self._pick(lex.DIRECTIONS[first.motion]) if self._chance(0.85) else ""
            if self.plain or self.random.random() < 0.6:
                return _join(a_first, self._pick(lex.FOLLOWED), a_second, direction)
            return _join(a_first, self._verb(first), self._pick(lex.RELATIONS[relation]), a_second)
        if relation == "bounces off":
            verb = self._pick(lex.MOTIONS["rebound"])[0]
            return _join(a_first, verb, self._pick(lex.RELATIONS[relation]), a_second, self._pick(lex.OFF))
        verb = self._verb(first) if first.motion != "still" else self._pick(("stands", "is", "rests", ""))
        return _join(a_first, verb, self._pick(lex.RELATIONS[relation]), a_second)

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

    def _rich(self, scene: Facts) -> str:
        """As other captions, with weather, the pace of the camera and terms of film: in front, as prompts for Wan 2.2
        have them, or at the end."""
        terms = self._terms(scene)
        if not self.complete and self._chance(0.12):
            return self._finish(", ".join([*terms, self._tags(scene)]))
        clauses = [(self._pick(lex.GROUNDS[scene.ground]), 0.72), (self._lit(scene), 0.75)]
        if scene.weather != "clear":
            clauses.append((self._pick(lex.WEATHERS[scene.weather]), 0.8))
        places = [clause for clause, keep in clauses if self._chance(keep)]
        self._shuffle(places)
        text = _join(self._body(scene), *places)
        if not self.complete and text.startswith(("a ", "an ")) and self.random.random() < 0.12:
            text = f"{self._pick(lex.OPENINGS)} {text}"
        still = scene.camera == "free" or (scene.camera == "static" and not self._chance(0.45)) or self._silent()
        camera = "" if still else self._moved(scene)
        if terms and (self.plain or self.random.random() < _WAN_FORM):
            if not self.complete and scene.light in lex.DAYTIMES and self.random.random() < 0.25:
                terms.insert(0, self._pick(lex.DAYTIMES[scene.light]))
            text = ". ".join(part[0].upper() + part[1:] for part in (", ".join(terms), text, camera) if part)
        else:
            forms = ("{0}, {1}", "{0}. {1}", "{1}: {0}", "{1}, {0}") if camera else ("{0}",)
            text = ", ".join([self._pick(forms).format(text, camera), *terms])
        if not self.complete and self.random.random() < 0.12:
            text = f"{text}, {self._pick(lex.RICH_ADORNMENTS)}"
        return self._finish(text)

    def _terms(self, scene: Facts) -> list[str]:
        """Words of the aesthetic terms that are said, in the order of their slots."""
        said = list(scene.aesthetics)
        if not self.complete:
            wanted = self.random.choices(range(STATED + 1), (30, 15, 20, 20, 15))[0]
            chosen = self.random.sample(range(len(said)), min(wanted, len(said)))
            said = [said[i] for i in sorted(chosen)]
        return [self._pick(_in_view(lex.AESTHETICS[slot][name], scene)) for slot, name in said]

    def _lit(self, scene: Facts) -> str:
        """The light in words."""
        words: str = self._pick(_in_view(self.lights[scene.light], scene))
        return words

    def _moved(self, scene: Facts) -> str:
        """The camera's move in words, with its pace."""
        phrase: str = self._pick(self.cameras[scene.camera])
        if not self.rich or scene.camera in ("static", "handheld", "follow"):
            return phrase
        pace = self._pick(lex.PACES[scene.pace])
        if phrase.startswith("the camera ") and not phrase.startswith("the camera is") and self._front():
            return _join("the camera", pace, phrase.removeprefix("the camera "))
        return _join(phrase, pace)

    def _front(self) -> bool:
        return self.plain or self.random.random() < 0.5

    def _tags(self, scene: Facts) -> str:
        """Keyword style: "red ball, blue cube, sunset"."""
        if scene.alike:
            tags = [f"{len(scene.things)} {self._looks(scene.things[0], plural=True)}"]
        else:
            tags = [
                _join(self._looks(thing), self._verb(thing) if self.random.random() < 0.4 else "")
                for thing in scene.things
            ]
        extras = [self._lit(scene), self._pick(lex.GROUNDS[scene.ground])]
        if scene.camera not in ("static", "free"):
            extras.append(self._moved(scene))
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

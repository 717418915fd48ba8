"""Forms drawn at random from the vocabulary and from words that no vocabulary knows."""

from __future__ import annotations

import random
from collections import Counter

from filmgate.direction.migration.dialects.axes import FULL
from filmgate.direction.migration.dialects.camera_files import USUAL_SPEED
from filmgate.direction.migration.form import (
    Amount,
    Beat,
    CameraMove,
    Emphasis,
    Form,
    Leaf,
    Light,
    Move,
    Parameter,
    Subject,
    Term,
    slots,
)
from filmgate.direction.migration.vocabulary import SPEEDS, Slot, vocabulary

NAMES = (
    "a red ball", "two grey wolves", "the dancer's daughter", "an old man with a cane", "一只红色的狐狸", "a 🦊 mascot",
    "a half-open umbrella", "a blue cube", "Ángel, the baker",
    "a dog named \"Rex\"", "a chef (retired)",
)  # fmt: skip
ATTRIBUTES = ("tired", "wet fur", "golden crown", "striped", "left-handed", "戴着帽子", "very tall")
SCENES = (
    "a beach, wet sand", "an empty library", "a market in Marrakesh", "海边的小镇", "a workshop full of clocks",
    "under the bridge; fog rising", "a kitchen at Anna's house",
)  # fmt: skip
ACTIONS = (
    "rolls past the cube", "jumps over a puddle, then laughs", "reads a letter", "慢慢地走过大桥",
    "waits for the train",
)  # fmt: skip
SENTENCES = (
    "A red ball rolls past a blue cube.", "An old woman feeds pigeons in the square.", "Leaves drift across the lake!",
    "一只狐狸跑过雪地。", "He waits, then he laughs.", "The letters on the door read \"OPEN\".", "Dr. Lee waves.",
    "Two kites tangle above the pier.", "Rain drums on a tin roof.", "An astronaut plants a small tree.",
    "The baker dusts flour from her hands.", "Snow slides off a pine branch.",
)  # fmt: skip
FRAGMENTS = ("red ball", "old lighthouse", "wet cobblestones", "girl in a raincoat", "蓝色的立方体", "pine forest")
UNWANTED = ("blurry", "extra fingers", "watermark", "people", "文字", "low resolution faces")
BOOSTERS = ("masterpiece", "best quality", "8k", "highly detailed", "杰作")
OWN_WORDS = ("oil on copper", "teal and orange", "like an old postcard", "brutalist", "像旧照片")
LIGHT_WORDS = ("glow of a hundred lanterns", "flickering signs through blinds", "reflections off the pool")
TITLES = ("OPEN", "Chez Marie", "欢迎", "50% off")
SOUNDS = ("birdsong", "distant thunder", "a cello, far away")
MOVES = tuple(move for move in vocabulary().moves if (move.kind, move.direction) != ("whip_pan", None))


def leaf(value):
    """A leaf that knows nothing but its value."""
    return Leaf(value=value)


class Sampler:
    """Draws forms; the same seed draws the same.

    ``moves`` are those that the camera may make, ``scale`` the dialect whose numbers they have ("" for any): dialects
    that know few moves are asked for those more often.
    """

    def __init__(self, seed: int, moves: tuple[Move, ...] = MOVES, scale: str = "") -> None:
        self.random = random.Random(seed)
        self.moves = moves
        self.scale = scale

    def some(self, pool, most: int) -> list:
        """Up to ``most`` different entries, often none."""
        count = min(self.random.choice((0, 0, 1, 1, 2, 3)), most, len(pool))
        return self.random.sample(list(pool), count)

    def terms(self, slot: Slot, *, own: bool = True) -> tuple[Leaf, ...]:
        """Terms of a slot, sometimes an author's own words."""
        chosen = [Term(name=name) for name in self.some(vocabulary().terms[slot], 2)]
        if own and self.random.random() < 0.2:
            chosen.append(self.random.choice(OWN_WORDS))
        return tuple(leaf(value) for value in chosen)

    def number(self, low: float, high: float) -> float:
        """A number as people write them, never 0."""
        value = round(self.random.uniform(low, high), self.random.choice((0, 1, 2))) or high
        return int(value) if value == int(value) else value

    def amount(self) -> Amount:
        """A speed or distance."""
        if self.random.random() < 0.3:
            name = self.random.choice(SPEEDS)
            return Amount(unit="word", word=vocabulary().speeds[name].words["en"][0])
        unit, high = self.random.choice((("", 5), ("deg/s", 90), ("m/s", 3), ("deg", 90), ("m", 9), ("percent", 90)))
        return Amount(value=self.number(0.01, high), unit=unit)

    def move(self, group: int) -> CameraMove:
        """A camera move with what may be said of it, on one of the scales of the dialects."""
        move = self.random.choice(self.moves)
        speed = self._scaled(move) if self.scale else self.random.choice((None, self.amount(), self._scaled(move)))
        easing = self.random.choice((None, None, Term(name=self.random.choice(list(vocabulary().terms["easing"])))))
        begin = self.random.choice((None, None, self.random.randint(1, 40)))
        end = self.random.choice((None, (begin or 0) + self.random.randint(2, 60)))
        unit = self.random.choice(("s", "frame"))
        return CameraMove(
            move=leaf(move),
            speed=None if speed is None else leaf(speed),
            magnitude=self.random.choice((None, None, leaf(self.amount()))),
            easing=None if easing is None else leaf(easing),
            begin=None if begin is None else leaf(Amount(value=begin, unit=unit)),
            end=None if end is None else leaf(Amount(value=end, unit=unit)),
            group=group,
        )

    def _scaled(self, move: Move) -> Amount:
        choices = [Amount(value=self.number(0.25, FULL), full=FULL)]
        choices.append(Amount(value=round(self.random.uniform(0.001, 0.05), 4), full=2 * USUAL_SPEED))
        if self.scale in ("axes", "directions"):
            return choices[self.scale == "directions"]
        if self.scale == "frames":
            choices.clear()
        if move.kind in ("truck", "pedestal", "dolly"):
            choices.append(Amount(value=self.number(0.1, 12), unit="px/frame"))
        if move.kind in ("pan", "tilt", "roll"):
            choices.append(Amount(value=self.number(0.1, 4), unit="deg/frame"))
        if move.kind == "zoom":
            factor = self.random.choice((1.02, 1.04, 1.1) if move.direction == "in" else (0.98, 0.95))
            choices.append(Amount(value=factor, unit="x/frame"))
        return self.random.choice(choices)

    def camera(self) -> tuple[CameraMove, ...]:
        """Up to three moves, together or one after the other."""
        groups = self.random.choice(((), (0,), (0,), (0, 0), (0, 1), (0, 0, 1), (0, 1, 2)))
        if self.scale == "directions":  # one move after the other has no notation there
            groups = self.random.choice(((0,), (0, 0)))
        return tuple(self.move(group) for group in groups)

    def light(self) -> Light:
        """A light of one field, of several, or in the author's words."""
        if self.random.random() < 0.2:
            return Light(words=leaf(self.random.choice(LIGHT_WORDS)))
        pick = self.random.choice
        values = {
            "role": pick(("key", "fill", "hair", "background")),
            "source": Term(name=pick(list(vocabulary().terms["source"]))),
            "quality": Term(name=pick(list(vocabulary().terms["quality"]))),
            "angle": Term(name=pick(list(vocabulary().terms["light_angle"]))),
            "contrast": Term(name=pick(list(vocabulary().terms["contrast"]))),
            "side": pick(("left", "right")),
            "azimuth": Amount(value=self.random.randint(-180, 180), unit="deg"),
            "elevation": Amount(value=self.random.randint(-40, 85), unit="deg"),
            "kelvin": Amount(value=self.random.randint(18, 100) * 100, unit="kelvin"),
            "ratio": Amount(value=self.random.randint(1, 16), unit="ratio"),
        }
        chosen = self.random.sample(list(values), self.random.choice((1, 1, 1, 2, 3)))
        return Light(**{name: leaf(values[name]) for name in values if name in chosen})

    def subject(self) -> Subject:
        """Who is seen, with or without a number and attributes."""
        return Subject(
            name=leaf(self.random.choice(NAMES)),
            count=self.random.choice((None, leaf(self.random.randint(1, 9)))),
            attributes=tuple(leaf(value) for value in self.some(ATTRIBUTES, 3)),
        )

    def parameters(self) -> tuple[Leaf, ...]:
        """Settings, each once."""
        choices = {
            "seed": self.random.randint(0, 2**40), "steps": self.random.randint(4, 60), "fps": 24, "frames": 81,
            "guidance": self.number(1, 9), "shift": self.number(1, 12), "seconds": self.number(1, 9),
            "width": 832, "height": 480, "size": "1280x720", "ratio": "16:9", "solver": "unipc",
            "model": "wan2.1-t2v-14b", "boundary": 0.875,
        }  # fmt: skip
        found = [Parameter(name=name, value=choices[name]) for name in self.some(choices, 3)]
        if self.random.random() < 0.3:
            strength = self.random.choice((None, 0.8, 1.0))
            found.append(Parameter(name="lora", value="toy_style-v2", strength=strength))
        return tuple(leaf(value) for value in found)

    def prose(self, *, fragments: bool = False) -> tuple[Leaf, ...]:
        """Sentences, or tags."""
        return tuple(leaf(value) for value in self.some(FRAGMENTS if fragments else SENTENCES, 3))

    def form(self, *, fragments: bool = False, beats: bool = True) -> Form:
        """A form; ``fragments``: its prose is tags, some of them with a weight."""
        prose = self.prose(fragments=fragments)
        weighted = [item for item in prose if self.random.random() < 0.6]
        timeline = tuple(self.beat(index) for index in range(self.random.choice((0, 2, 3)))) if beats else ()
        return Form(
            style=self.terms("style"), time=self.terms("time"), angle=self.terms("angle"), shot=self.terms("shot"),
            composition=self.terms("composition"), tone=self.terms("tone"),
            lens=(*self.terms("lens"), *(leaf(Amount(value=mm, unit="mm")) for mm in self.some((14, 35, 85), 1))),
            focus=(*self.terms("focus"), *(leaf(Amount(value=f, unit="f")) for f in self.some((1.4, 2.8, 11), 1))),
            lights=tuple(self.light() for _ in range(self.random.choice((0, 1, 2)))),
            subjects=tuple(self.subject() for _ in range(self.random.choice((0, 1, 2)))),
            scene=tuple(leaf(value) for value in self.some(SCENES, 2)),
            actions=tuple(leaf(value) for value in self.some(ACTIONS, 2)),
            camera=self.camera(), prose=prose,
            quoted=tuple(leaf(value) for value in self.some(TITLES, 1)),
            audio=tuple(leaf(value) for value in self.some(SOUNDS, 2)),
            negatives=tuple(leaf(value) for value in self.some(UNWANTED, 3)),
            emphasis=tuple(
                leaf(Emphasis(words=item.value, weight=self.random.choice((0.5, 0.8, 1.2, 1.35)))) for item in weighted
            ),
            timeline=timeline, parameters=self.parameters(),
            boosters=tuple(Leaf(value=value, required=False) for value in self.some(BOOSTERS, 3)),
        )  # fmt: skip

    def beat(self, index: int) -> Beat:
        """A stretch of the timeline, counted in seconds or frames, or only by its order."""
        counted = (("frame", 30),) if self.scale == "frames" else (("s", 2),) if self.scale == "seconds" else ()
        unit, step = self.random.choice(counted or (("s", 2), ("frame", 30), (None, 0)))
        begin = None if unit is None else Amount(value=(10 * index + self.random.randint(0, 9)) * step, unit=unit)
        end = None if unit is None or self.random.random() < 0.5 else Amount(value=10 * (index + 1) * step, unit=unit)
        content = Form(
            camera=self.camera(), prose=(leaf(self.random.choice(SENTENCES)),), shot=self.terms("shot", own=False),
            negatives=tuple(leaf(value) for value in self.some(UNWANTED, 2)),
        )  # fmt: skip
        return Beat(
            content=content,
            begin=None if begin is None else leaf(begin),
            end=None if end is None else leaf(end),
        )


def scores(wanted: Form, found: Form) -> dict[str, float]:
    """F1 of every slot that one of two forms fills: values count with their number, order within a slot does not."""
    first, second = slots(wanted), slots(found)
    result = {}
    for slot in first.keys() | second.keys():
        left, right = Counter(map(repr, first.get(slot, ()))), Counter(map(repr, second.get(slot, ())))
        common = sum((left & right).values())
        result[slot] = 2 * common / (left.total() + right.total())
    return result

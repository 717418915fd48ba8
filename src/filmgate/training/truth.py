"""What is asked of generated clips and how answers are scored: prompts with known facts, readings, intervals.

Truth, not taste: a prompt states facts, a reader says what the clip shows, and an attribute is right or wrong. Every
attribute is scored only where the prompt states it. Legend: V clips, S object slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from filmgate.training.readers import CLASSES, Reading
from filmgate.training.world import attributes as a
from filmgate.training.world.captions import Captioner, Facts, facts, with_few_terms
from filmgate.training.world.catalogue import FIRST, RICH, Catalogue, Triples
from filmgate.training.world.scenes import Scenes, sample_labels, sample_scenes

HELD_OUT_SEED = 20_261_124
"""Scenes of this seed are never drawn in training: training seeds are small multiples of other primes."""
TUNING_SEED = HELD_OUT_SEED + 1
"""Scenes to choose guidance, shift and boundary by, so that no published number was chosen on its own questions."""
CAMERA_SEED = HELD_OUT_SEED + 2
BARE = ("snow", "sand", "stripes")
"""Grounds by which nobody can tell where a camera is: with next to nothing on them, or the same all along."""
DAYLIGHT = ("noon", "overcast", "sunrise", "sunset")
DIRECTIONS = ("left", "right", "toward", "away")
DRAWS = 2000
"""Resampled sets of prompts behind an interval."""
NOTHING = -1
"""What is read of an object that is not there."""


class Interval(NamedTuple):
    """A number, the ends of its 95 % interval, and over how many prompts."""

    mean: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float, digits: int) -> Interval:
        """In another unit, rounded."""
        mean, low, high = (round(factor * value, digits) for value in (self.mean, self.low, self.high))
        return Interval(mean, low, high, self.n)


@dataclass(frozen=True)
class Question:
    """A prompt, the facts that it states and the seed to paint it with."""

    prompt: str
    facts: Facts
    seed: int


def questions(
    count: int, *, seed: int = HELD_OUT_SEED, wording: str = "complete", world: Catalogue = FIRST,
    triples: Triples | None = None,
) -> list[Question]:  # fmt: skip
    """``count`` held-out prompts in the world's own mix of scenes.

    Args:
        wording: ``plain`` (canonical words) or ``complete`` (free words and order, every clause said).
        triples: ``"seen"`` or ``"held out"``: whether colour, shape and motion of object 0 came together in training.
    """
    writer = Captioner(seed, plain=wording == "plain", complete=True, world=world)
    labels = question_scenes(count, seed=seed, world=world, triples=triples).labels
    known = with_few_terms(facts(labels, world), seed)
    return [Question(writer(f), f, seed=1000 + i) for i, f in enumerate(known)]


def question_scenes(
    count: int, *, seed: int = HELD_OUT_SEED, world: Catalogue = FIRST, triples: Triples | None = None
) -> Scenes:
    """Scenes that :func:`questions` with the same arguments asks for: what a perfect model could paint."""
    generator = torch.Generator().manual_seed(seed)
    labels = sample_labels(count, generator, world, triples) if triples else None
    return sample_scenes(count, generator, labels, world=world)


def camera_scenes(count: int, *, seed: int = CAMERA_SEED, world: Catalogue = RICH) -> Scenes:
    """Scenes to measure a camera's path in: everything rests but the camera, by day, on a ground that has a pattern,
    and something stands there.

    The moves come as often as each other. Nothing looks down from overhead, where there is only ground to go by.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = sample_labels(count, generator, world)
    moves = torch.tensor([a.CAMERAS.index(name) for name in world.cameras if name not in ("static", "follow")])
    days = torch.tensor([list(a.LIGHTS).index(name) for name in DAYLIGHT if name in world.lights])
    grounds = torch.tensor([list(a.GROUNDS).index(name) for name in world.grounds if name not in BARE])
    order = torch.arange(count)
    labels = labels._replace(
        count=labels.count.clamp_min(1),
        motion=torch.zeros_like(labels.motion),
        relation=labels.relation % 4,
        camera=moves[order % len(moves)],
        light=days[order % len(days)],
        ground=grounds[order % len(grounds)],
        weather=0 * order,
        angle=0 * order,
        material=torch.where(labels.material == a.MATERIALS.index("glowing"), 0, labels.material),
    )
    return sample_scenes(count, generator, labels, world=world)


def matched_slots(reading: Reading, clip: int, objects: Sequence[tuple[str, str]]) -> list[int] | None:
    """Slots (left to right) that show objects of these colours and shapes, in their order; None if one is missing."""
    colours = list(a.COLOURS)
    wanted = [(colours.index(colour), a.SHAPES.index(shape)) for colour, shape in objects]
    seen = [
        (int(reading.objects["colour"][clip, s]), int(reading.objects["shape"][clip, s]))
        for s in range(min(int(reading.scene["count"][clip]), a.SLOTS))
    ]
    for slots in permutations(range(len(seen)), len(wanted)):
        if all(seen[slot] == want for slot, want in zip(slots, wanted, strict=True)):
            return list(slots)
    return None


def relation_holds(reading: Reading, clip: int, relation: str, first: int, second: int) -> bool:
    """Whether the object in slot ``first`` stands to that in slot ``second`` as ``relation`` says."""
    depth = reading.objects["depth"][clip]
    return {
        "left of": first < second,
        "right of": first > second,
        "behind": bool(depth[first] > depth[second]),
        "in front of": bool(depth[first] < depth[second]),
    }[relation]


def score(reading: Reading, asked: Sequence[Question]) -> dict[str, NDArray[np.float64]]:
    """Right (1) or wrong (0) per attribute, one entry per prompt that states it.

    ``colour``, ``shape``, ``motion`` and ``motion_direction`` are read on prompts with one object, on the leftmost that
    the reader sees, and are wrong if it sees none; ``triple`` needs the first three of them together;
    ``two_object_binding`` needs both objects with their own colour and shape; ``relation`` counts prompts with two
    objects that state it, and a missing object is a wrong relation.
    """
    rows: dict[str, list[float]] = defaultdict(list)
    colours, lights, grounds = list(a.COLOURS), list(a.LIGHTS), list(a.GROUNDS)
    for clip, question in enumerate(asked):
        scene = question.facts
        rows["count"].append(int(reading.scene["count"][clip]) == len(scene.things))
        if scene.camera != "free":
            rows["camera"].append(int(reading.scene["camera"][clip]) == a.CAMERAS.index(scene.camera))
        rows["light"].append(int(reading.scene["light"][clip]) == lights.index(scene.light))
        rows["ground"].append(int(reading.scene["ground"][clip]) == grounds.index(scene.ground))
        for name, value in _film_facts(scene).items():
            if name in reading.scene:
                rows[name].append(int(reading.scene[name][clip]) == CLASSES[name].index(value))
        if len(scene.things) == 1:
            thing, seen = scene.things[0], int(reading.scene["count"][clip]) > 0
            read = {name: int(value[clip, 0]) if seen else NOTHING for name, value in reading.objects.items()}
            rows["colour"].append(read["colour"] == colours.index(thing.colour))
            rows["shape"].append(read["shape"] == a.SHAPES.index(thing.shape))
            rows["motion"].append(read["motion"] == a.MOTIONS.index(thing.motion))
            # Of what every object has in some way, only what is out of the ordinary is said in so many words.
            if thing.material != a.MATERIALS[0]:
                rows["material"].append(read["material"] == a.MATERIALS.index(thing.material))
            if thing.size != "medium":
                rows["size"].append(read["size"] == a.SIZES.index(thing.size))
            if thing.hat is not None and "hat" in read:
                rows["hat"].append(read["hat"] == colours.index(thing.hat))
            rows["triple"].append(all(rows[name][-1] for name in ("colour", "shape", "motion")))
            if thing.motion in DIRECTIONS:
                rows["motion_direction"].append(read["motion"] == a.MOTIONS.index(thing.motion))
        if len(scene.things) == 2 and not scene.alike:
            slots = matched_slots(reading, clip, [(t.colour, t.shape) for t in scene.things])
            rows["two_object_binding"].append(slots is not None)
            spatial = scene.relation is not None and scene.relation not in a.INTERACTIONS
            if spatial and scene.things[0].motion not in ("left", "right"):
                rows["relation"].append(
                    slots is not None and relation_holds(reading, clip, str(scene.relation), *slots)
                )
    return {name: np.array(values, dtype=np.float64) for name, values in rows.items()}


def _film_facts(scene: Facts) -> dict[str, str]:
    """What a scene of a richer world states beyond objects, camera, light and ground, by the heads that read it."""
    stated = {slot: name for slot, name in scene.aesthetics if slot in CLASSES}
    if scene.weather != "clear":
        stated["weather"] = scene.weather
    if scene.pace != "normal":
        stated["pace"] = scene.pace
    if scene.relation in a.INTERACTIONS:
        stated["interaction"] = scene.relation
    return stated


def in_words(reading: Reading, clip: int) -> str:
    """What a reader saw in a clip: "red ball left, blue cube still; pan left, noon, grass"."""
    scene, objects = reading.scene, reading.objects
    things = [
        f"{list(a.COLOURS)[int(objects['colour'][clip, s])]} {a.SHAPES[int(objects['shape'][clip, s])]} "
        f"{a.MOTIONS[int(objects['motion'][clip, s])]}"
        for s in range(min(int(scene["count"][clip]), a.SLOTS))
    ]
    around = (
        a.CAMERAS[int(scene["camera"][clip])],
        list(a.LIGHTS)[int(scene["light"][clip])],
        list(a.GROUNDS)[int(scene["ground"][clip])],
    )
    return f"{', '.join(things) or 'nothing'}; {', '.join(around)}"


def interval(values: NDArray[np.float64]) -> Interval:
    """Mean over prompts."""
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    low, high = np.quantile(_drawn_means(values, seed=0), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def _drawn_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Means of resampled sets of prompts [DRAWS]."""
    index = np.random.default_rng(seed).integers(0, len(values), (DRAWS, len(values)))
    return np.asarray(values[index].mean(1))


def paired_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """Mean of ``first - second`` on the same prompts."""
    return interval(first - second)


def paired_ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """Mean of ``first`` over mean of ``second`` on the same prompts."""
    return bootstrap(lambda index: float(first[index].mean() / second[index].mean()), len(first))


def independent_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """Mean of ``first`` less mean of ``second``, of prompts that have nothing to do with each other; ``n`` is of the
    fewer."""
    if not (len(first) and len(second)):
        return interval(first[:0])
    drawn = _drawn_means(first, seed=1) - _drawn_means(second, seed=2)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(first.mean() - second.mean()), float(low), float(high), min(len(first), len(second)))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], count: int, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """A statistic of ``count`` prompts with its 95 % bootstrap interval (percentiles over resampled prompts).

    Args:
        statistic: Of the prompts with the given numbers.
        count: Prompts; without any the result is not a number.
    """
    if not count:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, count, count)) for _ in range(draws)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(np.arange(count)), float(low), float(high), count)

"""What a world draws: how much of each table of ``attributes``, how often, and what its captions speak of.

The tables only ever grow at their end, so that a number means the same in every world, and a world that was drawn once
(:data:`FIRST`) stays as it was: same seeds, same scenes.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Literal

import torch
from torch import Tensor

from filmgate.spec.errors import UnknownName
from filmgate.training.world import attributes as a

Triples = Literal["any", "seen", "held out"]
"""Which (colour, shape, motion) of objects are drawn: all, only those of training, or scenes with one that is not."""
HELD_OUT_ONE_IN = 20
AESTHETICS = ("source", "quality", "light_angle", "tone", "shot", "angle", "composition", "lens")
"""Slots of Wan's aesthetic vocabulary, in the order in which captions say them."""


@dataclass(frozen=True)
class Catalogue:
    """A world. Names are those of ``attributes``, where each tuple is the beginning of the table of that name.

    Attributes:
        arrangements: Weights of: empty, one object, two different, two alike, three alike, three different.
        simple_shapes: How many of ``shapes`` any object may have; the others are compound, and object 0 only.
        parameters: Uniform numbers that a scene consumes beside its labels.
        clauses: Aesthetic slots that captions may state.
        rich: Whether anything beyond the first world is drawn, so that the first one costs what it did.
        triples: What training draws of (colour, shape, motion).
        camera_said: Share of the captions that say how a moving camera moves, of those that would.
    """

    name: str
    shapes: tuple[str, ...]
    simple_shapes: int
    materials: tuple[str, ...]
    material_weights: tuple[float, ...]
    motions: tuple[str, ...]
    motion_weights: tuple[float, ...]
    relations: tuple[str, ...]
    cameras: tuple[str, ...]
    camera_weights: tuple[float, ...]
    lights: tuple[str, ...]
    grounds: tuple[str, ...]
    weathers: tuple[str, ...] = a.WEATHERS[:1]
    paces: tuple[str, ...] = a.PACES[:1]
    sizes: tuple[str, ...] = a.SIZES
    size_weights: tuple[float, ...] = (0.20, 0.55, 0.25)
    colours: tuple[str, ...] = field(default=tuple(a.COLOURS))
    arrangements: tuple[float, ...] = (0.02, 0.50, 0.29, 0.07, 0.07, 0.05)
    parameters: int = 48
    clauses: tuple[str, ...] = ()
    rich: bool = False
    triples: Triples = "any"
    camera_said: float = 1.0

    @cached_property
    def unseen(self) -> Tensor:
        """Which triples are held out: [colours, shapes, motions] bool."""
        rows = [[[held_out(c, s, m) for m in self.motions] for s in self.shapes] for c in self.colours]
        return torch.tensor(rows)


@cache
def held_out(colour: str, shape: str, motion: str) -> bool:
    """Whether training never draws this triple: one in twenty, by a hash of the three words, for ever the same."""
    return zlib.crc32(f"{colour} {shape} {motion}".encode()) % HELD_OUT_ONE_IN == 0


FIRST = Catalogue(
    name="first",
    shapes=a.SHAPES[:4],
    simple_shapes=4,
    materials=a.MATERIALS[:3],
    material_weights=(0.74, 0.14, 0.12),
    motions=a.MOTIONS[:9],
    motion_weights=(0.14, 0.17, 0.17, 0.10, 0.10, 0.10, 0.08, 0.07, 0.07),
    relations=a.RELATIONS[:4],
    cameras=a.CAMERAS[:13],
    camera_weights=(0.30,) + (0.70 / 12,) * 12,
    lights=tuple(a.LIGHTS)[:4],
    grounds=tuple(a.GROUNDS)[:6],
)
"""What the shipped model was trained on."""
RICH = Catalogue(
    name="rich",
    shapes=a.SHAPES,
    simple_shapes=6,
    materials=a.MATERIALS,
    material_weights=(0.58, 0.13, 0.11, 0.11, 0.07),
    motions=a.MOTIONS,
    motion_weights=(0.15, 0.165, 0.165, 0.09, 0.09, 0.09, 0.08, 0.055, 0.055, 0.06),
    relations=a.RELATIONS,
    cameras=a.CAMERAS,
    camera_weights=(0.24,) + (0.034,) * 18 + (0.04, 0.04, 0.068),
    lights=tuple(a.LIGHTS),
    grounds=tuple(a.GROUNDS),
    weathers=a.WEATHERS,
    paces=a.PACES,
    arrangements=(0.02, 0.52, 0.30, 0.06, 0.05, 0.05),
    parameters=80,
    clauses=AESTHETICS,
    rich=True,
    triples="seen",
)
"""What a new training draws."""
UNADORNED = replace(RICH, name="unadorned", clauses=())
"""The same scenes from the same seeds, with captions that say nothing of light, tone, shot, composition and lens."""
UNSPOKEN = replace(RICH, name="unspoken", camera_said=0.2)
"""The same again, but captions rarely say how the camera moves: for a model that shall read it from a path, and would
otherwise read it from the words."""
CATALOGUES = {world.name: world for world in (FIRST, RICH, UNADORNED, UNSPOKEN)}


def add_world_option(parser: argparse.ArgumentParser, default: Catalogue | None = RICH) -> None:
    """``--world``: which world a program renders; by default what a new training is to know. Without a default it is
    left to the program, which has a model to ask."""

    def named(name: str) -> Catalogue:
        try:
            return catalogue(name)
        except UnknownName as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parser.add_argument(
        "--world",
        type=named,
        default=default,
        metavar="|".join(CATALOGUES),
        help=f"default: {'that of the model' if default is None else default.name}",
    )


def catalogue(name: str) -> Catalogue:
    """The world of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in CATALOGUES:
        raise UnknownName("world", name, tuple(CATALOGUES))
    return CATALOGUES[name]

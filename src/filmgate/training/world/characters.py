"""Figures that are made of several solids: a robot or a doll that walks, jumps and waves, and a sign on a post.

A character's look is a colour of its own for body, head, arms and legs, and a hat or none. It can be fixed by a seed,
so that the same somebody appears in any number of clips. Legend: V videos, F frames; parts broadcast over [V, F, H, W].
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.motion import ObjectState
from filmgate.training.world.moves import by_label
from filmgate.training.world.primitives import Vector, where
from filmgate.training.world.scenes import Labels, Scenes


class Look(NamedTuple):
    """A character in words of ``attributes``; ``hat`` is None where it wears none."""

    shape: str
    body: str
    head: str
    limbs: str
    hat: str | None


def look(seed: int) -> Look:
    """The look of that seed: neighbouring parts differ in colour, and the same seed always gives the same one."""
    source = random.Random(f"look {seed}")
    shape = source.choice(a.CHARACTERS)
    body, head, limbs, hat = source.sample(tuple(a.COLOURS), 4)
    return Look(shape, body, head, limbs, hat if source.random() < 0.7 else None)


_ACTIONS = ("left", "still", "wave", "toward", "right", "bounce", "away", "spin", "circle")


def with_look(labels: Labels, wanted: Look, first: int = 0) -> Labels:
    """The same scenes with that character as their only object, doing one thing after another.

    Args:
        first: How many scenes of the series came before these.
    """
    one = torch.ones_like(labels.count)
    colours = tuple(a.COLOURS)
    shape, colour, material, motion = (
        tensor.clone() for tensor in (labels.shape, labels.colour, labels.material, labels.motion)
    )
    shape[:, 0] = a.SHAPES.index(wanted.shape)
    colour[:, 0] = colours.index(wanted.body)
    material[:, 0] = 0
    actions = torch.tensor([a.MOTIONS.index(name) for name in _ACTIONS], device=motion.device)
    motion[:, 0] = actions[(first + torch.arange(len(motion), device=motion.device)) % len(actions)]
    follow = labels.camera == a.CAMERAS.index("follow")
    walks = (motion[:, 0] == a.MOTIONS.index("left")) | (motion[:, 0] == a.MOTIONS.index("right"))
    hat = a.NO_HAT if wanted.hat is None else colours.index(wanted.hat)
    return labels._replace(
        count=one, alike=0 * one, shape=shape, colour=colour, material=material, motion=motion,
        relation=0 * one, camera=torch.where(follow & ~walks, 0, labels.camera), hat=one * hat,
        head=one * colours.index(wanted.head), limbs=one * colours.index(wanted.limbs),
    )  # fmt: skip


class Part(NamedTuple):
    """A solid of a figure: middle, half extents in metres, and which figures have it [V, 1, 1, 1] bool."""

    middle: Vector
    half_width: Tensor
    half_height: Tensor
    half_depth: Tensor
    present: Tensor


class Bar(NamedTuple):
    """A round bar between two points: an arm, a leg, or the post of a sign."""

    start: Vector
    end: Vector
    radius: Tensor
    present: Tensor


class Skeleton(NamedTuple):
    """Where the parts of object 0 are if it is a figure. ``body``, of a sign its board, is where the object's own solid
    goes."""

    body: Part
    head: Part
    hat: Part
    bars: tuple[Bar, Bar, Bar, Bar]


_STRIDE = 7.3
"""Radians that the legs' swing goes on per own height of the way."""
_KINDS = a.COMPOUND
_BODY = ((0.34, 0.25, 0.025, 0.73), (0.155, 0.150, 0.105, 0.50), (0.125, 0.185, 0.125, 0.50))
"""Half width, half height and half depth of a body of each kind, and the height of its middle, in heights of the
figure."""
_HEAD = ((0.1, 0.1, 0.1, 0.7), (0.135, 0.115, 0.115, 0.785), (0.150, 0.150, 0.150, 0.80))
_HAT_WIDTH, _HAT_HEIGHT = 0.125, 0.09
_HIP, _SHOULDER = 0.36, 0.605
"""Heights of the joints, in heights of the figure; below: how far they are from the middle, of each kind."""
_HIP_ASIDE, _SHOULDER_ASIDE = (0.0, 0.075, 0.062), (0.0, 0.185, 0.150)
_LEG, _ARM = (0.31, 0.052), (0.25, 0.042)
"""Length and radius."""


class _Figure(NamedTuple):
    """A figure's own measure: kind (of ``_KINDS``) [V], height [V, 1], and its place and heading [V, F]."""

    kind: Tensor
    tall: Tensor
    state: ObjectState

    def at(self, right: Tensor, height: Tensor, ahead: Tensor) -> Vector:
        """World point of a place in heights of the figure; ahead is where it looks."""
        state = self.state
        sine, cosine = state.yaw.sin(), state.yaw.cos()
        x, z = right * self.tall, -ahead * self.tall
        y = state.y + (0.5 - height) * self.tall
        points = (state.x + cosine * x + sine * z, y.expand_as(sine), state.z - sine * x + cosine * z)
        return (points[0][..., None, None], points[1][..., None, None], points[2][..., None, None])

    def metres(self, share: Tensor | float) -> Tensor:
        """A length in heights of the figure, [V] or a number, as [V, 1, 1, 1]."""
        return (share * self.tall[:, 0]).view(-1, 1, 1, 1)

    def of_kind(self, table: Sequence[float]) -> Tensor:
        """Entries for the kinds of the figures, [V, 1]."""
        return by_label(table, self.kind)[:, None]

    def part(self, table: Sequence[Sequence[float]], present: Tensor) -> tuple[Part, Tensor]:
        """A part in the middle of the figure, and its height [V, 1]."""
        width, high, depth, height = (self.of_kind([row[i] for row in table]) for i in range(4))
        zero = torch.zeros_like(self.state.yaw)
        across, upward, along = (self.metres(length[:, 0]) for length in (width, high, depth))
        return Part(self.at(zero, height, zero), across, upward, along, present.view(-1, 1, 1, 1)), height


def skeleton(scenes: Scenes, state: ObjectState, moments: Tensor) -> Skeleton:
    """Parts of object 0 at ``moments`` [F], which is in ``state``."""
    labels = scenes.labels
    number = labels.shape[:, 0] - a.SHAPES.index(_KINDS[0])
    present = (number >= 0) & state.present
    kind = number.clamp_min(0)
    figure = _Figure(kind, (2 * state.half_height)[:, None], state)
    character = present & (kind > 0)
    body, _ = figure.part(_BODY, present)
    head, height = figure.part(_HEAD, character)
    top = height + figure.of_kind([row[1] for row in _HEAD]) + 0.7 * _HAT_HEIGHT
    zero = torch.zeros_like(state.yaw)
    brim, wears = figure.metres(_HAT_WIDTH), character & (labels.hat != a.NO_HAT)
    hat = Part(figure.at(zero, top, zero), brim, figure.metres(_HAT_HEIGHT), brim, wears.view(-1, 1, 1, 1))
    left_leg, *others = _limbs(figure, labels, moments, character)
    is_post = present & (kind == 0)
    post = Bar(figure.at(zero, zero, zero), figure.at(zero, zero + 0.74, zero - 0.03), figure.metres(0.03), is_post)
    return Skeleton(body, head, hat, (_either(is_post, post, left_leg), others[0], others[1], others[2]))


def _limbs(figure: _Figure, labels: Labels, moments: Tensor, character: Tensor) -> list[Bar]:
    """Left leg, right leg, left arm, right arm: they swing against each other in step with the way."""
    zero, motion = torch.zeros_like(figure.state.yaw), labels.motion[:, 0, None]
    jumps = (motion == a.MOTIONS.index("bounce")).float()
    swing = 0.62 * torch.sin(figure.state.gone * _STRIDE / figure.tall) * (1 - jumps)
    waves = motion == a.MOTIONS.index("wave")
    lifted = (2.5 + 0.45 * torch.sin(2 * math.pi * 3.0 * moments[None])).expand_as(zero)
    limbs = []
    for is_arm, side in ((False, -1), (False, 1), (True, -1), (True, 1)):
        length, radius = _ARM if is_arm else _LEG
        angle = side * swing * (-0.8 if is_arm else 1.0)
        out = zero + (0.30 + 0.9 * jumps if is_arm else 0.10 * jumps)
        raised = waves & is_arm & (side > 0)
        out = torch.where(raised, lifted, out)
        root = zero + side * figure.of_kind(_SHOULDER_ASIDE if is_arm else _HIP_ASIDE)
        joint = zero + (_SHOULDER if is_arm else _HIP)
        ahead = torch.where(raised, 0.0, length * angle.sin())
        end = figure.at(root + side * length * out.sin() * angle.cos(), joint - length * out.cos() * angle.cos(), ahead)
        limbs.append(Bar(figure.at(root, joint, zero), end, figure.metres(radius), character.view(-1, 1, 1, 1)))
    return limbs


def _either(mask: Tensor, first: Bar, second: Bar) -> Bar:
    """The first bar where the mask [V] is set, else the second."""
    chosen = mask.view(-1, 1, 1, 1)
    return Bar(
        where(chosen, first.start, second.start),
        where(chosen, first.end, second.end),
        torch.where(chosen, first.radius, second.radius),
        chosen | second.present,
    )

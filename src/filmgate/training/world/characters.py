"""Figures that are made of several solids: a robot or a doll that walks, jumps and waves, and a sign on a post.

A character's look is a colour of its own for body, head, arms and legs, and a hat or none. It can be fixed by a seed, so
that the same somebody appears in any number of clips. Legend: V videos, F frames; everything broadcasts over
[V, F, H, W].
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.motion import ObjectState
from filmgate.training.world.primitives import Vector
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


def with_look(labels: Labels, wanted: Look) -> Labels:
    """The same scenes with that character as their only object.

    What it cannot do becomes what it can: it waves where an object would float, and it stands where one is thrown back.
    """
    one = torch.ones_like(labels.count)
    colours = tuple(a.COLOURS)
    shape, colour, material, motion = (
        tensor.clone() for tensor in (labels.shape, labels.colour, labels.material, labels.motion)
    )
    shape[:, 0] = a.SHAPES.index(wanted.shape)
    colour[:, 0] = colours.index(wanted.body)
    material[:, 0] = 0
    wave, still = a.MOTIONS.index("wave"), a.MOTIONS.index("still")
    floats = (motion[:, 0] == a.MOTIONS.index("rise")) | (motion[:, 0] == a.MOTIONS.index("fall"))
    motion[:, 0] = torch.where(floats, wave, motion[:, 0])
    motion[:, 0] = torch.where(motion[:, 0] == a.MOTIONS.index("rebound"), still, motion[:, 0])
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
    """Where the parts of object 0 are if it is a figure; ``body`` (the board, of a sign) takes the object's own place."""

    body: Part
    head: Part
    hat: Part
    bars: tuple[Bar, Bar, Bar, Bar]


_STRIDE = 2.6
"""Radians of the legs' swing per metre and half height."""
_BODY = {"sign": (0.34, 0.25, 0.025, 0.73), "robot": (0.155, 0.150, 0.105, 0.50), "doll": (0.125, 0.185, 0.125, 0.50)}
"""Half width, half height and half depth of each figure's body, and the height of its middle; in heights of the figure."""
_HEAD = {"sign": (0.1, 0.1, 0.1, 0.7), "robot": (0.135, 0.115, 0.115, 0.785), "doll": (0.150, 0.150, 0.150, 0.80)}
_HAT = (0.125, 0.10)
_HIP, _SHOULDER = 0.36, 0.605


def skeleton(scenes: Scenes, state: ObjectState, moments: Tensor) -> Skeleton:
    """Parts of object 0 at ``moments`` [F], which is in ``state``."""
    kind = scenes.labels.shape[:, 0] - a.SHAPES.index("sign")
    present = (kind >= 0) & state.present
    kind = kind.clamp_min(0)
    tall = (2 * state.half_height)[:, None]
    ground, motion = state.y + tall / 2, scenes.labels.motion[:, 0, None]
    sine, cosine = state.yaw.sin(), state.yaw.cos()

    def at(right: Tensor, height: Tensor, ahead: Tensor) -> Vector:
        """World point of a place in the figure's own measure: shares of its height; ahead is where it looks."""
        x, z = right * tall, -ahead * tall
        return tuple(
            value[..., None, None]
            for value in (state.x + cosine * x + sine * z, ground - height * tall, state.z - sine * x + cosine * z)
        )  # type: ignore[return-value]

    def field(value: Tensor) -> Tensor:
        return value.view(-1, 1, 1, 1)

    def part(table: dict[str, tuple[float, float, float, float]], there: Tensor) -> tuple[Part, Tensor]:
        sizes = torch.tensor(list(table.values()), device=kind.device)[kind]
        extent = [field(sizes[:, i] * tall[:, 0]) for i in range(3)]
        height = sizes[:, 3:].expand_as(sine)
        return Part(at(0 * sine, height, 0 * sine), *extent, field(there)), height

    character = present & (kind > 0)
    body, _ = part(_BODY, present)
    head, middle = part(_HEAD, character)
    wears = character & (scenes.labels.hat != a.NO_HAT)
    top = middle + torch.tensor([0.1, 0.115, 0.135], device=kind.device)[kind][:, None] + 0.8 * _HAT[1]
    brim, crown = (field(share * tall[:, 0]) for share in _HAT)
    hat = Part(at(0 * sine, top, 0 * sine), brim, crown, brim, field(wears))
    zero = 0 * sine
    phase = state.gone * _STRIDE * 2.8 / tall
    jumps = (motion == a.MOTIONS.index("bounce")).float()
    swing = 0.62 * phase.sin() * (1 - jumps)
    waves = motion == a.MOTIONS.index("wave")
    reach = 2.5 + 0.45 * torch.sin(2 * math.pi * 3.0 * moments[None]).expand_as(sine)
    bars = []
    for side, joint, length, thickness in ((-1, 0, 0.31, 0.052), (1, 0, 0.31, 0.052), (-1, 1, 0.25, 0.042), (1, 1, 0.25, 0.042)):
        arm = joint == 1
        angle = side * swing * (-0.8 if arm else 1.0)
        lifted = waves if arm and side == 1 else waves & False
        out = (0.30 + 0.9 * jumps) if arm else 0.10 * jumps + 0 * sine
        out = torch.where(lifted, reach, out + zero)
        hip = torch.tensor([0.0, 0.075, 0.062], device=kind.device)[kind][:, None]
        shoulder = torch.tensor([0.0, 0.185, 0.150], device=kind.device)[kind][:, None]
        root = side * (shoulder if arm else hip) + zero
        base = zero + (_SHOULDER if arm else _HIP)
        tip_right = root + side * length * out.sin() * angle.cos()
        start = at(root, base, zero)
        end = at(tip_right, base - length * out.cos() * angle.cos(), length * angle.sin() * torch.where(lifted, 0.0, 1.0))
        bars.append(Bar(start, end, field(thickness * tall[:, 0]), field(character)))
    post = present & (kind == 0)
    bars[0] = _either(post, Bar(at(zero, zero, zero), at(zero, zero + 0.74, zero - 0.03), field(0.03 * tall[:, 0]), field(post)), bars[0])
    return Skeleton(body, head, hat, (bars[0], bars[1], bars[2], bars[3]))


def _either(mask: Tensor, first: Bar, second: Bar) -> Bar:
    chosen = mask.view(-1, 1, 1, 1)
    ends = (
        tuple(torch.where(chosen, p, q) for p, q in zip(one, other, strict=True))
        for one, other in ((first.start, second.start), (first.end, second.end))
    )
    start, end = ends
    return Bar(start, end, torch.where(chosen, first.radius, second.radius), first.present | second.present)  # type: ignore[arg-type]

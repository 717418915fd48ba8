"""Where the camera is at a given moment: closed forms of a scene's labels and parameters.

Legend: V videos, F moments. Moments run from 0 (first frame) to 1 (last frame). Signs follow the language of the film
set: a camera that pans left turns left, so the picture slides right; orbit left means that the camera itself travels
left around the subject; one that rolls clockwise does so as seen from behind it, so the picture turns the other way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.scenes import Scenes, is_one_of

SUBJECT_DEPTH = 4.4
"""Metres in front of the camera's middle position that orbits turn around."""
BASE_PITCH = -0.13
NORMAL_FOCAL = 0.92
"""Focal length in image widths at which distances below are those of the first world."""


class CameraState(NamedTuple):
    """``rotation`` [V, F, 3, 3] camera-to-world, ``position`` [V, F, 3] metres, ``focal`` [V, F] in image widths."""

    rotation: Tensor
    position: Tensor
    focal: Tensor

    def world_to_camera(self) -> Tensor:
        """[R | t] of each frame, [V, F, 3, 4], OpenCV axes, metres."""
        rotation = self.rotation.mT
        return torch.cat([rotation, -rotation @ self.position[..., None]], -1)

    def lenses(self, aspect: float) -> Tensor:
        """fx fy cx cy [V, F, 4], normalised by width and height of the picture; ``aspect`` is width / height."""
        centre = torch.full_like(self.focal, 0.5)
        return torch.stack([self.focal, self.focal * aspect, centre, centre], -1)


class Draw:
    """Hands out a scene's uniform numbers by fixed position, scaled."""

    def __init__(self, uniforms: Tensor) -> None:
        self.uniforms = uniforms

    def __call__(self, index: int, low: float, high: float) -> Tensor:
        """Number ``index`` of every scene [V], in low ... high."""
        return self.uniforms[:, index] * (high - low) + low

    def coin(self, index: int, probability: float = 0.5) -> Tensor:
        """Heads [V], with the given probability."""
        return self.uniforms[:, index] < probability

    def sign(self, index: int) -> Tensor:
        """1 or -1 [V]."""
        return torch.where(self.coin(index), 1.0, -1.0)


def eased(moments: Tensor, smooth: Tensor) -> Tensor:
    """Position along a move [V, F] in -0.5 ... 0.5; scenes with ``smooth`` [V] start and stop gently."""
    t = moments[None].expand(smooth.shape[0], -1)
    return torch.where(smooth[:, None], t * t * (3 - 2 * t), t) - 0.5


def turned(yaw: Tensor, pitch: Tensor, roll: Tensor | None = None) -> Tensor:
    """Camera-to-world rotations [V, F, 3, 3] of angles [V, F]: yaw to the right, pitch up, roll clockwise."""
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    rows = (
        torch.stack([cos_yaw, sin_yaw * sin_pitch, sin_yaw * cos_pitch], -1),
        torch.stack([torch.zeros_like(yaw), cos_pitch, -sin_pitch], -1),
        torch.stack([-sin_yaw, cos_yaw * sin_pitch, cos_yaw * cos_pitch], -1),
    )
    level = torch.stack(rows, -2)
    if roll is None:
        return level
    right, down, forward = level.unbind(-1)
    cos_roll, sin_roll = roll.cos()[..., None], roll.sin()[..., None]
    return torch.stack([cos_roll * right + sin_roll * down, cos_roll * down - sin_roll * right, forward], -1)


def first_camera(scenes: Scenes, moments: Tensor) -> CameraState:
    """Camera of every scene of the first world at ``moments`` [F]."""
    draw, kind = Draw(scenes.uniforms), scenes.labels.camera
    s = eased(moments, draw.coin(0))

    def move(left: int, amount: Tensor) -> Tensor:
        """Signed travel of the pair (left, left + 1): negative first, positive second."""
        sign = (kind == left + 1).float() - (kind == left).float()
        return (sign * amount)[:, None] * s

    turn, travel = draw(1, 0.42, 0.66), draw(2, 1.3, 2.2)
    orbit = -move(9, draw(3, 0.55, 0.9))
    yaw = move(1, turn) + orbit
    pitch = BASE_PITCH - move(3, draw(4, 0.26, 0.38)) + draw(5, -0.02, 0.02)[:, None]
    height = draw(6, 1.2, 1.7)[:, None] - move(11, draw(7, 0.9, 1.4))
    x = move(7, travel) - SUBJECT_DEPTH * orbit.sin()
    z = -move(5, travel) + SUBJECT_DEPTH * (1 - orbit.cos())
    # Following the subject a little keeps it in the frame while the camera climbs or sinks.
    pitch = pitch + move(11, draw(7, 0.9, 1.4)) * 0.12
    focal = draw(8, 0.85, 1.0)[:, None].expand_as(s)
    return CameraState(turned(yaw, pitch), torch.stack([x, -height, z], -1), focal)


class Stand(NamedTuple):
    """Where the camera of a richer world stands before it moves, [V] each: distance from the point that it aims at,
    elevation above that point's horizontal in radians, the point's height over the ground, focal length, by how much
    the subject appears larger than in the first world, and whether that is a close-up of a character."""

    distance: Tensor
    elevation: Tensor
    aim: Tensor
    focal: Tensor
    scale: Tensor
    close: Tensor


_ELEVATION = ((0.13, 0.24), (-0.10, 0.0), (0.50, 0.72), (1.05, 1.25), (0.13, 0.24))
"""Of each camera angle, from ... to."""
_AIM = (0.62, 0.95, 0.5, 0.3, 0.62)
_PACE = (1.0, 0.45, 1.5)


_CONSTANTS: dict[tuple[str, torch.device], Tensor] = {}


def constants(values: tuple[Any, ...], device: torch.device) -> Tensor:
    """A table as a tensor: made once, because a copy to a GPU waits for it."""
    key = (repr(values), device)
    if key not in _CONSTANTS:
        _CONSTANTS[key] = torch.tensor(values, device=device)
    return _CONSTANTS[key]


def by_label(table: Sequence[float], label: Tensor) -> Tensor:
    """Entries of ``table`` at ``label`` [V]."""
    return constants(tuple(table), label.device)[label]


def is_close(scenes: Scenes) -> Tensor:
    """Scenes [V] that show a lone character that keeps its place from so near that only head and shoulders fit."""
    labels, draw = scenes.labels, Draw(scenes.uniforms)
    person = (labels.shape[:, 0] >= a.SHAPES.index("robot")) & (labels.count == 1)
    keeps = (labels.motion[:, 0] == 0) | (labels.motion[:, 0] == a.MOTIONS.index("wave"))
    return person & keeps & ((labels.angle == 0) | (labels.angle == 4)) & draw.coin(48, 0.42)


def stand(scenes: Scenes) -> Stand:
    """See :class:`Stand`."""
    labels, draw = scenes.labels, Draw(scenes.uniforms)
    u, alone, close = scenes.uniforms[:, 48], labels.count <= 1, is_close(scenes)
    ordinary = draw(49, 0.85, 1.05)
    # What turns, and what is small, is not shown from so far that nobody sees it.
    fine = (labels.motion == a.MOTIONS.index("spin")).any(1) | (labels.size == 0).any(1)
    wide = torch.where(fine, draw(49, 0.55, 0.7), draw(49, 0.28, 0.60))
    near = draw(49, 1.25, 1.75)
    scale = torch.where(u < 0.45, ordinary, torch.where(u < 0.68, wide, torch.where(alone, near, ordinary)))
    size = by_label(a.HALF_WIDTH, labels.size[:, 0])
    # What comes near or leaves the ground needs room.
    roomy = is_one_of(labels.motion[:, 0], a.MOTIONS, ("toward", "rise", "fall", "bounce"))
    scale = torch.where((labels.angle == a.ANGLES.index("overhead")) | roomy, scale.clamp_max(1.0), scale)
    # Nothing is so near that the picture cuts it, but a character's close-up.
    hop = by_label([0.5 if name == "bounce" else 0.0 for name in a.MOTIONS], labels.motion[:, 0])
    tall = by_label(a.HALF_HEIGHT, labels.shape[:, 0]) * size + hop
    scale = torch.where(alone, torch.minimum(scale, 1.22 / tall), scale)
    scale = torch.where(close, draw(49, 2.3, 2.9) * a.HALF_WIDTH[1] / size, scale)
    low, high = (by_label([bounds[i] for bounds in a.FOCAL], labels.lens) for i in (0, 1))
    focal = low + (high - low) * scenes.uniforms[:, 8]
    low, high = (by_label([bounds[i] for bounds in _ELEVATION], labels.angle) for i in (0, 1))
    elevation = low + (high - low) * scenes.uniforms[:, 50]
    head = 2 * a.HALF_HEIGHT[a.SHAPES.index("robot")] * size * 0.74
    aim = torch.where(close, head, by_label(_AIM, labels.angle))
    elevation = torch.where(close, elevation * 0.3, elevation)
    distance = SUBJECT_DEPTH * focal / (NORMAL_FOCAL * scale)
    # A camera under the subject's middle must still be over the ground.
    lowest = ((0.16 - aim) / distance).clamp(-0.9, 0.9).asin()
    return Stand(distance, torch.maximum(elevation, lowest), aim, focal, scale, close)


def travelled(scenes: Scenes) -> Tensor:
    """How far things go that cross the ground, metres [V, 1]."""
    return Draw(scenes.uniforms)(28, 1.8, 2.9)[:, None]


def crossing(scenes: Scenes, moments: Tensor, motion: Tensor, base: Stand | None) -> Tensor:
    """How far an object that moves left or right [V] is to the right of its middle, metres [V, F]; other motions: 0."""
    s, travel = eased(moments, Draw(scenes.uniforms).coin(27, 0.35)), travelled(scenes)
    if base is not None:
        travel = travel / base.scale.clamp_min(1.0)[:, None]
    way = (motion == a.MOTIONS.index("right")).float() - (motion == a.MOTIONS.index("left")).float()
    return torch.where((way != 0)[:, None], way[:, None] * (travel * s), 0.0)


def _progress(moments: Tensor, kind: Tensor) -> Tensor:
    """Position along a move [V, F] in -0.5 ... 0.5: at an even speed, eased at both ends, from rest, or to rest."""
    t = moments[None].expand(kind.shape[0], -1)
    curves = torch.stack([t, t * t * (3 - 2 * t), t * t, t * (2 - t)])
    return curves[(kind * 3.999).long(), torch.arange(len(kind), device=kind.device)] - 0.5


def rich_camera(scenes: Scenes, moments: Tensor, base: Stand) -> CameraState:
    """Camera of every scene of a richer world at ``moments`` [F].

    Every move is an amount along one of ten ways; a camera that moves freely goes a little along most of them at once.

    Args:
        base: Where it stands.
    """
    labels, draw = scenes.labels, Draw(scenes.uniforms)
    kind, s = labels.camera, _progress(moments, scenes.uniforms[:, 0])
    pace = by_label(_PACE, labels.pace)
    free = kind == a.CAMERAS.index("free")
    sway = 0.25 * torch.sin(2 * math.pi * (moments[None] + draw(60, 0.0, 1.0)[:, None]))
    path = torch.where(free[:, None], s + sway, s)

    def move(negative: str, positive: str, low: float, high: float, index: int, loose: float) -> Tensor:
        """Signed travel [V, F]; ``loose`` is the share of ``high`` that a free camera goes at most."""
        sign = (kind == a.CAMERAS.index(positive)).float() - (kind == a.CAMERAS.index(negative)).float()
        amount = sign * draw(1, low, high) * pace + free * draw(index, -1.0, 1.0) * high * loose
        return amount[:, None] * path

    # What a move shifts in the picture stays the same, whatever the lens and however near the subject.
    field = (NORMAL_FOCAL / base.focal).clamp_max(1.25)[:, None]
    reach = (base.distance / SUBJECT_DEPTH)[:, None]
    shake = (kind == a.CAMERAS.index("handheld")).float()[:, None]

    def tremble(index: int, slow: float) -> Tensor:
        phase = draw(index, 0.0, 1.0)[:, None]
        return shake * (
            torch.sin(2 * math.pi * (slow * moments + phase)) + 0.6 * torch.sin(2 * math.pi * (2.7 * slow * moments))
        )

    yaw = move("pan left", "pan right", 0.42, 0.58, 61, 0.5) * field + 0.028 * field * tremble(52, 1.7)
    tilt = move("tilt down", "tilt up", 0.24, 0.34, 62, 0.4) * field + 0.022 * field * tremble(53, 2.1)
    roll = move("roll counterclockwise", "roll clockwise", 0.45, 0.75, 63, 0.3) + 0.014 * tremble(54, 1.3)
    forward = move("dolly out", "dolly in", 1.3, 1.9, 64, 0.6) * reach
    right = move("truck left", "truck right", 1.2, 1.8, 65, 0.6) * reach * field + 0.03 * reach * tremble(55, 1.1)
    up = move("pedestal down", "pedestal up", 0.75, 1.05, 66, 0.5) * reach * field
    crane = move("crane down", "crane up", 1.3, 1.9, 66, 0.0) * reach
    orbit = move("orbit right", "orbit left", 0.55, 0.85, 67, 0.6)
    focal = base.focal[:, None] * torch.exp(move("zoom out", "zoom in", 0.55, 0.80, 68, 0.3))
    dutch = (labels.angle == a.ANGLES.index("dutch")).float() * draw(69, 0.20, 0.34) * draw.sign(70)
    follows = (kind == a.CAMERAS.index("follow"))[:, None]
    follow = torch.where(follows, crossing(scenes, moments, labels.motion[:, 0], base), 0.0)
    distance, elevation = base.distance[:, None], base.elevation[:, None]
    level = distance * elevation.cos() - forward * elevation.cos()
    height = base.aim[:, None] + (distance - forward) * elevation.sin() + up + crane
    # Trucks go along the camera's own right, which an orbit turns.
    heading = orbit + yaw
    x = right * orbit.cos() - level * orbit.sin() + follow
    z = SUBJECT_DEPTH - level * orbit.cos() - right * orbit.sin()
    height = height.clamp_min(0.12)
    craning = is_crane(kind)[:, None]
    aimed = -torch.atan2(height - base.aim[:, None], level.clamp_min(0.3))
    pitch = torch.where(craning, aimed, -elevation) + tilt
    rotation = turned(heading, pitch, roll + dutch[:, None])
    return CameraState(rotation, torch.stack([x, -height, z], -1), focal.expand_as(s))


def is_crane(kind: Tensor) -> Tensor:
    """Where a camera is on a crane: it climbs or sinks and keeps looking at the subject, unlike on a pedestal."""
    return (kind == a.CAMERAS.index("crane up")) | (kind == a.CAMERAS.index("crane down"))

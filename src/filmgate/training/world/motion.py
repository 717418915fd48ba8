"""Where camera and objects are at a given moment: closed forms of a scene's labels and parameters.

Legend: V videos, F moments, S slots. Moments run from 0 (first frame) to 1 (last frame). Signs follow the language of
the film set: a camera that pans left turns left, so the picture slides right; orbit left means that the camera itself
travels left around the subject.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.scenes import Scenes

SUBJECT_DEPTH = 4.4
"""Metres in front of the camera's middle position that orbits turn around."""
BASE_PITCH = -0.13
_ASPECT = 0.6


class CameraState(NamedTuple):
    """``rotation`` [V, F, 3, 3] camera-to-world, ``position`` [V, F, 3] metres, ``focal`` [V, F] in image widths."""

    rotation: Tensor
    position: Tensor
    focal: Tensor


class ObjectState(NamedTuple):
    """One slot. Position [V, F] each, half extents [V], yaw and roll angles [V, F], ``present`` [V] bool."""

    x: Tensor
    y: Tensor
    z: Tensor
    yaw: Tensor
    roll: Tensor
    half_width: Tensor
    half_height: Tensor
    present: Tensor


class _Draw:
    """Hands out a scene's uniform numbers by fixed position, scaled."""

    def __init__(self, uniforms: Tensor) -> None:
        self.uniforms = uniforms

    def __call__(self, index: int, low: float, high: float) -> Tensor:
        return self.uniforms[:, index] * (high - low) + low

    def coin(self, index: int, probability: float = 0.5) -> Tensor:
        return self.uniforms[:, index] < probability

    def sign(self, index: int) -> Tensor:
        return torch.where(self.coin(index), 1.0, -1.0)


def _eased(moments: Tensor, smooth: Tensor) -> Tensor:
    """Position along a move [V, F] in -0.5 ... 0.5; scenes with ``smooth`` [V] start and stop gently."""
    t = moments[None].expand(smooth.shape[0], -1)
    return torch.where(smooth[:, None], t * t * (3 - 2 * t), t) - 0.5


def camera_at(scenes: Scenes, moments: Tensor) -> CameraState:
    """Camera of every scene at ``moments`` [F]."""
    draw, kind = _Draw(scenes.uniforms), scenes.labels.camera
    s = _eased(moments, draw.coin(0))
    zero = torch.zeros_like(s)

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
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    rows = (
        torch.stack([cos_yaw, sin_yaw * sin_pitch, sin_yaw * cos_pitch], -1),
        torch.stack([zero, cos_pitch, -sin_pitch], -1),
        torch.stack([-sin_yaw, cos_yaw * sin_pitch, cos_yaw * cos_pitch], -1),
    )
    focal = draw(8, 0.85, 1.0)[:, None].expand_as(s)
    return CameraState(torch.stack(rows, -2), torch.stack([x, -height, z], -1), focal)


def _places(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Middle x and z of each slot [V, S]."""
    labels, draw = scenes.labels, _Draw(scenes.uniforms)
    side, relation = draw.sign(9), labels.relation
    left, right = draw(10, -1.2, -0.75), draw(11, 0.75, 1.2)
    near, far, aside = draw(12, 3.3, 3.8), draw(13, 5.0, 5.9), draw(14, 0.45, 0.85) * side
    depth, depth_other = draw(15, 3.9, 4.9), draw(16, -0.35, 0.35)
    two_x = torch.stack(
        [
            torch.where(relation == 0, left, torch.where(relation == 1, right, aside)),
            torch.where(relation == 0, right, torch.where(relation == 1, left, -aside)),
        ],
        1,
    )
    two_z = torch.stack(
        [
            torch.where(relation < 2, depth, torch.where(relation == 2, far, near)),
            torch.where(relation < 2, depth + depth_other, torch.where(relation == 2, near, far)),
        ],
        1,
    )
    pad = torch.zeros_like(two_x[:, :1])
    # Three stand side by side; the relation says in which order the first two come.
    slots = torch.tensor([[-1.45, 0.0, 1.45], [0.0, -1.45, 1.45], [1.45, 0.0, -1.45]], device=pad.device)
    order = torch.where(relation == 1, 1 + draw.coin(17).long(), torch.zeros_like(relation))
    three_x = slots[order] + torch.stack([draw(i, -0.15, 0.15) for i in (18, 19, 20)], 1)
    three_z = draw(21, 4.8, 5.5)[:, None] + torch.stack([draw(i, -0.3, 0.3) for i in (22, 23, 24)], 1)
    alike_two = (labels.alike == 1) & (labels.count == 2)
    two_x = torch.where(alike_two[:, None], torch.stack([left, right], 1), two_x)
    two_z = torch.where(alike_two[:, None], torch.stack([depth, depth + depth_other], 1), two_z)
    one_x, one_z = draw(25, -0.6, 0.6)[:, None].expand(-1, 3), draw(26, 3.4, 4.5)[:, None].expand(-1, 3)
    number = labels.count[:, None]
    x = torch.where(number == 3, three_x, torch.where(number == 2, torch.cat([two_x, pad], 1), one_x))
    z = torch.where(number == 3, three_z, torch.where(number == 2, torch.cat([two_z, pad + 4], 1), one_z))
    return x, z


def objects_at(scenes: Scenes, moments: Tensor) -> tuple[ObjectState, ...]:
    """Every slot of every scene at ``moments`` [F]; absent slots are returned with ``present`` False."""
    labels, draw = scenes.labels, _Draw(scenes.uniforms)
    s, t = _eased(moments, draw.coin(27, 0.35)), moments[None]
    device = scenes.uniforms.device
    widths = torch.tensor(a.HALF_WIDTH, device=device)
    heights = torch.tensor(a.HALF_HEIGHT, device=device)
    place_x, place_z = _places(scenes)
    travel, hops = draw(28, 1.8, 2.9)[:, None], torch.where(draw.coin(29), 1.0, 2.0)[:, None]
    turns = (draw(30, 3.0, 6.0) * draw.sign(31))[:, None]
    states = []
    for slot in range(a.SLOTS):
        motion, shape = labels.motion[:, slot], labels.shape[:, slot]

        def on(kind: int, value: Tensor, motion: Tensor = motion) -> Tensor:
            return torch.where((motion == kind)[:, None], value, 0.0)

        half_width = widths[labels.size[:, slot]] * draw(32 + slot, 0.92, 1.08)
        half_height = half_width * heights[shape]
        across = on(2, travel * s) - on(1, travel * s)
        deeper = on(4, travel * 0.85 * s + 0.3) - on(3, travel * 0.85 * s - 0.3)
        lift = on(5, (math.pi * hops * t).sin().abs() * 0.85) + on(7, 1.15 * t)
        lift = lift + on(8, 1.5 * (1 - (t / 0.75).clamp(0, 1) ** 2))
        rolling = ((shape == 0) & ((motion == 1) | (motion == 2)))[:, None]
        yaw = torch.where(rolling, 0.0, draw(36 + slot, -0.8, 0.8)[:, None] + on(6, turns * t))
        roll = torch.where(rolling, across / half_width[:, None], 0.0)
        states.append(
            ObjectState(
                place_x[:, slot, None] + across,
                -half_height[:, None] - lift,
                place_z[:, slot, None] + deeper,
                yaw,
                roll,
                half_width,
                half_height,
                labels.count > slot,
            )
        )
    return tuple(states)


def project(camera: CameraState, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Screen position of world points [V, F]: u right and v down in image widths from the centre, and depth."""
    offset = torch.stack([x, y, z], -1) - camera.position
    local = torch.einsum("vfij,vfi->vfj", camera.rotation, offset)
    depth = local[..., 2].clamp_min(0.05)
    return camera.focal * local[..., 0] / depth, camera.focal * local[..., 1] / depth, local[..., 2]


def visibility(scenes: Scenes) -> Tensor:
    """How well the labels show [V]; negative where a caption would be untrue in pixels.

    Every object has to be inside the frame in the middle of the clip and for at least 60 % of it, objects must not
    hide each other in the middle, and left/right relations must hold on screen there.
    """
    moments = torch.linspace(0, 1, 9, device=scenes.uniforms.device)
    camera = camera_at(scenes, moments)
    labels = scenes.labels
    score = torch.ones_like(scenes.uniforms[:, 0])
    middle = []
    for state in objects_at(scenes, moments):
        u, v, depth = project(camera, state.x, state.y, state.z)
        inside = (u.abs() < 0.45) & (v.abs() < 0.5 * _ASPECT - 0.02) & (depth > 1.3)
        fraction = inside.float().mean(1)
        value = torch.where(inside[:, 4], fraction - 0.6, -1.0)
        score = torch.where(state.present, torch.minimum(score, value), score)
        middle.append((u[:, 4], depth[:, 4], camera.focal[:, 4] * state.half_width / depth[:, 4].clamp_min(0.1)))
    crossing = (labels.motion[:, 0] == 1) | (labels.motion[:, 0] == 2)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        both = labels.count > second
        gap = (middle[first][0] - middle[second][0]).abs() - 0.75 * (middle[first][2] + middle[second][2])
        hidden = both & (gap < 0) & ~crossing
        score = torch.where(hidden, torch.minimum(score, gap - 0.01), score)
    two = (labels.count >= 2) & (labels.alike == 0)
    order = middle[0][0] - middle[1][0]
    wrong = two & (((labels.relation == 0) & (order > -0.06)) | ((labels.relation == 1) & (order < 0.06)))
    return torch.where(wrong, torch.minimum(score, -order.abs() - 0.01), score)

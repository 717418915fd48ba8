"""Where objects are at a given moment, on the ground and in the picture: closed forms of labels and parameters.

Legend: V videos, F moments, S slots. Moments run from 0 (first frame) to 1 (last frame). The camera is in ``moves``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.moves import (
    SUBJECT_DEPTH,
    CameraState,
    Draw,
    Stand,
    by_label,
    crossing,
    eased,
    first_camera,
    is_close,
    rich_camera,
    stand,
    travelled,
)
from filmgate.training.world.scenes import Scenes, is_one_of

_ASPECT = 0.6


class ObjectState(NamedTuple):
    """One slot. Position [V, F] each, half extents [V], yaw and roll angles [V, F], ``present`` [V] bool, and
    how far it has gone on the ground [V, F], metres: what the legs of a character keep step with."""

    x: Tensor
    y: Tensor
    z: Tensor
    yaw: Tensor
    roll: Tensor
    half_width: Tensor
    half_height: Tensor
    present: Tensor
    gone: Tensor


def camera_at(scenes: Scenes, moments: Tensor) -> CameraState:
    """Camera of every scene at ``moments`` [F]."""
    if not scenes.world.rich:
        return first_camera(scenes, moments)
    return rich_camera(scenes, moments, stand(scenes))


def _places(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Middle x and z of each slot [V, S]."""
    labels, draw = scenes.labels, Draw(scenes.uniforms)
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


def _places_of_richer_worlds(scenes: Scenes, widths: Tensor, base: Stand) -> tuple[Tensor, Tensor]:
    """Middle x and z of each slot [V, S], with interactions; ``widths`` [V, S] are half widths in metres."""
    labels, draw = scenes.labels, Draw(scenes.uniforms)
    x, z = _places(scenes)
    alone, zoomed = labels.count <= 1, base.scale.clamp_min(1.0)
    crosses = is_one_of(labels.motion[:, 0], a.MOTIONS, ("left", "right", "circle"))
    lone = torch.where(crosses, draw(25, -0.5, 0.5), draw(67, -1.25, 1.25)) / zoomed
    lone = torch.where(draw.coin(71, 0.35), lone * 0.12, lone)
    lone = torch.where(base.close, draw(67, -0.10, 0.10), lone)
    x = torch.where(alone[:, None], lone[:, None], x)
    z = torch.where(alone[:, None], SUBJECT_DEPTH + (z - SUBJECT_DEPTH) / zoomed[:, None], z)
    stacked, follows, bounces = (labels.relation == a.RELATIONS.index(name) for name in a.INTERACTIONS)
    depth = draw(15, 4.0, 4.7)
    sum_of_widths = widths[:, 0] + widths[:, 1]
    way = torch.where(labels.motion[:, 0] == a.MOTIONS.index("right"), 1.0, -1.0)
    gap = way * (sum_of_widths + draw(72, 0.25, 0.5)) / 2
    struck = draw.sign(9) * draw(72, 0.40, 0.75)
    first = torch.where(follows, -gap, struck - draw.sign(9) * sum_of_widths)
    second = torch.where(follows, gap, struck)
    together = draw(67, -0.5, 0.5)
    pair_x = torch.stack([torch.where(stacked, together, first), torch.where(stacked, together, second), x[:, 2]], 1)
    acting = ((stacked | follows | bounces) & (labels.count == 2))[:, None]
    return torch.where(acting, pair_x, x), torch.where(acting, depth[:, None], z)


class _Extra(NamedTuple):
    """What richer worlds add to the motion of a slot, [V, F] each: to the right, into depth, upward; and the heading
    of a character."""

    across: Tensor
    deeper: Tensor
    lift: Tensor
    heading: Tensor
    gone: Tensor


def _extra_motion(scenes: Scenes, slot: int, moments: Tensor, widths: Tensor, base: Stand) -> _Extra:
    labels, draw = scenes.labels, Draw(scenes.uniforms)
    motion, t = labels.motion[:, slot, None], moments[None]
    circles, rebounds = (motion == a.MOTIONS.index(name) for name in ("circle", "rebound"))
    angle = 2 * math.pi * (draw.sign(31)[:, None] * t + draw(73, 0.0, 1.0)[:, None])
    radius = (draw(74, 0.5, 0.8) / base.scale.clamp_min(1.0))[:, None]
    back = -(draw.sign(9) * draw(75, 1.2, 1.7))[:, None] * (1 - 2 * t).abs()
    across = torch.where(circles, radius * angle.cos(), torch.where(rebounds, back, 0.0))
    deeper = torch.where(circles, radius * angle.sin(), 0.0)
    stacked = (labels.relation == a.RELATIONS.index("on top of")) & (labels.count == 2) & (slot == 0)
    below = 2 * widths[:, 1] * by_label(a.HALF_HEIGHT, labels.shape[:, 1])
    lift = torch.where(stacked, below, 0.0)[:, None].expand_as(across)
    tangent = torch.atan2(angle.sin() * draw.sign(31)[:, None], -angle.cos() * draw.sign(31)[:, None])
    # A character looks where it goes, turned a little to the camera; it looks at us where it keeps its place.
    facing = by_label((0.0, 1.15, -1.15, 0.0, math.pi, *(0.0,) * (len(a.MOTIONS) - 5)), motion)
    swing = draw(36 + slot, -0.4, 0.4)[:, None] * torch.where(base.close, 0.7, 1.0)[:, None]
    heading = torch.where(circles, tangent, facing + swing)
    return _Extra(across, deeper, lift, heading, torch.where(circles, radius * (angle - angle[:, :1]), across))


def objects_at(scenes: Scenes, moments: Tensor) -> tuple[ObjectState, ...]:
    """Every slot of every scene at ``moments`` [F]; absent slots are returned with ``present`` False."""
    labels, draw, rich = scenes.labels, Draw(scenes.uniforms), scenes.world.rich
    s, t = eased(moments, draw.coin(27, 0.35)), moments[None]
    grown = torch.stack([draw(32 + slot, 0.92, 1.08) for slot in range(a.SLOTS)], 1)
    widths = by_label(a.HALF_WIDTH, labels.size) * grown
    base = stand(scenes) if rich else None
    place_x, place_z = _places(scenes) if base is None else _places_of_richer_worlds(scenes, widths, base)
    travel, hops = travelled(scenes), torch.where(draw.coin(29), 1.0, 2.0)[:, None]
    turns = (draw(30, 3.0, 6.0) * draw.sign(31))[:, None]
    near = torch.ones_like(turns) if base is None else 1 / base.scale.clamp_min(1.0)[:, None]
    travel = travel * near
    states = []
    for slot in range(a.SLOTS):
        motion, shape = labels.motion[:, slot], labels.shape[:, slot]

        def on(kind: int, value: Tensor, motion: Tensor = motion) -> Tensor:
            return torch.where((motion == kind)[:, None], value, 0.0)

        half_width = widths[:, slot]
        half_height = half_width * by_label(a.HALF_HEIGHT, shape)
        across = crossing(scenes, moments, motion, base)
        deeper = on(4, travel * 0.85 * s + 0.3) - on(3, travel * 0.85 * s - 0.3)
        lift = on(5, (math.pi * hops * t).sin().abs() * 0.85) + on(7, 1.15 * t)
        lift = lift + on(8, 1.5 * (1 - (t / 0.75).clamp(0, 1) ** 2))
        rolling = ((shape == 0) & ((motion == 1) | (motion == 2)))[:, None]
        yaw = draw(36 + slot, -0.8, 0.8)[:, None] + on(6, turns * t)
        gone = across + deeper
        if base is not None:
            extra = _extra_motion(scenes, slot, moments, widths, base)
            # A character jumps as high as its legs are long.
            compound = (shape >= a.SHAPES.index("sign"))[:, None]
            lift = lift * near * torch.where(compound, 0.55, 1.0) + extra.lift
            across, deeper, gone = across + extra.across, deeper + extra.deeper, gone + extra.gone
            rolling = rolling | ((shape == 0) & (motion == a.MOTIONS.index("rebound")))[:, None]
            yaw = torch.where(compound, extra.heading + on(6, turns * t), yaw)
            # What is struck stands square to what comes.
            struck = (labels.relation == a.RELATIONS.index("bounces off")) & (labels.count == 2) & (slot == 1)
            yaw = torch.where(struck[:, None], 0.0, yaw)
        yaw = torch.where(rolling, 0.0, yaw)
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
                gone,
            )
        )
    return tuple(states)


def project(camera: CameraState, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Screen position of world points [V, F]: u right and v down in image widths from the centre, and depth."""
    offset = torch.stack([x, y, z], -1) - camera.position
    local = torch.einsum("vfij,vfi->vfj", camera.rotation, offset)
    depth = local[..., 2].clamp_min(0.05)
    return camera.focal * local[..., 0] / depth, camera.focal * local[..., 1] / depth, local[..., 2]


def _seen_at(scenes: Scenes, state: ObjectState) -> Tensor:
    """Height y [V, F] of what has to be in view: the middle of an object, the head of a character seen from near."""
    if not scenes.world.rich:
        return state.y
    return torch.where(is_close(scenes)[:, None], state.y - 0.48 * state.half_height[:, None], state.y)


def _whole(scenes: Scenes, state: ObjectState, camera: CameraState) -> Tensor:
    """Whether a figure is in the picture from head to toe in the middle of the clip [V]; True of everything else."""
    figure = is_one_of(scenes.labels.shape[:, 0], a.SHAPES, a.COMPOUND) & ~is_close(scenes)
    inside = torch.ones_like(figure)
    for end in (-1.15, 0.95):  # with its hat
        _, v, _ = project(camera, state.x, state.y + end * state.half_height[:, None], state.z)
        inside = inside & (v[:, v.shape[1] // 2].abs() < 0.5 * _ASPECT)
    return inside | ~figure


def visibility(scenes: Scenes) -> Tensor:
    """How well the labels show [V]; negative where a caption would be untrue in pixels.

    Every object has to be inside the frame in the middle of the clip and for at least 60 % of it, objects must not
    hide each other in the middle, and left/right relations must hold on screen there.
    """
    moments = torch.linspace(0, 1, 9, device=scenes.uniforms.device)
    camera = camera_at(scenes, moments)
    labels, rich = scenes.labels, scenes.world.rich
    score = torch.ones_like(scenes.uniforms[:, 0])
    middle = []
    for slot, state in enumerate(objects_at(scenes, moments)):
        u, v, depth = project(camera, state.x, _seen_at(scenes, state), state.z)
        nearest = 1.1 * state.half_width[:, None] + 0.3 if rich else 1.3
        inside = (u.abs() < 0.45) & (v.abs() < 0.5 * _ASPECT - 0.02) & (depth > nearest)
        fraction = inside.float().mean(1)
        value = torch.where(inside[:, 4], fraction - 0.6, -1.0)
        if rich:
            if slot == 0:
                value = torch.where(_whole(scenes, state, camera), value, -1.0)
            apart = (torch.stack([state.x, state.y, state.z], -1) - camera.position).norm(dim=-1)
            value = torch.where((apart > nearest).all(1), value, -1.0)
        score = torch.where(state.present, torch.minimum(score, value), score)
        middle.append((u[:, 4], depth[:, 4], camera.focal[:, 4] * state.half_width / depth[:, 4].clamp_min(0.1)))
    crossing = (labels.motion[:, 0] == 1) | (labels.motion[:, 0] == 2)
    # What stands on another hides nothing of it.
    crossing = crossing | (labels.relation == a.RELATIONS.index("on top of"))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        both = labels.count > second
        gap = (middle[first][0] - middle[second][0]).abs() - 0.75 * (middle[first][2] + middle[second][2])
        hidden = both & (gap < 0) & ~crossing
        score = torch.where(hidden, torch.minimum(score, gap - 0.01), score)
    two = (labels.count >= 2) & (labels.alike == 0)
    order = middle[0][0] - middle[1][0]
    wrong = two & (((labels.relation == 0) & (order > -0.06)) | ((labels.relation == 1) & (order < 0.06)))
    return torch.where(wrong, torch.minimum(score, -order.abs() - 0.01), score)

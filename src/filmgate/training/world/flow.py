"""True motion: where what every pixel shows is one frame later, known exactly from a scene's camera and objects.

Legend: V videos, F frames, H W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.motion import ObjectState, camera_at, objects_at
from filmgate.training.world.moves import CameraState
from filmgate.training.world.render import Views
from filmgate.training.world.scenes import Scenes, is_one_of, patterned

_FAR = 1e4
"""Metres at which the sky is."""
_NEAR_ENOUGH = 0.03
"""Relative difference of distances up to which the same thing is seen."""


class Flow(NamedTuple):
    """``pixels`` [V, F - 1, H, W, 2]: how far to the right and down; ``visible`` [V, F - 1, H, W]: where what is seen
    can be seen in the next frame too, and its motion is known."""

    pixels: Tensor
    visible: Tensor


def true_flow(scenes: Scenes, frames: int, height: int, width: int) -> Flow:
    """Motion of clips of ``frames`` frames.

    Objects are rigid. Of characters that walk or wave, and of patterns on what rolls, the motion is not told: they
    count as not visible.
    """
    moments = torch.arange(frames, device=scenes.uniforms.device) / max(frames - 1, 1)
    camera, states = camera_at(scenes, moments), objects_at(scenes, moments)
    _, number, distance = Views(scenes, moments)(camera, height, width)
    distance = torch.where(number >= 0, distance, _FAR)
    points = camera.position[..., None, None] + ray_directions(camera, height, width) * distance[:, :, None]
    later = _moved(points[:, :-1], number[:, :-1], states)
    u, v, apart, depth = _projected(CameraState(*(tensor[:, 1:] for tensor in camera)), later, height, width)
    column = torch.arange(width, device=u.device) + 0.5
    row = torch.arange(height, device=u.device)[:, None] + 0.5
    inside = (depth > 0.05) & (u > 0) & (u < width) & (v > 0) & (v < height)
    there = _looked_up(distance[:, 1:], u, v)
    same = _looked_up(number[:, 1:].float(), u, v) == number[:, :-1]
    near = ((there - apart).abs() < _NEAR_ENOUGH * apart) | (number[:, :-1] < 0)
    told = _told(scenes).gather(1, (number[:, :-1] + 1).flatten(1)).view_as(same)
    return Flow(torch.stack([u - column, v - row], -1), inside & same & near & told)


def ray_directions(camera: CameraState, height: int, width: int) -> Tensor:
    """Unit rays [V, F, 3, H, W] in the world."""
    device, focal = camera.focal.device, camera.focal[:, :, None, None]
    x = ((torch.arange(width, device=device) + 0.5) / width - 0.5) / focal
    y = ((torch.arange(height, device=device)[:, None] + 0.5) / height - 0.5) * (height / width) / focal
    x, y = torch.broadcast_tensors(x, y)
    return torch.einsum(
        "vfij,vfjhw->vfihw", camera.rotation, F.normalize(torch.stack([x, y, torch.ones_like(x)], 2), dim=2)
    )


def _moved(points: Tensor, number: Tensor, states: tuple[ObjectState, ...]) -> Tensor:
    """Points [V, F - 1, 3, H, W] one frame later."""
    result = points
    for slot, state in enumerate(states):
        x, y, z = (tensor[..., None, None] for tensor in (state.x, state.y, state.z))
        offset = [points[:, :, i] - tensor[:, :-1] for i, tensor in enumerate((x, y, z))]
        # Objects turn about the vertical as the ray caster turns them back.
        turn = (state.yaw[:, 1:] - state.yaw[:, :-1])[..., None, None]
        across = turn.cos() * offset[0] + turn.sin() * offset[2]
        along = -turn.sin() * offset[0] + turn.cos() * offset[2]
        gone = torch.stack([across + x[:, 1:], offset[1] + y[:, 1:], along + z[:, 1:]], 2)
        result = torch.where((number == slot + 1)[:, :, None], gone, result)
    return result


def _projected(camera: CameraState, points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixel coordinates, distance and depth of points [V, F, 3, H, W] in the frame that they are in."""
    offset = points - camera.position[..., None, None]
    local = torch.einsum("vfij,vfihw->vfjhw", camera.rotation, offset)
    depth = local[:, :, 2]
    focal = camera.focal[:, :, None, None] * width / depth.clamp_min(1e-3)
    return focal * local[:, :, 0] + width / 2, focal * local[:, :, 1] + height / 2, offset.norm(dim=2), depth


def _looked_up(values: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Values [V, F, H, W] at the pixels that contain (u, v)."""
    height, width = values.shape[-2:]
    column, row = u.floor().long().clamp(0, width - 1), v.floor().long().clamp(0, height - 1)
    return values.flatten(2).gather(2, (row * width + column).flatten(2)).view_as(values)


def _told(scenes: Scenes) -> Tensor:
    """Of sky, ground and objects [V, 2 + S]: whether their motion is that of a rigid body."""
    labels = scenes.labels
    still = is_one_of(labels.motion, a.MOTIONS, ("still",))
    walks = is_one_of(labels.shape, a.SHAPES, a.CHARACTERS) & ~still
    rolls = (labels.shape == a.SHAPES.index("ball")) & patterned(labels.material) & ~still
    return torch.cat([torch.ones_like(still[:, :2]), ~(walks | rolls)], 1)

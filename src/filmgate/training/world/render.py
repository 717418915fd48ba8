"""Scenes to clips: sets up rays and surroundings, averages sub-samples in linear light, tone-maps.

Legend: V videos, F frames, H W pixels. Anti-aliasing, motion blur and soft shadows share the same sub-samples: each has
its own pixel offset, shutter moment and sun offset from a fixed table, so that there is no noise and no flicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.motion import CameraState, camera_at, objects_at
from filmgate.training.world.scenes import Scenes
from filmgate.training.world.shading import Solid, Surroundings, Vector, shade

SUBSAMPLES = ((-0.25, -0.125), (0.25, 0.125), (-0.125, 0.25), (0.125, -0.25))
SHUTTER = 0.5
"""Shutter opening as a share of the frame interval (a 180° shutter)."""
SUN_RADIUS = 0.05


class Clip(NamedTuple):
    """``rgb`` uint8 [V, 3, F, H, W]; ``number`` int8 [V, F, H, W] (-1 sky, 0 ground, 1 ... objects); camera poses."""

    rgb: Tensor
    number: Tensor
    distance: Tensor
    camera: CameraState


def _field(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _vector(table: Tensor) -> Vector:
    return (_field(table[:, 0]), _field(table[:, 1]), _field(table[:, 2]))


def surroundings(scenes: Scenes) -> tuple[Surroundings, Tensor]:
    """Sky, sun and ground of each scene, and its exposure [V]."""
    labels, u = scenes.labels, scenes.uniforms
    device = u.device
    lights, grounds = list(a.LIGHTS.values()), list(a.GROUNDS.values())

    def light(name: str) -> Tensor:
        return torch.tensor([getattr(entry, name) for entry in lights], device=device)[labels.light]

    def ground(name: str) -> Tensor:
        return torch.tensor([getattr(entry, name) for entry in grounds], device=device)[labels.ground]

    elevation = light("elevation_degrees") * (math.pi / 180)
    azimuth = (u[:, 40] - 0.5) * math.pi * 0.9
    azimuth = torch.where(u[:, 41] < 0.35, azimuth + math.pi, azimuth)
    direction = torch.stack([elevation.cos() * azimuth.sin(), -elevation.sin(), elevation.cos() * azimuth.cos()], -1)
    env = Surroundings(
        horizon=_vector(light("horizon")),
        zenith=_vector(light("zenith")),
        sun=_vector(light("sun")),
        sun_direction=_vector(direction),
        sun_strength=_field(light("sun_strength")),
        sun_visible=_field(light("sun_visible")),
        ambient=_field(light("ambient")),
        cloud=_vector(light("cloud")),
        cloudiness=_field(u[:, 42]),
        hill=_vector(light("hill")),
        seed=_field((u[:, 43] * 60000).int()),
        ground_first=_vector(ground("first")),
        ground_second=_vector(ground("second")),
        ground_pattern=_field(ground("pattern")),
        ground_frequency=_field(ground("frequency")),
    )
    return env, light("exposure")


def _solids(scenes: Scenes, moments: Tensor) -> tuple[Solid, ...]:
    labels, device = scenes.labels, scenes.uniforms.device
    palette = torch.tensor(list(a.COLOURS.values()), device=device)
    white = list(a.COLOURS).index("white")
    solids = []
    for slot, state in enumerate(objects_at(scenes, moments)):
        colour, material = labels.colour[:, slot], labels.material[:, slot]
        stripe = torch.where((colour == white)[:, None], palette[-1] * 3, palette[white].expand(len(colour), 3))
        cos_yaw, sin_yaw, cos_roll, sin_roll = (
            value[:, :, None, None] for value in (state.yaw.cos(), state.yaw.sin(), state.roll.cos(), state.roll.sin())
        )
        solids.append(
            Solid(
                (state.x[:, :, None, None], state.y[:, :, None, None], state.z[:, :, None, None]),
                cos_yaw,
                sin_yaw,
                cos_roll,
                sin_roll,
                _field(state.half_width),
                _field(state.half_height),
                _field(labels.shape[:, slot]),
                _field(state.present),
                _vector(palette[colour]),
                _vector(stripe),
                _field((material == 1).float()),
                _field((material == 2).float()),
            )
        )
    return tuple(solids)


def _rays(camera: CameraState, height: int, width: int, right: Tensor, down: Tensor) -> tuple[Vector, Vector, Tensor]:
    device = camera.position.device
    focal = camera.focal[:, :, None, None]
    u = ((torch.arange(width, device=device) + 0.5 + right) / width - 0.5).view(1, 1, 1, width) / focal
    v = ((torch.arange(height, device=device) + 0.5 + down) / height - 0.5).view(1, 1, height, 1)
    v = v * (height / width) / focal
    rotation = camera.rotation[..., None, None]
    raw = [rotation[:, :, i, 0] * u + rotation[:, :, i, 1] * v + rotation[:, :, i, 2] for i in range(3)]
    inverse = torch.rsqrt(raw[0] * raw[0] + raw[1] * raw[1] + raw[2] * raw[2])
    x, y, z = (camera.position[:, :, i, None, None] for i in range(3))
    return (x, y, z), (raw[0] * inverse, raw[1] * inverse, raw[2] * inverse), 1.2 / (width * focal)


def _sample(
    camera: CameraState, solids: tuple[Solid, ...], env: Surroundings, right: Tensor, down: Tensor, sun: Vector,
    height: int, width: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    origin, direction, footprint = _rays(camera, height, width, right, down)
    return shade(origin, direction, footprint, solids, env, sun)


def tone_map(linear: Tensor) -> Tensor:
    """Filmic curve (Narkowicz 2015 fit of ACES) and 2.2 gamma; linear light to uint8."""
    x = linear.clamp_min(0)
    x = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    return (x.clamp(0, 1) ** (1 / 2.2) * 255 + 0.5).to(torch.uint8)


class Renderer:
    """Renders batches of scenes of one clip format.

    Args:
        compile_shader: Fuse the shader with ``torch.compile`` (about a minute once; 20 times faster afterwards).
    """

    def __init__(self, clip: a.ClipFormat | None = None, *, compile_shader: bool = False) -> None:
        self.format = clip or a.ClipFormat()
        self._sample: Callable[..., tuple[Tensor, Tensor, Tensor]] = (
            torch.compile(_sample, dynamic=False) if compile_shader else _sample
        )
        self._tone_map: Callable[[Tensor], Tensor] = (
            torch.compile(tone_map, dynamic=False) if compile_shader else tone_map
        )

    @torch.no_grad()
    def __call__(self, scenes: Scenes) -> Clip:
        """Render every frame of ``scenes`` on the device that they are on."""
        frames, device = self.format.frames, scenes.uniforms.device
        interval = 1 / max(frames - 1, 1)
        moments = torch.arange(frames, device=device) * interval
        env, exposure = surroundings(scenes)
        total = number = distance = None
        count = len(SUBSAMPLES)
        for index, (right, down) in enumerate(SUBSAMPLES):
            shutter = moments + ((index + 0.5) / count - 0.5) * SHUTTER * interval
            offset = torch.tensor([right, down], device=device)
            colour, number_now, distance_now = self._sample(
                camera_at(scenes, shutter), _solids(scenes, shutter), env, offset[0], offset[1],
                _jittered(env.sun_direction, index), self.format.height, self.format.width,
            )  # fmt: skip
            total = colour if total is None else total + colour
            if index == 0:
                number, distance = number_now.to(torch.int8), distance_now
        assert total is not None
        assert number is not None
        assert distance is not None
        rgb = self._tone_map(total * (exposure / count).view(-1, 1, 1, 1, 1))
        return Clip(rgb, number, distance, camera_at(scenes, moments))


def _jittered(sun: Vector, index: int) -> Vector:
    angle = 2 * math.pi * (index + 0.5) / len(SUBSAMPLES)
    x, y, z = sun[0] + SUN_RADIUS * math.cos(angle), sun[1], sun[2] + SUN_RADIUS * math.sin(angle)
    inverse = torch.rsqrt(x * x + y * y + z * z)
    return (x * inverse, y * inverse, z * inverse)

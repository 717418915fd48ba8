"""Scenes to clips: sets up rays and surroundings, averages sub-samples in linear light, tone-maps.

Legend: V videos, F frames, H W pixels. Anti-aliasing, motion blur and soft shadows share the same sub-samples: each has
its own pixel offset, shutter moment and sun offset from a fixed table, so that there is no noise and no flicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.characters import Part, Skeleton, skeleton
from filmgate.training.world.motion import ObjectState, camera_at, objects_at
from filmgate.training.world.moves import SUBJECT_DEPTH, CameraState, constants, stand
from filmgate.training.world.primitives import Vector, where
from filmgate.training.world.scenes import Scenes
from filmgate.training.world.shading import BOX, CAPSULE, CONE, HAZE, SPHERE, Figure, Limb, Solid, Surroundings, shade

SUBSAMPLES = ((-0.25, -0.125), (0.25, 0.125), (-0.125, 0.25), (0.125, -0.25))
MANY_SUBSAMPLES = tuple((x / 8 - 7 / 16, y / 8 - 7 / 16) for x, y in enumerate((2, 6, 0, 4, 7, 3, 5, 1)))
"""For showing: eight rooks, one in each row and column."""
SHUTTER = 0.5
"""Shutter opening as a share of the frame interval (a 180° shutter)."""
SUN_RADIUS = 0.05
_PRIMITIVE = (0, 1, 2, 3, 4, 5, BOX, BOX, CAPSULE)
"""Solid of each shape; of a figure, its body."""
_MIST = 0.42
"""Haze of mist at the subject's distance, so that it pales and stays to be seen."""
_GAIN = ((1.0, 1.0, 1.0), (1.12, 1.0, 0.74), (0.80, 0.98, 1.22), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
_SATURATION = (1.0, 1.0, 1.0, 1.3, 0.52)
"""Colour grades of :data:`.attributes.TONES`."""


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
        return constants(tuple(getattr(entry, name) for entry in lights), device)[labels.light]

    def ground(name: str) -> Tensor:
        return constants(tuple(getattr(entry, name) for entry in grounds), device)[labels.ground]

    env = Surroundings(
        horizon=_vector(light("horizon")),
        zenith=_vector(light("zenith")),
        sun=_vector(light("sun")),
        sun_direction=_vector(sun_of(scenes)),
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
        **_lamps(scenes),
    )
    return env, light("exposure")


def _elevation_and_azimuth(scenes: Scenes) -> tuple[Tensor, Tensor]:
    u = scenes.uniforms
    degrees = torch.tensor([light.elevation_degrees for light in a.LIGHTS.values()], device=u.device)
    azimuth = (u[:, 40] - 0.5) * math.pi * 0.9
    return degrees[scenes.labels.light] * (math.pi / 180), torch.where(u[:, 41] < 0.35, azimuth + math.pi, azimuth)


def sun_of(scenes: Scenes) -> Tensor:
    """Direction to the sun (or moon) of each scene, unit [V, 3]."""
    elevation, azimuth = _elevation_and_azimuth(scenes)
    return torch.stack([elevation.cos() * azimuth.sin(), -elevation.sin(), elevation.cos() * azimuth.cos()], -1)


def light_of(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Where the light of each scene comes from: a point in metres [V, 3], and whether it is a lamp there [V] bool.

    A sun's point is a direction (unit).
    """
    labels, u = scenes.labels, scenes.uniforms
    rows = list(a.LIGHTS.values())
    height = torch.tensor([float(row.lamp) for row in rows], device=u.device)[labels.light]
    elevation, azimuth = _elevation_and_azimuth(scenes)
    # A lamp right over the subject is nearly above it; others stand aside, some of them behind it. A fire is alone in
    # the dark: behind the subject it would leave nothing of it but an outline.
    aside = torch.where(elevation > 1.3, 0.35, 1.0) * (1.3 + 0.9 * u[:, 42])
    ahead = torch.where(elevation < 0.4, -azimuth.cos().abs().clamp_min(0.35), azimuth.cos())
    spot = torch.stack([aside * azimuth.sin() * 1.1, -height, SUBJECT_DEPTH + aside * ahead], -1)
    lamp = height > 0
    return torch.where(lamp[:, None], spot, sun_of(scenes)), lamp


def _lamps(scenes: Scenes) -> dict[str, Any]:
    """Lamp, fill and haze of each scene, as fields of :class:`Surroundings`."""
    labels = scenes.labels
    place, lamp = light_of(scenes)
    rows = torch.tensor([row.fill for row in a.LIGHTS.values()], device=place.device)[labels.light]
    target = torch.tensor([0.0, -0.6, SUBJECT_DEPTH], device=place.device)
    away = place - target
    opposite = torch.stack([-away[:, 0].sign() * 0.85, torch.full_like(away[:, 0], -0.35), away[:, 1] * 0 - 0.4], -1)
    misty = labels.weather == a.WEATHERS.index("mist")
    distance = stand(scenes).distance if scenes.world.rich else torch.ones_like(away[:, 0])
    return {
        "lamp": _field(lamp),
        "lamp_position": _vector(place),
        "lamp_reach": _field(away.norm(dim=1)),
        "fill": _vector(rows),
        "fill_direction": _vector(opposite),
        "haze": _field(torch.where(misty, _MIST / distance, HAZE)),
    }


def _turns(state: ObjectState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    cos_yaw, sin_yaw, cos_roll, sin_roll = (
        value[:, :, None, None] for value in (state.yaw.cos(), state.yaw.sin(), state.roll.cos(), state.roll.sin())
    )
    return cos_yaw, sin_yaw, cos_roll, sin_roll


def _solids(scenes: Scenes, states: tuple[ObjectState, ...]) -> tuple[Solid, ...]:
    labels, device = scenes.labels, scenes.uniforms.device
    palette = torch.tensor(list(a.COLOURS.values()), device=device)
    white = list(a.COLOURS).index("white")
    primitive = torch.tensor(_PRIMITIVE, device=device)
    solids = []
    for slot, state in enumerate(states):
        colour, material = labels.colour[:, slot], labels.material[:, slot]
        stripe = torch.where((colour == white)[:, None], palette[-1] * 3, palette[white].expand(len(colour), 3))
        solids.append(
            Solid(
                (state.x[:, :, None, None], state.y[:, :, None, None], state.z[:, :, None, None]),
                *_turns(state),
                _field(state.half_width),
                _field(state.half_height),
                _field(state.half_width),
                _field(primitive[labels.shape[:, slot]]),
                _field(state.present),
                _vector(palette[colour]),
                _vector(stripe),
                _field((material == 1).float()),
                _field((material == 2).float()),
                _field((material == a.MATERIALS.index("checkered")).float()),
                _field((material == a.MATERIALS.index("glowing")).float()),
                _field((labels.shape[:, slot] == a.SHAPES.index("sign")).float()),
            )
        )
    return tuple(solids)


def _figure(scenes: Scenes, solids: tuple[Solid, ...], bones: Skeleton) -> tuple[tuple[Solid, ...], Figure]:
    """Solids in which object 0 is the body of its figure, if it is one, and the figure's other parts."""
    labels, device = scenes.labels, scenes.uniforms.device
    palette = torch.tensor(list(a.COLOURS.values()), device=device)
    first = solids[0]

    def shaped(part: Part, solid: Solid) -> Solid:
        mask = part.present
        place = where(mask, part.middle, solid.position)
        extents = (
            torch.where(mask, p, q)
            for p, q in (
                (part.half_width, solid.half_width), (part.half_height, solid.half_height),
                (part.half_depth, solid.half_depth),
            )
        )  # fmt: skip
        width, height, depth = extents
        return solid._replace(position=place, half_width=width, half_height=height, half_depth=depth)

    robot = labels.shape[:, 0] == a.SHAPES.index("robot")
    dim = palette[labels.head].mean(-1, keepdim=True) < 0.16
    eyes = torch.where(dim, palette[list(a.COLOURS).index("white")], palette[list(a.COLOURS).index("black")])
    head = shaped(bones.head, first)._replace(
        present=bones.head.present, shape=_field(torch.where(robot, BOX, SPHERE)), colour=_vector(palette[labels.head]),
        stripe=_vector(eyes),
    )  # fmt: skip
    hat = shaped(bones.hat, first)._replace(
        present=bones.hat.present, shape=_field(torch.full_like(labels.hat, CONE)),
        colour=_vector(palette[labels.hat.clamp_max(len(a.COLOURS) - 1)]),
    )  # fmt: skip
    grey = torch.tensor([0.30, 0.30, 0.32], device=device)
    is_sign = (labels.shape[:, 0] == a.SHAPES.index("sign"))[:, None]
    skin = _vector(torch.where(is_sign, grey, palette[labels.limbs]))
    limbs = tuple(Limb(bar.start, bar.end, bar.radius, bar.present, skin) for bar in bones.bars)
    return (shaped(bones.body, first), *solids[1:]), Figure(head, hat, limbs)


class _Stage(NamedTuple):
    """Where everything is in all sub-samples one after another; made at once, because most of it is small."""

    camera: CameraState
    solids: tuple[Solid, ...]
    figure: Figure | None


def _staged(scenes: Scenes, moments: Tensor) -> _Stage:
    states = objects_at(scenes, moments)
    solids, figure = _solids(scenes, states), None
    if scenes.world.rich:
        solids, figure = _figure(scenes, solids, skeleton(scenes, states[0], moments))
    return _Stage(camera_at(scenes, moments), solids, figure)


def _without_absent(stage: _Stage) -> _Stage:
    """The stage without what is in none of the scenes: nothing of it would be seen, but all of it computed."""
    solids = [solid for number, solid in enumerate(stage.solids) if number == 0 or bool(solid.present.any())]
    figure = stage.figure
    if figure is not None:
        limbs = tuple(limb for limb in figure.limbs if bool(limb.present.any()))
        head, hat = (part if part is not None and bool(part.present.any()) else None for part in figure[:2])
        figure = Figure(head, hat, limbs)
    return stage._replace(solids=tuple(solids), figure=figure)


def _during(value: Any, start: int, stop: int, whole: int) -> Any:
    """The frames from ``start`` to ``stop`` of every tensor in ``value`` that has ``whole`` of them, on axis 1."""
    if isinstance(value, Tensor):
        return value[:, start:stop].contiguous() if value.ndim > 1 and value.shape[1] == whole else value
    if not isinstance(value, tuple):
        return value
    parts = [_during(part, start, stop, whole) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


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
    height: int, width: int, figure: Figure | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    origin, direction, footprint = _rays(camera, height, width, right, down)
    return shade(origin, direction, footprint, solids, env, sun, figure)


def graded(linear: Tensor, tone: Tensor) -> Tensor:
    """Linear light [V, 3, F, H, W] in the colour grades [V] of :data:`.attributes.TONES`."""
    gain = torch.tensor(_GAIN, device=linear.device)[tone].view(-1, 3, 1, 1, 1)
    amount = torch.tensor(_SATURATION, device=linear.device)[tone].view(-1, 1, 1, 1, 1)
    weights = torch.tensor([0.2126, 0.7152, 0.0722], device=linear.device).view(1, 3, 1, 1, 1)
    toned = linear * gain
    grey = (toned * weights).sum(1, keepdim=True)
    return grey + (toned - grey) * amount


def tone_map(linear: Tensor) -> Tensor:
    """Filmic curve (Narkowicz 2015 fit of ACES) and 2.2 gamma; linear light to uint8."""
    x = linear.clamp_min(0)
    x = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    return (x.clamp(0, 1) ** (1 / 2.2) * 255 + 0.5).to(torch.uint8)


class Views:
    """Scenes at given moments, as any other camera would see them: sharp, one sub-sample through the middle of each
    pixel. What does not depend on the camera is made once.

    Args:
        scenes: V of them.
        moments: [F], 0 ... 1.
    """

    def __init__(self, scenes: Scenes, moments: Tensor) -> None:
        self.scenes, self.stage = scenes, _staged(scenes, moments)
        self.env, self.exposure = surroundings(scenes)

    @torch.no_grad()
    def __call__(self, camera: CameraState, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """RGB [V, 3, F, H, W] in 0 ... 1, object numbers [V, F, H, W] (-1 sky, 0 ground) and distances in metres."""
        middle = torch.zeros((), device=self.exposure.device)
        linear, number, distance = _sample(
            camera, self.stage.solids, self.env, middle, middle, self.env.sun_direction, height, width,
            self.stage.figure,
        )  # fmt: skip
        linear = linear * self.exposure.view(-1, 1, 1, 1, 1)
        if self.scenes.world.rich:
            linear = graded(linear, self.scenes.labels.tone)
        return tone_map(linear).float() / 255, number, distance


CHUNK = 256
"""Clips that are rendered at once on a GPU: fewer leave it waiting for launches (180 clips/s by 64, 415 by 256)."""


def chunk_of(clip: a.ClipFormat, device: torch.device, *, compiled: bool) -> int:
    """Clips to render at once: as many everywhere, so that the renderer is compiled once; fewer of larger frames, which
    take more memory, and on a processor."""
    chunk = (CHUNK if device.type == "cuda" else 32) if compiled else 4
    return chunk * (96 * 160) // max(clip.height * clip.width, 96 * 160)


class Renderer:
    """Renders batches of scenes of one clip format.

    Args:
        compile_shader: Fuse the shader with ``torch.compile`` (about a minute once; 20 times faster afterwards).
        samples: Sub-samples of each pixel, 4 or 8; richer worlds only.
    """

    def __init__(self, clip: a.ClipFormat | None = None, *, compile_shader: bool = False, samples: int = 4) -> None:
        self.format = clip or a.ClipFormat()
        self.samples = SUBSAMPLES if samples == len(SUBSAMPLES) else MANY_SUBSAMPLES
        self._compiled = compile_shader
        self._sample: Callable[..., tuple[Tensor, Tensor, Tensor]] = (
            torch.compile(_sample, dynamic=False) if compile_shader else _sample
        )
        self._tone_map: Callable[[Tensor], Tensor] = (
            torch.compile(tone_map, dynamic=False) if compile_shader else tone_map
        )

    @torch.no_grad()
    def __call__(self, scenes: Scenes, chosen: Tensor | None = None) -> Clip:
        """Render every frame of ``scenes`` on the device that they are on, or only the ``chosen`` ones, by number."""
        device, rich = scenes.uniforms.device, scenes.world.rich
        interval = 1 / max(self.format.frames - 1, 1)
        moments = (torch.arange(self.format.frames, device=device) if chosen is None else chosen) * interval
        frames = len(moments)
        env, exposure = surroundings(scenes)
        total = number = distance = None
        samples = self.samples if rich else SUBSAMPLES
        count = len(samples)
        shutter = [moments + ((index + 0.5) / count - 0.5) * SHUTTER * interval for index in range(count)]
        stage = _staged(scenes, torch.cat(shutter))
        if not self._compiled:  # what is compiled must be the same for all
            stage = _without_absent(stage)
        for index, (right, down) in enumerate(samples):
            offset = torch.tensor([right, down], device=device)
            now = _during(stage, index * frames, (index + 1) * frames, count * frames)
            spread = self._spread(env.sun_direction, scenes, index, count) if rich else None
            colour, number_now, distance_now = self._sample(
                now.camera, now.solids, env, offset[0], offset[1], spread or _jittered(env.sun_direction, index),
                self.format.height, self.format.width, now.figure,
            )  # fmt: skip
            total = colour if total is None else total + colour
            # Ground truth is of one moment; the first world's is of the shutter's beginning.
            if index == (count // 2 if rich else 0):
                number, distance = number_now.to(torch.int8), distance_now
        assert total is not None
        assert number is not None
        assert distance is not None
        total = total * (exposure / count).view(-1, 1, 1, 1, 1)
        rgb = self._tone_map(graded(total, scenes.labels.tone) if rich else total)
        return Clip(rgb, number, distance, camera_at(scenes, moments))

    def _spread(self, sun: Vector, scenes: Scenes, index: int, count: int) -> Vector:
        """The sun of one sub-sample, as seen from each of four neighbouring pixels another one: with the same few for
        all of them, a half-shadow would show as so many rings."""
        device, height, width = scenes.uniforms.device, self.format.height, self.format.width
        column, row = torch.arange(width, device=device), torch.arange(height, device=device)[:, None]
        turn = ((column + 2 * row) % 4).view(1, 1, height, width) / 4
        soft = torch.tensor([light.softness for light in a.LIGHTS.values()], device=device)[scenes.labels.light]
        # The inner samples of the four or eight are on a smaller circle, so that the whole disc is covered.
        radius = _field(soft) * SUN_RADIUS * (1.0 if index % 2 else 0.55)
        angle = 2 * math.pi * (index + turn) / count
        return _unit((sun[0] + radius * torch.cos(angle), sun[1], sun[2] + radius * torch.sin(angle)))


def _unit(v: Vector) -> Vector:
    inverse = torch.rsqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    return (v[0] * inverse, v[1] * inverse, v[2] * inverse)


def _jittered(sun: Vector, index: int) -> Vector:
    angle = 2 * math.pi * (index + 0.5) / len(SUBSAMPLES)
    return _unit((sun[0] + SUN_RADIUS * math.cos(angle), sun[1], sun[2] + SUN_RADIUS * math.sin(angle)))

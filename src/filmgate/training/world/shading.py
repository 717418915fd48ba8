"""The ray caster: one sub-sample of every pixel of every frame, in plain pointwise tensor arithmetic.

There is no geometry kernel: each ray meets at most three analytic solids, the parts of one figure and the ground, so
the whole picture is a few thousand pointwise operations that ``torch.compile`` fuses into one kernel. Vectors are
tuples of three tensors for that reason. What only richer worlds have is left out at compile time where there is no
figure. Legend: tensors broadcast over [V, F, H, W] (videos, frames, height, width).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.training.world.primitives import (
    FAR,
    Vector,
    along,
    bar,
    box,
    capsule,
    dot,
    pyramid,
    sphere,
    tapered,
    where,
)

HORIZON_DISTANCE = 60.0
HAZE = 0.022
"""Of clear air, per metre."""


class Solid(NamedTuple):
    """One object, every field broadcastable: position, yaw, roll, half extents, shape number, looks."""

    position: Vector
    cos_yaw: Tensor
    sin_yaw: Tensor
    cos_roll: Tensor
    sin_roll: Tensor
    half_width: Tensor
    half_height: Tensor
    half_depth: Tensor
    shape: Tensor
    present: Tensor
    colour: Vector
    stripe: Vector
    striped: Tensor
    metal: Tensor
    checkered: Tensor
    glowing: Tensor
    emblem: Tensor
    """Share of a sign's white rim and disc in the colour: 1 on the board of a sign, else 0."""


class Limb(NamedTuple):
    """A round bar of a figure in world space."""

    start: Vector
    end: Vector
    radius: Tensor
    present: Tensor
    colour: Vector


class Figure(NamedTuple):
    """What object 0 has beside its own solid if it is a figure; absent parts are not ``present``, or not there where no
    scene has them."""

    head: Solid | None
    hat: Solid | None
    limbs: tuple[Limb, ...]


class Surroundings(NamedTuple):
    """Sky, sun and ground of a scene, every field broadcastable."""

    horizon: Vector
    zenith: Vector
    sun: Vector
    sun_direction: Vector
    sun_strength: Tensor
    sun_visible: Tensor
    ambient: Tensor
    cloud: Vector
    cloudiness: Tensor
    hill: Vector
    seed: Tensor
    ground_first: Vector
    ground_second: Vector
    ground_pattern: Tensor
    ground_frequency: Tensor
    lamp: Tensor
    """Whether the light is a lamp, at ``lamp_position``, full strength at distance ``lamp_reach``."""
    lamp_position: Vector
    lamp_reach: Tensor
    fill: Vector
    fill_direction: Vector
    haze: Tensor
    """Of the air, per metre."""


def _lerp(p: Vector, q: Vector, weight: Tensor) -> Vector:
    return (p[0] + (q[0] - p[0]) * weight, p[1] + (q[1] - p[1]) * weight, p[2] + (q[2] - p[2]) * weight)


def _smooth(low: float, high: float, x: Tensor) -> Tensor:
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _hash(x: Tensor, y: Tensor, seed: Tensor) -> Tensor:
    """Integer lattice noise in 0 ... 1; int32 arithmetic wraps around on purpose."""
    h = x * 374761393 + y * 668265263 + seed * 974634599
    h = (h ^ (h >> 13)) * 1274126177
    return ((h ^ (h >> 16)) & 0xFFFF).float() * (1 / 65535.0)


def _value_noise(x: Tensor, y: Tensor, seed: Tensor) -> Tensor:
    floor_x, floor_y = torch.floor(x), torch.floor(y)
    u, v = x - floor_x, y - floor_y
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    i, j = floor_x.int(), floor_y.int()
    low = _hash(i, j, seed) * (1 - u) + _hash(i + 1, j, seed) * u
    high = _hash(i, j + 1, seed) * (1 - u) + _hash(i + 1, j + 1, seed) * u
    return low + (high - low) * v


def _noise(x: Tensor, y: Tensor, seed: Tensor) -> Tensor:
    """Two octaves of value noise in 0 ... 1."""
    return (_value_noise(x, y, seed) * 2 + _value_noise(x * 2.03 + 7.1, y * 2.03 + 3.7, seed + 1)) / 3


SPHERE, BOX, CYLINDER, CONE, CAPSULE, PYRAMID = range(6)
"""What a solid is; the first ones are numbers of shapes too."""


def _meet(o: Vector, d: Vector, solid: Solid, *, rich: bool) -> tuple[Tensor, Vector]:
    """First hit of rays in object space with a unit solid: distance (FAR: none) and normal."""
    shape = solid.shape
    ball, ball_normal = sphere(o, d)
    block, block_normal = box(o, d)
    cone, cone_normal = tapered(o, d, (shape == CONE).float() * 0.5)
    is_sphere, is_box = shape == SPHERE, shape == BOX
    distance = torch.where(is_sphere, ball, torch.where(is_box, block, cone))
    normal = where(is_sphere, ball_normal, where(is_box, block_normal, cone_normal))
    if not rich:
        return distance, normal
    middle = (1 - solid.half_width / solid.half_height).clamp(0.0, 0.95)
    pill, pill_normal = capsule(o, d, middle)
    tent, tent_normal = pyramid(o, d)
    is_pill, is_tent = shape == CAPSULE, shape == PYRAMID
    distance = torch.where(is_pill, pill, torch.where(is_tent, tent, distance))
    return distance, where(is_pill, pill_normal, where(is_tent, tent_normal, normal))


def _meet_head(o: Vector, d: Vector, solid: Solid) -> tuple[Tensor, Vector]:
    """As :func:`_meet`, of what can only be a sphere or a box."""
    ball, ball_normal = sphere(o, d)
    block, block_normal = box(o, d)
    is_sphere = solid.shape == SPHERE
    return torch.where(is_sphere, ball, block), where(is_sphere, ball_normal, block_normal)


def _meet_hat(o: Vector, d: Vector, solid: Solid) -> tuple[Tensor, Vector]:
    """As :func:`_meet`, of a cone."""
    return tapered(o, d, torch.full_like(solid.half_width, 0.5))


def _into(solid: Solid, point: Vector, direction: Vector) -> tuple[Vector, Vector]:
    """World ray in the solid's own space: moved, turned by yaw, scaled to unit extents (distances are kept)."""
    x, y, z = point[0] - solid.position[0], point[1] - solid.position[1], point[2] - solid.position[2]
    c, s, w, h, q = solid.cos_yaw, solid.sin_yaw, 1 / solid.half_width, 1 / solid.half_height, 1 / solid.half_depth
    dx, dy, dz = direction
    return ((c * x - s * z) * w, y * h, (s * x + c * z) * q), ((c * dx - s * dz) * w, dy * h, (s * dx + c * dz) * q)


def _out_of(solid: Solid, normal: Vector) -> Vector:
    """A normal of the solid's own space as a unit normal of the world."""
    nx, ny, nz = normal[0] / solid.half_width, normal[1] / solid.half_height, normal[2] / solid.half_depth
    wx, wz = solid.cos_yaw * nx + solid.sin_yaw * nz, -solid.sin_yaw * nx + solid.cos_yaw * nz
    length = torch.rsqrt(wx * wx + ny * ny + wz * wz + 1e-12)
    return (wx * length, ny * length, wz * length)


def _pattern(solid: Solid, spot: Vector, *, rich: bool) -> Vector:
    """Albedo at a spot of the solid's own space."""
    across = solid.cos_roll * spot[0] - solid.sin_roll * spot[1]
    share = (torch.sin(5.0 * across) * 3).clamp(-1, 1) * 0.5 + 0.5
    share = share * solid.striped
    if rich:
        upward = solid.sin_roll * spot[0] + solid.cos_roll * spot[1]
        waves = torch.sin(4.2 * across + 0.6) * torch.sin(4.2 * upward + 0.6) * torch.sin(4.2 * spot[2] + 0.6)
        share = share + ((waves * 9).clamp(-1, 1) * 0.5 + 0.5) * solid.checkered
        rim = torch.maximum(spot[0].abs(), spot[1].abs())
        disc = _smooth(0.62, 0.56, ((spot[0] * solid.half_width) ** 2 + (spot[1] * solid.half_height) ** 2).sqrt()
                       / solid.half_height)  # fmt: skip
        share = share + torch.maximum(_smooth(0.84, 0.88, rim), disc) * solid.emblem
    return _lerp(solid.colour, solid.stripe, share)


def _eyes(spot: Vector) -> Tensor:
    """Where on a head in its own space its two eyes are, 0 ... 1; it looks along -z."""
    x, y = spot[0].abs() - 0.40, spot[1] + 0.08
    return _smooth(0.24, 0.18, (x * x + y * y).sqrt()) * (spot[2] < -0.2).float()


def _sky(direction: Vector, env: Surroundings, *, detailed: bool) -> Vector:
    x, y, z = direction
    up = (-y).clamp(-0.2, 1)
    colour = _lerp(env.horizon, env.zenith, _smooth(0.0, 0.55, up))
    toward_sun = dot(direction, env.sun_direction).clamp(0, 1)
    glow = (toward_sun**12 * 0.3 + toward_sun**600 * 2.0) * env.sun_visible
    colour = (colour[0] + glow * env.sun[0], colour[1] + glow * env.sun[1], colour[2] + glow * env.sun[2])
    if not detailed:
        return colour
    spread = 1 / (up + 0.14)
    cover = _noise(x * spread * 0.9 + 20, z * spread * 0.9 + 20, env.seed + 11)
    cover = _smooth(0.45, 0.8, cover) * _smooth(0.0, 0.18, up) * env.cloudiness
    colour = _lerp(colour, env.cloud, cover)
    azimuth = torch.atan2(x, z)
    hills = 0.02 + 0.15 * _noise(azimuth * 3.0 + 20, azimuth * 0 + 0.5, env.seed + 5)
    shade = 1 - 0.25 * up / hills.clamp_min(0.01)
    return where(up < hills, (env.hill[0] * shade, env.hill[1] * shade, env.hill[2] * shade), colour)


def _ground(point: Vector, footprint: Tensor, env: Surroundings) -> Vector:
    """Albedo of the ground; patterns fade to their mean where a pixel covers more than they resolve."""
    q = env.ground_frequency
    fade = _smooth(0.2, 0.7, footprint * q)
    sharp = (footprint * q * 3).clamp(0.08, 4)
    waves = torch.sin(math.pi * point[0] * q)
    checker = ((waves * torch.sin(math.pi * point[2] * q)) / sharp).clamp(-1, 1) * 0.5 + 0.5
    stripes = (torch.sin(2 * math.pi * point[0] * q) / sharp).clamp(-1, 1) * 0.5 + 0.5
    noise = _noise(point[0] * 1.6 * q + 50, point[2] * 1.6 * q + 50, env.seed)
    pattern = torch.where(env.ground_pattern == 0, checker, torch.where(env.ground_pattern == 1, stripes, noise))
    colour = _lerp(env.ground_first, env.ground_second, pattern + (0.5 - pattern) * fade)
    grain = 0.94 + 0.12 * (noise + (0.5 - noise) * fade)
    return (colour[0] * grain, colour[1] * grain, colour[2] * grain)


def shade(
    origin: Vector, direction: Vector, footprint: Tensor, solids: tuple[Solid, ...], env: Surroundings, sun: Vector,
    figure: Figure | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Colour seen along each ray.

    Args:
        origin, direction: World rays (unit directions).
        footprint: Width of a pixel at distance 1.
        sun: Direction to the (jittered) sun of this sub-sample, unit.
        figure: Further parts of object 0. None renders as the first world is: no lamps, no fill, no haze of its own.

    Returns:
        Linear RGB [V, 3, F, H, W], object number [V, F, H, W] (-1 sky, 0 ground, 1 ... solids), distance in metres.
    """
    down = direction[1]
    ground = torch.where(down > 1e-4, -origin[1] / down.clamp_min(1e-4), FAR)
    distance = torch.where(ground < HORIZON_DISTANCE, ground, FAR)
    number = torch.where(distance < FAR, 0, -1)
    zero = torch.zeros_like(direction[0])
    normal: Vector = (zero, zero - 1, zero)
    reach = distance.clamp_max(HORIZON_DISTANCE)
    colour = _ground(along(origin, direction, reach), footprint * reach / (down.abs() + 0.05), env)
    metal, gloss, glow = zero, zero, zero
    rich = figure is not None
    for index, solid in enumerate(solids):
        local_origin, local_direction = _into(solid, origin, direction)
        hit_distance, hit_normal = _meet(local_origin, local_direction, solid, rich=rich)
        hit = (hit_distance < distance) & solid.present
        spot = along(local_origin, local_direction, hit_distance.clamp_max(100))
        distance = torch.where(hit, hit_distance, distance)
        number = torch.where(hit, index + 1, number)
        normal = where(hit, _out_of(solid, hit_normal), normal)
        colour = where(hit, _pattern(solid, spot, rich=rich), colour)
        metal = torch.where(hit, solid.metal, metal)
        gloss = torch.where(hit, 0.3 + 0.5 * solid.metal, gloss)
        if rich:
            glow = torch.where(hit, solid.glowing, glow)
    if figure is not None:
        distance, normal, colour, part = _see_figure(figure, origin, direction, distance, normal, colour)
        number = torch.where(part, 1, number)
        metal, glow, gloss = (torch.where(part, value, old) for value, old in ((0.0, metal), (0.0, glow), (0.3, gloss)))
    reach = distance.clamp_max(HORIZON_DISTANCE)
    light = _arriving(along(origin, direction, reach), normal, number, solids, figure, env, sun)
    seen = _light(direction, normal, colour, (metal, gloss, glow), light, reach, number, env, rich=rich)
    return seen, number, distance


def _see_figure(
    figure: Figure, origin: Vector, direction: Vector, distance: Tensor, normal: Vector, colour: Vector
) -> tuple[Tensor, Vector, Vector, Tensor]:
    """Distance, normal and albedo with the parts of a figure in front of what was seen, and where they are."""
    part = torch.zeros_like(distance, dtype=torch.bool)
    for solid, meet in ((figure.head, _meet_head), (figure.hat, _meet_hat)):
        if solid is None:
            continue
        local_origin, local_direction = _into(solid, origin, direction)
        met, met_normal = meet(local_origin, local_direction, solid)
        hit = (met < distance) & solid.present
        spot = along(local_origin, local_direction, met.clamp_max(100))
        face = _lerp(solid.colour, solid.stripe, _eyes(spot)) if meet is _meet_head else solid.colour
        distance, part = torch.where(hit, met, distance), part | hit
        normal, colour = where(hit, _out_of(solid, met_normal), normal), where(hit, face, colour)
    for limb in figure.limbs:
        met, met_normal = bar(origin, direction, limb.start, limb.end, limb.radius)
        hit = (met < distance) & limb.present
        length = torch.rsqrt(dot(met_normal, met_normal) + 1e-12)
        distance, part = torch.where(hit, met, distance), part | hit
        unit: Vector = (met_normal[0] * length, met_normal[1] * length, met_normal[2] * length)
        normal, colour = where(hit, unit, normal), where(hit, limb.colour, colour)
    return distance, normal, colour, part


def _figure_blocks(figure: Figure, point: Vector, to_light: Vector, away: Tensor) -> Tensor:
    """Whether a part of a figure is between points and a light ``away`` metres off."""
    blocked = torch.zeros_like(away, dtype=torch.bool)
    for solid, meet in ((figure.head, _meet_head), (figure.hat, _meet_hat)):
        if solid is None:
            continue
        blocked = blocked | (meet(*_into(solid, point, to_light), solid)[0] < away) & solid.present
    for limb in figure.limbs:
        blocked = blocked | (bar(point, to_light, limb.start, limb.end, limb.radius)[0] < away) & limb.present
    return blocked


def _toward_lamp(point: Vector, to_sun: Vector, env: Surroundings, sun: Vector) -> tuple[Vector, Tensor, Tensor]:
    """Direction to the light, its distance and its strength at each point, for suns and lamps alike.

    A lamp is as wide as the sun of its sub-sample has moved.
    """
    offset = [env.lamp_position[i] + 3.0 * (sun[i] - env.sun_direction[i]) - point[i] for i in range(3)]
    squared = offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2] + 1e-6
    inverse = torch.rsqrt(squared)
    to_lamp: Vector = (offset[0] * inverse, offset[1] * inverse, offset[2] * inverse)
    falloff = (env.lamp_reach * env.lamp_reach / squared).clamp_max(1.7)
    away = torch.where(env.lamp, squared * inverse, FAR)
    return where(env.lamp, to_lamp, to_sun), away, torch.where(env.lamp, falloff, 1.0) * env.sun_strength


class _Arriving(NamedTuple):
    """Light that arrives at points: from where, how strong, whether nothing is in its way, and how open the sky is."""

    direction: Vector
    strength: Tensor
    lit: Tensor
    open_sky: Tensor


def _arriving(
    point: Vector, normal: Vector, number: Tensor, solids: tuple[Solid, ...], figure: Figure | None, env: Surroundings,
    sun: Vector,
) -> _Arriving:  # fmt: skip
    """What of the light reaches visible points of the objects with these numbers."""
    zero, rich = torch.zeros_like(point[0]), figure is not None
    lifted = along(point, normal, torch.full_like(zero, 2e-3))
    lit, open_sky = torch.ones_like(zero), torch.ones_like(zero)
    to_light: Vector = (sun[0] + zero, sun[1] + zero, sun[2] + zero)
    away, strength = torch.full_like(zero, FAR), env.sun_strength
    if rich:
        to_light, away, strength = _toward_lamp(point, to_light, env, sun)
    for index, solid in enumerate(solids):
        blocked, _ = _meet(*_into(solid, lifted, to_light), solid, rich=rich)
        lit = torch.where((blocked < away) & solid.present, 0.0, lit)
        vx, vy, vz = (solid.position[i] - point[i] for i in range(3))
        squared = vx * vx + vy * vy + vz * vz
        facing = (normal[0] * vx + normal[1] * vy + normal[2] * vz) * torch.rsqrt(squared + 1e-6)
        radius = solid.half_height * 1.05
        contact = (facing * 0.5 + 0.5).clamp(0, 1) * (radius * radius / squared.clamp_min(1e-4)).clamp(0, 1) ** 1.5
        open_sky = open_sky * torch.where((number != index + 1) & solid.present, 1 - 0.7 * contact, 1.0)
    if figure is not None:
        lit = torch.where(_figure_blocks(figure, lifted, to_light, away), 0.0, lit)
    return _Arriving(to_light, strength, lit, open_sky)


def _light(
    direction: Vector, normal: Vector, colour: Vector, finish: tuple[Tensor, Tensor, Tensor], light: _Arriving,
    reach: Tensor, number: Tensor, env: Surroundings, *, rich: bool,
) -> Tensor:  # fmt: skip
    """Sun, sky light, reflection and haze at the visible point; the sky itself where there is none."""
    metal, gloss, glow = finish
    sun, lit, open_sky, strength = light.direction, light.lit, light.open_sky, light.strength
    toward = dot(normal, sun).clamp_min(0) * lit
    upward = 0.5 - 0.5 * normal[1]
    half = (sun[0] - direction[0], sun[1] - direction[1], sun[2] - direction[2])
    highlight = (dot(normal, half) * torch.rsqrt(dot(half, half) + 1e-9)).clamp_min(0) ** 60 * lit
    facing = -dot(direction, normal)
    mirrored = along(direction, normal, 2 * facing)
    mirrored = (mirrored[0], torch.where(mirrored[1] > 0, -mirrored[1] * 0.2, mirrored[1]), mirrored[2])
    reflection = _sky(mirrored, env, detailed=False)
    background = _sky(direction, env, detailed=True)
    fresnel = (1 - facing.clamp(0, 1)) ** 5
    haze = 1 - torch.exp(-((reach * (env.haze if rich else HAZE)) ** 2))
    filled = dot(normal, env.fill_direction).clamp_min(0) if rich else None
    channels = []
    for i in range(3):
        sky_light = (env.horizon[i] * (1 - upward) * 0.55 + env.zenith[i] * upward * 0.85 + 0.06) * env.ambient
        # A third of the sky's light is taken as grey, so that hues survive a coloured sky.
        arriving = toward * env.sun[i] * strength + sky_light * open_sky
        if filled is not None:
            arriving = arriving + filled * env.fill[i] * open_sky
        diffuse = colour[i] * arriving
        # A mirror of its own hue: a cyan one that shows an orange sky as it is would not be cyan.
        tinted = 0.08 + 0.85 * colour[i] if rich else 0.25 + 0.6 * colour[i]
        mirror = reflection[i] * (metal * tinted + gloss * (0.04 + 0.4 * fresnel)) * open_sky
        value = diffuse * (1 - 0.55 * metal) + mirror + gloss * highlight * env.sun[i] * strength
        if rich:
            value = value + colour[i] * glow * 0.5
        value = value + (env.horizon[i] - value) * haze
        channels.append(torch.where(number >= 0, value, background[i]))
    return torch.stack(channels, 1)

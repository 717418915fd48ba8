"""The ray caster: one sub-sample of every pixel of every frame, in plain pointwise tensor arithmetic.

There is no geometry kernel: each ray meets at most three analytic solids and the ground, so the whole picture is a few
thousand pointwise operations that ``torch.compile`` fuses into one kernel. Vectors are tuples of three tensors for that
reason. Legend: tensors broadcast over [V, F, H, W] (videos, frames, height, width).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

Vector = tuple[Tensor, Tensor, Tensor]
FAR = 1e9
HORIZON_DISTANCE = 60.0


class Solid(NamedTuple):
    """One object, every field broadcastable: position, yaw, roll, half extents, shape number, looks."""

    position: Vector
    cos_yaw: Tensor
    sin_yaw: Tensor
    cos_roll: Tensor
    sin_roll: Tensor
    half_width: Tensor
    half_height: Tensor
    shape: Tensor
    present: Tensor
    colour: Vector
    stripe: Vector
    striped: Tensor
    metal: Tensor


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


def dot(p: Vector, q: Vector) -> Tensor:
    """Scalar product."""
    return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]


def _lerp(p: Vector, q: Vector, weight: Tensor) -> Vector:
    return (p[0] + (q[0] - p[0]) * weight, p[1] + (q[1] - p[1]) * weight, p[2] + (q[2] - p[2]) * weight)


def _where(mask: Tensor, p: Vector, q: Vector) -> Vector:
    return (torch.where(mask, p[0], q[0]), torch.where(mask, p[1], q[1]), torch.where(mask, p[2], q[2]))


def _along(origin: Vector, direction: Vector, distance: Tensor) -> Vector:
    return (
        origin[0] + distance * direction[0],
        origin[1] + distance * direction[1],
        origin[2] + distance * direction[2],
    )


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


def _sphere(o: Vector, d: Vector) -> tuple[Tensor, Vector]:
    a, b, c = dot(d, d), dot(o, d), dot(o, o) - 1
    discriminant = b * b - a * c
    t = (-b - torch.sqrt(discriminant.clamp_min(0))) / a
    t = torch.where((discriminant > 0) & (t > 1e-3), t, FAR)
    return t, _along(o, d, t)


def _box(o: Vector, d: Vector) -> tuple[Tensor, Vector]:
    near, far = [], []
    for origin, direction in zip(o, d, strict=True):
        inverse = 1 / (direction + 1e-9)
        middle, half = -(origin * inverse), inverse.abs()
        near.append(middle - half)
        far.append(middle + half)
    enter = torch.maximum(torch.maximum(near[0], near[1]), near[2])
    leave = torch.minimum(torch.minimum(far[0], far[1]), far[2])
    t = torch.where((enter < leave) & (enter > 1e-3), enter, FAR)
    x, y, z = (-torch.sign(direction) * (n >= enter) for direction, n in zip(d, near, strict=True))
    return t, (x, y, z)


def _tapered(o: Vector, d: Vector, taper: Tensor) -> tuple[Tensor, Vector]:
    """Cylinder (taper 0) or cone (taper 0.5, tip at y = -1, which is up): radius 1 - taper + taper·y, -1 < y < 1."""
    base = 1 - taper
    radius = base + taper * o[1]
    a = d[0] * d[0] + d[2] * d[2] - (taper * d[1]) ** 2
    b = o[0] * d[0] + o[2] * d[2] - taper * d[1] * radius
    c = o[0] * o[0] + o[2] * o[2] - radius * radius
    discriminant = b * b - a * c
    root = torch.sqrt(discriminant.clamp_min(0))
    a = torch.where(a.abs() < 1e-7, 1e-7, a)

    def side(t: Tensor) -> Tensor:
        y = o[1] + t * d[1]
        return torch.where((discriminant > 0) & (t > 1e-3) & (y.abs() < 1) & (base + taper * y >= 0), t, FAR)

    wall = torch.minimum(side((-b - root) / a), side((-b + root) / a))
    y = o[1] + wall * d[1]
    slope = torch.rsqrt(1 + taper * taper)
    inverse = slope / (base + taper * y + 1e-6)
    cap_y = torch.where(d[1] > 0, -1.0, 1.0)
    cap = (cap_y - o[1]) / (d[1] + 1e-9)
    cap_x, cap_z = o[0] + cap * d[0], o[2] + cap * d[2]
    cap_radius = base + taper * cap_y
    cap = torch.where((cap_x * cap_x + cap_z * cap_z < cap_radius * cap_radius) & (cap > 1e-3), cap, FAR)
    on_cap = cap < wall
    wall_normal = ((o[0] + wall * d[0]) * inverse, -taper * slope + 0 * wall, (o[2] + wall * d[2]) * inverse)
    normal = _where(on_cap, (0 * wall, cap_y + 0 * wall, 0 * wall), wall_normal)
    return torch.minimum(cap, wall), normal


def _meet(o: Vector, d: Vector, shape: Tensor) -> tuple[Tensor, Vector]:
    """First hit of rays in object space with the unit solid ``shape``: distance (FAR: none) and normal."""
    sphere, sphere_normal = _sphere(o, d)
    box, box_normal = _box(o, d)
    tapered, tapered_normal = _tapered(o, d, (shape == 3).float() * 0.5)
    is_sphere, is_box = shape == 0, shape == 1
    distance = torch.where(is_sphere, sphere, torch.where(is_box, box, tapered))
    return distance, _where(is_sphere, sphere_normal, _where(is_box, box_normal, tapered_normal))


def _into(solid: Solid, point: Vector, direction: Vector) -> tuple[Vector, Vector]:
    """World ray in the solid's own space: moved, turned by yaw, scaled to unit extents (distances are kept)."""
    x, y, z = point[0] - solid.position[0], point[1] - solid.position[1], point[2] - solid.position[2]
    c, s, w, h = solid.cos_yaw, solid.sin_yaw, 1 / solid.half_width, 1 / solid.half_height
    dx, dy, dz = direction
    return ((c * x - s * z) * w, y * h, (s * x + c * z) * w), ((c * dx - s * dz) * w, dy * h, (s * dx + c * dz) * w)


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
    return _where(up < hills, (env.hill[0] * shade, env.hill[1] * shade, env.hill[2] * shade), colour)


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
    origin: Vector, direction: Vector, footprint: Tensor, solids: tuple[Solid, ...], env: Surroundings, sun: Vector
) -> tuple[Tensor, Tensor, Tensor]:
    """Colour seen along each ray.

    Args:
        origin, direction: World rays (unit directions).
        footprint: Width of a pixel at distance 1.
        sun: Direction to the (jittered) sun of this sub-sample, unit.

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
    colour = _ground(_along(origin, direction, reach), footprint * reach / (down.abs() + 0.05), env)
    metal, gloss = zero, zero
    for index, solid in enumerate(solids):
        local_origin, local_direction = _into(solid, origin, direction)
        hit_distance, hit_normal = _meet(local_origin, local_direction, solid.shape)
        hit = (hit_distance < distance) & solid.present
        nx, ny, nz = (
            hit_normal[0] / solid.half_width,
            hit_normal[1] / solid.half_height,
            hit_normal[2] / solid.half_width,
        )
        wx, wz = solid.cos_yaw * nx + solid.sin_yaw * nz, -solid.sin_yaw * nx + solid.cos_yaw * nz
        length = torch.rsqrt(wx * wx + ny * ny + wz * wz + 1e-12)
        spot = _along(local_origin, local_direction, hit_distance.clamp_max(100))
        across = solid.cos_roll * spot[0] - solid.sin_roll * spot[1]
        stripe = (torch.sin(5.0 * across) * 3).clamp(-1, 1) * 0.5 + 0.5
        distance = torch.where(hit, hit_distance, distance)
        number = torch.where(hit, index + 1, number)
        normal = _where(hit, (wx * length, ny * length, wz * length), normal)
        colour = _where(hit, _lerp(solid.colour, solid.stripe, stripe * solid.striped), colour)
        metal = torch.where(hit, solid.metal, metal)
        gloss = torch.where(hit, 0.3 + 0.5 * solid.metal, gloss)
    reach = distance.clamp_max(HORIZON_DISTANCE)
    point = _along(origin, direction, reach)
    lifted = _along(point, normal, torch.full_like(zero, 2e-3))
    lit, open_sky = torch.ones_like(zero), torch.ones_like(zero)
    ray_to_sun: Vector = (sun[0] + zero, sun[1] + zero, sun[2] + zero)
    for index, solid in enumerate(solids):
        blocked, _ = _meet(*_into(solid, lifted, ray_to_sun), solid.shape)
        lit = torch.where((blocked < FAR) & solid.present, 0.0, lit)
        vx, vy, vz = (solid.position[i] - point[i] for i in range(3))
        squared = vx * vx + vy * vy + vz * vz
        facing = (normal[0] * vx + normal[1] * vy + normal[2] * vz) * torch.rsqrt(squared + 1e-6)
        radius = solid.half_height * 1.05
        contact = (facing * 0.5 + 0.5).clamp(0, 1) * (radius * radius / squared.clamp_min(1e-4)).clamp(0, 1) ** 1.5
        open_sky = open_sky * torch.where((number != index + 1) & solid.present, 1 - 0.7 * contact, 1.0)
    return _light(direction, normal, colour, (metal, gloss), lit, open_sky, reach, number, env, sun), number, distance


def _light(
    direction: Vector, normal: Vector, colour: Vector, finish: tuple[Tensor, Tensor], lit: Tensor, open_sky: Tensor,
    reach: Tensor, number: Tensor, env: Surroundings, sun: Vector,
) -> Tensor:  # fmt: skip
    """Sun, sky light, reflection and haze at the visible point; the sky itself where there is none."""
    metal, gloss = finish
    toward = dot(normal, sun).clamp_min(0) * lit
    upward = 0.5 - 0.5 * normal[1]
    half = (sun[0] - direction[0], sun[1] - direction[1], sun[2] - direction[2])
    highlight = (dot(normal, half) * torch.rsqrt(dot(half, half) + 1e-9)).clamp_min(0) ** 60 * lit
    facing = -dot(direction, normal)
    mirrored = _along(direction, normal, 2 * facing)
    mirrored = (mirrored[0], torch.where(mirrored[1] > 0, -mirrored[1] * 0.2, mirrored[1]), mirrored[2])
    reflection = _sky(mirrored, env, detailed=False)
    background = _sky(direction, env, detailed=True)
    fresnel = (1 - facing.clamp(0, 1)) ** 5
    haze = 1 - torch.exp(-((reach * 0.022) ** 2))
    channels = []
    for i in range(3):
        sky_light = (env.horizon[i] * (1 - upward) * 0.55 + env.zenith[i] * upward * 0.85 + 0.06) * env.ambient
        # A third of the sky's light is taken as grey, so that hues survive a coloured sky.
        diffuse = colour[i] * (toward * env.sun[i] * env.sun_strength + sky_light * open_sky)
        mirror = reflection[i] * (metal * (0.25 + 0.6 * colour[i]) + gloss * (0.04 + 0.4 * fresnel)) * open_sky
        value = diffuse * (1 - 0.55 * metal) + mirror + gloss * highlight * env.sun[i] * env.sun_strength
        value = value + (env.horizon[i] - value) * haze
        channels.append(torch.where(number >= 0, value, background[i]))
    return torch.stack(channels, 1)

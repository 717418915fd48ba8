"""Rays meet solids: closed forms in plain pointwise arithmetic, which a compiler fuses into one kernel.

Solids are in a space of their own, with extents -1 ... 1 and up = -y (directions there need not be unit). A ray is an
origin and a direction; the answer is how many directions away the first surface is that it enters (:data:`FAR`: none)
and the outward normal there, not normalised. Vectors are tuples of three tensors that broadcast over [V, F, H, W].
"""

from __future__ import annotations

import torch
from torch import Tensor

Vector = tuple[Tensor, Tensor, Tensor]
FAR = 1e9
NEAREST = 1e-3
"""What is nearer is where the ray itself started."""


def dot(p: Vector, q: Vector) -> Tensor:
    """Scalar product."""
    return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]


def where(mask: Tensor, p: Vector, q: Vector) -> Vector:
    """``p`` where the mask is set, else ``q``."""
    return (torch.where(mask, p[0], q[0]), torch.where(mask, p[1], q[1]), torch.where(mask, p[2], q[2]))


def along(origin: Vector, direction: Vector, distance: Tensor) -> Vector:
    """The point at a distance on a ray."""
    return (
        origin[0] + distance * direction[0],
        origin[1] + distance * direction[1],
        origin[2] + distance * direction[2],
    )


def sphere(o: Vector, d: Vector) -> tuple[Tensor, Vector]:
    """Unit sphere."""
    a, b, c = dot(d, d), dot(o, d), dot(o, o) - 1
    discriminant = b * b - a * c
    t = (-b - torch.sqrt(discriminant.clamp_min(0))) / a
    t = torch.where((discriminant > 0) & (t > NEAREST), t, FAR)
    return t, along(o, d, t)


def box(o: Vector, d: Vector) -> tuple[Tensor, Vector]:
    """Cube of half edge 1."""
    near, far = [], []
    for origin, direction in zip(o, d, strict=True):
        inverse = 1 / (direction + 1e-9)
        middle, half = -(origin * inverse), inverse.abs()
        near.append(middle - half)
        far.append(middle + half)
    enter = torch.maximum(torch.maximum(near[0], near[1]), near[2])
    leave = torch.minimum(torch.minimum(far[0], far[1]), far[2])
    t = torch.where((enter < leave) & (enter > NEAREST), enter, FAR)
    x, y, z = (-torch.sign(direction) * (n >= enter) for direction, n in zip(d, near, strict=True))
    return t, (x, y, z)


def tapered(o: Vector, d: Vector, taper: Tensor) -> tuple[Tensor, Vector]:
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
        return torch.where((discriminant > 0) & (t > NEAREST) & (y.abs() < 1) & (base + taper * y >= 0), t, FAR)

    wall = torch.minimum(side((-b - root) / a), side((-b + root) / a))
    y = o[1] + wall * d[1]
    slope = torch.rsqrt(1 + taper * taper)
    inverse = slope / (base + taper * y + 1e-6)
    cap_y = torch.where(d[1] > 0, -1.0, 1.0)
    cap = (cap_y - o[1]) / (d[1] + 1e-9)
    cap_x, cap_z = o[0] + cap * d[0], o[2] + cap * d[2]
    cap_radius = base + taper * cap_y
    cap = torch.where((cap_x * cap_x + cap_z * cap_z < cap_radius * cap_radius) & (cap > NEAREST), cap, FAR)
    on_cap = cap < wall
    wall_normal = ((o[0] + wall * d[0]) * inverse, -taper * slope + 0 * wall, (o[2] + wall * d[2]) * inverse)
    normal = where(on_cap, (0 * wall, cap_y + 0 * wall, 0 * wall), wall_normal)
    return torch.minimum(cap, wall), normal


def capsule(o: Vector, d: Vector, middle: Tensor) -> tuple[Tensor, Vector]:
    """Upright cylinder of radius 1 between y = ±``middle`` (below 1) with caps, half ellipsoids, that reach y = ±1."""
    a = (d[0] * d[0] + d[2] * d[2]).clamp_min(1e-9)
    b, c = o[0] * d[0] + o[2] * d[2], o[0] * o[0] + o[2] * o[2] - 1
    discriminant = b * b - a * c
    wall = (-b - torch.sqrt(discriminant.clamp_min(0))) / a
    y = o[1] + wall * d[1]
    # Where a ray enters the endless cylinder beside the wall, the cap of that side is all that it can meet.
    on_wall, side = y.abs() < middle, torch.where(y < 0, -1.0, 1.0)
    stretch = 1 / (1 - middle)
    cap, _ = sphere((o[0], (o[1] - side * middle) * stretch, o[2]), (d[0], d[1] * stretch, d[2]))
    t = torch.where(on_wall, torch.where(wall > NEAREST, wall, FAR), cap)
    t = torch.where(discriminant > 0, t, FAR)
    y = o[1] + t * d[1]
    slope = torch.where(on_wall, 0.0, (y - side * middle) * stretch * stretch)
    return t, (o[0] + t * d[0], slope, o[2] + t * d[2])


def pyramid(o: Vector, d: Vector) -> tuple[Tensor, Vector]:
    """Square pyramid, base at y = 1, tip at y = -1, which is up."""
    enter = leave = None
    normal: Vector | None = None
    for x, y, z in ((1.0, -0.5, 0.0), (-1.0, -0.5, 0.0), (0.0, -0.5, 1.0), (0.0, -0.5, -1.0), (0.0, 1.0, 0.0)):
        slope = x * d[0] + y * d[1] + z * d[2]
        slope = torch.where(slope.abs() < 1e-9, 1e-9, slope)
        reach = ((0.5 if y < 0 else 1.0) - (x * o[0] + y * o[1] + z * o[2])) / slope
        into, out = torch.where(slope < 0, reach, -FAR), torch.where(slope < 0, FAR, reach)
        face: Vector = (x + 0 * reach, y + 0 * reach, z + 0 * reach)
        if enter is None or leave is None or normal is None:
            enter, leave, normal = into, out, face
        else:
            normal = where(into > enter, face, normal)
            enter, leave = torch.maximum(enter, into), torch.minimum(leave, out)
    assert enter is not None
    assert leave is not None
    assert normal is not None
    return torch.where((enter < leave) & (enter > NEAREST), enter, FAR), normal


def bar(o: Vector, d: Vector, start: Vector, end: Vector, radius: Tensor) -> tuple[Tensor, Vector]:
    """Round bar between two points with round ends, in world space; ``d`` must be unit. After Quilez 2016, capsule."""
    axis: Vector = (end[0] - start[0], end[1] - start[1], end[2] - start[2])
    offset: Vector = (o[0] - start[0], o[1] - start[1], o[2] - start[2])
    length, forward, place = dot(axis, axis), dot(axis, d), dot(axis, offset)
    slant = dot(d, offset)
    a = (length - forward * forward).clamp_min(1e-7)
    b = length * slant - place * forward
    c = length * dot(offset, offset) - place * place - radius * radius * length
    discriminant = b * b - a * c
    wall = (-b - torch.sqrt(discriminant.clamp_min(0))) / a
    height = place + wall * forward
    on_wall = (height > 0) & (height < length)
    at_start = height <= 0
    near = where(at_start, offset, (o[0] - end[0], o[1] - end[1], o[2] - end[2]))
    half = dot(d, near)
    cap_discriminant = half * half - dot(near, near) + radius * radius
    cap = -half - torch.sqrt(cap_discriminant.clamp_min(0))
    t = torch.where(on_wall, wall, torch.where(cap_discriminant > 0, cap, FAR))
    t = torch.where((discriminant > 0) & (t > NEAREST), t, FAR)
    share = ((place + t * forward) / length).clamp(0, 1)
    return t, tuple(offset[i] + t * d[i] - share * axis[i] for i in range(3))  # type: ignore[return-value]

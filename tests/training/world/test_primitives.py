"""Geometry: a ray from outside that meets a solid meets it on its surface, and the normal there points back outside."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from filmgate.training.world.primitives import FAR, Vector, along, bar, box, capsule, dot, pyramid, sphere, tapered

MIDDLE = 0.4
START, END, RADIUS = (-0.5, 0.3, 0.2), (0.6, -0.5, -0.1), 0.25
unit = st.floats(-1, 1)


def tensors(values: tuple[float, float, float]) -> Vector:
    x, y, z = (torch.tensor(value, dtype=torch.float64) for value in values)
    return (x, y, z)


def constant(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def inside_capsule(p: tuple[float, float, float]) -> float:
    beyond = max(abs(p[1]) - MIDDLE, 0.0) / (1 - MIDDLE)
    return math.hypot(p[0], p[2], beyond) - 1


def inside_pyramid(p: tuple[float, float, float]) -> float:
    return max(abs(p[0]) - (1 + p[1]) / 2, abs(p[2]) - (1 + p[1]) / 2, p[1] - 1)


def inside_bar(p: tuple[float, float, float]) -> float:
    axis = [e - s for s, e in zip(START, END, strict=True)]
    offset = [x - s for s, x in zip(START, p, strict=True)]
    share = sum(x * y for x, y in zip(axis, offset, strict=True)) / sum(x * x for x in axis)
    share = min(max(share, 0.0), 1.0)
    return math.dist(offset, [share * x for x in axis]) - RADIUS


def inside_tapered(p: tuple[float, float, float]) -> float:
    return max(math.hypot(p[0], p[2]) - (0.5 + 0.5 * p[1]), abs(p[1]) - 1)


Meet = Callable[[Vector, Vector], tuple[Tensor, Vector]]
SOLIDS: dict[str, tuple[Meet, Callable[[tuple[float, float, float]], float]]] = {
    "sphere": (sphere, lambda p: math.hypot(*p) - 1),
    "box": (box, lambda p: max(map(abs, p)) - 1),
    "cone": (lambda o, d: tapered(o, d, constant(0.5)), inside_tapered),
    "capsule": (lambda o, d: capsule(o, d, constant(MIDDLE)), inside_capsule),
    "pyramid": (pyramid, inside_pyramid),
    "bar": (lambda o, d: bar(o, d, tensors(START), tensors(END), constant(RADIUS)), inside_bar),
}
"""Each solid, and a function that is negative inside of it, zero on it, positive outside."""


@pytest.mark.parametrize("name", SOLIDS)
@given(st.floats(0, 2 * math.pi), st.floats(-1, 1), st.tuples(unit, unit, unit))
def test_a_ray_meets_the_surface_from_outside(
    name: str, azimuth: float, height: float, aim: tuple[float, float, float]
) -> None:
    meet, inside = SOLIDS[name]
    flat = math.sqrt(1 - height * height)
    start = (4 * flat * math.cos(azimuth), 4 * height, 4 * flat * math.sin(azimuth))
    way = [a - s for a, s in zip(aim, start, strict=True)]
    length = math.hypot(*way)
    along_way = [w / length for w in way]
    tip = [t - s for t, s in zip((0.0, -1.0, 0.0), start, strict=True)]
    past = sum(t * w for t, w in zip(tip, along_way, strict=True))
    # Two solids have a tip, which is a point: a ray through it may find anything.
    assume(math.dist(tip, [past * w for w in along_way]) > 1e-3)
    origin, direction = tensors(start), tensors((along_way[0], along_way[1], along_way[2]))
    distance, normal = meet(origin, direction)
    samples = [
        (start[0] + way[0] * t / 400, start[1] + way[1] * t / 400, start[2] + way[2] * t / 400) for t in range(801)
    ]
    depth = min(map(inside, samples))
    if depth < -1e-2:
        assert float(distance) < FAR, "passes through the solid"
    if depth > 1e-2:
        assert float(distance) >= FAR / 2, "passes by"
    if float(distance) >= FAR / 2:
        return
    point = tuple(float(x) for x in along(origin, direction, distance))
    assert abs(inside(point)) < 1e-3
    assert all(inside(sample) > -1e-6 for sample in samples if math.dist(sample, start) < float(distance) - 1e-3)
    size = float(dot(normal, normal)) ** 0.5
    assert size > 1e-6
    if depth < -1e-2:  # a ray that only grazes an edge may find the side that looks away
        assert float(dot(normal, direction)) <= 1e-6 * size + 1e-9, "the normal looks to where the ray came from"
    outward = tuple(p + 0.02 * float(n) / size for p, n in zip(point, normal, strict=True))
    assert inside(outward) > 0  # type: ignore[arg-type]

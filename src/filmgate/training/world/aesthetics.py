"""Film language that is true of a finished scene: measured in the picture, not drawn, so that no caption can be wrong.

Between two classes lies a band of which nothing is said. Legend: V videos, F moments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.training.world import attributes as a
from filmgate.training.world.catalogue import AESTHETICS
from filmgate.training.world.motion import camera_at, objects_at, project
from filmgate.training.world.moves import is_close
from filmgate.training.world.render import light_of
from filmgate.training.world.scenes import Labels, Scenes, is_one_of

SHOTS = ("unstated", "close-up", "medium", "full", "wide", "extreme wide")
"""Shot sizes: of a character ``full`` is from head to toe, and a close-up head and shoulders; an object has no toes."""
COMPOSITIONS = ("unstated", "center", "left-heavy", "right-heavy", "balanced", "symmetrical")
LIGHT_ANGLES = ("unstated", "top", "side", "back", "front")
SOURCES: dict[str, tuple[str, ...]] = {
    "noon": ("sunny", "daylight"), "overcast": ("overcast",), "night": ("moonlight",), "firelight": ("firelight",),
    "studio": ("artificial",), "neon": ("neon", "mixed"), "fluorescent": ("fluorescent",),
}  # fmt: skip
"""What a light comes from, where that has a name."""
QUALITIES = {
    "noon": "hard", "studio": "hard", "firelight": "hard", "overcast": "soft", "dusk": "soft", "fluorescent": "soft",
}  # fmt: skip
TINTS = {"sunset": "warm", "firelight": "warm", "night": "cool", "dusk": "cool", "neon": "mixed"}
"""The tone that a light has by itself."""
_ANGLED = ("noon", "sunset", "night", "sunrise", "firelight", "studio", "neon", "fluorescent")
"""Lights that come from one side and are strong enough to show it."""
_ASPECT = 0.6


def measured(scenes: Scenes) -> Scenes:
    """The scenes with shot size, composition and light angle as their pictures have them."""
    labels = scenes.labels._replace(
        shot=shot_sizes(scenes), composition=compositions(scenes), light_angle=light_angles(scenes)
    )
    return Scenes(labels, scenes.uniforms, scenes.world)


def apparent_height(scenes: Scenes, moments: Tensor) -> Tensor:
    """Height of the subject in picture heights [V, F], whole even where the picture cuts it: of object 0, of the taller
    of two, of both where one stands on the other."""
    camera, heights = camera_at(scenes, moments), []
    for state in objects_at(scenes, moments)[:2]:
        offset = torch.stack([state.x, state.y, state.z], -1) - camera.position
        tall = 2 * state.half_height[:, None] * camera.focal / offset.norm(dim=-1).clamp_min(0.3) / _ASPECT
        heights.append(torch.where(state.present[:, None], tall, 0.0))
    stacked = (scenes.labels.relation == a.RELATIONS.index("on top of")) & (scenes.labels.count == 2)
    return torch.where(stacked[:, None], heights[0] + heights[1], torch.maximum(heights[0], heights[1]))


def shot_sizes(scenes: Scenes) -> Tensor:
    """Numbers of :data:`SHOTS` [V], in the middle of the clip."""
    labels = scenes.labels
    tall = apparent_height(scenes, torch.tensor([0.5], device=scenes.uniforms.device))[:, 0]
    person = is_one_of(labels.shape[:, 0], a.SHAPES, a.CHARACTERS)
    figure = is_one_of(labels.shape[:, 0], a.SHAPES, a.COMPOUND)

    def between(low: float, high: float) -> Tensor:
        return (tall >= low) & (tall < high)

    shot = torch.zeros_like(labels.count)
    for name, where in (
        ("close-up", torch.where(figure, is_close(scenes), between(0.60, 9.0) & (labels.count == 1))),
        ("full", person & between(0.55, 0.95) & ~is_close(scenes)),
        ("medium", ~figure & between(0.36, 0.50)),
        ("wide", between(0.19, 0.30)),
        ("extreme wide", between(0.0, 0.16)),
    ):
        shot = torch.where(where, SHOTS.index(name), shot)
    # Three or none have no size that one could name.
    return torch.where((labels.count == 0) | (labels.count == 3), 0, shot)


def compositions(scenes: Scenes) -> Tensor:
    """Numbers of :data:`COMPOSITIONS` [V]: of one object all the time, of two in the middle of the clip."""
    labels = scenes.labels
    moments = torch.linspace(0, 1, 5, device=scenes.uniforms.device)
    camera, states = camera_at(scenes, moments), objects_at(scenes, moments)
    across = [project(camera, state.x, state.y, state.z)[0] for state in states]
    first, second = across[0], across[1][:, 2]
    sum_of_sides, opposite = first[:, 2] + second, first[:, 2] * second < 0
    apart = torch.minimum(first[:, 2].abs(), second.abs()) > 0.09
    one, two, alike = labels.count == 1, labels.count == 2, labels.alike == 1
    composition = torch.zeros_like(labels.count)
    for name, where in (
        ("center", one & (first.abs() < 0.07).all(1)),
        ("left-heavy", one & (first < -0.11).all(1)),
        ("right-heavy", one & (first > 0.11).all(1)),
        ("balanced", two & ~alike & opposite & apart & (sum_of_sides.abs() < 0.08)),
        ("symmetrical", two & alike & opposite & apart & (sum_of_sides.abs() < 0.06)),
    ):
        composition = torch.where(where, COMPOSITIONS.index(name), composition)
    return composition


def light_angles(scenes: Scenes) -> Tensor:
    """Numbers of :data:`LIGHT_ANGLES` [V]: where the light stands to the camera, seen from the subject, in the middle
    of the clip."""
    labels = scenes.labels
    moments = torch.tensor([0.5], device=scenes.uniforms.device)
    camera, state = camera_at(scenes, moments), objects_at(scenes, moments)[0]
    place, lamp = light_of(scenes)
    subject = torch.stack([state.x, state.y, state.z], -1)[:, 0]
    toward = torch.where(lamp[:, None], place - subject, place)
    toward = toward / toward.norm(dim=1, keepdim=True)
    away = subject - camera.position[:, 0]
    level = torch.nn.functional.normalize(away[:, [0, 2]], dim=1)
    along = (torch.nn.functional.normalize(toward[:, [0, 2]], dim=1) * level).sum(1)
    high = -toward[:, 1]
    angle = torch.zeros_like(labels.count)
    for name, where in (
        ("side", along.abs() < 0.5),
        ("back", along > 0.72),
        ("front", along < -0.75),
    ):
        angle = torch.where(where & (high < 0.85), LIGHT_ANGLES.index(name), angle)
    angle = torch.where(high > 0.92, LIGHT_ANGLES.index("top"), angle)
    # From above a camera sees no side of the light.
    told = is_one_of(labels.light, tuple(a.LIGHTS), _ANGLED) & (labels.angle != a.ANGLES.index("overhead"))
    return torch.where(told & (labels.count > 0), angle, 0)


def aesthetics_of(labels: Labels, lights: list[str]) -> list[tuple[tuple[str, str], ...]]:
    """What can truly be said of each scene, in its light: pairs of a slot and a name in it, in the order of
    :data:`.catalogue.AESTHETICS`."""
    result = []
    columns = {
        "shot": (labels.shot, SHOTS), "composition": (labels.composition, COMPOSITIONS),
        "light_angle": (labels.light_angle, LIGHT_ANGLES), "angle": (labels.angle, a.ANGLES),
        "lens": (labels.lens, a.LENSES), "tone": (labels.tone, a.TONES),
    }  # fmt: skip
    rows = {slot: [table[number] for number in tensor.tolist()] for slot, (tensor, table) in columns.items()}
    for v, light in enumerate(lights):
        said = {"source": SOURCES.get(light, ("",))[0], "quality": QUALITIES.get(light, "")}
        said |= {slot: values[v] for slot, values in rows.items()}
        if said["tone"] == "none":
            said["tone"] = TINTS.get(light, "")
        result.append(tuple((slot, said[slot]) for slot in AESTHETICS if said[slot] not in ("", "unstated")))
    return result

"""What a scene of the toy world can be made of. Names and numbers only; no tensors, no words of captions.

Frame: OpenCV axes (x right, y down, z forward), ground at y = 0, metres. Colours are linear-light RGB albedo, 0 ... 1.
Angles in radians unless a name says degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SLOTS = 3
"""Most objects in one scene."""

Rgb = tuple[float, float, float]

COLOURS: dict[str, Rgb] = {
    "red": (0.75, 0.03, 0.03),
    "orange": (0.90, 0.27, 0.02),
    "yellow": (0.90, 0.72, 0.04),
    "green": (0.05, 0.48, 0.07),
    "cyan": (0.04, 0.60, 0.62),
    "blue": (0.03, 0.10, 0.75),
    "purple": (0.32, 0.05, 0.55),
    "pink": (0.92, 0.30, 0.50),
    "white": (0.88, 0.88, 0.88),
    "black": (0.025, 0.025, 0.025),
}
SHAPES = ("ball", "cube", "cylinder", "cone", "capsule", "pyramid", "sign", "robot", "doll")
HALF_HEIGHT = (1.0, 0.9, 1.15, 1.25, 1.7, 1.2, 1.35, 1.4, 1.4)
"""Half height of each shape relative to its half width."""
ROUND_SHAPES = ("ball", "cylinder", "cone", "capsule")
"""Look the same from all sides, so that a turn about the vertical shows only in a pattern."""
CHARACTERS = ("robot", "doll")
COMPOUND = ("sign", *CHARACTERS)
"""Made of several solids; at most one of them in a scene, and that is object 0."""
MATERIALS = ("plain", "striped", "metal", "checkered", "glowing")
PATTERNS = ("striped", "checkered")
SIZES = ("small", "medium", "large")
HALF_WIDTH = (0.40, 0.58, 0.78)
"""Half width of each size, metres."""
MOTIONS = ("still", "left", "right", "toward", "away", "bounce", "spin", "rise", "fall", "circle", "rebound", "wave")
"""``circle``: around a spot on the ground; ``rebound``: to another object and back; ``wave``: a character's arm."""
RELATIONS = ("left of", "right of", "behind", "in front of", "on top of", "follows", "bounces off")
"""Of object 0 to object 1. The last three are interactions: it stands on it, moves after it, is thrown back by it."""
INTERACTIONS = RELATIONS[4:]
CAMERAS = (
    "static", "pan left", "pan right", "tilt up", "tilt down", "dolly in", "dolly out",
    "truck left", "truck right", "orbit left", "orbit right", "crane up", "crane down",
    "pedestal up", "pedestal down", "roll clockwise", "roll counterclockwise", "zoom in", "zoom out",
    "handheld", "follow", "free",
)  # fmt: skip
"""``free`` is a smooth path of several moves at once that no caption names, to teach a camera adapter by."""
WEATHERS = ("clear", "mist")
PACES = ("normal", "slow", "fast")
"""Of the camera's move: half as far, or half as far again, in the same time."""
LENSES = ("medium", "wide-angle", "long-focus")
FOCAL = ((0.85, 1.0), (0.52, 0.60), (1.65, 2.0))
"""Focal length of each lens in image widths, from ... to."""
ANGLES = ("eye-level", "low", "high", "overhead", "dutch")
TONES = ("none", "warm", "cool", "saturated", "desaturated")
"""Colour grade of the whole clip."""
NO_HAT = len(COLOURS)


class Light(NamedTuple):
    """A time of day: sky at horizon and zenith, sun colour, strength and elevation, ambient, cloud and hill tint."""

    horizon: Rgb
    zenith: Rgb
    sun: Rgb
    sun_strength: float
    ambient: float
    elevation_degrees: float
    sun_visible: float
    cloud: Rgb
    hill: Rgb
    exposure: float
    lamp: float = 0.0
    """Height of a lamp over the ground in metres; 0: the light comes from the sky."""
    fill: Rgb = (0.0, 0.0, 0.0)
    """A second light without shadows, from the other side, from above (lamps only)."""
    softness: float = 1.0
    """Width of the light source relative to :data:`.render.SUN_RADIUS`."""


# The tints are kept mild on purpose: an orange sunset that turns white into orange would make "white ball at sunset"
# a caption that is false in pixels.
LIGHTS: dict[str, Light] = {
    "noon": Light(
        (0.62, 0.75, 0.90), (0.13, 0.32, 0.78), (1.0, 0.97, 0.90), 2.0, 0.75, 50, 1.0, (0.95, 0.95, 0.97),
        (0.24, 0.33, 0.42), 0.55,
    ),
    "sunset": Light(
        (1.0, 0.45, 0.18), (0.20, 0.16, 0.42), (1.0, 0.66, 0.40), 2.1, 0.62, 16, 1.0, (1.0, 0.55, 0.40),
        (0.17, 0.09, 0.17), 0.60,
    ),
    "night": Light(
        (0.05, 0.07, 0.16), (0.01, 0.015, 0.05), (0.66, 0.75, 1.0), 0.62, 1.9, 40, 0.35, (0.06, 0.07, 0.10),
        (0.01, 0.015, 0.03), 1.25,
    ),
    "overcast": Light(
        (0.66, 0.68, 0.72), (0.50, 0.53, 0.58), (0.92, 0.94, 1.0), 0.55, 1.15, 60, 0.0, (0.75, 0.77, 0.80),
        (0.36, 0.39, 0.43), 0.58,
    ),
    "sunrise": Light(
        (1.0, 0.74, 0.66), (0.34, 0.50, 0.80), (1.0, 0.84, 0.72), 1.9, 0.72, 13, 1.0, (1.0, 0.78, 0.80),
        (0.36, 0.33, 0.44), 0.56,
    ),
    "dusk": Light(
        (0.40, 0.27, 0.42), (0.05, 0.09, 0.30), (0.70, 0.75, 1.0), 0.30, 1.5, 35, 0.0, (0.24, 0.17, 0.32),
        (0.05, 0.05, 0.11), 0.95, softness=3.0,
    ),
    "firelight": Light(
        (0.035, 0.03, 0.05), (0.008, 0.01, 0.03), (1.0, 0.66, 0.36), 3.0, 3.0, 20, 0.0, (0.03, 0.03, 0.04),
        (0.012, 0.01, 0.012), 0.95, lamp=0.7,
    ),
    "studio": Light(
        (0.15, 0.15, 0.16), (0.10, 0.10, 0.11), (1.0, 0.98, 0.94), 3.2, 1.1, 55, 0.0, (0.15, 0.15, 0.16),
        (0.15, 0.15, 0.16), 0.62, lamp=3.4,
    ),
    "neon": Light(
        (0.06, 0.02, 0.10), (0.012, 0.01, 0.04), (1.0, 0.45, 0.85), 2.4, 1.5, 30, 0.0, (0.05, 0.02, 0.08),
        (0.015, 0.01, 0.03), 0.80, lamp=1.9, fill=(0.32, 0.62, 0.85),
    ),
    "fluorescent": Light(
        (0.20, 0.24, 0.23), (0.17, 0.20, 0.19), (0.86, 1.0, 0.95), 3.0, 1.25, 85, 0.0, (0.20, 0.24, 0.23),
        (0.20, 0.24, 0.23), 0.60, lamp=4.2, softness=3.0,
    ),
}  # fmt: skip


class Ground(NamedTuple):
    """Two albedos, the pattern that mixes them (0 checker, 1 stripes, 2 noise) and its frequency per metre."""

    first: Rgb
    second: Rgb
    pattern: int
    frequency: float


GROUNDS: dict[str, Ground] = {
    "grass": Ground((0.14, 0.36, 0.09), (0.22, 0.46, 0.13), 2, 1.0),
    "sand": Ground((0.62, 0.50, 0.31), (0.70, 0.58, 0.38), 2, 0.8),
    "snow": Ground((0.80, 0.83, 0.88), (0.90, 0.92, 0.95), 2, 0.6),
    "tiles": Ground((0.46, 0.36, 0.27), (0.24, 0.18, 0.14), 0, 0.5),
    "stripes": Ground((0.38, 0.38, 0.43), (0.20, 0.20, 0.25), 1, 0.45),
    "dirt": Ground((0.24, 0.16, 0.10), (0.32, 0.22, 0.14), 2, 0.7),
    "asphalt": Ground((0.085, 0.085, 0.09), (0.14, 0.14, 0.145), 2, 1.4),
    "wood": Ground((0.42, 0.24, 0.11), (0.30, 0.16, 0.07), 1, 0.8),
}


@dataclass(frozen=True)
class ClipFormat:
    """Size of a clip: frames at ``fps``, height and width in pixels."""

    frames: int = 33
    height: int = 96
    width: int = 160
    fps: int = 12

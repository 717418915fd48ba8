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
SHAPES = ("ball", "cube", "cylinder", "cone")
HALF_HEIGHT = (1.0, 0.9, 1.15, 1.25)
"""Half height of each shape relative to its half width."""
MATERIALS = ("plain", "striped", "metal")
SIZES = ("small", "medium", "large")
HALF_WIDTH = (0.40, 0.58, 0.78)
"""Half width of each size, metres."""
MOTIONS = ("still", "left", "right", "toward", "away", "bounce", "spin", "rise", "fall")
RELATIONS = ("left of", "right of", "behind", "in front of")
CAMERAS = (
    "static", "pan left", "pan right", "tilt up", "tilt down", "dolly in", "dolly out",
    "truck left", "truck right", "orbit left", "orbit right", "crane up", "crane down",
)  # fmt: skip


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
}


@dataclass(frozen=True)
class ClipFormat:
    """Size of a clip: frames at ``fps``, height and width in pixels."""

    frames: int = 33
    height: int = 96
    width: int = 160
    fps: int = 12


CAMERA_WEIGHTS = (0.30,) + (0.70 / 12,) * 12
MOTION_WEIGHTS = (0.14, 0.17, 0.17, 0.10, 0.10, 0.10, 0.08, 0.07, 0.07)
MATERIAL_WEIGHTS = (0.74, 0.14, 0.12)
SIZE_WEIGHTS = (0.20, 0.55, 0.25)
ARRANGEMENT_WEIGHTS = {"empty": 0.02, "one": 0.50, "two": 0.29, "pair": 0.07, "trio": 0.07, "three": 0.05}
"""Empty, one object, two different, two alike, three alike, three different."""

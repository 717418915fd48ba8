"""The form between the dialects: what a prompt says, part by part, each part with where it stood in the text.

Every part is a :class:`Leaf`. A leaf's ``span`` counts characters of the text that was read (half open, so that
``text[span[0]:span[1]]`` is ``raw``); several leaves may come from one place. Parsers only report: numbers stay numbers
(:class:`Amount`), what contradicts stands side by side, nothing is left out (what no slot fits is a leftover) and
nothing is added. Turning numbers into words is the business of ``rules``.

Words of the field are entries of the shared vocabulary (:class:`Term`); whatever else an author wrote there stays his
own words (``str``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

from pydantic import Field

from filmgate.spec.shape import Frozen

V_co = TypeVar("V_co", covariant=True)

Dialect = Literal[
    "natural",  # plain sentences: passed on unchanged
    "key_value",  # key: value, key = value, key -> value
    "json",  # JSON, YAML or a Python literal
    "weighted",  # (word:1.3), ((word)), [word], a AND b, [a:b:0.5], <lora:x:0.8>, comma-separated tags
    "context_windows",  # a | b | c of ComfyUI-WanVideoWrapper
    "wangp",  # # comment, ! macro, [/duration=5s], (at 1 second: ...)
    "negative_list",  # Negative prompt: ..., --no x, --neg x
    "minimax",  # [Pan left, Zoom in]
    "kling",  # camera_control
    "runway",  # Horizontal, Vertical, Pan, Tilt, Zoom, Roll
    "deforum",  # zoom: 0:(1.04), "0": "prompt --neg x"
    "camera_files",  # Pan_Left.txt of VideoX-Fun, Left ... In, Out of DiffSynth
    "midjourney",  # --ar 16:9, word::2
]

MoveKind = Literal[
    "pan", "tilt", "roll",  # the camera turns
    "truck", "pedestal", "dolly",  # the camera travels: sideways, up and down, forwards and back
    "zoom",  # the focal length changes
    "orbit", "crane", "follow", "dolly_zoom", "whip_pan", "fly", "handheld", "shake", "static",
]  # fmt: skip
"""Canonical camera moves, in the terms of film, whatever a dialect calls them. ``fly``: drone and first-person flight;
``follow``: tracking shots; jib counts as crane, arc as orbit."""

Direction = Literal["left", "right", "up", "down", "in", "out", "clockwise", "counterclockwise"]
"""``in`` and ``out`` for dolly, zoom, dolly zoom and fly (forwards and backwards)."""

DIRECTIONS: dict[MoveKind, tuple[Direction, ...]] = {
    "pan": ("left", "right"),
    "tilt": ("up", "down"),
    "roll": ("left", "right", "clockwise", "counterclockwise"),
    "truck": ("left", "right"),
    "pedestal": ("up", "down"),
    "dolly": ("in", "out"),
    "zoom": ("in", "out"),
    "orbit": ("left", "right", "clockwise", "counterclockwise"),
    "crane": ("up", "down"),
    "follow": ("left", "right", "in", "out"),
    "dolly_zoom": ("in", "out"),
    "whip_pan": ("left", "right", "up", "down"),
    "fly": ("left", "right", "up", "down", "in", "out"),
    "handheld": (),
    "shake": (),
    "static": (),
}
"""Directions that each move may have; a direction may also be missing where the author gave none."""

Unit = Literal[
    "",  # a number without a unit
    "word",  # no number: ``word`` says how much, as the author did
    "deg", "deg/s", "deg/frame", "m", "m/s", "mm", "f", "kelvin", "ratio", "percent", "px/frame", "x/frame",
    "s", "frame", "fraction",
]  # fmt: skip


class Amount(Frozen):
    """A quantity as the author gave it.

    ``unit`` "f" is an aperture, "ratio" a lighting contrast (4 means 4:1), "x/frame" a factor per frame. ``full`` is
    the largest magnitude of the dialect's scale (10 for Kling), None where no scale is known. With unit "word",
    ``word`` holds words ("slowly") and ``value`` is 0.
    """

    value: float = 0.0
    unit: Unit = ""
    full: float | None = None
    word: str = ""


class Term(Frozen):
    """A word of the field: the name of an entry in vocabulary.toml, such as ``medium_close_up``."""

    name: str


class Leaf(Frozen, Generic[V_co]):
    """One part of a prompt with its provenance.

    ``confidence`` from 0 to 1 is how sure the parser is of slot and value (1: the dialect says so; below 1: a typo was
    mended, or the slot was guessed). ``required`` is whether losing it would be a loss: not for booster tags,
    comments and the like.
    """

    value: V_co
    span: tuple[int, int] = (0, 0)
    raw: str = ""
    dialect: Dialect = "natural"
    confidence: float = Field(default=1.0, ge=0, le=1)
    required: bool = True


class Subject(Frozen):
    """Who or what is seen. ``name`` is the author's words; ``count`` and ``attributes`` only where stated apart."""

    name: Leaf[str]
    count: Leaf[int] | None = None
    attributes: tuple[Leaf[str], ...] = ()


class Move(Frozen):
    """What the camera does: a canonical kind with one of its :data:`DIRECTIONS`, or none."""

    kind: MoveKind
    direction: Direction | None = None


class CameraMove(Frozen):
    """One move of the camera with what was said about it.

    ``magnitude`` is how far, ``speed`` how fast; ``begin`` and ``end`` in the unit of their amounts, from the start of
    the clip. ``easing`` is a vocabulary term or the author's words. Moves of the same ``group`` happen together, groups
    follow one another.
    """

    move: Leaf[Move]
    speed: Leaf[Amount] | None = None
    magnitude: Leaf[Amount] | None = None
    easing: Leaf[Term | str] | None = None
    begin: Leaf[Amount] | None = None
    end: Leaf[Amount] | None = None
    group: int = 0


class Light(Frozen):
    """One light, or what was said about the light as a whole.

    ``azimuth`` in degrees from the camera's axis (0: from the camera, 180: towards it), ``elevation`` in degrees above
    the horizon, ``kelvin`` as Amount of that unit, ``ratio`` of key to fill. ``role`` is ``key``, ``fill``, ``rim`` and
    so on; ``side`` where the light comes from as seen in the picture. ``source``, ``quality``, ``angle`` and
    ``contrast`` are terms of the vocabulary's slots of those names, or the author's words.
    """

    role: Leaf[str] | None = None
    source: Leaf[Term | str] | None = None
    quality: Leaf[Term | str] | None = None
    angle: Leaf[Term | str] | None = None
    contrast: Leaf[Term | str] | None = None
    side: Leaf[Literal["left", "right"]] | None = None
    azimuth: Leaf[Amount] | None = None
    elevation: Leaf[Amount] | None = None
    kelvin: Leaf[Amount] | None = None
    ratio: Leaf[Amount] | None = None
    words: Leaf[str] | None = None
    """What no other field holds, in the author's words ("neon glow through blinds")."""


class Emphasis(Frozen):
    """A weight on words that also stand as content of the form: 1 is neutral, 0 and below unwanted."""

    words: str
    weight: float


class Parameter(Frozen):
    """A setting of the job that was written into the prompt.

    ``name`` is a key of :data:`PARAMETERS`, or the author's own. ``value`` as typed; for ``lora`` the name, with its
    ``strength``.
    """

    name: str
    value: int | float | bool | str
    strength: float | None = None


PARAMETERS = (
    "seed", "steps", "guidance", "guidance_high", "guidance_low", "shift", "fps", "frames", "seconds", "width",
    "height", "size", "ratio", "lora", "model", "solver", "image", "boundary", "camera_file",
)  # fmt: skip
"""Settings that a request knows. ``size`` is "1280x720", ``ratio`` "16:9", ``seconds`` a length, ``guidance`` a CFG
scale; ``camera_file`` names a pose file."""


class Beat(Frozen):
    """A stretch of the clip with a form of its own. ``begin`` and ``end`` are missing where only the order is known."""

    content: Form
    begin: Leaf[Amount] | None = None
    end: Leaf[Amount] | None = None


class Form(Frozen):
    """All that a prompt says. Order within a slot is the author's.

    ``prose`` holds sentences and tags whose slot only their reader knows; they are carried word for word.
    ``angle`` is the camera's angle of view, ``focus`` covers depth of field, ``quoted`` text to be seen in the picture
    (without its quotation marks), ``audio`` what should be heard. ``boosters`` are words that ask for quality
    in general (``8k``). ``leftovers`` are pieces that no slot fits.
    """

    style: tuple[Leaf[Term | str], ...] = ()
    time: tuple[Leaf[Term | str], ...] = ()
    lights: tuple[Light, ...] = ()
    angle: tuple[Leaf[Term | str], ...] = ()
    shot: tuple[Leaf[Term | str], ...] = ()
    composition: tuple[Leaf[Term | str], ...] = ()
    lens: tuple[Leaf[Term | Amount | str], ...] = ()
    focus: tuple[Leaf[Term | Amount | str], ...] = ()
    tone: tuple[Leaf[Term | str], ...] = ()
    subjects: tuple[Subject, ...] = ()
    scene: tuple[Leaf[str], ...] = ()
    actions: tuple[Leaf[str], ...] = ()
    camera: tuple[CameraMove, ...] = ()
    prose: tuple[Leaf[str], ...] = ()
    quoted: tuple[Leaf[str], ...] = ()
    audio: tuple[Leaf[str], ...] = ()
    negatives: tuple[Leaf[str], ...] = ()
    emphasis: tuple[Leaf[Emphasis], ...] = ()
    timeline: tuple[Beat, ...] = ()
    parameters: tuple[Leaf[Parameter], ...] = ()
    boosters: tuple[Leaf[str], ...] = ()
    leftovers: tuple[Leaf[str], ...] = ()


Beat.model_rebuild()


class Segment(Frozen):
    """A stretch of text that one grammar reads best: ``span`` in characters, ``score`` from 0 to 1."""

    span: tuple[int, int]
    dialect: Dialect
    score: float


class Reading(Frozen):
    """What ``dialects.read`` found in a text. ``segments`` cover it from start to end."""

    text: str
    segments: tuple[Segment, ...]
    form: Form


def leaves(noun: Frozen, path: str = "") -> Iterator[tuple[str, Leaf[object]]]:
    """Every leaf of a form, or of a part of one, with its path (``camera[0].speed``), in the order of the fields."""
    for name in type(noun).model_fields:
        value = getattr(noun, name)
        where = f"{path}.{name}" if path else name
        for place, item in _items(where, value):
            if isinstance(item, Leaf):
                yield place, item
            elif isinstance(item, Frozen):
                yield from leaves(item, place)


def _items(where: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, tuple):
        yield from ((f"{where}[{index}]", item) for index, item in enumerate(value))
    else:
        yield where, value


def slots(form: Form) -> dict[str, tuple[object, ...]]:
    """Values by slot without provenance, for comparing two forms: ``{"camera[].speed": (Amount(...),)}``.

    Positions are dropped from the paths, order within a slot is kept.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path, leaf in leaves(form):
        slot = re.sub(r"\[\d+\]", "[]", path)
        found[slot] = (*found.get(slot, ()), leaf.value)
    return found

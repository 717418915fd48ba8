"""The wish: what a person or a program asks for. None always means "the model's own default"."""

from __future__ import annotations

from pydantic import Field

from filmgate.spec.model import Precision, Solver
from filmgate.spec.shape import Frozen


class Request(Frozen):
    """A video that somebody wants.

    Sizes in pixels, ``fps`` in frames per second, ``boundary`` a sigma in (0, 1), guidance scales ≥ 0 (1 switches
    classifier-free guidance off). ``negative=None`` asks for the model's default negative prompt, ``""`` for none.
    Values are not checked against a model here; the planner does that, because only it knows the model.
    """

    prompt: str
    negative: str | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: int | None = None
    steps: int | None = None
    shift: float | None = None
    solver: Solver | None = None
    guidance_high: float | None = None
    guidance_low: float | None = None
    boundary: float | None = None
    seed: int | None = Field(default=None, description="0 ... 2^63-1; None: 0, so that a bare command is repeatable")
    precision: Precision | None = None
    device: str | None = None
    preview_every: int = Field(default=0, description="emit a Preview every k steps; 0: none")

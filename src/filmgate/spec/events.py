"""Events that a backend yields while it works. They are values: a progress bar, a web page and a test read the same."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from filmgate.spec.acceleration import StepWork
from filmgate.spec.model import ExpertName
from filmgate.spec.plan import Plan
from filmgate.spec.shape import Frozen
from filmgate.spec.take import Take

Stage = Literal["load", "encode", "denoise", "decode", "deliver"]


class Started(Frozen):
    """Work on ``plan`` begins."""

    kind: Literal["started"] = "started"
    plan: Plan


class Progress(Frozen):
    """``done`` of ``total`` units of ``stage`` are finished (steps when denoising, frames when decoding).

    ``seconds`` is what the last unit took, ``eta_seconds`` the estimate for everything that is left, in all stages.
    ``note`` is for people: that an unfinished run goes on, or why it does not. ``work`` says how a step got its
    velocity, where it was not all computed.
    """

    kind: Literal["progress"] = "progress"
    stage: Stage
    done: int
    total: int
    seconds: float
    eta_seconds: float | None = None
    expert: ExpertName | None = None
    note: str | None = None
    work: StepWork | None = None


class Preview(Frozen):
    """A cheap look at the unfinished video after ``step`` steps: PNG, frames side by side."""

    kind: Literal["preview"] = "preview"
    step: int
    png: bytes


class Done(Frozen):
    """The take is finished and its files are published."""

    kind: Literal["done"] = "done"
    take: Take


class Failed(Frozen):
    """Work ended without a take. ``code`` is the error's class name."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str


Event = Annotated[Started | Progress | Preview | Done | Failed, Field(discriminator="kind")]

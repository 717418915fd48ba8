"""What happened: files, hashes, timings. A take is the receipt of a plan and enough to repeat it."""

from __future__ import annotations

from typing import Literal

from filmgate.spec.acceleration import PassCounts
from filmgate.spec.plan import Plan
from filmgate.spec.shape import Frozen


class FileRecord(Frozen):
    """A file by what it is for. ``path`` is relative to the manifest for outputs, to the model's root for weights.

    A take of a single frame is also a ``picture``, without loss.
    """

    role: Literal["video", "picture", "sheet", "weights"]
    path: str
    bytes: int
    sha256: str


class Timings(Frozen):
    """Wall-clock seconds of each stage; ``steps`` one entry per denoising step."""

    load: float
    encode: float
    steps: tuple[float, ...]
    decode: float
    deliver: float
    total: float


class Take(Frozen):
    """A finished plan.

    ``timings``, ``energy_joules`` and ``created`` are None in the receipt inside a video, which says only what every
    repetition says too. The energy is what the GPU drew from the start to the finished files, by its own counter, other
    programs on it included; None where it was not measured: without such a counter, in a batch, or where a run was
    resumed.
    ``frames_sha256`` is over the raw RGB frames (uint8, frame-major) before video compression: the fingerprint that
    ``rerun`` compares. ``versions`` maps package to version, ``hardware`` is a human-readable line. ``passes`` counts
    what was computed and what was skipped, where anything was.
    """

    version: int = 1
    plan: Plan
    plan_sha256: str
    frames_sha256: str
    files: tuple[FileRecord, ...]
    weights: tuple[FileRecord, ...]
    versions: dict[str, str]
    hardware: str
    passes: PassCounts | None = None
    timings: Timings | None = None
    energy_joules: float | None = None
    created: str | None = None


class Measurement(Frozen):
    """One number of a report, with its interval if it has one, and the ceiling that its instrument reaches."""

    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    ceiling: float | None = None
    samples: int | None = None


class Report(Frozen):
    """A judgement of a video file. ``subject`` names the file, ``sha256`` fixes it."""

    version: int = 1
    subject: str
    sha256: str
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...] = ()

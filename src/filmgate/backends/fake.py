"""A backend that needs no model: the same plan gives the same moving stripes, and everything else is real.

For tests and for building on Filmgate: events, files, metadata and cancellation are those of every backend.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from filmgate.backends.backend import Job
from filmgate.backends.hardware import describe_device
from filmgate.backends.kept import Kept
from filmgate.backends.recording import Frames, Origin, perform, versions_of
from filmgate.media.sheet import strip_png
from filmgate.spec import BackendError, Capabilities, Event, Plan, Preview, Progress

_CHUNK = 4


class FakeBackend:
    """Paints stripes whose colours and speed come from the plan's fingerprint.

    Args:
        workspace: Where its files go.
        cache: Not used: there is nothing to remember.
        state: Not used: there is nothing to go on from.
        kept: Not used: there are no networks.
        fail_after: Fail after this many denoising steps; None: never.
        pause: Seconds that every step pretends to take.
    """

    def __init__(
        self,
        workspace: Path,
        cache: Path | None = None,
        state: Path | None = None,
        kept: Kept | None = None,
        *,
        fail_after: int | None = None,
        pause: float = 0.0,
    ) -> None:
        del cache, state, kept
        self._workspace = workspace
        self._fail_after = fail_after
        self._pause = pause

    def capabilities(self) -> Capabilities:
        """The processor of this machine."""
        return Capabilities(backend="fake", device=describe_device("cpu"))

    def render(self, plan: Plan) -> Generator[Event, None, None]:
        """See :class:`~filmgate.backends.backend.Backend`."""
        return perform(plan, self._workspace, self._work(plan), _origin)

    @classmethod
    def batch(cls, jobs: Sequence[Job], cache: Path | None = None) -> Generator[tuple[int, Event], None, None]:
        """See :class:`~filmgate.backends.backend.BackendType`. Stripes have nothing to share: one after another."""
        for number, job in enumerate(jobs):
            with closing(cls(job.workspace, cache, job.state).render(job.plan)) as events:
                for event in events:
                    yield number, event

    def _work(self, plan: Plan) -> Generator[Progress | Preview | Frames, None, None]:
        steps, frames = len(plan.steps), plan.video.frames
        yield Progress(stage="load", done=1, total=1, seconds=0.0)
        yield Progress(stage="encode", done=1, total=1, seconds=0.0)
        for step in plan.steps:
            if step.index == self._fail_after:
                raise BackendError(f"failed after {self._fail_after} steps, as it was told to")
            time.sleep(self._pause)
            done = step.index + 1
            left = self._pause * (steps - done)
            yield Progress(
                stage="denoise", done=done, total=steps, seconds=self._pause, eta_seconds=left, expert=step.expert
            )
            if plan.preview_every and done % plan.preview_every == 0 and done < steps:
                yield Preview(step=done, png=strip_png(list(stripes(plan, 0, min(3, frames)))))
        for start in range(0, frames, _CHUNK):
            stop = min(start + _CHUNK, frames)
            yield stripes(plan, start, stop)
            yield Progress(stage="decode", done=stop, total=frames, seconds=0.0, eta_seconds=0.0)


def _origin() -> Origin:
    return Origin(weights=(), versions=versions_of("numpy", "av"), hardware="none: stripes, not a model")


def stripes(plan: Plan, start: int, stop: int) -> Frames:
    """Frames ``start`` ... ``stop`` of the plan's stripes: uint8 RGB [F, H, W, 3]."""
    seed = hashlib.sha256(plan.fingerprint.encode()).digest()
    colours = np.frombuffer(seed[:24], dtype=np.uint8).reshape(8, 3)
    speed = 1 + seed[24] % 4
    x = np.arange(plan.video.width)[None] + speed * np.arange(start, stop)[:, None]
    rows = colours[x // 16 % len(colours)]
    return np.repeat(rows[:, None], plan.video.height, axis=1)

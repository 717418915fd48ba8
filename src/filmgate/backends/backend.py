"""What every backend is."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from filmgate.backends.kept import Kept
from filmgate.spec import Capabilities, Event, Plan


class Job(NamedTuple):
    """One plan of several that are carried out together, with a ``workspace`` and a ``state`` of its own."""

    plan: Plan
    workspace: Path
    state: Path | None = None


class Backend(Protocol):
    """Turns plans into videos.

    Made with a ``workspace``, an existing directory in which it leaves its files, a ``cache``, a directory for what is
    worth remembering between runs, which may not exist yet, and a ``state``, an existing directory of this run alone
    (or None): what a backend keeps there, it finds again when the same plan is carried out after it was killed.
    With ``kept``, it may leave networks there for the next plan of this process, and take those of the last one.
    """

    def capabilities(self) -> Capabilities:
        """The device that this backend runs on."""

    def render(self, plan: Plan) -> Generator[Event, None, None]:
        """Carry out ``plan``.

        Yields :class:`~filmgate.spec.Started` first, then progress and previews, and :class:`~filmgate.spec.Done` or
        :class:`~filmgate.spec.Failed` last. The files of Done's take lie in the workspace, their paths relative to it.
        Closing the generator cancels the work; it ends within one denoising step or one chunk of frames. Errors of our
        own kind become Failed, anything else is a defect and is raised.
        """


class BackendType(Protocol):
    """A class of backends: makes one for a plan, or carries out many plans together."""

    def __call__(
        self, workspace: Path, cache: Path | None, state: Path | None, kept: Kept | None = None, /
    ) -> Backend: ...

    def batch(self, jobs: Sequence[Job], cache: Path | None, /) -> Generator[tuple[int, Event], None, None]:
        """Carry out several plans, sharing what they can.

        Yields every event with the number of its job. Each job has its own Started first and its own Done or Failed
        last; one that fails takes no other with it. ``eta_seconds`` is until the end of all. Closing the generator
        cancels what is left.
        """

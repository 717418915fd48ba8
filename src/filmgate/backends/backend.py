"""What every backend is."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from filmgate.spec import Capabilities, Event, Plan


class Backend(Protocol):
    """Turns plans into videos.

    Made with a ``workspace``, an existing directory in which it leaves its files, and a ``cache``, a directory for what
    is worth remembering between runs, which may not exist yet.
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

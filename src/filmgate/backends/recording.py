"""From frames to a take: video, contact sheet, fingerprint and timings, the same for every backend.

Legend: F frames, H W pixels; frames are uint8 RGB [F, H, W, 3].
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import filmgate
from filmgate.backends.energy import difference
from filmgate.media.manifest import embedded
from filmgate.media.sheet import Still, choose_stills, write_picture, write_sheet
from filmgate.media.write import VideoWriter, writing
from filmgate.spec import (
    BackendError,
    Done,
    Event,
    Failed,
    FileRecord,
    FilmgateError,
    Plan,
    Preview,
    Progress,
    Stage,
    Started,
    Take,
    Timings,
)

Frames = NDArray[np.uint8]
VIDEO, SHEET, PICTURE = "video.mp4", "sheet.png", "picture.png"
"""Names of the files in a workspace."""


class Origin(NamedTuple):
    """What the frames came from: weights by their hashes, versions of packages, and the machine in a line."""

    weights: tuple[FileRecord, ...]
    versions: dict[str, str]
    hardware: str


class Past(NamedTuple):
    """Units of work that an earlier process, or an earlier turn, has done: they count, but are not told again."""

    units: tuple[Progress, ...]


class Recording:
    """Collects what a take consists of; made by :func:`recording`.

    Tell it every :class:`~filmgate.spec.Progress`, so that it knows what each stage took.
    """

    def __init__(self, plan: Plan, video: VideoWriter) -> None:
        self.stills: list[Still] = []
        self._plan = plan
        self._video = video
        self._hash = hashlib.sha256()
        self._wanted = frozenset(choose_stills(plan.video.frames))
        self._seconds: dict[Stage, list[float]] = defaultdict(list)
        self._started = time.perf_counter()
        self._before = 0.0
        self._take: Take | None = None

    def note(self, progress: Progress) -> None:
        """Count the seconds of a finished unit of work."""
        self._seconds[progress.stage].append(progress.seconds)

    def remember(self, past: Past) -> None:
        """Count what was done before this recording began."""
        for unit in past.units:
            self.note(unit)
            self._before += unit.seconds

    def add(self, frames: Frames) -> None:
        """Append frames [F, H, W, 3]."""
        with self.delivering():
            self._hash.update(np.ascontiguousarray(frames).data)
            for frame in frames:
                if self._video.frames in self._wanted:
                    self.stills.append(Still(self._video.frames, frame.copy()))
                self._video.add(frame)

    def finish(self, origin: Origin) -> None:
        """All frames are there: write the receipt into the video.

        Raises:
            BackendError: there are more or fewer frames than planned.
        """
        if self._video.frames != self._plan.video.frames:
            raise BackendError(f"{self._video.frames} frames were made, {self._plan.video.frames} were planned")
        self._take = Take(
            plan=self._plan,
            plan_sha256=self._plan.fingerprint,
            frames_sha256=self._hash.hexdigest(),
            files=(),
            weights=origin.weights,
            versions=origin.versions,
            hardware=origin.hardware,
            passes=self._plan.pass_counts if self._plan.acceleration.work else None,
            timings=self.timings(),
            created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        )
        self._video.metadata.update(embedded(self._take))

    @property
    def take(self) -> Take:
        """The receipt, without files.

        Raises:
            BackendError: the recording was not finished.
        """
        if self._take is None:
            raise BackendError("the frames ended without a receipt")
        return self._take

    @contextmanager
    def delivering(self) -> Iterator[None]:
        """Count what the body takes as delivery."""
        start = time.perf_counter()
        yield
        self._seconds["deliver"].append(time.perf_counter() - start)

    def timings(self) -> Timings:
        """Seconds until now, those of an earlier process among them."""
        return Timings(
            load=sum(self._seconds["load"]),
            encode=sum(self._seconds["encode"]),
            steps=tuple(self._seconds["denoise"]),
            decode=sum(self._seconds["decode"]),
            deliver=sum(self._seconds["deliver"]),
            total=self._before + time.perf_counter() - self._started,
        )


@contextmanager
def recording(plan: Plan, workspace: Path) -> Iterator[Recording]:
    """Record a take: the body tells of progress, adds frames and finishes.

    The video appears in the workspace when the body ends well, and only then.

    Raises:
        OutputError: the workspace is not writable, or the disk is full.
    """
    shape = plan.video
    with writing(workspace / VIDEO, width=shape.width, height=shape.height, fps=plan.fps) as video:
        tape = Recording(plan, video)
        yield tape
        _ = tape.take


def perform(
    plan: Plan,
    workspace: Path,
    work: Generator[Progress | Preview | Frames | Past, None, None],
    origin: Callable[[], Origin],
    drawn: Callable[[], float | None] = lambda: None,
) -> Generator[Event, None, None]:
    """Turn what a backend does into its events and its take; the body of every backend's ``render``.

    Args:
        plan: What is done.
        workspace: Where video and contact sheet go.
        work: Yields progress, previews and, in order, frames [F, H, W, 3], and first what was done before, if anything;
            closed however this ends.
        origin: Asked when the work is done.
        drawn: Joules that the device has drawn since some moment; asked before and after.
    """
    before = drawn()
    yield Started(plan=plan)
    try:
        with closing(work), recording(plan, workspace) as tape:
            for item in work:
                if isinstance(item, np.ndarray):
                    tape.add(item)
                    continue
                if isinstance(item, Past):
                    tape.remember(item)
                    before = None if item.units else before  # what an earlier process drew is not known
                    continue
                if isinstance(item, Progress):
                    tape.note(item)
                yield item
            tape.finish(origin())
        take = _delivered(tape, plan, workspace).model_copy(update={"energy_joules": difference(before, drawn())})
    except FilmgateError as error:
        yield Failed(code=error.code, message=str(error))
    else:
        seconds = tape.timings().deliver
        yield Progress(stage="deliver", done=1, total=1, seconds=seconds, eta_seconds=0.0)
        yield Done(take=take)


def _delivered(tape: Recording, plan: Plan, workspace: Path) -> Take:
    """The take of a recording that has ended, with its video and its contact sheet; of one frame also as a picture."""
    with tape.delivering():
        texts = {"Plan": tape.take.plan_sha256}
        write_sheet(workspace / SHEET, tape.stills, plan.prompt, fps=plan.fps, metadata=texts)
        files = [_record("video", workspace / VIDEO), _record("sheet", workspace / SHEET)]
        if plan.video.frames == 1:
            write_picture(workspace / PICTURE, tape.stills[0].frame, metadata=embedded(tape.take))
            files.append(_record("picture", workspace / PICTURE))
    return tape.take.model_copy(update={"files": tuple(files), "timings": tape.timings()})


def _record(role: Literal["video", "picture", "sheet"], path: Path) -> FileRecord:
    """A finished file by its name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(role=role, path=path.name, bytes=path.stat().st_size, sha256=digest)


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of Filmgate, Python and ``packages``: what may change the frames."""
    found = {"filmgate": filmgate.__version__, "python": platform.python_version()}
    return found | {package: version(package) for package in packages}

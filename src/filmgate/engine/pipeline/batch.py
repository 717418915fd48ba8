"""Several plans of one model, phase by phase: whoever needs the same network works while it is there.

All texts are encoded first, then every walk goes as far as the high-noise expert takes it, then all go on with the
other one: one network is in memory at a time, and each is loaded once. Between their turns runs are put aside, on disk
where their stores are.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence

from filmgate.engine.pipeline.eta import decoding_seconds
from filmgate.engine.pipeline.render import DECODE, Phase, Run
from filmgate.spec import FilmgateError, Plan, Preview, Progress

Told = Progress | Preview | FilmgateError


def walk_all(runs: Sequence[Run]) -> Generator[tuple[int, Told], None, None]:
    """Take every run to its last step, so that only its frames are missing. All have the same networks.

    Yields:
        Progress and previews with the number of their run; its error, if one of our own kind ends a run. The networks
        are released in the end.
    """
    left = dict(enumerate(runs))
    for number, run in enumerate(runs):
        yield from _turn(number, left, _opening(run))
    while (phase := _first(left.values())) is not None:
        for number in [number for number, run in left.items() if run.phase == phase]:
            yield from _turn(number, left, left[number].advance())
            if number in left:
                left[number].put_aside()
        after = _first(left.values())
        if after is None or after.network != phase.network:
            runs[0].networks.release(phase.network)


def _opening(run: Run) -> Generator[Progress, None, None]:
    yield from run.told()
    # What its inputs show is looked at now, so that a file that is gone ends this run and no other.
    _ = run.needed


def _turn(number: int, left: dict[int, Run], items: Iterable[object]) -> Generator[tuple[int, Told], None, None]:
    """What a run tells in its turn; if an error of our own kind ends it, it is no longer among those that are left."""
    try:
        for item in items:
            if isinstance(item, Progress | Preview):
                yield number, item
    except FilmgateError as error:
        del left[number]
        yield number, error


def _first(runs: Iterable[Run]) -> Phase | None:
    """The phase that comes first of all that are next; None where only frames are missing."""
    phases = [phase for run in runs if (phase := run.phase) is not None and phase.name != DECODE]
    return min(phases, key=lambda phase: phase.rank, default=None)


class Clock:
    """How long a whole batch will still take, by what its plans expect and what was measured so far."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans
        self._left = {number: _passes(plan) for number, plan in enumerate(plans)}
        self._per_pass: dict[str, list[float]] = defaultdict(list)
        self._decoding: dict[str, list[float]] = defaultdict(list)
        self._decoded: dict[int, float] = defaultdict(float)

    def note(self, number: int, progress: Progress) -> None:
        """That a plan has finished a unit of work."""
        plan = self._plans[number]
        if progress.stage == "denoise":
            if passes := plan.passes_of(progress.done - 1):
                self._per_pass[_kind(plan)].append(progress.seconds / passes)
            self._left[number] = _passes(plan)[progress.done :]
        elif progress.stage == "decode":
            self._decoded[number] += progress.seconds
            if progress.done == progress.total:
                self._decoding[_kind(plan)].append(self._decoded[number])
                self.end(number)

    def end(self, number: int) -> None:
        """That nothing more is done for a plan."""
        self._left.pop(number, None)

    def eta(self) -> float:
        """Seconds until the last frame of the last plan."""
        return sum(self._seconds(number, passes) for number, passes in self._left.items())

    def _seconds(self, number: int, passes: list[int]) -> float:
        plan = self._plans[number]
        every = plan.pass_counts.computed
        measured = self._per_pass.get(_kind(plan))
        one = statistics.median(measured) if measured else plan.times.forward or plan.seconds / every
        decoding = self._decoding.get(_kind(plan))
        last = statistics.median(decoding) if decoding else decoding_seconds(plan, one)
        return one * sum(passes) + max(0.0, last - self._decoded[number])


def _passes(plan: Plan) -> list[int]:
    """Forward passes of every step that are really made."""
    return [plan.passes_of(index) for index in range(len(plan.steps))]


def _kind(plan: Plan) -> str:
    """Plans of one kind take the same time for a pass and for decoding."""
    return f"{plan.model.path} {plan.video} {plan.precision}"
